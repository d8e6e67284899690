//! Names of Lambda functions, taken apart.

use std::str::FromStr;

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

/// Where a function is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the account of the credentials that invoke it, in the region of the client.
    Own,
    /// In another account, in the region of the client.
    Account(String),
    /// Wherever its ARN says.
    Arn {
        /// AWS' own, or that of a country.
        partition: String,
        /// Its region.
        region: String,
        /// Its account.
        account: String,
    },
}

/// Why a text names no function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is none of the forms.
    #[error("it is no name of a function, no ACCOUNT:function:NAME and no ARN of a function")]
    Form,
    /// It is a function's URL, or another.
    #[error("it is a URL: put it in \"url\", or name the function here")]
    Url,
    /// It can be read in two ways.
    #[error("it can be read in two ways; write the function's ARN")]
    Ambiguous,
}

impl FromStr for Function {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains("://") {
            return Err(NameError::Url);
        }
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
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its name alone.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

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

/// The partition that a region lies in.
#[must_use]
pub fn partition_of(region: &str) -> &'static str {
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
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_name_byte)
}

/// Whether a byte can be part of a function's name.
#[must_use]
pub fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn is_qualifier(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let named = (1..=MAX_QUALIFIER).contains(&text.len()) && text.bytes().all(inner);
    named || matches!(text, "$LATEST" | "$LATEST.PUBLISHED")
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
