//! Which destinations leave attempts unanswered.
//!
//! A receiver that takes requests and does not answer before the deadline costs the most: a place for the
//! whole of the attempt, and whatever it sends meanwhile (endless headers, 1xx responses, HTTP/2 frames),
//! which no setting of the client bounds. So after a few such attempts in a row, for a minute:
//!
//! - no more than a few requests are under way to it, until it answers one;
//! - over TLS it is spoken to by HTTP/1.1: HTTP/2's informational responses are queued, and its frames cost more
//!   than their bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::request::Origin;

/// Attempts in a row: one or two happen to good receivers.
const IN_A_ROW: u32 = 3;
/// How long it counts after the last of them.
const MEMORY: Duration = Duration::from_secs(60);
/// Destinations remembered, a hundred bytes each. Past it all are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// The destinations whose last attempts went unanswered.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<HashMap<Arc<Origin>, Row>>);

#[derive(Clone, Copy, Debug)]
struct Row {
    attempts: u32,
    last: Instant,
}

/// An attempt under way. Dropped without [`Self::ended`], it went unanswered.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    unanswered: &'a Unanswered,
    origin: &'a Arc<Origin>,
    ended: bool,
}

impl Unanswered {
    /// Whether a destination has left a row of attempts unanswered lately.
    pub(super) fn is_mute(&self, origin: &Origin) -> bool {
        let rows = self.rows();
        rows.get(origin).is_some_and(|row| row.attempts >= IN_A_ROW && row.last.elapsed() < MEMORY)
    }

    /// An attempt begins.
    pub(super) fn watch<'a>(&'a self, origin: &'a Arc<Origin>) -> Watch<'a> {
        Watch { unanswered: self, origin, ended: false }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<Arc<Origin>, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch<'_> {
    /// The attempt came to something. If that was an answer, the row is over.
    pub(super) fn ended(mut self, answered: bool) {
        self.ended = true;
        if answered {
            self.unanswered.rows().remove(self.origin);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut rows = self.unanswered.rows();
        if rows.len() >= MAX_REMEMBERED {
            rows.clear();
        }
        let now = Instant::now();
        let row = rows.entry(Arc::clone(self.origin)).or_insert(Row { attempts: 0, last: now });
        *row = Row { attempts: row.attempts.saturating_add(1), last: now };
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::RequestTarget;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_row_of_unanswered_attempts_counts_for_a_minute_and_ends_with_an_answer() {
        let unanswered = Unanswered::default();
        let (one, other) =
            (RequestTarget::parse("https://a/").unwrap(), RequestTarget::parse("https://b/").unwrap());
        let fail = || drop(unanswered.watch(&one.origin));
        fail();
        fail();
        assert!(!unanswered.is_mute(&one.origin));
        unanswered.watch(&one.origin).ended(false);
        fail();
        assert!(unanswered.is_mute(&one.origin) && !unanswered.is_mute(&other.origin));
        tokio::time::advance(MEMORY).await;
        assert!(!unanswered.is_mute(&one.origin), "it is tried as any other again");
        fail();
        assert!(unanswered.is_mute(&one.origin), "and has not changed");
        unanswered.watch(&one.origin).ended(true);
        assert!(!unanswered.is_mute(&one.origin));
        fail();
        assert!(!unanswered.is_mute(&one.origin));
    }
}
