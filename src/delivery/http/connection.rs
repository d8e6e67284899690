//! One connection: opened, used for a request at a time or, by HTTP/2, for several.
//!
//! - An HTTP/1 connection has no task of its own: see `http1`. Dropping the attempt drops it.
//! - An HTTP/2 connection has one, for as long as it has an owner. If an attempt on it went unanswered it
//!   gets no further ones: it may be dead without knowing.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::rt::Executor;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::select;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::MAX_RESPONSE_BODY;
use super::dial::Dialled;
use super::failure::{broken, innermost};
use super::http1::Http1;
use super::wire::{Attempt, Stale, Vitals, Wire};
use crate::outcome::{Outcome, Reason};

/// An HTTP/2 response's headers, whatever they are; receivers of webhooks send a dozen lines.
const MAX_HEAD: u32 = 64 * 1024;
/// What an HTTP/2 peer may send of one response before it is read, and of all together.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A connection that is open, as far as is known.
pub(super) struct Connection {
    link: Link,
    vitals: Arc<Vitals>,
}

enum Link {
    Http1(Http1),
    Http2 {
        sender: http2::SendRequest<Full<Bytes>>,
        /// Ends the connection's tasks with its last owner.
        ends: Arc<DropGuard>,
    },
}

/// A response, as far as anything follows from it.
pub(super) struct Answer {
    pub status: StatusCode,
    pub retry_after: Option<HeaderValue>,
    /// Whether the body came through, or as much of it as is read.
    pub body: Result<(), Reason>,
    /// Whether another request may follow on the connection.
    pub reusable: bool,
}

/// Why there is no response.
pub(super) enum Unanswered {
    /// The receiver has not seen the request.
    Unsent(Reason),
    Failed(Reason),
}

impl Connection {
    /// Speaks HTTP on what was dialled.
    pub(super) async fn open(dialled: Dialled) -> Result<Self, Outcome> {
        let vitals = Vitals::new();
        let wire = Wire::new(dialled.stream, Arc::clone(&vitals));
        let link = if dialled.http2 {
            let end = CancellationToken::new();
            let (sender, connection) = http2::Builder::new(Tied(end.clone()))
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(MAX_HEAD)
                .handshake(TokioIo::new(wire))
                .await
                .map_err(|error| Outcome::transient(broken(&error)))?;
            Tied(end.clone()).execute(drive(connection, Arc::clone(&vitals), end.clone()));
            Link::Http2 { sender, ends: Arc::new(end.drop_guard()) }
        } else {
            Link::Http1(Http1::new(wire))
        };
        Ok(Self { link, vitals })
    }

    /// Sends one request and reads the response; `kept`: it is not the connection's first.
    pub(super) async fn send(
        mut self,
        request: Request<Bytes>,
        kept: bool,
    ) -> Result<(Answer, Self), Unanswered> {
        let mut attempt = self.vitals.attempt(kept);
        let answer = match &mut self.link {
            Link::Http1(http1) => http1.exchange(request, &mut attempt).await?,
            Link::Http2 { sender, .. } => exchange(sender, request, &mut attempt).await?,
        };
        Ok((answer, self))
    }

    /// The same connection for another attempt, if it can have several at a time.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.link {
            Link::Http1(_) => None,
            Link::Http2 { sender, ends } => Some(Self {
                link: Link::Http2 { sender: sender.clone(), ends: Arc::clone(ends) },
                vitals: Arc::clone(&self.vitals),
            }),
        }
    }

    /// Whether several attempts may use it at a time.
    pub(super) fn is_shared(&self) -> bool {
        match &self.link {
            Link::Http1(_) => false,
            Link::Http2 { .. } => true,
        }
    }

    /// Whether it is known not to be usable.
    pub(super) fn is_closed(&self) -> bool {
        !self.vitals.usable()
            || match &self.link {
                Link::Http1(_) => false,
                Link::Http2 { sender, .. } => sender.is_closed(),
            }
    }

    /// Whether it is not usable, by a look at what no one listens to while it is kept.
    pub(super) fn has_ended(&mut self) -> bool {
        let ended = match &mut self.link {
            Link::Http1(http1) => http1.has_ended(),
            Link::Http2 { .. } => false,
        };
        ended || self.is_closed()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("vitals", &self.vitals).finish_non_exhaustive()
    }
}

/// Sends one request over HTTP/2 and reads the response.
async fn exchange(
    sender: &mut http2::SendRequest<Full<Bytes>>,
    request: Request<Bytes>,
    attempt: &mut Attempt,
) -> Result<Answer, Unanswered> {
    let answer = sender.try_send_request(request.map(Full::new)).await;
    let response = answer.map_err(|error| sort(error, attempt.is_unwritten()))?;
    attempt.answered();
    let (status, retry_after) = (response.status(), response.headers().get(RETRY_AFTER).cloned());
    let body = read(response.into_body()).await.map_err(|error| broken(&error));
    Ok(Answer { status, retry_after, body, reusable: true })
}

/// Reads a body up to the cap; the stream of a longer one is reset.
async fn read(mut body: Incoming) -> hyper::Result<()> {
    let mut length = 0;
    while length <= MAX_RESPONSE_BODY
        && let Some(frame) = body.frame().await
    {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(())
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
        Unanswered::Unsent(broken(&error))
    } else {
        Unanswered::Failed(broken(&error))
    }
}

/// Works a connection until it ends or has been idle for too long.
async fn drive<C: Future>(connection: C, vitals: Arc<Vitals>, end: CancellationToken) {
    tokio::pin!(connection);
    loop {
        let until = vitals.idle_until(Instant::now());
        select! {
            // Whoever waits for a response hears of an error; no one else is concerned.
            _ = &mut connection => break,
            () = sleep_until(until) => if vitals.idle_until(Instant::now()) <= until {
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
