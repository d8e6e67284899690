//! Names for reqwest's connector, which dials exactly the addresses that it is given here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

use super::proxy::Proxy;
use crate::egress::checked::Checked;
use crate::egress::resolver::{self, Unresolved};

/// Addresses of one family that are dialled. The connector divides its time among all of a family, and
/// needs a second for each.
const MAX_OF_A_FAMILY: usize = 4;

/// Without a proxy: the addresses of receivers that may be dialled.
pub(super) struct Receivers(pub Checked);

/// With a proxy: its own addresses, which are the operator's choice, and no others.
pub(super) struct ProxyAlone {
    pub proxy: Proxy,
    pub resolver: Arc<dyn resolver::Resolve>,
}

impl Resolve for Receivers {
    fn resolve(&self, name: Name) -> Resolving {
        let checked = self.0.clone();
        Box::pin(async move { Ok(few(checked.addresses(name.as_str()).await?)) })
    }
}

impl Resolve for ProxyAlone {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = Arc::clone(&self.resolver);
        let own = match &self.proxy.host {
            Host::Domain(own) => own.eq_ignore_ascii_case(name.as_str()),
            Host::Ipv4(_) | Host::Ipv6(_) => false,
        };
        Box::pin(async move {
            if !own {
                return Err(Unresolved.into());
            }
            let name = name.as_str();
            Ok(few(resolver.resolve(name.strip_suffix('.').unwrap_or(name)).await?))
        })
    }
}

/// The port 0 stands for the URL's.
fn few(addresses: Vec<IpAddr>) -> Addrs {
    Box::new(dialled(addresses).map(|address| SocketAddr::new(address, 0)))
}

/// Which of a name's addresses are dialled, in this order.
pub(crate) fn dialled(addresses: Vec<IpAddr>) -> impl Iterator<Item = IpAddr> + Send {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let first = |family: Vec<_>| family.into_iter().take(MAX_OF_A_FAMILY);
    first(six).chain(first(four))
}
