//! Which destinations have answered lately, and which leave attempts unanswered: as one app uses them, since an app may
//! ask what no receiver answers, or in no time.
//!
//! A receiver that takes requests and does not answer before the deadline costs the most: a place for the
//! whole of the attempt, and whatever it sends meanwhile (endless headers, 1xx responses, HTTP/2 frames),
//! which no setting of the client bounds. So after two such attempts, until it has answered several for each of them:
//!
//! - for the app nothing is begun there while [`MOST_WHILE_MUTE`] are under way to it;
//! - it is sent to from threads of its own (`bulkhead`), where every endpoint of an app's for Lambda is;
//! - over TLS HTTP deliveries speak HTTP/1.1 to it: HTTP/2's informational responses are queued, and its frames cost
//!   more than their bytes.
//!
//! One that has answered within a minute is trusted with more requests at once than one of which nothing is known.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::hash;

/// What an unanswered attempt weighs, in answers: who leaves one in five unanswered may do harm with each.
const UNANSWERED: u32 = 4;
/// From this weight on a destination is mute: one unanswered attempt happens to good receivers.
const MUTE_WEIGHT: u32 = 2 * UNANSWERED;
/// As much weight as can be gathered, so that one that was away for an hour is trusted again after a few answers.
const HEAVIEST: u32 = 6 * UNANSWERED;
/// For how long after the last attempt that counts: longer than most backoffs.
const MUTE_MEMORY: Duration = Duration::from_secs(600);
/// For how long it counts that the last attempt was answered.
const ANSWERED_MEMORY: Duration = Duration::from_secs(60);
/// An error that comes within it has cost nobody anything.
const SOON: Duration = Duration::from_secs(1);
/// So many requests to one that is mute. What it sends meanwhile costs processor time as well: over HTTP/1.1 a flood of
/// 1xx responses keeps a thread busy until the deadline (`bulkhead`).
pub(super) const MOST_WHILE_MUTE: usize = 2;
/// Destinations remembered, a hundred bytes each. Past it all are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// The destinations that were attempted lately.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<HashMap<Destination, Row>>);

/// An origin as one app uses it: by the hash of both.
type Destination = u64;

#[derive(Clone, Copy, Debug)]
struct Row {
    /// Of unanswered attempts, less the answers since.
    weight: u32,
    /// The last attempt was.
    answered: bool,
    last: Instant,
}

/// What is known of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its last attempt was answered.
    Answers,
    /// Nothing, or too little.
    Unknown,
    /// It leaves attempts unanswered.
    Mute,
}

/// An attempt under way. Dropped without [`Self::ended`], it went unanswered.
#[derive(Debug)]
pub(super) struct AttemptWatch<'a> {
    unanswered: &'a Unanswered,
    destination: Destination,
    begun: Instant,
    ended: bool,
}

impl Unanswered {
    /// What is known of a destination.
    pub(super) fn standing(&self, app_id: &str, origin: impl Hash) -> Standing {
        match self.rows().get(&hash::of((app_id, origin))) {
            Some(row) if row.weight >= MUTE_WEIGHT && row.last.elapsed() < MUTE_MEMORY => Standing::Mute,
            Some(row) if row.answered && row.last.elapsed() < ANSWERED_MEMORY => Standing::Answers,
            Some(_) | None => Standing::Unknown,
        }
    }

    /// An attempt begins.
    pub(super) fn watch(&self, app_id: &str, origin: impl Hash) -> AttemptWatch<'_> {
        AttemptWatch {
            unanswered: self,
            destination: hash::of((app_id, origin)),
            begun: Instant::now(),
            ended: false,
        }
    }

    fn note(&self, destination: Destination, answered: bool) {
        let (mut rows, last) = (self.rows(), Instant::now());
        if rows.len() >= MAX_REMEMBERED && !rows.contains_key(&destination) {
            rows.clear();
        }
        let row = rows.entry(destination).or_insert(Row { weight: 0, answered, last });
        if row.last.elapsed() >= MUTE_MEMORY {
            row.weight = 0;
        }
        let weight =
            if answered { row.weight.saturating_sub(1) } else { (row.weight + UNANSWERED).min(HEAVIEST) };
        *row = Row { weight, answered, last };
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<Destination, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AttemptWatch<'_> {
    /// The attempt came to something. An error that took its time is no better than nothing: who floods may end its
    /// connection before the deadline.
    pub(super) fn ended(mut self, answered: bool) {
        self.ended = answered || self.begun.elapsed() < SOON;
        if answered {
            self.unanswered.note(self.destination, true);
        }
    }
}

impl Drop for AttemptWatch<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.unanswered.note(self.destination, false);
        }
    }
}

#[cfg(test)]
mod tests;
