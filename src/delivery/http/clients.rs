//! The HTTP clients: two with a pool of kept connections (HTTP/2 where the receiver speaks it; HTTP/1.1 alone), and two
//! without.
//!
//! The clients with a pool give way to new ones from time to time, so that busy connections notice a
//! name that moves. What is under way on the old ones goes on; their kept connections end with it. The same
//! happens when kept connections hold too many descriptors: whoever has many hosts keeps none of them for
//! longer than anyone else, and connections that are in use are dialled again at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;
use reqwest::dns::Resolve;
use reqwest::redirect::Policy;
use rustls::ClientConfig;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::SetUpError;
use super::proxy::Proxy;
use super::reuse::Answered;
use crate::descriptors;
use crate::error_chain::innermost;

/// For one family's addresses together: several fit into an attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// An idle connection is kept as long as common load balancers keep theirs (60 s), less a margin.
const IDLE: Duration = Duration::from_secs(50);

/// Idle connections kept to one host. A busy host has as many requests under way as it needs and few of
/// them idle at a time; a host that is called in bursts dials what is beyond this anew.
const MAX_IDLE_PER_HOST: usize = 128;

/// No connection is older than this and a request, so that a name that moves is noticed.
const MAX_AGE: Duration = Duration::from_secs(300);

/// New connections between two looks at how many descriptors are open.
const LOOK: usize = 128;
/// Open descriptors beyond which kept connections are let go, if half of the limit is not less and at least half of
/// them are idle: 25 KB of memory each. Connections in use cannot be closed here, and have a bound of their own
/// (`descriptors::for_deliveries`).
const MAX_OPEN: u64 = 3_000;
/// Between two evictions: what is under way has to end before descriptors are free.
const EVICTION: Duration = Duration::from_secs(5);

/// HTTP/2: a response's headers; receivers of webhooks send a dozen lines.
pub(super) const MAX_HEADER_LIST: u32 = 16 * 1024;
/// HTTP/2: what a peer may send of one response before it is read, and of all together.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// HTTP/2: a connection with requests under way is asked for a sign of life so often, and given up if there
/// is none for as long. Both fit into an attempt of 4 s.
const PING: Duration = Duration::from_millis(1500);

/// Makes clients and hands them out.
pub(super) struct Clients {
    recipe: Recipe,
    pooled: Mutex<Pooled>,
    /// Dials for every request.
    fresh: Client,
    /// Dials for every request, without HTTP/2.
    fresh_http1: Client,
}

/// The client of the moment, and which of its connections have been of use.
#[derive(Clone)]
pub(super) struct Pooled {
    pub client: Client,
    /// Without HTTP/2: it costs less.
    pub http1: Client,
    pub answered: Arc<Answered>,
    born: Instant,
}

/// What every client is made of.
struct Recipe {
    tls: ClientConfig,
    proxy: Option<Proxy>,
    names: Arc<dyn Resolve>,
}

impl Clients {
    pub(super) fn new(
        tls: ClientConfig,
        proxy: Option<Proxy>,
        names: Arc<dyn Resolve>,
    ) -> Result<Self, SetUpError> {
        let recipe = Recipe { tls, proxy, names };
        let (pooled, fresh, fresh_http1) =
            (recipe.pooled()?, recipe.client(0, false)?, recipe.client(0, true)?);
        Ok(Self { recipe, pooled: Mutex::new(pooled), fresh, fresh_http1 })
    }

    /// The client with kept connections.
    pub(super) fn pooled(&self) -> Pooled {
        let mut pooled = self.pooled.lock().unwrap_or_else(PoisonError::into_inner);
        if pooled.born.elapsed() >= MAX_AGE {
            self.renew(&mut pooled);
        }
        pooled.clone()
    }

    /// A connection was new: looks at the descriptors now and then, and at how many are in use.
    pub(super) fn dialled(&self, pooled: &Pooled, in_use: impl FnOnce() -> usize) {
        if pooled.answered.connections().is_multiple_of(LOOK)
            && are_too_many(descriptors::open(), in_use(), descriptors::limit())
        {
            self.evict();
        }
    }

    /// Lets go of all kept connections.
    pub(super) fn evict(&self) {
        let mut pooled = self.pooled.lock().unwrap_or_else(PoisonError::into_inner);
        if pooled.born.elapsed() >= EVICTION {
            debug!("kept connections are let go: they hold too many descriptors");
            self.renew(&mut pooled);
        }
    }

    /// The client without, for HTTP/1.1 alone or for either.
    pub(super) fn fresh(&self, http1: bool) -> &Client {
        if http1 { &self.fresh_http1 } else { &self.fresh }
    }

    fn renew(&self, pooled: &mut Pooled) {
        match self.recipe.pooled() {
            Ok(made) => *pooled = made,
            // Its like was made before. The old one delivers as well, but for names that have moved.
            Err(error) => {
                warn!(%error, "kept connections cannot be renewed");
                pooled.born = Instant::now();
            }
        }
    }
}

/// Whether so many open descriptors, of which so many are in use, are reason enough to let kept connections go.
fn are_too_many(open: u64, in_use: usize, limit: u64) -> bool {
    let most = MAX_OPEN.min(limit / 2);
    let idle = open.saturating_sub(u64::try_from(in_use).unwrap_or(u64::MAX));
    open > most && idle > most / 2
}

impl Recipe {
    fn pooled(&self) -> Result<Pooled, SetUpError> {
        let client = self.client(MAX_IDLE_PER_HOST, false)?;
        let http1 = self.client(MAX_IDLE_PER_HOST, true)?;
        Ok(Pooled { client, http1, answered: Arc::default(), born: Instant::now() })
    }

    fn client(&self, idle: usize, http1: bool) -> Result<Client, SetUpError> {
        let unusable = |error: reqwest::Error| SetUpError::Client(innermost(&error).to_string());
        let mut tls = self.tls.clone();
        if http1 {
            tls.alpn_protocols.retain(|protocol| protocol != b"h2");
        }
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::clone(&self.names))
            .redirect(Policy::none())
            .referer(false)
            // Without it the environment's proxy variables count; before `proxy`, which it would undo.
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(MAX_HEADER_LIST)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING);
        if http1 {
            // Retries are for streams that HTTP/2 refuses, and cost a copy of every request.
            builder = builder.http1_only().retry(reqwest::retry::never());
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.for_client().map_err(unusable)?);
        }
        builder.build().map_err(unusable)
    }
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_connections_are_let_go_for_those_that_are_idle_and_not_for_those_in_use() {
        assert!(are_too_many(3_001, 0, 65_536) && !are_too_many(3_000, 0, 65_536));
        assert!(!are_too_many(4_000, 2_900, 65_536) && are_too_many(4_600, 3_000, 65_536));
        assert!(are_too_many(513, 100, 1024) && !are_too_many(700, 600, 1024));
    }
}
