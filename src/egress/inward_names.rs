//! Names that lead inside a network or to a cloud's metadata service, as far as a name tells.
//!
//! Pure, and for one case alone: behind a proxy names are not looked up here, so that no address can be
//! checked.

/// Metadata services of clouds, by names that are no others' (GCP, AWS, Tencent, IBM).
const METADATA: [&str; 6] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "metadata.tencentyun.com",
    "api.metadata.cloud.ibm.com",
];

/// Suffixes that no public name has: reserved ones (RFC 6761, 6762, 8375, ICANN's .internal), those that ICANN
/// keeps from being given out, and what clusters use.
const INSIDE: [&str; 13] = [
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "localdomain",
    "intranet",
    "lan",
    "home",
    "corp",
    "mail",
    "private",
    "svc",
    "consul",
];

/// Where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// To the machine that looks it up.
    ToItself,
    /// To a metadata service.
    ToMetadata,
    /// To a host in the resolver's own network.
    Inside,
    /// Perhaps to a public address.
    Anywhere,
}

/// Says where a name leads.
#[must_use]
pub fn leads(name: &str) -> Leads {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let ends =
        |suffix: &&str| name.strip_suffix(*suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if METADATA.contains(&name.as_str()) || name.starts_with("instance-data.") {
        Leads::ToMetadata
    } else if ends(&"localhost") {
        Leads::ToItself
    } else if !name.contains('.') || INSIDE.iter().any(ends) {
        Leads::Inside
    } else {
        Leads::Anywhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_inside_are_told_by_their_ends() {
        for (name, expected) in [
            ("localhost", Leads::ToItself),
            ("A.LOCALHOST.", Leads::ToItself),
            ("metadata.google.internal", Leads::ToMetadata),
            ("Metadata.Google.Internal.", Leads::ToMetadata),
            ("metadata", Leads::ToMetadata),
            ("instance-data.ec2.internal", Leads::ToMetadata),
            ("intranet", Leads::Inside),
            ("ip-10-0-0-1.ec2.internal", Leads::Inside),
            ("printer.local", Leads::Inside),
            ("redis.default.svc.cluster.local", Leads::Inside),
            ("redis.default.svc", Leads::Inside),
            ("router.home.arpa", Leads::Inside),
            ("example.com", Leads::Anywhere),
            ("notlocalhost.example", Leads::Anywhere),
            ("thelocal.se", Leads::Anywhere),
            ("internal.example.com", Leads::Anywhere),
            ("tenant.test", Leads::Anywhere),
        ] {
            assert_eq!(leads(name), expected, "{name}");
        }
    }
}
