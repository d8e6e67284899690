//! Working out what is to be sent: a millisecond at a time, and of what takes longer one job at a time.
//!
//! A tenant decides how many events, webhooks and patterns meet. What takes more than a turn waits for the others that
//! do, so that all of it together keeps one processor busy at the most, and no task that is ready waits behind more than
//! one turn for each processor.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::outcome::{Outcome, Reason};

/// Nanoseconds between two awaits, as they are estimated: at the worst it takes as long, and ordinary patterns a
/// hundredth of it.
const TURN: u64 = 1_000_000;

/// The turn of those that need more than one.
static NEXT: Semaphore = Semaphore::const_new(1);

/// The turns of one job.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Nanoseconds that are left of this one.
    pub left: u64,
    began: Instant,
    /// What the turns before took.
    took: Duration,
    held: Option<SemaphorePermit<'static>>,
}

impl Turns {
    pub(crate) fn begin() -> Self {
        Self { left: TURN, began: Instant::now(), took: Duration::ZERO, held: None }
    }

    /// Lets others work, and waits for the next turn.
    pub(crate) async fn next(&mut self) {
        self.took += self.began.elapsed();
        drop(self.held.take());
        yield_now().await;
        self.held = NEXT.acquire().await.ok();
        (self.left, self.began) = (TURN, Instant::now());
    }

    /// What comes of a job that is not worked out after `longest`: what took half of that takes as long the next time,
    /// and what had to wait for others is put back.
    pub(crate) fn over(&self, longest: Duration) -> Outcome {
        let reason = Reason::Unplannable(longest);
        if self.took >= longest / 2 { Outcome::Permanent(reason) } else { Outcome::Deferred(reason) }
    }
}

#[cfg(test)]
mod tests;
