//! How a destination is named where people read of it.

use std::fmt;

use super::Target;

/// A target's host or function: never a path, query or user info.
pub struct Host<'a>(pub Option<&'a Target>);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Target::Http(url)) => {
                let url = url::Url::parse(url.trim());
                f.write_str(url.as_ref().ok().and_then(url::Url::host_str).unwrap_or_default())
            }
            Some(Target::Lambda(lambda)) => f.write_str(&lambda.function),
            Some(Target::Unusable { registered, .. }) => Host(Some(registered)).fmt(f),
            Some(Target::Missing) | None => Ok(()),
        }
    }
}
