//! Connections that are used again, and the one place where a request is sent.
//!
//! - HTTP/1: an attempt has a connection to itself, and gives it back only once the whole response has
//!   been read. HTTP/2: attempts share one.
//! - A request goes out on another connection only if nothing of it was written on the first, or if the
//!   peer says itself that it did not look at it. Whatever else fails is the queue's to retry.
//! - No one listens on a kept HTTP/1 connection: that it has closed shows when it is to be used, or to
//!   the sweep, which runs as long as there are kept ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use tokio::task::coop::unconstrained;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::connection::{Answer, Connection, Unanswered};
use super::dial::Dialler;
use super::request::{Form, Origin, Post};
use crate::outcome::Outcome;

/// Connections kept to one origin: as many as may be in use at a time by default.
const MAX_KEPT_PER_ORIGIN: usize = 1_000;
/// Connections kept in all: as many as there are messages in flight by default.
const MAX_KEPT: usize = 2_000;
/// How often kept connections are looked at. A peer that closes one waits for its socket so long.
const SWEEP: Duration = Duration::from_secs(5);

/// The connections.
#[derive(Debug)]
pub(super) struct Pool {
    dialler: Dialler,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    origins: HashMap<Arc<Origin>, Vec<Connection>>,
    count: usize,
    sweep: Option<AbortOnDropHandle<()>>,
}

impl Pool {
    pub(super) fn new(dialler: Dialler) -> Self {
        Self { dialler, kept: Arc::default() }
    }

    /// Sends a request on a kept connection or on a new one.
    pub(super) async fn send(&self, post: &mut Post<'_>) -> Result<(Answer, Connection), Outcome> {
        while let Some(connection) = self.take(&post.place.origin) {
            let request = self.request(post, &connection)?;
            match connection.send(request, true).await {
                Ok(answered) => return Ok(answered),
                // Ends: each such connection is closed and not among the kept ones any more.
                Err(Unanswered::Unsent(_)) => {}
                Err(Unanswered::Failed(reason)) => return Err(Outcome::transient(reason)),
            }
        }
        // Boxed: it is rare, and large where it speaks TLS.
        let connection = Box::pin(self.open(&post.place.origin)).await?;
        let request = self.request(post, &connection)?;
        connection.send(request, false).await.map_err(|unanswered| {
            let (Unanswered::Unsent(reason) | Unanswered::Failed(reason)) = unanswered;
            Outcome::transient(reason)
        })
    }

    async fn open(&self, origin: &Origin) -> Result<Connection, Outcome> {
        Connection::open(self.dialler.dial(origin).await?).await
    }

    fn request(&self, post: &mut Post<'_>, connection: &Connection) -> Result<Request<Bytes>, Outcome> {
        let form = match self.dialler.forwards(&post.place.origin) {
            _ if connection.is_shared() => Form::Http2,
            None => Form::Origin,
            Some(proxy) => Form::Absolute(proxy.credentials.as_ref()),
        };
        post.request(form).map_err(Outcome::Permanent)
    }

    /// Keeps a connection for the next request, if it is worth it; `reusable`: its last one left it fit
    /// for another.
    pub(super) fn keep(&self, origin: &Arc<Origin>, connection: Connection, reusable: bool) {
        if connection.is_closed() || !reusable {
            return;
        }
        let mut kept = self.kept();
        // Those that have closed make room with the next sweep.
        if kept.count >= MAX_KEPT || kept.origins.len() >= MAX_KEPT {
            return;
        }
        let connections = match kept.origins.get_mut(origin) {
            Some(connections) => connections,
            None => kept.origins.entry(Arc::clone(origin)).or_default(),
        };
        // One HTTP/2 connection does for an origin; it is still there while it is in use.
        let has_room = !connection.is_shared() || !connections.iter().any(|other| !other.is_closed());
        if has_room && connections.len() < MAX_KEPT_PER_ORIGIN {
            connections.push(connection);
            kept.count += 1;
        }
        if kept.sweep.is_none() {
            kept.sweep = Some(AbortOnDropHandle::new(tokio::spawn(sweep(Arc::downgrade(&self.kept)))));
        }
    }

    /// The connection used last, since the others may then grow old and close; those that have closed
    /// are let go.
    fn take(&self, origin: &Arc<Origin>) -> Option<Connection> {
        let mut kept = self.kept();
        let connections = kept.origins.get_mut(origin)?;
        let before = connections.len();
        while connections.pop_if(|last| last.is_closed()).is_some() {}
        let found = connections.last().and_then(Connection::share).or_else(|| connections.pop());
        let taken = before - connections.len();
        kept.count -= taken;
        found
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Lets go of what has closed by itself or been idle for too long.
    fn sweep(&mut self) {
        self.origins.retain(|_, connections| {
            connections.retain_mut(|connection| !connection.has_ended());
            !connections.is_empty()
        });
        self.count = self.origins.values().map(Vec::len).sum();
    }
}

/// Sweeps until nothing is kept or the pool is gone.
async fn sweep(kept: Weak<Mutex<Kept>>) {
    loop {
        sleep(SWEEP).await;
        let Some(kept) = kept.upgrade() else { return };
        // A look costs of what the task may do in one turn, and behind that everything seems to be open.
        let ends = unconstrained(async {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.sweep();
            let is_empty = kept.origins.is_empty();
            if is_empty {
                // The next one that is kept begins anew.
                kept.sweep = None;
            }
            is_empty
        });
        if ends.await {
            return;
        }
    }
}
