//! How many calls of which size are under way: fewer and smaller ones where answers fail to come in time, as on a
//! slow uplink, where that many full batches take longer than a call may.

use tokio::time::Instant;

use crate::queue::MAX_BATCH_BYTES;

/// The most calls under way at once: enough to keep a partition of SQS busy, few enough that one client's
/// connections serve them.
const MAX_CALLS: usize = 32;

/// Halved by a call without an answer, and a step larger again after as many answers as it allows calls.
#[derive(Debug)]
pub(super) struct Pace {
    calls: usize,
    bytes: usize,
    /// Since it changed.
    answers: usize,
    halved: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { calls: MAX_CALLS, bytes: MAX_BATCH_BYTES, answers: 0, halved: None }
    }
}

impl Pace {
    /// The most calls under way.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// The most bytes of a batch of several jobs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn answered(&mut self) {
        self.answers += 1;
        if self.answers >= self.calls {
            self.answers = 0;
            self.calls = (self.calls + 1).min(MAX_CALLS);
            self.bytes = (self.bytes + MAX_BATCH_BYTES / MAX_CALLS).min(MAX_BATCH_BYTES);
        }
    }

    /// A call that began then got no answer. Calls that were under way together count once.
    pub(super) fn unanswered(&mut self, now: Instant, began: Instant) {
        if self.halved.is_some_and(|halved| began < halved) {
            return;
        }
        self.halved = Some(now);
        self.answers = 0;
        self.calls = (self.calls / 2).max(1);
        self.bytes = (self.bytes / 2).max(1);
    }
}
