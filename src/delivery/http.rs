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
//! - `receivers::host_limiter`: the bound on requests to one destination at a time;
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
use tokio::time::{Instant, sleep};
use url::Host;

use super::retry_after_seconds;
use crate::bulkhead::{Bulkhead, Threads};
use crate::descriptors;
use crate::descriptors::sockets::{Purpose, Socket, Sockets};
use crate::egress::address_policy::AddressPolicy;
use crate::egress::checked::Checked;
use crate::egress::resolver::Resolve;
use crate::outcome::{Outcome, Reason};
use crate::plan::Delivery;
use crate::receivers::host_limiter::{HostLimiter, HostPermit};
use crate::receivers::unanswered::{Standing, Unanswered};
use crate::tls::Authorities;
use crate::wall;
use clients::Clients;
pub(crate) use names::dialled;
pub use proxy::Proxy;
use request::Origin;
pub(crate) use request::RequestTarget;

/// How long to wait after evicting kept connections before their descriptors are taken: the pool closes them on tasks of its
/// own.
const EVICTION_WAIT: Duration = Duration::from_millis(20);

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

/// Requests under way to destinations without a recent answer, at all of them together. A response's head takes up to 900 KB
/// of memory until it is whole: 400 KB that hyper lets pass, in a buffer that grows by doubling. Three in four of these may go to
/// destinations that are mute, or of apps that no destination answers, which is 65 MB. They are shared among apps, as
/// descriptors are.
const MAX_WITHOUT_ANSWER: usize = 96;
/// Of these, so many are left to apps that hold none.
const FIRSTS_WITHOUT_ANSWER: usize = 6;
/// Requests over HTTP/2 to destinations that are not proven, at all of them together: those that speak nothing else. Until its
/// answer such a destination may send informational responses without end, and h2 keeps all of them.
const MAX_UNPROVEN_HTTP2: usize = 16;
/// Of these, how many are left to apps that hold none: eight whose receivers take seconds would hold all of them.
const FIRSTS_UNPROVEN_HTTP2: usize = 4;
/// The part of its timeout (one in so many) that an attempt waits for a permit at its host, and for a place among these.
/// If it waited for all of it, it would end as a timeout of a destination that got no request.
const WAIT_DIVISOR: u32 = 8;
/// How long a request waits for a free place among these, at the longest. No semaphore wakes it, since what is free to it depends on what
/// other apps hold.
const ROOM_WAIT: Duration = Duration::from_millis(500);
/// How often it looks.
const ROOM_POLL: Duration = Duration::from_millis(100);

/// Descriptors that a look-up may hold: one for either family's addresses, at two name servers at once.
const LOOK_UP: usize = 4;

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
    limiter: HostLimiter,
    unanswered: Unanswered,
    /// Requests to destinations without a recent answer.
    without_answer: Sockets,
    /// Requests over HTTP/2 to destinations that are not proven.
    unproven_http2: Sockets,
    /// Connections in use, those to Lambda among them.
    sockets: Arc<Sockets>,
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
        let limiter = HostLimiter::new(max_per_host, turn_timeout);
        let (unanswered, targets) = (Unanswered::default(), Targets::default());
        let sockets = Arc::new(Sockets::new(descriptors::for_deliveries(descriptors::limit())));
        let without_answer = Sockets::costly(MAX_WITHOUT_ANSWER, FIRSTS_WITHOUT_ANSWER);
        let unproven_http2 = Sockets::costly(MAX_UNPROVEN_HTTP2, FIRSTS_UNPROVEN_HTTP2);
        Ok(Self {
            proven,
            unproven,
            mute,
            checked,
            policy,
            proxied,
            limiter,
            unanswered,
            without_answer,
            unproven_http2,
            sockets,
            targets,
        })
    }

    /// The connections that deliveries may use at a time, for other transports to share.
    #[must_use]
    pub fn sockets(&self) -> Arc<Sockets> {
        Arc::clone(&self.sockets)
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
        let standing = self.unanswered.standing(&delivery.app_id, &target.origin);
        let app_id = &*delivery.app_id;
        let last_took = || self.unanswered.last_took(app_id, &target.origin);
        let wait = delivery.timeout.map_or(Duration::MAX, |longest| longest / WAIT_DIVISOR);
        let permit = match self.limiter.acquire(app_id, &target.origin, standing, last_took, wait).await {
            Ok(permit) => permit,
            Err(bound) => return Outcome::Deferred(Reason::Busy(bound)),
        };
        let is_crowded = permit.as_ref().is_some_and(HostPermit::is_crowded);
        let http1 = speaks_http1_alone(target, standing, is_crowded);
        let room = match self.room(app_id, &target.origin, (standing, http1), wait).await {
            Ok(room) => room,
            Err(bound) => return Outcome::Deferred(Reason::UnprovenBusy(bound)),
        };
        // What is kept gives its own up, if there are none.
        let Some(sockets) = self.connections(app_id, &target.origin, standing).await else {
            return Outcome::Deferred(Reason::NoDescriptor);
        };
        let watch = self.unanswered.watch(app_id, &target.origin);
        let sending = pin!(self.send(target, delivery, number, (standing, http1)));
        let mut sent = watch.observe(sending).await;
        if let Err(Outcome::Deferred(_)) = &sent {
            // There was no descriptor, and nothing was sent: kept connections give theirs up.
            self.evict().await;
            sent = Box::pin(self.send(target, delivery, number, (standing, http1))).await;
        }
        match sent {
            Ok(response) => {
                let is_large = is_large(&response);
                // A head whose body never comes is no answer.
                let sender = self.sender(standing, http1);
                let outcome = sender.run(outcome(response, self.proxied)).await;
                if is_large {
                    // Nor is one with an oversized head, however quick.
                    drop(watch);
                    return outcome;
                }
                watch.ended(true);
                sockets.iter().chain(&room).for_each(Socket::answered);
                if let Some(permit) = &permit {
                    permit.answered();
                }
                outcome
            }
            Err(outcome) => {
                watch.ended(false);
                outcome
            }
        }
    }

    /// Leave for one request to a destination without a recent answer, or over HTTP/2 to one that is not proven; the
    /// error is the bound. Nobody waits for a destination that is mute.
    async fn room(
        &self,
        app_id: &str,
        origin: &Origin,
        (standing, http1): (Standing, bool),
        wait: Duration,
    ) -> Result<Option<Socket>, usize> {
        let rooms = match standing {
            Standing::Proven => return Ok(None),
            // It has only been quiet.
            _ if !http1 && self.unanswered.was_proven(app_id, origin) => return Ok(None),
            _ if !http1 => &self.unproven_http2,
            Standing::Answers => return Ok(None),
            Standing::Unknown | Standing::Mute => &self.without_answer,
        };
        // Answers of destinations that need no leave here are known from their connections.
        if self.sockets.app_answers(app_id) {
            rooms.app_answered(app_id);
        }
        // One webhook that answers says nothing of those that do not.
        let is_doubtful = match standing {
            Standing::Proven | Standing::Answers => false,
            Standing::Unknown => self.unanswered.has_left_some(app_id),
            Standing::Mute => true,
        };
        let purpose = if is_doubtful { Purpose::Doubtful } else { Purpose::Any };
        let asked = Instant::now();
        loop {
            if let Some(room) = rooms.take(app_id, origin, purpose) {
                return Ok(Some(room));
            }
            let left = ROOM_WAIT.min(wait).saturating_sub(asked.elapsed());
            if standing == Standing::Mute || left.is_zero() {
                return Err(rooms.most());
            }
            sleep(ROOM_POLL.min(left)).await;
        }
    }

    /// Leave for one connection, and for the look-up before it where that may go unanswered; waits a moment where
    /// there is none, and evicts kept ones where descriptors are few and it is not the app that has as many as it may.
    async fn connections(&self, app_id: &str, origin: &Origin, standing: Standing) -> Option<Vec<Socket>> {
        let looks_up = !standing.answers() && !self.proxied && matches!(origin.host, Host::Domain(_));
        let wanted = if looks_up { LOOK_UP } else { 1 };
        let purpose = if standing == Standing::Proven { Purpose::Quick } else { Purpose::Any };
        let one = |_| self.sockets.take(app_id, &origin.host, purpose);
        let take = || (0..wanted).map(one).collect::<Option<Vec<_>>>();
        let taken = take();
        if taken.is_some() {
            return taken;
        }
        // Those that are kept are none of these, and may be few of the descriptors.
        if self.sockets.taken() + wanted > self.sockets.most() && descriptors::are_few() {
            self.evict().await;
        } else {
            sleep(EVICTION_WAIT).await;
        }
        take()
    }

    /// Has kept connections closed, and waits until their descriptors are free.
    async fn evict(&self) {
        for sender in [&self.proven, &self.unproven, &self.mute] {
            sender.clients.evict();
        }
        sleep(EVICTION_WAIT).await;
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
    fn sender(&self, standing: Standing, http1: bool) -> &Sender {
        match standing {
            Standing::Proven if http1 => &self.proven,
            Standing::Proven | Standing::Answers | Standing::Unknown => &self.unproven,
            Standing::Mute => &self.mute,
        }
    }

    /// Sends one request; once more if a kept connection ended before the answer. `http1`: without HTTP/2.
    async fn send(
        &self,
        target: &RequestTarget,
        delivery: &Delivery,
        number: u32,
        (standing, http1): (Standing, bool),
    ) -> Result<Response, Outcome> {
        let post = || target.post(delivery, number).map_err(Outcome::Permanent);
        let sender = self.sender(standing, http1);
        let pooled = sender.clients.pooled();
        let client = if http1 { &pooled.http1 } else { &pooled.client };
        let error = match sender.execute(client, post()?).await {
            Ok(response) => {
                if pooled.answered.by(&response) {
                    sender.clients.dialled(&pooled, || self.sockets.taken());
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

/// Whether a destination is not offered HTTP/2; `is_crowded`: many requests to it are under way. Without TLS there is no
/// HTTP/2 to be agreed on.
fn speaks_http1_alone(target: &RequestTarget, standing: Standing, is_crowded: bool) -> bool {
    let offers_http2 = standing == Standing::Proven && !is_crowded || target.has_refused_http1();
    !(target.origin.https && offers_http2)
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
