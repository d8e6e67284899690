//! Names to addresses.
//!
//! A customer's name is looked up as it stands and nowhere else: no search domain is appended to it,
//! or `http://intranet/` would reach the operator's own. `/etc/hosts` and the name servers of
//! `/etc/resolv.conf` are used. Look-ups wait in no thread, so names that never answer hold up nobody,
//! and they end with the attempt that asked.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::read_system_conf;

use super::SetUpError;

/// A name server that is silent for so long is asked again: several tries fit into an attempt.
const PATIENCE: Duration = Duration::from_secs(1);

/// An answer is used again for no longer than this: a receiver that moves is found again soon.
const MAX_TTL: Duration = Duration::from_secs(60);

/// That a name does not exist is believed for no longer than this.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// More addresses than this of one name are not looked at.
const MAX_ADDRESSES: usize = 16;

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
pub struct SystemResolver(TokioResolver);

impl SystemResolver {
    /// Reads the system's configuration. Without one the name server is looked for on this machine, as
    /// the C library does.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new() -> Result<Self, SetUpError> {
        let (config, options) = read_system_conf().unwrap_or_else(|_| {
            let here = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            (ResolverConfig::from_parts(None, Vec::new(), vec![here]), ResolverOpts::default())
        });
        Self::with(config, options)
    }

    fn with(config: ResolverConfig, mut options: ResolverOpts) -> Result<Self, SetUpError> {
        options.timeout = options.timeout.min(PATIENCE);
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.positive_max_ttl = Some(MAX_TTL);
        options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let built = builder.with_options(options).build();
        built.map(Self).map_err(|error| SetUpError::Resolver(error.to_string()))
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Lookup<'a> {
        Box::pin(async move {
            let mut name = Name::from_ascii(name).map_err(|_| Unresolved)?;
            // Absolute: nothing is appended.
            name.set_fqdn(true);
            let found = self.0.lookup_ip(name).await.map_err(|_| Unresolved)?;
            Ok(found.iter().take(MAX_ADDRESSES).collect())
        })
    }
}
