//! Names for the connector, which dials exactly the addresses that it is given here.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec::IntoIter;

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;
use url::Host;

use super::proxy::Proxy;
use crate::egress::checked::Checked;
use crate::egress::resolver::{Resolve, Unresolved};

/// Addresses of one family that are dialled. The connector divides its time among all of a family, and
/// needs a second for each.
const MAX_OF_A_FAMILY: usize = 4;

/// Where names lead.
#[derive(Clone)]
pub(super) enum Names {
    /// Without a proxy: to the addresses of receivers that may be dialled.
    Receivers(Checked),
    /// With a proxy: to its own addresses, which are the operator's choice, and no others.
    ProxyAlone(Proxy, Arc<dyn Resolve>),
}

impl Service<Name> for Names {
    type Response = IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = self.clone();
        Box::pin(async move { Ok(few(names.addresses(name.as_str()).await?)) })
    }
}

impl Names {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::Receivers(checked) => Ok(checked.addresses(name).await?),
            Self::ProxyAlone(proxy, resolver) => match &proxy.host {
                Host::Domain(own) if own.eq_ignore_ascii_case(name) => {
                    Ok(resolver.resolve(name.strip_suffix('.').unwrap_or(name)).await?)
                }
                Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => Err(Unresolved.into()),
            },
        }
    }
}

/// The port 0 stands for the URL's.
fn few(addresses: Vec<IpAddr>) -> IntoIter<SocketAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let first = |family: Vec<_>| family.into_iter().take(MAX_OF_A_FAMILY);
    let few: Vec<_> = first(six).chain(first(four)).map(|address| SocketAddr::new(address, 0)).collect();
    few.into_iter()
}
