//! SQS' own clock, by which jobs' ages are taken: a worker's clock that is minutes ahead would give every
//! job up at its first failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_sqs::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents, SharedInterceptor};
use aws_sdk_sqs::error::BoxError;

use crate::queue::failure::http_date;
use crate::wall;

/// `Date` counts in whole seconds and was written before the answer came: a difference up to this says
/// nothing against the worker's clock, which counts finer.
const TOLERANCE_MS: i64 = 2_000;

/// How far SQS' clock is ahead of this machine's, in milliseconds, by the last answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The time at SQS.
    pub(super) fn now(&self) -> SystemTime {
        // For a job's age: SQS' clock is the wall clock, corrected.
        let now = wall::now();
        let ahead = self.ahead_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(ahead.unsigned_abs());
        let moved = if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) };
        moved.unwrap_or(now)
    }

    /// By how many milliseconds it is ahead of this machine's.
    pub(super) fn ahead(&self) -> i64 {
        self.ahead_ms.load(Ordering::Relaxed)
    }

    /// What reads the answers' `Date`.
    pub(super) fn interceptor(&self) -> SharedInterceptor {
        SharedInterceptor::new(self.clone())
    }

    fn answered(&self, date: SystemTime, now: SystemTime) {
        // In the middle of its second.
        let date = date + Duration::from_millis(500);
        let ahead = match date.duration_since(now) {
            Ok(ahead) => i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX),
            Err(behind) => i64::try_from(behind.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        let ahead = if ahead.abs() <= TOLERANCE_MS { 0 } else { ahead };
        self.ahead_ms.store(ahead, Ordering::Relaxed);
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date").and_then(http_date) {
            self.answered(date, wall::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off(seconds: i64) -> i64 {
        let clock = Clock::default();
        let now = wall::now();
        let by = Duration::from_secs(seconds.unsigned_abs());
        clock.answered(if seconds < 0 { now - by } else { now + by }, now);
        let now = wall::now();
        match clock.now().duration_since(now) {
            Ok(ahead) => i64::try_from(ahead.as_secs()).unwrap(),
            Err(behind) => -i64::try_from(behind.duration().as_secs()).unwrap(),
        }
    }

    #[test]
    fn ages_are_taken_by_the_queues_clock_where_this_machines_is_off() {
        assert!((359..=361).contains(&off(360)), "{}", off(360));
        assert!((-361..=-359).contains(&off(-360)), "{}", off(-360));
    }

    #[test]
    fn a_difference_within_the_seconds_of_the_header_is_none() {
        assert_eq!(off(1), 0);
        assert_eq!(off(-1), 0);
        assert_eq!(off(0), 0);
    }
}
