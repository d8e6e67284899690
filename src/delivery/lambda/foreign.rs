//! The HTTP client for endpoints of apps: every address is judged before it is dialled, and nothing is
//! resolved again between the two. Names are looked up as those of HTTP deliveries are.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use aws_sdk_lambda::config::SharedHttpClient;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use url::{Host, Url};

use crate::egress::resolver::Resolve;

/// Says whether an address may be dialled; if not, in words what to do about it.
pub type Judge = Arc<dyn Fn(IpAddr) -> Result<(), String> + Send + Sync>;

/// An address that may not be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct RefusedAddress(pub String);

/// A client that dials no address which `judge` refuses. Literal addresses are never resolved: they are
/// [`literal`]'s.
pub(super) fn http_client(judge: &Judge, resolver: Arc<dyn Resolve>) -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build_with_resolver(Judged { judge: Arc::clone(judge), resolver })
}

/// Judges the address of an endpoint that is one, in whatever spelling the URL had it.
pub(super) fn literal(endpoint: &Url, judge: &Judge) -> Result<(), RefusedAddress> {
    let address = match endpoint.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address),
        Some(Host::Ipv6(address)) => IpAddr::from(address),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    judge(address).map_err(RefusedAddress)
}

/// The refusal that a failure comes from, if it comes from one.
pub(super) fn refusal<'a>(failure: &'a (dyn std::error::Error + 'static)) -> Option<&'a RefusedAddress> {
    let mut next = Some(failure);
    while let Some(error) = next {
        if let Some(refused) = error.downcast_ref() {
            return Some(refused);
        }
        next = error.source();
    }
    None
}

/// A resolver, less what is refused.
#[derive(Clone)]
struct Judged {
    judge: Judge,
    resolver: Arc<dyn Resolve>,
}

impl fmt::Debug for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judged")
    }
}

impl ResolveDns for Judged {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let name = name.strip_suffix('.').unwrap_or(name);
            let found = self.resolver.resolve(name).await.map_err(ResolveDnsError::new)?;
            passed(found.into_iter(), &self.judge).map_err(ResolveDnsError::new)
        })
    }
}

/// The addresses that may be dialled; the first refusal if there is none.
fn passed(found: impl Iterator<Item = IpAddr>, judge: &Judge) -> Result<Vec<IpAddr>, RefusedAddress> {
    let (passed, refused): (Vec<_>, Vec<_>) = found
        .map(|address| judge(address).map(|()| address).map_err(RefusedAddress))
        .partition(Result::is_ok);
    match refused.into_iter().find_map(Result::err) {
        Some(refused) if passed.is_empty() => Err(refused),
        Some(_) | None => Ok(passed.into_iter().flatten().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::resolver::{Lookup, Unresolved};

    /// Knows one name, as it stands.
    #[derive(Debug)]
    struct OneName;

    impl Resolve for OneName {
        fn resolve<'a>(&'a self, name: &'a str) -> Lookup<'a> {
            let found = if name == "receiver.test" {
                Ok(vec![IpAddr::from([192, 0, 2, 1])])
            } else {
                Err(Unresolved)
            };
            Box::pin(async move { found })
        }
    }

    #[tokio::test]
    async fn the_name_of_an_endpoint_is_looked_up_as_those_of_urls_are() {
        let judged = Judged { judge: Arc::new(|_| Ok(())), resolver: Arc::new(OneName) };
        for name in ["receiver.test", "receiver.test."] {
            assert_eq!(judged.resolve_dns(name).await.unwrap(), [IpAddr::from([192, 0, 2, 1])]);
        }
        // The C library knows this one, and whatever a search domain makes of others.
        assert!(judged.resolve_dns("localhost").await.is_err());
    }

    #[test]
    fn of_a_names_addresses_those_that_are_refused_are_left_out() {
        let judge: Judge =
            Arc::new(|address| if address.is_loopback() { Err(address.to_string()) } else { Ok(()) });
        let passes = |addresses: &[&str]| {
            passed(addresses.iter().map(|address| address.parse().unwrap()), &judge)
                .map(|passed| passed.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            passes(&["::1", "192.0.2.1", "127.0.0.1", "192.0.2.2"]).unwrap(),
            ["192.0.2.1", "192.0.2.2"]
        );
        assert_eq!(passes(&["127.0.0.1", "::1"]), Err(RefusedAddress("127.0.0.1".into())));
        assert_eq!(passes(&[]), Ok(Vec::new()));
    }
}
