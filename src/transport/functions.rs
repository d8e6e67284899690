//! Names of Lambda functions, taken apart, and which of them apps may name.
//!
//! A function can be spelled in several ways. What is judged is not the spelling but what it was taken
//! apart into, and what is sent is put together from the same parts: there is no spelling that is judged
//! as one function and invoked as another.

use std::str::FromStr;

use wildmatch::WildMatch;

/// The longest name of a function, as Lambda has it.
const MAX_NAME: usize = 64;
/// The longest version or alias.
const MAX_QUALIFIER: usize = 128;
/// The longest region; AWS' own have at most 14 characters.
const MAX_REGION: usize = 32;

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

/// Whether a text can be a region: one label of a host name, so that nothing in it can lead elsewhere.
#[must_use]
pub fn is_region(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (2..=MAX_REGION).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
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
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:orders";

    fn function(text: &str) -> Function {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_documented_form_is_taken_apart_and_put_together_again() {
        for (text, reference, qualifier) in [
            ("orders", "orders", None),
            (" my_Fn-1.x ", "my_Fn-1.x", None),
            ("orders:live", "orders", Some("live")),
            ("orders:7", "orders", Some("7")),
            ("orders:$LATEST", "orders", Some("$LATEST")),
            ("123456789012:function:orders", ARN, None),
            ("123456789012:function:orders:live", ARN, Some("live")),
            (ARN, ARN, None),
            (&format!("{ARN}:live"), ARN, Some("live")),
            (
                "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f",
                "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f",
                None,
            ),
        ] {
            let function = function(text);
            assert_eq!(function.reference("eu-west-1"), reference, "{text}");
            assert_eq!(function.qualifier.as_deref(), qualifier, "{text}");
        }
        let china = function("123456789012:function:f").reference("cn-north-1");
        assert_eq!(china, "arn:aws-cn:lambda:cn-north-1:123456789012:function:f");
        assert_eq!(function(ARN).region(), Some("eu-west-1"));
        assert_eq!(function("123456789012:function:f").region(), None);
    }

    #[test]
    fn what_is_no_name_or_can_be_read_in_two_ways_is_refused() {
        for text in [
            "",
            ":",
            "a/b",
            "a b",
            "orders:",
            ":live",
            "orders:li ve",
            "orders:live:1",
            "ördérs",
            "../x",
            "a?b",
            "a#b",
            "function:a:b",
            "12345678901:function:f",
            "123456789012:function:",
            "123456789012:function",
            "arn:aws:lambda:eu-west-1:123456789012:function",
            "arn:aws:lambda:eu-west-1:123456789012:function:f:1:2",
            "arn:aws:lambda::123456789012:function:f",
            "arn:aws:sqs:eu-west-1:123456789012:function:f",
            "arn:aws:lambda:eu-west-1:123456789012:layer:f",
            "arn:evil:lambda:eu-west-1:123456789012:function:f",
            "ARN:aws:lambda:eu-west-1:123456789012:function:f",
            "eu-west-1:123456789012:function:f",
            &"x".repeat(65),
        ] {
            assert!(text.parse::<Function>().is_err(), "{text:?}");
        }
        for text in ["function:orders", "123456789012:orders", "123456789012:function"] {
            assert_eq!(text.parse::<Function>(), Err(NameError::Ambiguous), "{text:?}");
        }
    }

    #[test]
    fn a_region_is_one_label_and_nothing_else() {
        for text in ["eu-west-1", "us-gov-west-1", "us-iso-east-1", "local"] {
            assert!(is_region(text), "{text}");
        }
        for text in [
            "",
            "x",
            "-a",
            "a-",
            "eu.west",
            "evil/",
            "a@evil.com",
            "a:1",
            "a#",
            "a?",
            "A-B-1",
            "a b",
            "é-1",
            &"a".repeat(33),
        ] {
            assert!(!is_region(text), "{text}");
        }
    }

    #[test]
    fn a_pattern_of_a_name_is_for_the_own_account_and_one_of_an_arn_for_those_it_names() {
        let allows = |patterns: &str, text: &str| {
            patterns.parse::<Allowed>().unwrap().allows(&function(text), "eu-west-1")
        };
        for text in ["orders", "orders:live", ARN, "999999999999:function:x"] {
            assert!(allows("*", text), "{text}");
            assert!(allows("nothing, *", text), "{text}");
            assert!(!allows("", text) && !allows("nothing", text), "{text}");
        }
        for pattern in ["orders", "ord*", "?rders", "x,orders"] {
            assert!(allows(pattern, "orders") && allows(pattern, "orders:live"), "{pattern}");
            // The name alone would let in another account's function of that name.
            assert!(!allows(pattern, ARN) && !allows(pattern, "999999999999:function:orders"), "{pattern}");
            assert!(!allows(pattern, "reorders") && !allows(pattern, "others"), "{pattern}");
        }
        assert!(!allows("orders", "Orders"), "Lambda tells them apart");
        for pattern in [ARN, "arn:*:lambda:*:123456789012:function:ord*", "arn:aws:lambda:eu-*:*:function:*"]
        {
            assert!(allows(pattern, ARN) && allows(pattern, &format!("{ARN}:live")), "{pattern}");
            assert!(allows(pattern, "123456789012:function:orders"), "{pattern}: the client's region counts");
            // Whose account that is cannot be told here.
            assert!(!allows(pattern, "orders"), "{pattern}");
        }
        let own = "arn:aws:lambda:eu-west-1:123456789012:function:ord*";
        for text in [
            "arn:aws:lambda:eu-west-1:999999999999:function:orders",
            "arn:aws:lambda:us-east-1:123456789012:function:orders",
            "arn:aws-cn:lambda:eu-west-1:123456789012:function:orders",
            "arn:aws:lambda:eu-west-1:123456789012:function:others",
            "999999999999:function:orders",
        ] {
            assert!(!allows(own, text), "{text}");
        }
        assert!(
            !own.parse::<Allowed>().unwrap().allows(&function("123456789012:function:orders"), "us-east-1")
        );
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused() {
        for text in
            ["orders:live", "arn:aws:lambda:*", "*:orders", "arn:aws:lambda:r:1:function:f:live", "a,b:c"]
        {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
    }
}
