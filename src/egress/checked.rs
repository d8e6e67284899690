//! Resolver and policy together: the addresses of a host that may be dialled, for whoever dials.
//!
//! What is given out was checked, and nobody resolves it again before it is dialled. A literal address is
//! never looked up, by HTTP clients neither: it has to be checked before the request is made.

use std::net::IpAddr;
use std::sync::Arc;

use url::Host;

use super::address_policy::{AddressPolicy, Refused};
use super::resolver::{Resolve, Unresolved};

/// Where deliveries may go.
#[derive(Clone, Debug)]
pub struct Checked {
    policy: AddressPolicy,
    resolver: Arc<dyn Resolve>,
}

/// A name leads nowhere that may be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// Every address of it is refused.
    #[error("{0}")]
    Refused(Refused),
    /// It has none, or cannot be looked up.
    #[error("{0}")]
    Unresolved(Unresolved),
}

impl Checked {
    /// What `resolver` finds, as far as `policy` lets it pass.
    #[must_use]
    pub fn new(policy: AddressPolicy, resolver: Arc<dyn Resolve>) -> Self {
        Self { policy, resolver }
    }

    /// Checks a host that is an address, however it was spelled; a name passes, for [`Self::addresses`].
    pub fn check_literal(&self, host: &Host<impl AsRef<str>>) -> Result<(), Refused> {
        match host {
            Host::Ipv4(address) => self.policy.check(IpAddr::V4(*address)),
            Host::Ipv6(address) => self.policy.check(IpAddr::V6(*address)),
            Host::Domain(_) => Ok(()),
        }
    }

    /// The addresses of `name` that may be dialled: at least one.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NoAddress> {
        // Every name is taken to be absolute, with the dot that says so or without it.
        let name = name.strip_suffix('.').unwrap_or(name);
        let found = self.resolver.resolve(name).await.map_err(NoAddress::Unresolved)?;
        let passed = self.policy.filter(found).map_err(NoAddress::Refused)?;
        if passed.is_empty() { Err(NoAddress::Unresolved(Unresolved)) } else { Ok(passed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::resolver::Lookup;

    /// Knows one name, as it stands.
    #[derive(Debug)]
    struct OneName(&'static [&'static str]);

    impl Resolve for OneName {
        fn resolve<'a>(&'a self, name: &'a str) -> Lookup<'a> {
            let known = name == "receiver.test";
            let found = self.0.iter().map(|address| address.parse().unwrap()).collect();
            Box::pin(async move { if known { Ok(found) } else { Err(Unresolved) } })
        }
    }

    async fn addresses(name: &str, found: &'static [&'static str]) -> Result<Vec<String>, NoAddress> {
        let checked = Checked::new(AddressPolicy::default(), Arc::new(OneName(found)));
        let passed = checked.addresses(name).await?;
        Ok(passed.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn of_a_names_addresses_those_that_are_refused_are_left_out() {
        let mixed = addresses("receiver.test", &["::1", "1.1.1.1", "127.0.0.1", "8.8.8.8"]).await;
        assert_eq!(mixed.unwrap(), ["1.1.1.1", "8.8.8.8"]);
        let refused = addresses("receiver.test", &["127.0.0.1", "::1"]).await.unwrap_err();
        assert!(refused.to_string().starts_with("127.0.0.1 is loopback"), "{refused}");
    }

    #[tokio::test]
    async fn a_name_is_looked_up_as_it_stands_with_its_last_dot_or_without() {
        for name in ["receiver.test", "receiver.test."] {
            assert_eq!(addresses(name, &["1.1.1.1"]).await.unwrap(), ["1.1.1.1"]);
        }
        for (name, found) in [("localhost", &["1.1.1.1"][..]), ("receiver.test", &[])] {
            assert_eq!(addresses(name, found).await, Err(NoAddress::Unresolved(Unresolved)), "{name}");
        }
    }

    #[test]
    fn a_literal_address_is_checked_and_a_name_is_not() {
        let checked = Checked::new(AddressPolicy::default(), Arc::new(OneName(&[])));
        let check = |url: &str| checked.check_literal(&url::Url::parse(url).unwrap().host().unwrap());
        assert!(check("http://0x7f.1/").is_err() && check("http://[::ffff:10.0.0.1]/").is_err());
        assert!(check("http://1.1.1.1/").is_ok() && check("http://localhost/").is_ok());
    }
}
