//! From an origin to a connection: resolve, judge, dial, TLS.
//!
//! What is judged is the address that is handed to the system call, and nothing is resolved again in
//! between. A name's refused addresses are dropped; if none is left, the name is refused.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::{io, iter};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::select;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;
use url::Host;

use super::failure;
use super::proxy::Proxy;
use super::request::Origin;
use super::wire::Stream;
use crate::egress::address_policy::AddressPolicy;
use crate::egress::resolver::{Resolve, Unresolved};
use crate::outcome::{Outcome, Reason};

/// How long an address has before the next one is dialled beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Makes connections to where they may go.
#[derive(Debug)]
pub(super) struct Dialler {
    pub guard: AddressPolicy,
    pub proxy: Option<Proxy>,
    pub resolver: Arc<dyn Resolve>,
    pub tls: Arc<ClientConfig>,
}

/// A connection, and what it turned out to be.
pub(super) struct Dialled {
    pub stream: Stream,
    /// HTTP/2 was agreed on.
    pub http2: bool,
}

impl Dialler {
    /// Whether requests to `origin` are passed on by a proxy that reads them.
    pub(super) fn forwards(&self, origin: &Origin) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !origin.https)
    }

    /// Connects to `origin`, TLS included.
    pub(super) async fn dial(&self, origin: &Origin) -> Result<Dialled, Outcome> {
        let tcp = self.tcp(origin).await?;
        // Webhooks are small: none waits to be filled up. A failure costs time and nothing else.
        tcp.set_nodelay(true).ok();
        if !origin.https {
            return Ok(Dialled { stream: Either::Left(tcp), http2: false });
        }
        let name = match &origin.host {
            Host::Domain(name) => ServerName::try_from(relative(name).to_owned())
                .map_err(|_| Outcome::Permanent(Reason::Url("its host is no DNS name".to_owned())))?,
            Host::Ipv4(address) => ServerName::from(IpAddr::V4(*address)),
            Host::Ipv6(address) => ServerName::from(IpAddr::V6(*address)),
        };
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
        let tls = tls.map_err(|error| Outcome::transient(failure::handshake(&error)))?;
        let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Dialled { stream: Either::Right(Box::new(tls)), http2 })
    }

    async fn tcp(&self, origin: &Origin) -> Result<TcpStream, Outcome> {
        let Some(proxy) = &self.proxy else {
            let addresses = self.addresses(origin).await?;
            return race(&addresses, origin.port).await.map_err(|e| Outcome::transient(failure::connect(&e)));
        };
        self.judge_for_proxy(&origin.host)?;
        let addresses = self.resolve(&proxy.host).await.map_err(|_| no_proxy("its name has no address"))?;
        let mut stream = race(&addresses, proxy.port).await.map_err(|error| no_proxy(&error.to_string()))?;
        if origin.https {
            proxy.tunnel(&mut stream, origin).await.map_err(Outcome::transient)?;
        }
        Ok(stream)
    }

    /// The addresses of `origin` that may be dialled; there is at least one.
    async fn addresses(&self, origin: &Origin) -> Result<Vec<IpAddr>, Outcome> {
        let mut addresses =
            self.resolve(&origin.host).await.map_err(|_| Outcome::transient(Reason::Resolve))?;
        let mut refused = None;
        addresses.retain(|address| {
            let judged = self.guard.judge(*address);
            let passes = judged.is_ok();
            refused = refused.take().or(judged.err());
            passes
        });
        match refused {
            Some(refused) if addresses.is_empty() => {
                Err(Outcome::Permanent(Reason::Refused(refused.to_string())))
            }
            Some(_) | None => Ok(addresses),
        }
    }

    async fn resolve(&self, host: &Host<String>) -> Result<Vec<IpAddr>, Unresolved> {
        match host {
            Host::Ipv4(address) => Ok(vec![IpAddr::V4(*address)]),
            Host::Ipv6(address) => Ok(vec![IpAddr::V6(*address)]),
            Host::Domain(name) => {
                let found = self.resolver.resolve(relative(name)).await?;
                if found.is_empty() { Err(Unresolved) } else { Ok(found) }
            }
        }
    }

    /// What can be judged of a host that the proxy will look up.
    fn judge_for_proxy(&self, host: &Host<String>) -> Result<(), Outcome> {
        let address = match host {
            Host::Ipv4(address) => IpAddr::V4(*address),
            Host::Ipv6(address) => IpAddr::V6(*address),
            Host::Domain(name) => {
                let last = relative(name).rsplit('.').next().unwrap_or_default();
                if !last.eq_ignore_ascii_case("localhost") {
                    return Ok(());
                }
                IpAddr::from([127, 0, 0, 1])
            }
        };
        self.guard.judge(address).map_err(|refused| Outcome::Permanent(Reason::Refused(refused.to_string())))
    }
}

/// A name without the dot that makes it absolute: every name here is.
fn relative(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn no_proxy(why: &str) -> Outcome {
    Outcome::transient(Reason::Connect(format!("the proxy of WEBHOOKS_PROXY_URL: {why}")))
}

/// Happy eyeballs: the addresses one after another, both families by turns, each with a head start
/// over the next, until one connects.
async fn race(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(IpAddr::is_ipv6);
    let mut four = four.into_iter();
    let mut turns = six.into_iter().flat_map(|six| iter::once(six).chain(four.next())).collect::<Vec<_>>();
    turns.extend(four);
    let mut next = turns.into_iter().map(|address| SocketAddr::new(address, port));
    let mut under_way = FuturesUnordered::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match next.next() {
            Some(address) => under_way.push(TcpStream::connect(address)),
            None if under_way.is_empty() => return Err(failure),
            None => {}
        }
        select! {
            Some(ended) = under_way.next() => match ended {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            },
            () = sleep(HEAD_START), if next.len() > 0 => {}
        }
    }
}
