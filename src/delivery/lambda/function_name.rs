//! Which functions apps may name.
//!
//! A function can be spelled in several ways. What is judged is not the spelling but what it was taken
//! apart into, and what is sent is put together from the same parts: there is no spelling that is judged
//! as one function and invoked as another.

use std::str::FromStr;

use wildmatch::WildMatch;

pub use crate::app::function::{Function, NameError};
use crate::app::function::{Place, is_name_byte, partition_of};

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

/// A pattern that is neither a name nor an ARN, and so can match nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a pattern of a function's name nor of its ARN (arn:aws:lambda:REGION:ACCOUNT:function:NAME), \
     without version or alias; several stand with commas between them, and of what is in no name there are * and ? alone"
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
        let fits = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| is_name_byte(byte) || matches!(byte, b'*' | b'?'))
        };
        if !parts.iter().all(fits) {
            return Err(PatternError(text.to_owned()));
        }
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
        match (self, function.place()) {
            (Self::Any, _) => true,
            (Self::Name(pattern), Place::Own) => pattern.matches(function.name()),
            (Self::Arn { partition, region, account, name }, Place::Account(of)) => {
                partition.matches(partition_of(client_region))
                    && region.matches(client_region)
                    && account.matches(of)
                    && name.matches(function.name())
            }
            (
                Self::Arn { partition, region, account, name },
                Place::Arn { partition: p, region: r, account: a },
            ) => {
                partition.matches(p)
                    && region.matches(r)
                    && account.matches(a)
                    && name.matches(function.name())
            }
            (Self::Name(_), Place::Account(_) | Place::Arn { .. }) | (Self::Arn { .. }, Place::Own) => false,
        }
    }
}

#[cfg(test)]
mod tests;
