//! Working out what is to be sent: a millisecond at a time, and of what takes longer one job at a time.
//!
//! A tenant decides how many events, webhooks and patterns meet. What takes more than a turn, by an estimate and then by the
//! clock, waits for the others that do, so that all of it together keeps one processor busy at the most, and no task that is ready waits behind more than
//! one turn for each processor.
//!
//! Apps take turns, whatever the number of their jobs: of one app's a single job takes turns until it is worked out. If
//! all of them did, each of many would come to so little that none was ever worked out or given up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::hash;
use crate::outcome::{Outcome, Reason};

/// Nanoseconds between two awaits, as they are estimated: at the worst it takes as long, and ordinary patterns a
/// hundredth of it.
const TURN: u64 = 1_000_000;
/// A turn that has taken less than this in truth is not over: its job would wait for others a hundred times as long as they wait
/// for it. At the worst one takes this and its estimate.
const LEAST_TURN: Duration = Duration::from_micros(500);

/// The turn of those that need more than one. One a process: what is bounded is the processor's time.
static NEXT: Semaphore = Semaphore::const_new(1);

/// Leave to take turns, by the hash of an app's id; for apps with jobs that need it. One a process, as what they share is.
static APPS: Mutex<BTreeMap<u64, Arc<Semaphore>>> = Mutex::new(BTreeMap::new());

/// The turns of one job.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Nanoseconds that are left of this one.
    pub left: u64,
    began: Instant,
    /// When the turn began by the real clock, which no test pauses.
    really_began: std::time::Instant,
    /// What the turns before took.
    pub took: Duration,
    held: Option<SemaphorePermit<'static>>,
    app: u64,
    /// The app's leave, which one job holds.
    leave: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(crate) fn begin(app_id: &str) -> Self {
        let app = hash::of(app_id);
        let (began, really_began) = now();
        Self { left: TURN, began, really_began, took: Duration::ZERO, held: None, app, leave: None }
    }

    /// Lets others work, and waits for the next turn, if it has taken as long as one in truth.
    pub(crate) async fn next(&mut self) {
        if self.really_began.elapsed() < LEAST_TURN {
            self.left = TURN;
            return;
        }
        self.took += self.began.elapsed();
        drop(self.held.take());
        yield_now().await;
        if self.leave.is_none() {
            let own = Arc::clone(apps().entry(self.app).or_insert_with(|| Arc::new(Semaphore::new(1))));
            self.leave = own.acquire_owned().await.ok();
        }
        self.held = NEXT.acquire().await.ok();
        self.left = TURN;
        (self.began, self.really_began) = now();
    }

    /// What comes of a job that is not worked out after `longest`, and has taken `before` at earlier receives: what took
    /// half of that takes as long the next time, and what had to wait for others is put back.
    pub(crate) fn over(&self, longest: Duration, before: Duration) -> Outcome {
        let reason = Reason::Unplannable(longest);
        if self.took + before >= longest / 2 { Outcome::Permanent(reason) } else { Outcome::Deferred(reason) }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.held = None;
        let mut apps = apps();
        self.leave = None;
        // Whoever holds or waits for the app's leave has a share in it.
        if apps.get(&self.app).is_some_and(|own| Arc::strong_count(own) == 1) {
            apps.remove(&self.app);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the processor's time is not that of a paused clock")]
fn now() -> (Instant, std::time::Instant) {
    (Instant::now(), std::time::Instant::now())
}

fn apps() -> MutexGuard<'static, BTreeMap<u64, Arc<Semaphore>>> {
    APPS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
