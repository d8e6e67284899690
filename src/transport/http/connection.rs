//! One connection: opened, used for a request at a time or, by HTTP/2, for several.
//!
//! - An HTTP/1 connection has no task of its own. Whoever waits for something that comes of it works it
//!   meanwhile, which saves two switches between tasks a request; dropping the attempt drops it.
//! - An HTTP/2 connection has one, for as long as it has an owner. If an attempt on it went unanswered it
//!   gets no further ones: it may be dead without knowing.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::select;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::dial::Dialled;
use super::failure::{self, innermost};
use super::wire::{Attempt, Stale, Vitals, Wire};
use crate::policy::Outcome;

/// A response's headers, whatever they are; receivers of webhooks send a dozen lines.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEAD_HTTP2: u32 = 64 * 1024;
/// What an HTTP/2 peer may send of one response before it is read, and of all together.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A connection that is open, as far as is known.
pub(super) struct Connection {
    link: Link,
    vitals: Arc<Vitals>,
}

enum Link {
    Http1 {
        sender: http1::SendRequest<Full<Bytes>>,
        /// `None` once it has ended.
        works: Works,
    },
    Http2 {
        sender: http2::SendRequest<Full<Bytes>>,
        /// Ends the connection's tasks with its last owner.
        ends: Arc<DropGuard>,
    },
}

/// A connection with a response on it, until that is read.
pub(super) struct Used {
    connection: Connection,
    attempt: Attempt,
}

/// Why there is no response.
pub(super) enum Unanswered {
    /// The receiver has not seen the request.
    Unsent(hyper::Error),
    Failed(hyper::Error),
}

impl Connection {
    /// Speaks HTTP on what was dialled.
    pub(super) async fn open(dialled: Dialled) -> Result<Self, Outcome> {
        let vitals = Vitals::new();
        let io = TokioIo::new(Wire::new(dialled.stream, Arc::clone(&vitals)));
        let broken = |error: hyper::Error| Outcome::transient(failure::exchange(&error));
        let link = if dialled.http2 {
            let end = CancellationToken::new();
            let (sender, connection) = http2::Builder::new(Tied(end.clone()))
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(MAX_HEAD_HTTP2)
                .handshake(io)
                .await
                .map_err(broken)?;
            Tied(end.clone()).execute(drive(connection, Arc::clone(&vitals), end.clone()));
            Link::Http2 { sender, ends: Arc::new(end.drop_guard()) }
        } else {
            let (sender, connection) =
                http1::Builder::new().max_buf_size(MAX_HEAD).handshake(io).await.map_err(broken)?;
            Link::Http1 { sender, works: Some(Box::pin(connection)) }
        };
        Ok(Self { link, vitals })
    }

    /// Sends one request; `kept`: it is not the connection's first.
    pub(super) async fn send(
        mut self,
        request: Request<Full<Bytes>>,
        kept: bool,
    ) -> Result<(Response<Incoming>, Used), Unanswered> {
        let mut attempt = self.vitals.attempt(kept);
        let answer = match &mut self.link {
            Link::Http1 { sender, works } => {
                let ready = alongside(works, sender.ready()).await;
                ready.map_err(Unanswered::Unsent)?;
                let answer = sender.try_send_request(request);
                alongside(works, answer).await
            }
            Link::Http2 { sender, .. } => sender.try_send_request(request).await,
        };
        let response = answer.map_err(|error| sort(error, attempt.is_unwritten()))?;
        attempt.answered();
        Ok((response, Used { connection: self, attempt }))
    }

    /// The same connection for another attempt, if it can have several at a time.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.link {
            Link::Http1 { .. } => None,
            Link::Http2 { sender, ends } => Some(Self {
                link: Link::Http2 { sender: sender.clone(), ends: Arc::clone(ends) },
                vitals: Arc::clone(&self.vitals),
            }),
        }
    }

    /// Whether several attempts may use it at a time.
    pub(super) fn is_shared(&self) -> bool {
        match &self.link {
            Link::Http1 { .. } => false,
            Link::Http2 { .. } => true,
        }
    }

    /// Whether it is known not to be usable.
    pub(super) fn is_closed(&self) -> bool {
        !self.vitals.usable()
            || match &self.link {
                Link::Http1 { sender, works } => works.is_none() || sender.is_closed(),
                Link::Http2 { sender, .. } => sender.is_closed(),
            }
    }

    /// Whether it is not usable, by a look at what no one listens to while it is kept.
    pub(super) fn has_ended(&mut self) -> bool {
        if let Link::Http1 { works, .. } = &mut self.link {
            work(works, &mut Context::from_waker(Waker::noop()));
        }
        self.is_closed()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("vitals", &self.vitals).finish_non_exhaustive()
    }
}

impl Used {
    /// Waits for something that comes of the connection.
    pub(super) async fn alongside<F: Future>(&mut self, future: F) -> F::Output {
        match &mut self.connection.link {
            Link::Http1 { works, .. } => alongside(works, future).await,
            Link::Http2 { .. } => future.await,
        }
    }

    /// The attempt on it is over.
    pub(super) fn end(self) -> Connection {
        drop(self.attempt);
        self.connection
    }
}

type Works = Option<Pin<Box<http1::Connection<TokioIo<Wire>, Full<Bytes>>>>>;

/// Works a connection; lets go of it once it has ended, so that who waits for it hears of that.
fn work(works: &mut Works, cx: &mut Context<'_>) {
    // Whoever waits for a response hears of an error; no one else is concerned.
    if works.as_mut().is_some_and(|connection| connection.as_mut().poll(cx).is_ready()) {
        *works = None;
    }
}

/// Works a connection while waiting for something that comes of it.
async fn alongside<F: Future>(works: &mut Works, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        work(works, cx);
        future.as_mut().poll(cx)
    })
    .await
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
