//! Names to addresses.
//!
//! A customer's name is looked up as it stands and nowhere else: no search domain is appended to it,
//! or `http://intranet/` would reach the operator's own. `/etc/hosts` and the name servers of
//! `/etc/resolv.conf` are used. Look-ups wait in no thread, so names that never answer hold up nobody,
//! and they end with the attempt that asked. Either family's addresses wait for the other's but a moment:
//! some name servers never answer for IPv6.
//!
//! What is kept of an answer is a few addresses (`Known`). hickory's own cache keeps whole messages, which may have
//! 64 KB and several times as much when they are parsed, and it is bounded by their number.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::read_system_conf;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

/// How long to wait for a name server before it is asked again: several tries fit into an attempt.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the addresses of one family wait for those of the other (RFC 8305's resolution delay; longer
/// than its 50 ms, because the latter are left out of the whole attempt).
const LATE: Duration = Duration::from_millis(300);

/// The longest that an answer is used again: a receiver that moves is found again soon.
const MAX_TTL: Duration = Duration::from_secs(60);

/// An answer is used again for at least this long, whatever it says of itself: whoever has a name server of their own could
/// have it asked, and its answer parsed, for every connection.
const MIN_TTL: Duration = Duration::from_secs(1);

/// The longest that it is believed that a name does not exist.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// More addresses than this of one name are not looked at.
const MAX_ADDRESSES: usize = 16;

/// Answers kept for either family, 600 bytes each at the most. Past it all are forgotten: they come back with use.
const MAX_KNOWN: usize = 5_000;

/// A look-up under way.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, Unresolved>> + Send + 'a>>;

/// Finds the addresses of a name.
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `name`, which is taken to be absolute.
    fn resolve<'a>(&'a self, name: &'a str) -> Lookup<'a>;
}

/// The name has no address, or no name server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host name could not be resolved")]
pub struct Unresolved;

/// The resolver of the system's configuration, read once.
#[derive(Debug)]
pub struct SystemResolver {
    both: Both,
    /// Where names are looked up, whoever asks. hickory's connections and tasks live where they were first needed, and on
    /// some threads a receiver may keep everything waiting.
    runtime: Handle,
}

/// One a family: their answers wait for each other differently than hickory has it.
#[derive(Clone, Debug)]
struct Both {
    ipv4: Family,
    ipv6: Family,
}

/// The addresses of one family.
#[derive(Clone, Debug)]
struct Family {
    resolver: TokioResolver,
    known: Arc<Mutex<HashMap<Name, Known>>>,
}

/// What is kept of an answer.
#[derive(Clone, Debug)]
struct Known {
    found: Result<Arc<[IpAddr]>, Unresolved>,
    until: Instant,
}

/// The system's resolver configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("host names cannot be looked up: {0}")]
pub struct SetUpError(String);

impl SystemResolver {
    /// Reads the system's configuration. Without one the name server is looked for on this machine, as
    /// the C library does.
    ///
    /// # Errors
    /// The configuration cannot be used.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new() -> Result<Self, SetUpError> {
        let (config, options) = read_system_conf().unwrap_or_else(|_| {
            let here = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            (ResolverConfig::from_parts(None, Vec::new(), vec![here]), ResolverOpts::default())
        });
        Self::with(&config, options)
    }

    fn with(config: &ResolverConfig, mut options: ResolverOpts) -> Result<Self, SetUpError> {
        options.timeout = options.timeout.min(LOOK_UP_TIMEOUT);
        options.positive_min_ttl = Some(MIN_TTL);
        options.positive_max_ttl = Some(MAX_TTL);
        options.cache_size = 0;
        let only = |family| {
            let mut options = options.clone();
            options.ip_strategy = family;
            let builder = TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default());
            let resolver = builder.with_options(options).build();
            let resolver = resolver.map_err(|error| SetUpError(error.to_string()))?;
            Ok(Family { resolver, known: Arc::default() })
        };
        let both = Both { ipv4: only(LookupIpStrategy::Ipv4Only)?, ipv6: only(LookupIpStrategy::Ipv6Only)? };
        Ok(Self { both, runtime: Handle::current() })
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Lookup<'a> {
        let (both, name) = (self.both.clone(), Name::from_ascii(name));
        Box::pin(async move {
            let mut name = name.map_err(|_| Unresolved)?;
            // Absolute: nothing is appended.
            name.set_fqdn(true);
            if let Some(known) = both.known(&name) {
                return known;
            }
            let found = AbortOnDropHandle::new(self.runtime.spawn(async move { both.look_up(name).await }));
            // Cancelled with its runtime.
            found.await.unwrap_or(Err(Unresolved))
        })
    }
}

impl Both {
    /// What is remembered of a name, if both families' addresses are.
    fn known(&self, name: &Name) -> Option<Result<Vec<IpAddr>, Unresolved>> {
        let (ipv4, ipv6) = (self.ipv4.known(name)?, self.ipv6.known(name)?);
        Some(match (ipv4, ipv6) {
            (Err(unresolved), Err(_)) => Err(unresolved),
            (ipv4, ipv6) => Ok(together(&ipv4.unwrap_or_default(), &ipv6.unwrap_or_default())),
        })
    }

    async fn look_up(&self, name: Name) -> Result<Vec<IpAddr>, Unresolved> {
        let ipv4 = pin!(self.ipv4.look_up(name.clone()));
        let ipv6 = pin!(self.ipv6.look_up(name));
        let (first, other) = select(ipv4, ipv6).await.factor_first();
        let (found, more) = match first {
            Ok(found) => (found, timeout(LATE, other).await.ok().and_then(Result::ok)),
            Err(_) => (other.await?, None),
        };
        Ok(together(&found, &more.unwrap_or_default()))
    }
}

impl Family {
    /// What is remembered of a name.
    fn known(&self, name: &Name) -> Option<Result<Arc<[IpAddr]>, Unresolved>> {
        let known = self.all_known();
        let Known { found, until } = known.get(name)?;
        (*until > Instant::now()).then(|| found.clone())
    }

    async fn look_up(&self, name: Name) -> Result<Arc<[IpAddr]>, Unresolved> {
        if let Some(known) = self.known(&name) {
            return known;
        }
        let (found, ttl) = match self.resolver.lookup_ip(name.clone()).await {
            Ok(found) => {
                let ttl = Instant::from_std(found.valid_until()).saturating_duration_since(Instant::now());
                (Ok(found.iter().take(MAX_ADDRESSES).collect()), ttl.clamp(MIN_TTL, MAX_TTL))
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let ttl = Duration::from_secs(none.negative_ttl.unwrap_or_default().into());
                (Err(Unresolved), ttl.clamp(MIN_TTL, MAX_NEGATIVE_TTL))
            }
            // The name server may be back in a moment.
            Err(_) => return Err(Unresolved),
        };
        let mut known = self.all_known();
        if known.len() >= MAX_KNOWN && !known.contains_key(&name) {
            known.clear();
        }
        known.insert(name, Known { found: found.clone(), until: Instant::now() + ttl });
        found
    }

    fn all_known(&self) -> MutexGuard<'_, HashMap<Name, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Either family's addresses, the first ones first.
fn together(first: &[IpAddr], other: &[IpAddr]) -> Vec<IpAddr> {
    first.iter().chain(other).take(MAX_ADDRESSES).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::config::{ConnectionConfig, ProtocolConfig};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, UdpSocket};

    /// A name server of IPv4 addresses, by which every name that it was asked for is kept. It is silent
    /// when it is asked for IPv6 of a name that begins with "quiet".
    async fn name_server(names: &'static [(&'static str, [u8; 4])]) -> (u16, Arc<Mutex<Vec<String>>>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&asked);
        let names: HashMap<_, _> = names.iter().copied().collect();
        tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let (_, from) = socket.recv_from(&mut query).await.unwrap();
                let (mut name, mut at) = (String::new(), 12);
                while query[at] != 0 {
                    let end = at + 1 + usize::from(query[at]);
                    name.push_str(std::str::from_utf8(&query[at + 1..end]).unwrap());
                    name.push('.');
                    at = end;
                }
                let is_a = query[at + 2] == 1;
                let found = names.get(name.to_lowercase().as_str()).filter(|_| is_a);
                kept.lock().unwrap().push(name.to_lowercase());
                if name.starts_with("quiet") && !is_a {
                    continue;
                }
                let mut answer = query[..at + 5].to_vec();
                let code = if names.contains_key(name.to_lowercase().as_str()) { 0 } else { 3 };
                answer[2..4].copy_from_slice(&[0x81, 0x80 | code]);
                answer[6..12].copy_from_slice(&[0, u8::from(found.is_some()), 0, 0, 0, 0]);
                if let Some(address) = found {
                    // The name of the question, A, IN, no time to live, four bytes.
                    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                    answer.extend_from_slice(address);
                }
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        (port, asked)
    }

    fn resolver(port: u16) -> SystemResolver {
        resolver_over(ProtocolConfig::Udp, port)
    }

    fn resolver_over(protocol: ProtocolConfig, port: u16) -> SystemResolver {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = port;
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
        let search = vec![Name::from_ascii("corp.test.").unwrap()];
        let config = ResolverConfig::from_parts(search.first().cloned(), search, vec![server]);
        let mut options = ResolverOpts::default();
        options.ndots = 5;
        SystemResolver::with(&config, options).unwrap()
    }

    #[tokio::test]
    async fn no_search_domain_is_appended_to_a_name() {
        let (port, asked) =
            name_server(&[("intranet.corp.test.", [10, 0, 0, 1]), ("receiver.test.", [1, 2, 3, 4])]).await;
        let resolver = resolver(port);
        assert_eq!(resolver.resolve("intranet").await, Err(Unresolved));
        assert_eq!(resolver.resolve("receiver.test").await, Ok(vec![[1, 2, 3, 4].into()]));
        assert_eq!(resolver.resolve("intranet.corp.test").await, Ok(vec![[10, 0, 0, 1].into()]));
        let mut asked = asked.lock().unwrap().clone();
        asked.sort_unstable();
        asked.dedup();
        assert_eq!(asked, ["intranet.", "intranet.corp.test.", "receiver.test."]);
    }

    #[tokio::test]
    async fn an_answer_without_time_to_live_is_used_again_for_a_moment() {
        let (port, asked) = name_server(&[("receiver.test.", [1, 2, 3, 4])]).await;
        let resolver = resolver(port);
        let count = || asked.lock().unwrap().len();
        for _ in 0..3 {
            assert_eq!(resolver.resolve("receiver.test").await, Ok(vec![[1, 2, 3, 4].into()]));
            assert_eq!(resolver.resolve("none.test").await, Err(Unresolved));
        }
        assert_eq!(count(), 4, "once for either family of each");
        tokio::time::sleep(MIN_TTL).await;
        resolver.resolve("receiver.test").await.unwrap();
        assert!(count() > 4);
    }

    /// A name server over TCP that has so many addresses of every name, and counts what it was asked.
    async fn name_server_with(addresses: u16) -> (u16, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; usize::from(length)];
                        stream.read_exact(&mut query).await.unwrap();
                        counted.fetch_add(1, Ordering::Relaxed);
                        let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap();
                        let count = if query[end + 2] == 1 { addresses } else { 0 };
                        let mut answer = query[..end + 5].to_vec();
                        answer[2..4].copy_from_slice(&[0x81, 0x80]);
                        answer[6..8].copy_from_slice(&count.to_be_bytes());
                        answer[8..12].fill(0);
                        for n in 0..count {
                            // The name of the question, A, IN, a minute to live, four bytes.
                            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 1]);
                            answer.extend_from_slice(&n.to_be_bytes());
                        }
                        stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                        stream.write_all(&answer).await.unwrap();
                    }
                });
            }
        });
        (port, asked)
    }

    #[tokio::test]
    async fn of_an_answer_with_thousands_of_addresses_few_are_kept() {
        let (port, asked) = name_server_with(4_000).await;
        let resolver = resolver_over(ProtocolConfig::Tcp, port);
        for _ in 0..2 {
            assert_eq!(resolver.resolve("receiver.test").await.unwrap().len(), MAX_ADDRESSES);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "once for either family");
        let known = resolver.both.ipv4.known(&Name::from_ascii("receiver.test.").unwrap());
        assert_eq!(known.unwrap().unwrap().len(), MAX_ADDRESSES);
    }

    #[tokio::test]
    async fn names_are_remembered_up_to_a_bound() {
        let (port, _) = name_server(&[]).await;
        let family = resolver(port).both.ipv4;
        for n in 0..MAX_KNOWN {
            let known = Known { found: Err(Unresolved), until: Instant::now() };
            family.all_known().insert(Name::from_ascii(format!("h{n}.test.")).unwrap(), known);
        }
        assert_eq!(family.look_up(Name::from_ascii("one.test.").unwrap()).await, Err(Unresolved));
        assert_eq!(family.all_known().len(), 1);
    }

    #[tokio::test]
    async fn addresses_of_one_family_do_not_wait_for_a_name_server_that_is_silent_about_the_other() {
        let (port, asked) = name_server(&[("quiet.test.", [1, 2, 3, 4])]).await;
        assert_eq!(resolver(port).resolve("quiet.test").await, Ok(vec![[1, 2, 3, 4].into()]));
        assert_eq!(asked.lock().unwrap().len(), 2, "once for each family, and not again");
    }

    #[tokio::test]
    async fn the_systems_own_configuration_finds_localhost() {
        let resolver = SystemResolver::new().unwrap();
        assert!(resolver.resolve("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
        assert_eq!(resolver.resolve("a name that is none").await, Err(Unresolved));
    }
}
