//! HTTP delivery: one POST, the whole response read and thrown away, no redirects, no cookies.
//!
//! Built on bare connections rather than on a ready-made client, because what has to hold here is decided
//! where a connection is made and where it is used again:
//!
//! - `dial` judges the very address that it dials; nothing is resolved in between. A kept connection
//!   belongs to one [`Http`] and so to one guard: another guard is another pool.
//! - `pool` uses a kept connection only while the peer has not closed it, and sends a request again only
//!   if not one byte of it was written or the peer says that it did not look at it.
//! - `connection` speaks HTTP/2 by hyper, which has a task and its buffers once a receiver, and `http1`
//!   HTTP/1.1, of which there is a connection for every attempt under way: hyper's own holds 18 to 27 KB
//!   each, and takes about 3 % more CPU a delivery. `response` is what reads it, by httparse.
//! - `wire` bounds what a peer may send without getting anywhere: headers, 1xx responses, frames.
//! - `slots` bounds the requests to one destination at a time.
//!
//! Deadlines are the caller's: it drops the future, and with it the connection.

mod connection;
mod dial;
mod failure;
mod http1;
mod pool;
mod proxy;
mod request;
mod response;
mod slots;
mod tls;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;

use crate::egress::address_policy::AddressPolicy;
use crate::egress::resolver::{Resolve, SystemResolver};
use crate::outcome::{Outcome, Reason};
use crate::plan::Delivery;
use connection::Answer;
pub use proxy::Proxy;
use request::{Place, Post};
pub use tls::Authorities;

/// As much of a response body is read, so that the connection can be used again; past it the
/// connection is dropped instead. Receivers of webhooks answer with a line at most.
const MAX_RESPONSE_BODY: usize = 64 * 1024;

/// URLs remembered; a few hundred bytes each. Past it all are forgotten: they come back with use.
const MAX_PLACES: usize = 10_000;

/// How deliveries go out.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which addresses may be dialled.
    pub guard: AddressPolicy,
    /// The forward proxy that everything goes through.
    pub proxy: Option<Proxy>,
    /// Certificate authorities that are trusted besides the system's.
    pub authorities: Authorities,
    /// Requests to one destination at a time; `None` is no bound.
    pub max_per_host: Option<usize>,
    /// How long an attempt waits for its turn where that bound is reached.
    pub patience: Duration,
}

/// Deliveries cannot be made at all.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The system has no certificates, and none were given.
    #[error("there is no certificate to trust: install the system's CA certificates or set WEBHOOKS_CA_FILE")]
    NoAuthority,
    /// TLS refuses its own configuration.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The system's resolver configuration cannot be used.
    #[error(transparent)]
    Resolver(#[from] crate::egress::resolver::SetUpError),
}

/// The HTTP transport.
#[derive(Debug)]
pub struct Http {
    pool: pool::Pool,
    slots: slots::Slots,
    places: Places,
}

impl Http {
    /// Sets it up with the system's resolver.
    ///
    /// # Errors
    /// What is missing.
    pub fn new(settings: Settings) -> Result<Self, SetUpError> {
        Self::with_resolver(settings, Arc::new(SystemResolver::new()?))
    }

    /// Sets it up with another resolver.
    ///
    /// # Errors
    /// What is missing.
    pub fn with_resolver(settings: Settings, resolver: Arc<dyn Resolve>) -> Result<Self, SetUpError> {
        let Settings { guard, proxy, authorities, max_per_host, patience } = settings;
        let tls = tls::configuration(&authorities)?;
        let dialler = dial::Dialler { guard, proxy, resolver, tls };
        let slots = slots::Slots::new(max_per_host, patience);
        Ok(Self { pool: pool::Pool::new(dialler), slots, places: Places::default() })
    }

    /// Makes one attempt at `url`. Has no deadline of its own.
    pub async fn attempt(&self, url: &str, delivery: &Delivery, number: u32) -> Outcome {
        let post = self.places.find(url).and_then(|place| Post::new(place, delivery, number));
        let mut post = match post {
            Ok(post) => post,
            Err(reason) => return Outcome::Permanent(reason),
        };
        let _slot = match self.slots.take(&post.place.origin).await {
            Ok(slot) => slot,
            Err(bound) => return Outcome::Deferred(Reason::Busy(bound)),
        };
        let (answer, connection) = match self.pool.send(&mut post).await {
            Ok(answered) => answered,
            Err(outcome) => return outcome,
        };
        self.pool.keep(&post.place.origin, connection, answer.reusable);
        judge(answer)
    }
}

/// URLs that were taken apart before, each of which is used over and over.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<String, Arc<Place>>>);

impl Places {
    fn find(&self, url: &str) -> Result<Arc<Place>, Reason> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known.get(url) {
            return Ok(Arc::clone(place));
        }
        let place = Arc::new(Place::of(url)?);
        if known.len() >= MAX_PLACES {
            known.clear();
        }
        known.insert(url.to_owned(), Arc::clone(&place));
        Ok(place)
    }
}

/// What a response comes to.
fn judge(answer: Answer) -> Outcome {
    let Answer { status, retry_after: asked, body, .. } = answer;
    match body {
        // A success is one only when its body came through; a failure stays the failure it is.
        Err(reason) if status.is_success() => Outcome::transient(reason),
        _ if status.is_success() => Outcome::Delivered,
        _ if status == StatusCode::GONE => Outcome::Permanent(Reason::Gone),
        _ => {
            // The wall clock: a date is what the receiver wrote.
            let retry_after = asked.and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
            Outcome::Transient { reason: Reason::Status(status.as_u16()), retry_after }
        }
    }
}

/// A `Retry-After` in either form: seconds, or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:48:37 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999999999999999999", now), Some(Duration::from_secs(u64::MAX)));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }
}
