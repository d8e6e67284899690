//! The time limits of a worker, and when SQS would move or delete a message by itself.
//!
//! Pure. `Disposal` alone changes while it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::{Retry, whole_seconds};
use crate::backoff::Exponential;
use crate::lease::{MAX_VISIBILITY, SETTLE_MARGIN};
use crate::outcome::Reason;
use crate::plan::Limits;

/// A job is not put back for want of room if fewer than this many receives are left before the queue would dead-letter
/// it: they are kept for its attempts.
const KEPT_RECEIVES: u32 = 20;

/// About the longest that anything is hidden for want of room.
const LONGEST_DEFERRAL: Duration = Duration::from_secs(60);

/// The longest backoff of a job whose receives are spared.
pub(crate) const LONGEST_SPARING: Duration = Duration::from_secs(MAX_VISIBILITY.as_secs() / 2);

/// The longest that a receive of another replica waits: SQS' own bound on a long poll.
const LONG_POLL: Duration = Duration::from_secs(20);

/// The timing of receives, attempts and retries. The configuration was checked: the values are consistent with each other.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The queue's visibility timeout, as receives use it.
    pub visibility: Duration,
    /// The longest that one attempt may take, all of it.
    pub attempt_timeout: Duration,
    /// Backoff and window.
    pub retry: Retry,
    /// What makes the queue itself remove a message.
    pub disposal: Disposal,
    /// Whether jobs of a lane go out together, and how much of them at the most.
    pub coalesce: Option<Limits>,
}

/// What makes the queue itself remove a message, its receive count or its age, as it last said: an operator may change
/// it while jobs are worked, so it is looked at anew for each decision. Clones share one state.
#[derive(Clone, Debug)]
pub struct Disposal(Arc<Current>);

#[derive(Debug)]
struct Current {
    /// None has more than 1000.
    max_receive_count: AtomicU32,
    retention_ms: AtomicU64,
}

/// The queue does not say, or has none.
const NO_COUNT: u32 = u32::MAX;
const NO_RETENTION: u64 = u64::MAX;

impl Default for Disposal {
    fn default() -> Self {
        Self(Arc::new(Current {
            max_receive_count: AtomicU32::new(NO_COUNT),
            retention_ms: AtomicU64::new(NO_RETENTION),
        }))
    }
}

impl Disposal {
    /// How a queue disposes of messages that has this `maxReceiveCount` and this `MessageRetentionPeriod`.
    #[must_use]
    pub fn new(max_receive_count: Option<u32>, retention: Option<Duration>) -> Self {
        let disposal = Self::default();
        disposal.set_max_receive_count(max_receive_count);
        disposal.set_retention(retention);
        disposal
    }

    /// The queue's own `maxReceiveCount`, if it has one.
    #[must_use]
    pub fn max_receive_count(&self) -> Option<u32> {
        let count = self.0.max_receive_count.load(Ordering::Relaxed);
        (count != NO_COUNT).then_some(count)
    }

    /// The queue's `MessageRetentionPeriod`, if it says so.
    #[must_use]
    pub fn retention(&self) -> Option<Duration> {
        let kept = self.0.retention_ms.load(Ordering::Relaxed);
        (kept != NO_RETENTION).then_some(Duration::from_millis(kept))
    }

    /// The queue has this `maxReceiveCount` now.
    pub fn set_max_receive_count(&self, count: Option<u32>) {
        self.0.max_receive_count.store(count.unwrap_or(NO_COUNT), Ordering::Relaxed);
    }

    /// The queue has this `MessageRetentionPeriod` now.
    pub fn set_retention(&self, retention: Option<Duration>) {
        let kept = retention.map_or(NO_RETENTION, |kept| u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
        self.0.retention_ms.store(kept, Ordering::Relaxed);
    }
}

/// The part of the retention that is left for giving up: of a group SQS hands over only the first few together, and what
/// waits behind them has to be given up in the same time. An hour's leaves two minutes, four days' leave three hours.
const RETENTION_MARGIN: u32 = 32;

/// Why SQS would not hand a message over once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastChance {
    /// It would move it to the dead-letter queue: it has been received so many times.
    Receives(u32),
    /// It would delete it for its age: it keeps messages for so long.
    Retention(Duration),
}

impl LastChance {
    /// The reason for which a job is given up that is not done for this other one.
    pub(crate) fn reason(self, why: String) -> Reason {
        match self {
            Self::Receives(most) => Reason::LastReceive { most, why },
            Self::Retention(retention) => Reason::Retention { retention, why },
        }
    }
}

impl Rules {
    /// A group that has not come back this long after its retry was due is taken to be another replica's: it was visible
    /// for one long poll of theirs.
    pub(crate) fn lost_after(&self) -> Duration {
        self.visibility + LONG_POLL
    }

    /// Whether SQS might not hand over once more a message of this age that is hidden for so long.
    pub(crate) fn last_chance(&self, receives: u32, age: Duration, hidden: Duration) -> Option<LastChance> {
        if let Some(most) = self.disposal.max_receive_count().filter(|most| receives >= *most) {
            return Some(LastChance::Receives(most));
        }
        // Then it has to be received, attempted once more and dead-lettered.
        let ends = age + hidden + self.attempt_timeout + SETTLE_MARGIN;
        let kept = self.disposal.retention().filter(|kept| ends + *kept / RETENTION_MARGIN >= *kept);
        kept.map(LastChance::Retention)
    }

    /// Why SQS will not hand over once more a message of this age that is hidden for so long, if it is certain: nothing is
    /// left of the time in which the message was to be given up.
    pub(crate) fn end(&self, receives: u32, age: Duration, hidden: Duration) -> Option<LastChance> {
        let gone = self.disposal.retention().filter(|kept| age + hidden >= *kept).map(LastChance::Retention);
        let moved = self.disposal.max_receive_count().filter(|most| receives >= *most);
        gone.or(moved.map(LastChance::Receives))
    }

    /// The backoff of a job that is not given up for its failure: once half of its receives are spent it doubles with
    /// each, beyond the cap, up to an even share of the time for which SQS keeps the message.
    pub(crate) fn sparing_backoff(&self, backoff: Duration, receives: u32, age: Duration) -> Duration {
        let Some(most) = self.disposal.max_receive_count() else { return backoff };
        let beyond = receives.saturating_sub(most / 2);
        let left = most.saturating_sub(receives).saturating_add(1);
        let share = self.disposal.retention().unwrap_or_default().saturating_sub(age) / left;
        let sparing = Exponential { base: backoff, cap: share.min(LONGEST_SPARING) };
        whole_seconds(sparing.ceiling(beyond.saturating_add(1))).max(backoff)
    }

    /// Whether SQS would delete a message of this age, by its age, while a job before it in its lane is attempted.
    pub(crate) fn expires_waiting(&self, age: Duration) -> Option<LastChance> {
        let longest = self.attempt_timeout + SETTLE_MARGIN * 2;
        self.disposal.retention().filter(|kept| age + longest >= *kept).map(LastChance::Retention)
    }

    /// Whether a message may be put back untried for so long, at the price of a receive.
    pub(crate) fn may_be_deferred(&self, receives: u32, age: Duration) -> bool {
        let receives = receives.saturating_add(KEPT_RECEIVES);
        self.last_chance(receives, age, LONGEST_DEFERRAL).is_none()
    }

    /// Whether a message of this age may wait a little longer in its lane: half of what is left for giving up has to be
    /// left, after two look-ups of its app and an attempt.
    pub(crate) fn may_wait(&self, age: Duration) -> bool {
        let ends = age + self.attempt_timeout * 3 + SETTLE_MARGIN;
        self.disposal.retention().is_none_or(|kept| ends + kept / (2 * RETENTION_MARGIN) < kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_up_spares_its_receives_once_half_of_them_are_spent() {
        let day = Duration::from_secs(86_400);
        let rules = Rules {
            visibility: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(4),
            retry: Retry {
                window: Duration::from_secs(300),
                base: Duration::from_secs(1),
                cap: Duration::from_secs(60),
            },
            disposal: Disposal::new(Some(250), Some(4 * day)),
            coalesce: None,
        };
        let cap = rules.retry.cap;
        assert_eq!(rules.sparing_backoff(cap, 125, Duration::ZERO), cap);
        assert_eq!(rules.sparing_backoff(cap, 127, Duration::ZERO), 4 * cap);
        let (mut age, mut receives) = (Duration::ZERO, 0);
        while receives < 250 {
            receives += 1;
            age += rules.sparing_backoff(cap, receives, age);
        }
        assert!(age > 3 * day && age <= 4 * day, "{age:?}");
        let without = Rules { disposal: Disposal::default(), ..rules };
        assert_eq!(without.sparing_backoff(cap, 10_000, Duration::ZERO), cap);
    }
}
