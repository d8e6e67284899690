//! Which destinations have answered lately, and which leave attempts unanswered.
//!
//! A receiver that takes requests and does not answer before the deadline costs the most: a place for the
//! whole of the attempt, and whatever it sends meanwhile (endless headers, 1xx responses, HTTP/2 frames),
//! which no setting of the client bounds. So after two such attempts in a row, until it answers, it is sent to from
//! threads of its own (`bulkhead`); and after a few, for a minute:
//!
//! - no more than a few requests are under way to it, until it answers one;
//! - over TLS it is spoken to by HTTP/1.1: HTTP/2's informational responses are queued, and its frames cost more
//!   than their bytes.
//!
//! One that has answered within a minute is trusted with more requests at once than one of which nothing is known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::request::Origin;

/// Attempts in a row: one or two happen to good receivers.
const IN_A_ROW: u32 = 3;
/// How long it counts after the last of them.
const MEMORY: Duration = Duration::from_secs(60);
/// Attempts in a row after which a destination has threads of its own, and for how long after the last of them: longer
/// than most backoffs, or whoever floods would be back among the others with each retry.
const APART: u32 = 2;
const APART_MEMORY: Duration = Duration::from_secs(600);
/// An error that comes within it has cost nobody anything.
const SOON: Duration = Duration::from_secs(1);
/// Destinations remembered, a hundred bytes each. Past it all are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// The destinations that were attempted lately.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<HashMap<Arc<Origin>, Row>>);

#[derive(Clone, Copy, Debug)]
struct Row {
    /// Unanswered ones since the last answer.
    attempts: u32,
    last: Instant,
}

/// What is known of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its last attempt was answered.
    Answers,
    /// Nothing, or too little.
    Unknown,
    /// It has left a row of attempts unanswered.
    Mute,
}

/// An attempt under way. Dropped without [`Self::ended`], it went unanswered.
#[derive(Debug)]
pub(super) struct AttemptWatch<'a> {
    unanswered: &'a Unanswered,
    origin: &'a Arc<Origin>,
    begun: Instant,
    ended: bool,
}

impl Unanswered {
    /// What is known of a destination.
    pub(super) fn standing(&self, origin: &Origin) -> Standing {
        match self.rows().get(origin) {
            Some(row) if row.last.elapsed() >= MEMORY => Standing::Unknown,
            Some(row) if row.attempts >= IN_A_ROW => Standing::Mute,
            Some(Row { attempts: 0, .. }) => Standing::Answers,
            Some(_) | None => Standing::Unknown,
        }
    }

    /// Whether it is sent to from threads of its own.
    pub(super) fn is_apart(&self, origin: &Origin) -> bool {
        self.rows().get(origin).is_some_and(|row| row.attempts >= APART && row.last.elapsed() < APART_MEMORY)
    }

    /// An attempt begins.
    pub(super) fn watch<'a>(&'a self, origin: &'a Arc<Origin>) -> AttemptWatch<'a> {
        AttemptWatch { unanswered: self, origin, begun: Instant::now(), ended: false }
    }

    fn note(&self, origin: &Arc<Origin>, attempts: impl FnOnce(u32) -> u32) {
        let (mut rows, last) = (self.rows(), Instant::now());
        if let Some(row) = rows.get_mut(origin) {
            *row = Row { attempts: attempts(row.attempts), last };
            return;
        }
        if rows.len() >= MAX_REMEMBERED {
            rows.clear();
        }
        rows.insert(Arc::clone(origin), Row { attempts: attempts(0), last });
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<Arc<Origin>, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AttemptWatch<'_> {
    /// The attempt came to something. If that was an answer, the row is over. An error that took its time is no better
    /// than none: who floods may end its connection before the deadline.
    pub(super) fn ended(mut self, answered: bool) {
        self.ended = answered || self.begun.elapsed() < SOON;
        if answered {
            self.unanswered.note(self.origin, |_| 0);
        }
    }
}

impl Drop for AttemptWatch<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.unanswered.note(self.origin, |attempts| attempts.saturating_add(1));
    }
}

#[cfg(test)]
mod tests;
