//! Which URL leads where: the region that signs, and the host that is dialled.
//!
//! soketi's SDK dials the host of the queue's URL and signs for the region in it. The Rust SDK dials the
//! region's endpoint whatever the URL says. So every host that is not the one the SDK would find by
//! itself is given to it as an endpoint:
//!
//! | Host | Region | Dialled |
//! |---|---|---|
//! | `sqs.R.amazonaws.com` and its like in other partitions | R | the SDK's endpoint for R (options for FIPS and dual-stack count) |
//! | `R.queue.amazonaws.com` | R | the same |
//! | `queue.amazonaws.com` | us-east-1 | the same |
//! | `sqs-fips.R.…`, `sqs.R.api.aws` | R | the host itself |
//! | `vpce-….sqs.R.vpce.…`, `sqs.R.vpce.…` | R | the host itself |
//! | any other | as configured | the host itself |

use url::Url;

/// The suffixes of AWS' partitions, for IPv4 and for both; as in the SDK's endpoint rules.
const SUFFIXES: [(&str, &str); 7] = [
    ("amazonaws.com", "api.aws"),
    ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("amazonaws.eu", "api.amazonwebservices.eu"),
    ("c2s.ic.gov", "api.aws.ic.gov"),
    ("sc2s.sgov.gov", "api.aws.scloud"),
    ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
];

/// The region of the oldest endpoint, which has none in its name.
const UNNAMED: &str = "us-east-1";

/// Where a host leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// An endpoint that the SDK finds by itself, knowing the region.
    Regional(String),
    /// Another endpoint of AWS' in that region: it has to be dialled by its own name.
    Named(String),
    /// AWS', by its suffix, but for no region that could be.
    NoRegion(String),
    /// Not AWS'.
    Foreign,
}

impl Destination {
    /// The region that requests to it have to be signed for, where its name tells.
    pub(crate) fn region(&self) -> Option<&str> {
        match self {
            Self::Regional(region) | Self::Named(region) => Some(region),
            Self::NoRegion(_) | Self::Foreign => None,
        }
    }
}

/// Looks a URL up in the table above.
pub(crate) fn destination(url: &Url) -> Destination {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    if host == "queue.amazonaws.com" {
        return at(url, UNNAMED, true);
    }
    let under = |suffix: &str| Some(host.strip_suffix(suffix)?.strip_suffix('.')?.to_owned());
    for (single, dual) in SUFFIXES {
        if let Some(name) = under(dual) {
            return within(url, &name, false);
        }
        if let Some(name) = under(single) {
            return within(url, &name, true);
        }
    }
    Destination::Foreign
}

/// `name` is what stands before a partition's suffix.
fn within(url: &Url, name: &str, single: bool) -> Destination {
    let (name, private) = name.strip_suffix(".vpce").map_or((name, false), |name| (name, true));
    if let Some(region) = name.strip_suffix(".queue") {
        return at(url, region, single && !private);
    }
    let mut labels = name.rsplit('.');
    let (region, service, more) = (labels.next(), labels.next(), labels.next());
    match (region, service) {
        (Some(region), Some("sqs")) => at(url, region, single && !private && more.is_none()),
        (Some(region), Some("sqs-fips")) => at(url, region, false),
        // Another service's, such as an API gateway or a load balancer before an emulator.
        _ => Destination::Foreign,
    }
}

fn at(url: &Url, region: &str, regional: bool) -> Destination {
    if !is_region(region) {
        return Destination::NoRegion(region.to_owned());
    }
    // With a port of its own it is another listener than AWS'.
    if regional && url.port().is_none() {
        return Destination::Regional(region.to_owned());
    }
    Destination::Named(region.to_owned())
}

/// The region in an emulator's host that is made like AWS' (`sqs.R.localhost.localstack.cloud`), as
/// soketi's SDK reads it.
pub(crate) fn region_hint(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let region = host
        .strip_prefix("sqs.")
        .and_then(|rest| rest.split('.').next())
        .or_else(|| host.split_once(".queue.").map(|(region, _)| region))?;
    is_region(region).then(|| region.to_owned())
}

/// The form of AWS' region names: an area, a direction and a number, with a partition's word between the
/// first two in some.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let [area, direction @ .., number] = parts.as_slice() else { return false };
    let named = match direction {
        [direction] => word(direction),
        // us-gov, us-iso, us-isob, eu-isoe, us-isof, eusc-de.
        [partition, direction] => {
            word(direction) && (*partition == "gov" || partition.starts_with("iso") || *area == "eusc")
        }
        _ => false,
    };
    word(area) && named && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// An http or https URL of a service: a host, perhaps a path, and nothing that may be a secret.
pub(crate) fn http_url(text: &str) -> Result<Url, String> {
    if text.contains(['@', '?', '#']) {
        // Not quoted, here or in any log: a password or a token may stand there.
        return Err("must hold no user name or password, no query and no fragment".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("{text:?} is no http or https URL"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path".to_owned());
    }
    Ok(url)
}

/// A service's endpoint as it is dialled. What the SDKs dial has to be as whole as the parser makes it: it mends a missing
/// or turned slash, blanks within and a host beyond ASCII, and they do not.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let url = http_url(text.trim())?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether an endpoint names its scheme, with however many slashes behind it.
pub(crate) fn has_scheme(text: &str) -> bool {
    let after = text.split_once(':').map_or("", |(_, after)| after);
    after.starts_with(['/', '\\'])
}

/// A region becomes part of a host's name. Emulators have regions of any name, AWS has not.
pub(crate) fn named_region(text: &str, aws: bool) -> Result<String, String> {
    if let Some(region) = of_zone(text) {
        return Err(format!("{text:?} is an availability zone, no region; its region is {region}"));
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.bytes().all(plain) && (!aws || is_region(text)) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no AWS region, such as eu-west-1"))
}

/// The region of an availability zone: `eu-west-1a`, `us-west-2-lax-1a`.
fn of_zone(text: &str) -> Option<String> {
    let before = text.strip_suffix(|c: char| c.is_ascii_lowercase())?;
    if is_region(before) {
        return Some(before.to_owned());
    }
    let mut parts = before.rsplitn(3, '-');
    let (number, _, region) = (parts.next()?, parts.next()?, parts.next()?);
    (number.bytes().all(|byte| byte.is_ascii_digit()) && is_region(region)).then(|| region.to_owned())
}

/// What is wrong with a URL whose host is AWS' but leads to no region.
pub(crate) fn no_region(region: &str) -> String {
    match named_region(region, true) {
        Err(error) => format!("in its host, {error}"),
        Ok(_) => format!("its host names no region: {region:?}"),
    }
}

#[cfg(test)]
mod tests;
