//! Regions: which there are, and which of them apps may name.
//!
//! A region becomes part of the host name that is dialled, outside the policy on addresses. So it is one that
//! AWS has, or one that the operator names.

use std::str::FromStr;

pub use crate::app::function::is_region;

/// AWS' regions, of all its partitions (AWS General Reference, "AWS Lambda endpoints and quotas", and the
/// partitions of the SDK's endpoint rules).
const KNOWN: [&str; 45] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-isoe-west-1",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-isof-east-1",
    "us-isof-south-1",
    "us-west-1",
    "us-west-2",
];

/// The regions that apps may name besides AWS' known ones.
#[derive(Clone, Debug, Default)]
pub struct Regions(Vec<String>);

/// What is no region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no region such as eu-west-1")]
pub struct RegionError(String);

impl FromStr for Regions {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let region = |part: &str| {
            if is_region(part) { Ok(part.to_owned()) } else { Err(RegionError(part.to_owned())) }
        };
        parts.map(region).collect::<Result<_, _>>().map(Self)
    }
}

impl Regions {
    /// Whether apps may name it.
    #[must_use]
    pub fn allow(&self, region: &str) -> bool {
        KNOWN.binary_search(&region).is_ok() || self.0.iter().any(|named| named == region)
    }
}

#[cfg(test)]
mod tests;
