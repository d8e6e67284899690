//! Connections that are used again, and the one place where a request is sent.
//!
//! - HTTP/1: an attempt has a connection to itself, and gives it back only once the whole response has
//!   been read. HTTP/2: attempts share one.
//! - A request goes out on another connection only if nothing of it was written on the first, or if the
//!   peer says itself that it did not look at it. Whatever else fails is the queue's to retry.
//! - An attempt that is dropped takes its HTTP/1 connection with it. An HTTP/2 connection on which one
//!   went unanswered gets no further ones: it may be dead without knowing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::select;
use tokio::time::sleep_until;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::dial::{Dialled, Dialler};
use super::failure::{self, innermost};
use super::request::{Form, Origin, Post};
use super::wire::{Attempt, Stale, Vitals, Wire};
use crate::policy::Outcome;

/// A response's headers, whatever they are; receivers of webhooks send a dozen lines.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEAD_HTTP2: u32 = 64 * 1024;
/// What an HTTP/2 peer may send of one response before it is read, and of all together.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Connections kept to one origin.
const MAX_KEPT_PER_ORIGIN: usize = 256;
/// Connections kept in all: as many as there are messages in flight by default.
const MAX_KEPT: usize = 2_000;

/// The connections.
#[derive(Debug)]
pub(super) struct Pool {
    dialler: Dialler,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    origins: HashMap<Origin, Vec<Connection>>,
    count: usize,
}

/// A connection that is open, as far as is known.
#[derive(Debug)]
pub(super) struct Connection {
    sender: Sender,
    vitals: Arc<Vitals>,
    /// Ends the connection's tasks with its last owner.
    ends: Arc<DropGuard>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A connection with a response on it, until that is read.
#[derive(Debug)]
pub(super) struct Used {
    connection: Connection,
    _attempt: Attempt,
}

/// Why there is no response.
enum Unanswered {
    /// The receiver has not seen the request.
    Unsent(hyper::Error),
    Failed(hyper::Error),
}

impl Pool {
    pub(super) fn new(dialler: Dialler) -> Self {
        Self { dialler, kept: Mutex::default() }
    }

    /// Sends a request on a kept connection or on a new one.
    pub(super) async fn send(&self, post: &Post) -> Result<(Response<Incoming>, Used), Outcome> {
        while let Some(connection) = self.take(&post.origin) {
            let request = self.request(post, &connection)?;
            match connection.send(request, true).await {
                Ok(answered) => return Ok(answered),
                // Ends: each such connection is closed and not among the kept ones any more.
                Err(Unanswered::Unsent(_)) => {}
                Err(Unanswered::Failed(error)) => return Err(Outcome::transient(failure::exchange(&error))),
            }
        }
        let connection = Connection::open(self.dialler.dial(&post.origin).await?).await?;
        let request = self.request(post, &connection)?;
        connection.send(request, false).await.map_err(|unanswered| {
            let (Unanswered::Unsent(error) | Unanswered::Failed(error)) = unanswered;
            Outcome::transient(failure::exchange(&error))
        })
    }

    fn request(&self, post: &Post, connection: &Connection) -> Result<Request<Full<Bytes>>, Outcome> {
        let form = match (&connection.sender, self.dialler.forwards(&post.origin)) {
            (Sender::Http2(_), _) => Form::Http2,
            (Sender::Http1(_), None) => Form::Origin,
            (Sender::Http1(_), Some(proxy)) => Form::Absolute(proxy.credentials.as_ref()),
        };
        post.request(form).map_err(Outcome::Permanent)
    }

    /// Keeps a connection for the next request, if it is worth it; `complete`: nothing of the response
    /// is left on it.
    pub(super) fn keep(&self, origin: &Origin, used: Used, complete: bool) {
        let Used { connection, _attempt } = used;
        let is_http1 = matches!(connection.sender, Sender::Http1(_));
        if connection.is_closed() || (is_http1 && !complete) {
            return;
        }
        let mut kept = self.kept();
        if kept.count >= MAX_KEPT || kept.origins.len() >= MAX_KEPT {
            kept.sweep();
        }
        if kept.count >= MAX_KEPT || kept.origins.len() >= MAX_KEPT {
            return;
        }
        let connections = match kept.origins.get_mut(origin) {
            Some(connections) => connections,
            None => kept.origins.entry(origin.clone()).or_default(),
        };
        // One HTTP/2 connection does for an origin; it is still there while it is in use.
        let has_room = is_http1 || !connections.iter().any(|other| !other.is_closed());
        if has_room && connections.len() < MAX_KEPT_PER_ORIGIN {
            connections.push(connection);
            kept.count += 1;
        }
    }

    /// The connection used last, since the others may then grow old and close; those that have closed
    /// are let go.
    fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut kept = self.kept();
        let connections = kept.origins.get_mut(origin)?;
        let before = connections.len();
        while connections.pop_if(|last| last.is_closed()).is_some() {}
        // One that was given back an instant ago may not be ready yet.
        let at = connections.iter().rposition(|connection| !connection.is_closed() && connection.is_ready());
        let found = at.map(|at| {
            let shared = connections.get(at).and_then(Connection::share);
            shared.unwrap_or_else(|| connections.remove(at))
        });
        let taken = before - connections.len();
        kept.count -= taken;
        found
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Lets go of what has closed by itself.
    fn sweep(&mut self) {
        self.origins.retain(|_, connections| {
            connections.retain(|connection| !connection.is_closed());
            !connections.is_empty()
        });
        self.count = self.origins.values().map(Vec::len).sum();
    }
}

impl Connection {
    /// Speaks HTTP on what was dialled.
    async fn open(dialled: Dialled) -> Result<Self, Outcome> {
        let vitals = Vitals::new();
        let end = CancellationToken::new();
        let io = TokioIo::new(Wire::new(dialled.stream, Arc::clone(&vitals)));
        let broken = |error: hyper::Error| Outcome::transient(failure::exchange(&error));
        let sender = if dialled.http2 {
            let (sender, connection) = http2::Builder::new(Tied(end.clone()))
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(MAX_HEAD_HTTP2)
                .handshake(io)
                .await
                .map_err(broken)?;
            Tied(end.clone()).execute(drive(connection, Arc::clone(&vitals), end.clone()));
            Sender::Http2(sender)
        } else {
            let (sender, connection) =
                http1::Builder::new().max_buf_size(MAX_HEAD).handshake(io).await.map_err(broken)?;
            Tied(end.clone()).execute(drive(connection, Arc::clone(&vitals), end.clone()));
            Sender::Http1(sender)
        };
        Ok(Self { sender, vitals, ends: Arc::new(end.drop_guard()) })
    }

    /// Sends one request; `kept`: it is not the connection's first.
    async fn send(
        mut self,
        request: Request<Full<Bytes>>,
        kept: bool,
    ) -> Result<(Response<Incoming>, Used), Unanswered> {
        let mut attempt = self.vitals.attempt(kept);
        let answer = match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        let response = answer.map_err(|error| sort(error, attempt.is_unwritten()))?;
        attempt.answered();
        Ok((response, Used { connection: self, _attempt: attempt }))
    }

    /// The same connection for another attempt, if it can have several at a time.
    fn share(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else { return None };
        Some(Self {
            sender: Sender::Http2(sender.clone()),
            vitals: Arc::clone(&self.vitals),
            ends: Arc::clone(&self.ends),
        })
    }

    fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }

    fn is_closed(&self) -> bool {
        !self.vitals.usable()
            || match &self.sender {
                Sender::Http1(sender) => sender.is_closed(),
                Sender::Http2(sender) => sender.is_closed(),
            }
    }
}

/// Tells an error before the receiver saw anything from any other. `unwritten`: the connection ended before
/// anything was written to it, whatever hyper had taken over by then.
fn sort(mut error: TrySendError<Request<Full<Bytes>>>, unwritten: bool) -> Unanswered {
    let unsent = unwritten || error.take_message().is_some();
    let error = error.into_error();
    let cause = innermost(&error);
    // A stream beyond a GOAWAY's last one, or refused: the peer has not looked at it (RFC 9113, 8.7).
    let nacked = cause.downcast_ref::<h2::Error>().is_some_and(|error| {
        error.is_remote()
            && (error.reason() == Some(h2::Reason::REFUSED_STREAM)
                || error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR))
    });
    if unsent || nacked || cause.is::<Stale>() {
        Unanswered::Unsent(error)
    } else {
        Unanswered::Failed(error)
    }
}

/// Works a connection until it ends or has been idle for too long.
async fn drive<C: Future>(connection: C, vitals: Arc<Vitals>, end: CancellationToken) {
    tokio::pin!(connection);
    loop {
        let until = vitals.idle_until();
        select! {
            // Whoever waits for a response hears of an error; no one else is concerned.
            _ = &mut connection => break,
            () = sleep_until(until) => if vitals.idle_until() <= until {
                break;
            },
        }
    }
    end.cancel();
}

/// Runs a connection's tasks for as long as the connection has an owner.
#[derive(Clone)]
struct Tied(CancellationToken);

impl<F> Executor<F> for Tied
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let end = self.0.clone();
        tokio::spawn(async move { end.run_until_cancelled_owned(task).await.map(drop) });
    }
}
