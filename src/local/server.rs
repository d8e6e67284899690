//! The local queue's HTTP endpoint.
//!
//! One lock around the state machine, never held across an await. A long poll looks, and if it finds
//! nothing sleeps until something changes or a hidden message's time comes; it subscribes to changes
//! before it looks, so that it misses none. A client that hangs up while it polls is handed nothing.

mod actions;
mod convert;
mod store;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connections::{self, Progress};
use super::protocol::types::Parameters;
use super::protocol::{WireError, query, xml};
use crate::fifo::{Broker, Receive, Received};
use crate::visitors::Visitors;
use crate::wall;
use store::Store;

/// The account in the queue URLs and ARNs of the local queue.
pub const ACCOUNT: &str = "000000000000";

/// Room for a batch of 1 MiB whose JSON is all escapes, and for the query protocol's percent signs.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// What changes nothing. All else is taken by POST alone: a page in a browser sends a GET without a word of where it
/// comes from, as for an image.
const READING: [&str; 5] =
    ["GetQueueAttributes", "GetQueueUrl", "ListDeadLetterSourceQueues", "ListQueueTags", "ListQueues"];

/// A bound listener with its queues.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    endpoint: Endpoint,
    visitors: Visitors,
}

/// The queues behind the endpoint, shared with whoever runs it in the same process.
#[derive(Clone, Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

/// What the queues take for the time.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's wall clock.
    Wall,
    /// Tokio's, from this instant on: for tests, which pause and advance it.
    Since(Instant),
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    broker: Mutex<Broker>,
    store: Arc<Store>,
    tags: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    changed: Notify,
}

impl Server {
    /// Binds the endpoint.
    ///
    /// # Errors
    /// The system's, if the address cannot be bound.
    pub async fn bind(address: SocketAddr, broker: Broker) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let visitors = Visitors::new(listener.local_addr()?, &[]);
        Ok(Self { listener, endpoint: Endpoint::new(broker, Clock::Wall), visitors })
    }

    /// This server, known under these names too.
    ///
    /// # Errors
    /// The system's.
    pub fn known_as(mut self, hosts: &[String]) -> std::io::Result<Self> {
        self.visitors = Visitors::new(self.listener.local_addr()?, hosts);
        Ok(self)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The queues behind it.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// Serves until `shutdown`; polls under way are cut off.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(self, shutdown: CancellationToken) -> std::io::Result<()> {
        let router = Router::new().fallback(answer).with_state((self.endpoint, self.visitors));
        connections::serve(self.listener, router, shutdown).await;
        Ok(())
    }
}

impl Endpoint {
    /// These queues, without a socket.
    #[must_use]
    pub fn new(broker: Broker, clock: Clock) -> Self {
        let (broker, tags) = (Mutex::new(broker), Mutex::default());
        let store = Arc::default();
        Self { shared: Arc::new(Shared { clock, broker, store, tags, changed: Notify::new() }) }
    }

    /// Answers one request in the protocol in which it comes.
    pub async fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Response {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        #[allow(
            clippy::disallowed_methods,
            reason = "for logs of clients only; no test and no world depends on it"
        )]
        let request_id = uuid::Uuid::new_v4().to_string();
        if let Some(target) = headers.get("x-amz-target") {
            let action = target.to_str().ok().and_then(|target| target.strip_prefix("AmazonSQS."));
            let result = match action {
                Some(action) if !may_be_sent_by(method, action) => return by_post_alone(),
                Some(action) => self.call(action, Parameters::Json(body), host, uri.path()).await,
                None => Err(unknown(&String::from_utf8_lossy(target.as_bytes()))),
            };
            return json(result, &request_id);
        }
        let text = match *method {
            Method::GET => uri.query().unwrap_or_default().as_bytes(),
            _ => body,
        };
        let pairs: Vec<_> = url::form_urlencoded::parse(text).collect();
        let Some((_, action)) = pairs.iter().find(|(name, _)| name == "Action") else {
            if *method == Method::GET && text.is_empty() {
                return "hookferry's local queue: an SQS endpoint with FIFO queues\n".into_response();
            }
            let missing = WireError::new("MissingAction", "The request must contain the parameter Action.");
            return query_answer("", Err(missing), &request_id);
        };
        if !may_be_sent_by(method, action) {
            return by_post_alone();
        }
        let folded = query::fold(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        let result = self.call(action, Parameters::Query(folded), host, uri.path()).await;
        query_answer(action, result, &request_id)
    }

    /// Does something with the queues now, and wakes the polls that it may concern.
    pub fn with<T>(&self, act: impl FnOnce(&mut Broker, Duration) -> T) -> T {
        let result = self.look(act);
        self.shared.changed.notify_waiters();
        result
    }

    /// Receives, and waits no longer than that for the first message.
    pub async fn receive(
        &self,
        queue: &str,
        request: &Receive,
        wait: Option<Duration>,
    ) -> Result<Vec<Received>, crate::fifo::Error> {
        let wait = wait.unwrap_or_else(|| self.look(|broker, _| broker.default_wait(queue)));
        let deadline = Instant::now() + wait;
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (received, next, dead) = self.look(|broker, now| {
                let received = broker.receive(now, queue, request);
                let next = broker.next_change(queue).map(|at| at.saturating_sub(now));
                (received, next, broker.sources_of(queue).is_ok_and(|sources| !sources.is_empty()))
            });
            let received = received?;
            let remaining = deadline.saturating_duration_since(Instant::now());
            if !received.is_empty() || remaining.is_zero() {
                // A receive may have dead-lettered: whoever polls that queue has to look.
                self.shared.changed.notify_waiters();
                return Ok(received);
            }
            // A timeout of another queue shows only when that queue is looked at.
            let most = if dead { Duration::from_millis(500) } else { Duration::MAX };
            let pause = next.unwrap_or(Duration::MAX).min(remaining).min(most);
            tokio::select! {
                () = changed => {}
                // A millisecond on top: timers may fire at the start of theirs.
                () = tokio::time::sleep(pause.saturating_add(Duration::from_millis(1)).min(remaining)) => {}
            }
        }
    }

    fn look<T>(&self, act: impl FnOnce(&mut Broker, Duration) -> T) -> T {
        let mut broker = self.shared.broker.lock().unwrap_or_else(PoisonError::into_inner);
        // The wall clock is read here alone, under the lock: the broker's time never goes back
        // between two calls but by a step of the system's clock.
        let now = match self.shared.clock {
            Clock::Wall => wall::since_epoch(),
            Clock::Since(start) => start.elapsed(),
        };
        act(&mut broker, now)
    }

    fn tags(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, String>>> {
        self.shared.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    State((endpoint, visitors)): State<(Endpoint, Visitors)>,
    Extension(progress): Extension<Progress>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(foreign) = visitors.judge(&uri, &headers) {
        return (StatusCode::FORBIDDEN, format!("{foreign}\n")).into_response();
    }
    match progress.body(body, MAX_BODY).await {
        Ok(body) => endpoint.answer(&method, &uri, &headers, &body).await,
        Err(status) => status.into_response(),
    }
}

fn json(result: Result<serde_json::Value, WireError>, request_id: &str) -> Response {
    let (status, body, error) = match result {
        Ok(body) => (StatusCode::OK, body, None),
        Err(error) => (StatusCode::BAD_REQUEST, error.json(), Some(format!("{};Sender", error.code()))),
    };
    let mut response = (status, body.to_string()).into_response();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    };
    set("content-type", "application/x-amz-json-1.0");
    set("x-amzn-requestid", request_id);
    if let Some(error) = error {
        set("x-amzn-query-error", &error);
    }
    response
}

fn query_answer(action: &str, result: Result<serde_json::Value, WireError>, request_id: &str) -> Response {
    let (status, body) = match result {
        Ok(result) => (StatusCode::OK, xml::response(action, &result, request_id)),
        Err(error) => (StatusCode::BAD_REQUEST, xml::error(&error.code(), &error.message, request_id)),
    };
    (status, [(header::CONTENT_TYPE, "text/xml")], body).into_response()
}

fn may_be_sent_by(method: &Method, action: &str) -> bool {
    *method == Method::POST || READING.contains(&action)
}

fn by_post_alone() -> Response {
    let why = "this action may change something: send it by POST\n";
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], why).into_response()
}

fn unknown(action: &str) -> WireError {
    WireError::new(
        "UnknownOperationException",
        format!("The action {action} is not valid for this endpoint."),
    )
}

#[cfg(test)]
mod tests;
