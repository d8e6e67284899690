//! Which destinations have answered lately, and which leave attempts unanswered: as one app uses them, since an app may
//! ask what no receiver answers, or in no time.
//!
//! A receiver that takes requests and does not answer before the deadline costs the most: a place for the
//! whole of the attempt, and whatever it sends meanwhile (endless headers, 1xx responses, HTTP/2 frames),
//! which no setting of the client bounds. So after two such attempts, until it has answered several for each of them:
//!
//! - for the app nothing is begun there while [`MOST_WHILE_MUTE`] are under way to it;
//! - it is sent to from threads of its own (`bulkhead`), where every endpoint of an app's for Lambda is;
//!
//! One that has answered within a minute is trusted with more requests at once than one of which nothing is known. One
//! that has given several quick answers, and for a minute none that took long, is sent to from the threads that
//! everyone shares, and over HTTP/2 if it speaks it; all others from threads of lesser priority and over HTTP/1.1: a flood
//! that ends with an answer costs as much as one that does not, HTTP/2's informational responses are queued without a bound,
//! and its frames cost more than their bytes. An honest receiver that is slow is none the worse for it.
//!
//! Whoever may register webhooks may have a new destination for each attempt. So an app several of whose destinations
//! went mute has the ones that it has not shown to answer taken for mute.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::hash;

/// What an unanswered attempt weighs, in answers: who leaves one in five unanswered may do harm with each.
const UNANSWERED: u32 = 4;
/// From this weight on a destination is mute: one unanswered attempt happens to good receivers.
const MUTE_WEIGHT: u32 = 2 * UNANSWERED;
/// The most weight that can be gathered, so that one that was away for an hour is trusted again after a few answers.
const HEAVIEST: u32 = 6 * UNANSWERED;
/// How long after the last attempt its weight counts: longer than most backoffs.
const MUTE_MEMORY: Duration = Duration::from_secs(600);
/// How long it counts that the last attempt was answered.
const ANSWERED_MEMORY: Duration = Duration::from_secs(60);
/// A failure within this time held no connection and no permit for long, so it is not counted as an unanswered attempt.
/// An answer that takes longer is a slow one.
const QUICK: Duration = Duration::from_secs(1);
/// At most this many requests of an app to one that is mute. What it sends meanwhile costs processor time as well: over HTTP/1.1 a flood of
/// 1xx responses keeps a thread busy until the deadline (`bulkhead`).
pub(crate) const MOST_WHILE_MUTE: usize = 2;
/// Quick answers in a row from which on a destination is proven.
const PROVEN: u8 = 8;
/// How long it counts that an attempt took long.
const SLOW_MEMORY: Duration = Duration::from_secs(60);
/// From this weight on an app's unknown destinations are mute: as much as makes three of its destinations mute, less the
/// answers of all of them. One that is mute adds no more.
const MUTE_APP: u32 = 2 * MUTE_WEIGHT + UNANSWERED;
/// Destinations and apps remembered, a hundred bytes each. Past it the half that was used longest ago is forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// The destinations that were attempted lately.
#[derive(Debug, Default)]
pub(crate) struct Unanswered(Mutex<HashMap<Of, Row>>);

/// What a row is about, by the hashes of the app's id and of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Of {
    /// All origins of an app.
    App(u64),
    /// An origin as one app uses it.
    Origin { app: u64, origin: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// Of unanswered attempts, less the answers since.
    weight: u32,
    /// The last attempt was.
    answered: bool,
    last: Instant,
    /// How long the last answer took.
    took: Option<Duration>,
    /// Quick answers in a row.
    quick: u8,
    /// When an attempt took long, answered or not.
    slow: Option<Instant>,
}

/// What is known of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It answers, and has done so quickly for a while.
    Proven,
    /// Its last attempt was answered.
    Answers,
    /// Nothing, or too little.
    Unknown,
    /// It leaves attempts unanswered.
    Mute,
}

impl Standing {
    pub(crate) fn answers(self) -> bool {
        matches!(self, Self::Proven | Self::Answers)
    }
}

/// An attempt under way. Dropped without [`Self::ended`], it went unanswered.
#[derive(Debug)]
pub(crate) struct AttemptWatch<'a> {
    unanswered: &'a Unanswered,
    of: Of,
    begun: Instant,
    ended: bool,
}

impl Unanswered {
    /// What is known of a destination.
    pub(crate) fn standing(&self, app_id: &str, origin: impl Hash) -> Standing {
        let (rows, of) = (self.rows(), Of::origin(app_id, origin));
        match rows.get(&of) {
            Some(row) if row.weight >= MUTE_WEIGHT && row.last.elapsed() < MUTE_MEMORY => Standing::Mute,
            Some(row) if row.is_proven() => Standing::Proven,
            Some(row) if row.answered && row.last.elapsed() < ANSWERED_MEMORY => Standing::Answers,
            Some(_) | None => match rows.get(&of.app()) {
                Some(app) if app.weight >= MUTE_APP && app.last.elapsed() < MUTE_MEMORY => Standing::Mute,
                Some(_) | None => Standing::Unknown,
            },
        }
    }

    /// Whether a destination was proven when it was asked last, within the last minutes.
    pub(crate) fn was_proven(&self, app_id: &str, origin: impl Hash) -> bool {
        let rows = self.rows();
        let row = rows.get(&Of::origin(app_id, origin));
        row.is_some_and(|row| row.weight < MUTE_WEIGHT && row.last.elapsed() < MUTE_MEMORY && row.was_quick())
    }

    /// Whether an app has left attempts unanswered of late, and not answered several for each since.
    pub(crate) fn has_left_some(&self, app_id: &str) -> bool {
        let row = self.rows().get(&Of::App(hash::of(app_id))).copied();
        row.is_some_and(|row| row.weight > 0 && row.last.elapsed() < MUTE_MEMORY)
    }

    /// How long the last answer took.
    pub(crate) fn last_took(&self, app_id: &str, origin: impl Hash) -> Option<Duration> {
        self.rows().get(&Of::origin(app_id, origin)).and_then(|row| row.took)
    }

    /// An attempt begins.
    pub(crate) fn watch(&self, app_id: &str, origin: impl Hash) -> AttemptWatch<'_> {
        AttemptWatch { unanswered: self, of: Of::origin(app_id, origin), begun: Instant::now(), ended: false }
    }

    /// `took`: how long it took to the answer, if there was one.
    fn note(&self, of: Of, took: Option<Duration>) {
        let mut rows = self.rows();
        if rows.len() >= MAX_REMEMBERED && !rows.contains_key(&of) {
            forget_half(&mut rows);
        }
        let row = rows.entry(of).or_insert_with(Row::new);
        let was_mute = row.weight >= MUTE_WEIGHT;
        row.note(took);
        let app = of.app();
        if took.is_some() {
            if let Some(app) = rows.get_mut(&app) {
                app.weight = app.weight.saturating_sub(1);
            }
        } else if !was_mute {
            let app = rows.entry(app).or_insert_with(Row::new);
            app.note(None);
        }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<Of, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Of {
    fn origin(app_id: &str, origin: impl Hash) -> Self {
        Self::Origin { app: hash::of(app_id), origin: hash::of(origin) }
    }

    fn app(self) -> Self {
        match self {
            Self::App(app) | Self::Origin { app, .. } => Self::App(app),
        }
    }
}

impl Row {
    fn new() -> Self {
        Self { weight: 0, answered: false, last: Instant::now(), took: None, quick: 0, slow: None }
    }

    fn note(&mut self, took: Option<Duration>) {
        let answered = took.is_some();
        if self.last.elapsed() >= MUTE_MEMORY {
            self.weight = 0;
        }
        self.weight =
            if answered { self.weight.saturating_sub(1) } else { (self.weight + UNANSWERED).min(HEAVIEST) };
        (self.answered, self.last) = (answered, Instant::now());
        self.took = took.or(self.took);
        if took.is_some_and(|took| took < QUICK) {
            self.quick = self.quick.saturating_add(1);
        } else {
            (self.quick, self.slow) = (0, Some(self.last));
        }
    }

    fn is_proven(&self) -> bool {
        self.last.elapsed() < ANSWERED_MEMORY && self.was_quick()
    }

    /// It gave several quick answers last.
    fn was_quick(&self) -> bool {
        let was_slow = self.slow.is_some_and(|slow| slow.elapsed() < SLOW_MEMORY);
        self.answered && self.quick >= PROVEN && !was_slow
    }
}

/// Leaves out those used longest ago. What is mute is forgotten last: a flood of names that answer frees none.
fn forget_half(rows: &mut HashMap<Of, Row>) {
    let rank = |row: &Row| (row.weight >= MUTE_WEIGHT && row.last.elapsed() < MUTE_MEMORY, row.last);
    let mut ranks: Vec<_> = rows.values().map(rank).collect();
    let half = ranks.len() / 2;
    let (_, last, _) = ranks.select_nth_unstable(half);
    let last = *last;
    rows.retain(|_, row| rank(row) > last);
}

impl AttemptWatch<'_> {
    /// Waits for an answer. That it takes long is noted then, and not at the end of the attempt: others begin meanwhile.
    pub(crate) async fn observe<T>(&self, mut answer: Pin<&mut impl Future<Output = T>>) -> T {
        if let Ok(answer) = timeout(QUICK, answer.as_mut()).await {
            return answer;
        }
        if let Some(row) = self.unanswered.rows().get_mut(&self.of) {
            (row.quick, row.slow) = (0, Some(Instant::now()));
        }
        answer.await
    }

    /// The attempt came to something. An error that took its time is no better than nothing: who floods may end its
    /// connection before the deadline.
    pub(crate) fn ended(mut self, answered: bool) {
        let took = self.begun.elapsed();
        self.ended = answered || took < QUICK;
        if answered {
            self.unanswered.note(self.of, Some(took));
        }
    }
}

impl Drop for AttemptWatch<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.unanswered.note(self.of, None);
        }
    }
}

#[cfg(test)]
mod tests;
