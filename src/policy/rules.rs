//! The rules that lanes go by.

use std::time::Duration;

use super::{Retry, whole_seconds};
use crate::lease::{MAX_VISIBILITY, SETTLE_MARGIN};
use crate::outcome::Reason;
use crate::plan::Limits;

/// A job with fewer receives than this left before the queue would dead-letter it is not deferred for want of
/// room: the rest are for its attempts.
const KEPT_RECEIVES: u32 = 20;

/// About as long as anything is hidden for want of room.
const LONGEST_DEFERRAL: Duration = Duration::from_secs(60);

/// The longest that a receive of another replica waits: SQS' own bound on a long poll.
const LONG_POLL: Duration = Duration::from_secs(20);

/// How time and retries are dealt with; checked when it was configured.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The queue's visibility timeout, as receives use it.
    pub visibility: Duration,
    /// The longest that one attempt may take, all of it.
    pub attempt_timeout: Duration,
    /// Backoff and window.
    pub retry: Retry,
    /// The queue's own `maxReceiveCount`, if it has one.
    pub max_receive_count: Option<u32>,
    /// The queue's `MessageRetentionPeriod`, if it says so.
    pub retention: Option<Duration>,
    /// Whether jobs of a lane go out together, and how much of them at the most.
    pub coalesce: Option<Limits>,
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
    /// After so long beyond its retry a group that was not received here is another replica's.
    pub(crate) fn lost_after(&self) -> Duration {
        self.visibility + LONG_POLL
    }

    /// Whether SQS might not hand over once more a message of this age that is hidden for so long.
    pub(crate) fn last_chance(&self, receives: u32, age: Duration, hidden: Duration) -> Option<LastChance> {
        if let Some(most) = self.max_receive_count.filter(|most| receives >= *most) {
            return Some(LastChance::Receives(most));
        }
        // Then it has to be received, attempted once more and dead-lettered.
        let ends = age + hidden + self.attempt_timeout + SETTLE_MARGIN;
        let kept = self.retention.filter(|kept| ends + *kept / RETENTION_MARGIN >= *kept);
        kept.map(LastChance::Retention)
    }

    /// The backoff of a job that is not given up for its failure: once half of its receives are spent it doubles with
    /// each, beyond the cap, up to an even share of the time for which SQS keeps the message.
    pub(crate) fn sparing_backoff(&self, backoff: Duration, receives: u32, age: Duration) -> Duration {
        let Some(most) = self.max_receive_count else { return backoff };
        let beyond = receives.saturating_sub(most / 2).min(16);
        let left = most.saturating_sub(receives).saturating_add(1);
        let share = self.retention.unwrap_or_default().saturating_sub(age) / left;
        whole_seconds(backoff.saturating_mul(1 << beyond).min(share).min(MAX_VISIBILITY / 2)).max(backoff)
    }

    /// Whether SQS would delete a message of this age, by its age, while a job before it in its lane is attempted.
    pub(crate) fn expires_waiting(&self, age: Duration) -> Option<LastChance> {
        let longest = self.attempt_timeout + SETTLE_MARGIN * 2;
        self.retention.filter(|kept| age + longest >= *kept).map(LastChance::Retention)
    }

    /// Whether a message may be put back untried for so long, at the price of a receive.
    pub(crate) fn may_be_deferred(&self, receives: u32, age: Duration) -> bool {
        let receives = receives.saturating_add(KEPT_RECEIVES);
        self.last_chance(receives, age, LONGEST_DEFERRAL).is_none()
    }

    /// Whether a message of this age may wait a little longer in its lane: half of what is left for giving up has to be
    /// left.
    pub(crate) fn may_wait(&self, age: Duration) -> bool {
        let ends = age + self.attempt_timeout + SETTLE_MARGIN;
        self.retention.is_none_or(|kept| ends + kept / (2 * RETENTION_MARGIN) < kept)
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
            max_receive_count: Some(250),
            retention: Some(4 * day),
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
        let without = Rules { max_receive_count: None, ..rules };
        assert_eq!(without.sparing_backoff(cap, 10_000, Duration::ZERO), cap);
    }
}
