//! HTTP delivery: one POST, the whole response read and thrown away, no redirects, no cookies.
//!
//! The client is reqwest's. What is ours is around it:
//!
//! - `names`: a name leads to addresses that were checked, and reqwest dials exactly those. A literal
//!   address is never looked up and is checked before the request. No redirect is followed, so no other
//!   host is ever met;
//! - `clients`: how it is set up, and how long its connections are kept;
//! - `reuse`: a kept connection that ends before its answer is no failure of the receiver's. The request is
//!   sent once more, at once, on a connection of its own. What came to a new connection is never sent
//!   again: that is the queue's to do;
//! - `failure`: what an error comes to, without reqwest's own text, which holds the URL;
//! - `receivers::admission`: what a request needs before it is sent, the permit at its host among it;
//! - `receivers::unanswered`: destinations that leave attempts unanswered, which get fewer of them, and threads of their
//!   own (`bulkhead`); and those that have not shown that they answer quickly, which get others. HTTP/2 is offered to
//!   proven ones, and to those that refuse HTTP/1.1, of which few requests are under way; on those other threads as well, since
//!   a proven one may begin to flood. Bodies are read where their connections live.
//!
//! Deadlines are the caller's: it drops the future, and with it the connection or the stream.

mod clients;
mod failure;
mod names;
mod proxy;
mod redirect;
mod request;
mod reuse;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_LENGTH, DATE, LOCATION, RETRY_AFTER, TRANSFER_ENCODING};
use reqwest::{Client, Request, Response, StatusCode, Version};
use tokio::time::sleep;
use url::Host;

use super::retry_after_seconds;
use crate::bulkhead::{Bulkhead, Threads};
use crate::descriptors::sockets::Sockets;
use crate::egress::address_policy::AddressPolicy;
use crate::egress::checked::Checked;
use crate::egress::resolver::Resolve;
use crate::outcome::{Outcome, Reason};
use crate::plan::Delivery;
use crate::receivers::admission::{Admission, Ask, EVICTION_WAIT, Route};
use crate::receivers::host_limiter::HostLimiter;
use crate::receivers::unanswered::Standing;
use crate::tls::Authorities;
use crate::wall;
use clients::Clients;
pub(crate) use names::dialled;
pub use proxy::Proxy;
use request::Origin;
pub(crate) use request::RequestTarget;

/// At most this many bytes of a response body are read, so that the connection can be used again; past it the
/// connection is dropped instead. Receivers of webhooks answer with a line at most.
const MAX_RESPONSE_BODY: usize = 64 * 1024;
/// At most this many pieces of a body are read. Each wakes the attempt's task, whose thread others share, and a body of
/// 64 KB may come byte by byte.
const MAX_CHUNKS: usize = 256;
/// A response with more bytes of header names and values does not count as an answer of the destination: HTTP/1.1 lets
/// 400 KB pass, and whoever answers may have as many requests under way as there are connections.
const MAX_HEAD: usize = clients::MAX_HEADER_LIST as usize;

/// Bytes of the URLs remembered and of what is kept with them, 500 for a common one. Past it all are forgotten: they come
/// back with use.
const MAX_TARGET_BYTES: usize = 4 << 20;

/// The part of its timeout (one in so many) that an attempt waits for a permit, as a rule ([`Ask::wait`]).
const WAIT_DIVISOR: u32 = 8;
/// How deliveries go out.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which addresses may be dialled.
    pub policy: AddressPolicy,
    /// The forward proxy that everything goes through.
    pub proxy: Option<Proxy>,
    /// Certificate authorities that are trusted besides the system's.
    pub authorities: Authorities,
    /// Requests to one destination at a time; `None` is no bound.
    pub max_per_host: Option<usize>,
    /// How long an attempt waits for its turn where that bound is reached.
    pub turn_timeout: Duration,
}

/// Deliveries cannot be made at all.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// TLS cannot.
    #[error(transparent)]
    Tls(#[from] crate::tls::SetUpError),
    /// The client refuses its configuration.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

/// The HTTP transport.
#[derive(Debug)]
pub struct Http {
    proven: Sender,
    unproven: Sender,
    mute: Sender,
    checked: Checked,
    policy: AddressPolicy,
    proxied: bool,
    admission: Admission,
    targets: Targets,
}

/// Clients, and the threads that their connections live on; `None` is everyone's.
#[derive(Debug)]
struct Sender {
    clients: Clients,
    bulkhead: Option<Bulkhead>,
}

impl Http {
    /// Sets it up, with what looks names up.
    ///
    /// # Errors
    /// What is missing.
    pub fn with_resolver(settings: Settings, resolver: Arc<dyn Resolve>) -> Result<Self, SetUpError> {
        let Settings { policy, proxy, authorities, max_per_host, turn_timeout } = settings;
        let tls = crate::tls::configuration(&authorities)?;
        let checked = Checked::new(policy.clone(), Arc::clone(&resolver));
        let names: Arc<dyn reqwest::dns::Resolve> = match &proxy {
            None => Arc::new(names::Receivers(checked.clone())),
            Some(proxy) => Arc::new(names::ProxyAlone { proxy: proxy.clone(), resolver }),
        };
        let proxied = proxy.is_some();
        let sender = |threads: Option<Threads>| -> Result<Sender, SetUpError> {
            let clients = Clients::new(tls.clone(), proxy.clone(), Arc::clone(&names))?;
            Ok(Sender { clients, bulkhead: threads.map(Bulkhead::new) })
        };
        let (proven, unproven) = (sender(None)?, sender(Some(Threads::Unproven))?);
        let mute = sender(Some(Threads::Mute))?;
        let admission = Admission::new(HostLimiter::new(max_per_host, turn_timeout));
        let targets = Targets::default();
        Ok(Self { proven, unproven, mute, checked, policy, proxied, admission, targets })
    }

    /// The connections that deliveries may use at a time, for other transports to share.
    #[must_use]
    pub fn sockets(&self) -> Arc<Sockets> {
        Arc::clone(&self.admission.sockets)
    }

    /// Makes one attempt at `url`. Has no deadline of its own.
    pub async fn attempt(&self, url: &str, delivery: &Delivery, number: u32) -> Outcome {
        let target = match self.targets.find(url) {
            Ok(target) => target,
            Err(reason) => return Outcome::Permanent(reason),
        };
        if let Err(refused) = self.check(&target.origin) {
            return Outcome::Permanent(Reason::Refused(refused));
        }
        let was_known = target.has_refused_http1();
        let outcome = self.once(&target, delivery, number).await;
        let is_tls = matches!(&outcome, Outcome::Transient { reason: Reason::Tls(_), .. });
        if is_tls && !was_known && target.has_refused_http1() {
            // Nothing was sent: the handshake ended without a protocol.
            return Box::pin(self.once(&target, delivery, number)).await;
        }
        outcome
    }

    async fn once(&self, target: &RequestTarget, delivery: &Delivery, number: u32) -> Outcome {
        let (app_id, origin) = (&*delivery.app_id, &target.origin);
        let ask = Ask {
            app_id,
            origin,
            host: &origin.host,
            https: origin.https,
            refused_http1: target.has_refused_http1(),
            is_name: !self.proxied && matches!(origin.host, Host::Domain(_)),
            wait: delivery.timeout.map_or(Duration::MAX, |longest| longest / WAIT_DIVISOR),
        };
        let admitted = match self.admission.enter(&ask, || self.evict()).await {
            Ok(admitted) => admitted,
            Err(reason) => return Outcome::Deferred(reason),
        };
        let route = admitted.route;
        let watch = self.admission.unanswered.watch(app_id, origin);
        let sending = pin!(self.send(target, delivery, number, route));
        let mut sent = watch.observe(sending).await;
        if let Err(Outcome::Deferred(_)) = &sent {
            // There was no descriptor, and nothing was sent: kept connections give theirs up.
            self.evict();
            sleep(EVICTION_WAIT).await;
            sent = Box::pin(self.send(target, delivery, number, route)).await;
        }
        match sent {
            Ok(response) => {
                let is_large = is_large(&response);
                // A head whose body never comes is no answer.
                let outcome = self.sender(route).run(outcome(response, self.proxied)).await;
                if is_large {
                    // Nor is one with an oversized head, however quick.
                    drop(watch);
                    return outcome;
                }
                watch.ended(true);
                admitted.answered();
                outcome
            }
            Err(outcome) => {
                watch.ended(false);
                outcome
            }
        }
    }

    /// Has kept connections closed; their descriptors are free a moment later ([`EVICTION_WAIT`]).
    fn evict(&self) {
        for sender in [&self.proven, &self.unproven, &self.mute] {
            sender.clients.evict();
        }
    }

    /// What can be told of a host without looking it up.
    fn check(&self, origin: &Origin) -> Result<(), String> {
        if self.proxied {
            Proxy::check(&self.policy, &origin.host)
        } else {
            self.checked.check_literal(&origin.host).map_err(|refused| refused.to_string())
        }
    }

    /// What sends to such destinations. A proven one may flood from one answer to the next, which over HTTP/2 no other
    /// threads could take.
    fn sender(&self, route: Route) -> &Sender {
        match route.standing {
            Standing::Proven if route.http1 => &self.proven,
            Standing::Proven | Standing::Answers | Standing::Unknown => &self.unproven,
            Standing::Mute => &self.mute,
        }
    }

    /// Sends one request; once more if a kept connection ended before the answer.
    async fn send(
        &self,
        target: &RequestTarget,
        delivery: &Delivery,
        number: u32,
        route: Route,
    ) -> Result<Response, Outcome> {
        let http1 = route.http1;
        let post = || target.post(delivery, number).map_err(Outcome::Permanent);
        let sender = self.sender(route);
        let pooled = sender.clients.pooled();
        let client = if http1 { &pooled.http1 } else { &pooled.client };
        let error = match sender.execute(client, post()?).await {
            Ok(response) => {
                if pooled.answered.by(&response) {
                    sender.clients.dialled(&pooled, || self.admission.sockets.taken());
                }
                return Ok(response);
            }
            Err(error) => error,
        };
        if http1 && target.origin.https && failure::speaks_no_http1(&error) {
            target.refuses_http1();
        }
        if !failure::ended(&error) || !pooled.answered.before(&error) {
            return Err(failure::outcome(&error, self.proxied));
        }
        // Boxed: it is rare.
        let again = Box::pin(sender.execute(sender.clients.fresh(http1), post()?)).await;
        again.map_err(|error| failure::outcome(&error, self.proxied))
    }
}

impl Sender {
    async fn execute(&self, client: &Client, request: Request) -> reqwest::Result<Response> {
        if self.bulkhead.is_none() {
            return client.execute(request).await;
        }
        let client = client.clone();
        self.run(async move { client.execute(request).await }).await
    }

    /// Runs it where its connections live.
    async fn run<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        match &self.bulkhead {
            Some(bulkhead) => bulkhead.run(future).await,
            None => future.await,
        }
    }
}

/// URLs that were taken apart before, each of which is used over and over.
#[derive(Debug, Default)]
struct Targets(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    targets: HashMap<String, Arc<RequestTarget>>,
    /// Of all of them.
    bytes: usize,
}

impl Targets {
    fn find(&self, url: &str) -> Result<Arc<RequestTarget>, Reason> {
        if let Some(target) = self.known().targets.get(url) {
            return Ok(Arc::clone(target));
        }
        // Not under the lock: a long one takes its time.
        let target = Arc::new(RequestTarget::parse(url)?);
        let bytes = url.len() + target.weight();
        let mut known = self.known();
        if known.bytes + bytes > MAX_TARGET_BYTES {
            *known = Known::default();
        }
        if known.targets.insert(url.to_owned(), Arc::clone(&target)).is_none() {
            known.bytes += bytes;
        }
        Ok(target)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer's head is larger than any honest one.
fn is_large(response: &Response) -> bool {
    let bytes = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    bytes.sum::<usize>() > MAX_HEAD
}

/// What a response comes to, once its body was read; `proxied`: it may be a proxy's.
async fn outcome(response: Response, proxied: bool) -> Outcome {
    let status = response.status();
    if status.is_success() {
        // A success is one only when its body came through.
        return read(response).await.map_or_else(Outcome::transient, |()| Outcome::Delivered);
    }
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    // A date is what the receiver wrote, by its own clock, which the answer's date tells.
    let now = header(DATE).and_then(|date| httpdate::parse_http_date(date.trim()).ok());
    let retry_after = header(RETRY_AFTER).and_then(|value| retry_after(value, now.unwrap_or_else(wall::now)));
    // Through a tunnel the receiver answers.
    let by_proxy = proxied && response.url().scheme() == "http";
    let note = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED && by_proxy {
        Some("which the proxy of WEBHOOKS_PROXY_URL answers: check its user and password".to_owned())
    } else if status.is_redirection() {
        header(LOCATION).and_then(|to| redirect::note(response.url(), to))
    } else {
        None
    };
    // A failure stays the failure it is, whatever becomes of its body: that is read for the connection's sake.
    read(response).await.ok();
    if status == StatusCode::GONE {
        return Outcome::Permanent(Reason::Gone);
    }
    let status = status.as_u16();
    let reason = note.map_or(Reason::Status(status), |note| Reason::StatusNoted(status, note));
    Outcome::Transient { reason, retry_after }
}

/// Reads a body up to the caps; the connection of one that is longer, or comes in more pieces, is dropped, or its stream
/// reset.
async fn read(mut response: Response) -> Result<(), Reason> {
    let headers = response.headers();
    // Nothing but the connection's end says where it ends.
    let until_close = response.version() <= Version::HTTP_11
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING);
    let (mut length, mut chunks) = (0, 0);
    while length <= MAX_RESPONSE_BODY && chunks < MAX_CHUNKS {
        match response.chunk().await {
            Ok(Some(chunk)) => (length, chunks) = (length + chunk.len(), chunks + 1),
            Ok(None) => break,
            Err(error) if until_close && failure::without_goodbye(&error) => break,
            Err(error) => return Err(failure::broken(&error)),
        }
    }
    Ok(())
}

/// A `Retry-After` in either form: seconds, or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    retry_after_seconds(value).or_else(|| {
        let date = httpdate::parse_http_date(value.trim()).ok()?;
        Some(date.duration_since(now).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests;
