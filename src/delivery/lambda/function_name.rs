//! Names of Lambda functions, taken apart, and which of them apps may name.
//!
//! A function can be spelled in several ways. What is judged is not the spelling but what it was taken
//! apart into, and what is sent is put together from the same parts: there is no spelling that is judged
//! as one function and invoked as another.

use std::str::FromStr;

use wildmatch::WildMatch;

use crate::aws::region::is_region;

/// The longest name of a function, as Lambda has it.
const MAX_NAME: usize = 64;
/// The longest version or alias.
const MAX_QUALIFIER: usize = 128;

/// A function as a webhook names it: `name`, `123456789012:function:name` or a full ARN, each with a
/// version or an alias after another colon if one is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    place: Place,
    name: String,
    /// Its version or alias.
    pub qualifier: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// In the account of the credentials that invoke it, in the region of the client.
    Own,
    /// In another account, in the region of the client.
    Account(String),
    /// Wherever its ARN says.
    Arn { partition: String, region: String, account: String },
}

/// Why a text names no function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is none of the forms.
    #[error("it is no name of a function, no ACCOUNT:function:NAME and no ARN of a function")]
    Form,
    /// It can be read in two ways.
    #[error("it can be read in two ways; write the function's ARN")]
    Ambiguous,
}

impl FromStr for Function {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        let (place, rest) = match parts.as_slice() {
            ["arn", partition, "lambda", region, account, "function", rest @ ..]
                if is_partition(partition) && is_region(region) && is_account(account) =>
            {
                let [partition, region, account] =
                    [partition, region, account].map(|part| (*part).to_owned());
                (Place::Arn { partition, region, account }, rest)
            }
            [account, "function", rest @ ..] if is_account(account) && !rest.is_empty() => {
                (Place::Account((*account).to_owned()), rest)
            }
            // Lambda may know these as a function without an account, or an account without the word.
            [first, _] if *first == "function" || is_account(first) => return Err(NameError::Ambiguous),
            rest => (Place::Own, rest),
        };
        let (name, qualifier) = match rest {
            [name] => (*name, None),
            [name, qualifier] if is_qualifier(qualifier) => (*name, Some((*qualifier).to_owned())),
            _ => return Err(NameError::Form),
        };
        if !is_name(name) {
            return Err(NameError::Form);
        }
        Ok(Self { place, name: name.to_owned(), qualifier })
    }
}

impl Function {
    /// The region of its ARN, if it is one.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        match &self.place {
            Place::Arn { region, .. } => Some(region),
            Place::Own | Place::Account(_) => None,
        }
    }

    /// Its name for a call of a client of this region, without version or alias: the bare name, or the ARN
    /// where an account is named.
    #[must_use]
    pub fn reference(&self, region: &str) -> String {
        let name = &self.name;
        match &self.place {
            Place::Own => name.clone(),
            Place::Account(account) => {
                format!("arn:{}:lambda:{region}:{account}:function:{name}", partition_of(region))
            }
            Place::Arn { partition, region, account } => {
                format!("arn:{partition}:lambda:{region}:{account}:function:{name}")
            }
        }
    }
}

/// Which functions apps may name: one of these patterns has to match.
#[derive(Clone, Debug)]
pub struct Allowed(Vec<Pattern>);

#[derive(Clone, Debug)]
enum Pattern {
    /// `*`: every function.
    Any,
    /// Functions that are named without an account, and so lie in the invoking one's.
    Name(WildMatch),
    /// Functions that are named with an account, part by part of their ARN.
    Arn { partition: WildMatch, region: WildMatch, account: WildMatch, name: WildMatch },
}

/// A pattern that is neither a name nor an ARN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a pattern of a function's name nor of its ARN (arn:aws:lambda:REGION:ACCOUNT:function:NAME), \
     without version or alias"
)]
pub struct PatternError(String);

impl FromStr for Allowed {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let patterns = text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        patterns.map(Pattern::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Allowed {
    /// Whether apps may name this function, invoked by a client of this region.
    #[must_use]
    pub fn allows(&self, function: &Function, region: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(function, region))
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            ["*"] => Ok(Self::Any),
            [name] => Ok(Self::Name(WildMatch::new(name))),
            ["arn", partition, "lambda", region, account, "function", name] => Ok(Self::Arn {
                partition: WildMatch::new(partition),
                region: WildMatch::new(region),
                account: WildMatch::new(account),
                name: WildMatch::new(name),
            }),
            _ => Err(PatternError(text.to_owned())),
        }
    }

    fn matches(&self, function: &Function, client_region: &str) -> bool {
        match (self, &function.place) {
            (Self::Any, _) => true,
            (Self::Name(pattern), Place::Own) => pattern.matches(&function.name),
            (Self::Arn { partition, region, account, name }, Place::Account(of)) => {
                partition.matches(partition_of(client_region))
                    && region.matches(client_region)
                    && account.matches(of)
                    && name.matches(&function.name)
            }
            (
                Self::Arn { partition, region, account, name },
                Place::Arn { partition: p, region: r, account: a },
            ) => {
                partition.matches(p)
                    && region.matches(r)
                    && account.matches(a)
                    && name.matches(&function.name)
            }
            (Self::Name(_), Place::Account(_) | Place::Arn { .. }) | (Self::Arn { .. }, Place::Own) => false,
        }
    }
}

fn partition_of(region: &str) -> &'static str {
    const PARTITIONS: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    let found = PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("aws", |(_, partition)| partition)
}

fn is_partition(text: &str) -> bool {
    text.starts_with("aws") && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(inner)
}

fn is_qualifier(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let named = (1..=MAX_QUALIFIER).contains(&text.len()) && text.bytes().all(inner);
    named || matches!(text, "$LATEST" | "$LATEST.PUBLISHED")
}

#[cfg(test)]
mod tests;
