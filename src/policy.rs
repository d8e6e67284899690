//! What follows from an attempt: outcome → disposition, in one pure function, and the backoff.
//!
//! A job past its window is given up after a failed attempt, unless the failure is one that
//! [`Reason::gives_up`] excepts.
//!
//! No clock, no randomness and no I/O of its own: how long the job's attempts have failed and a random number
//! are arguments.

pub(crate) mod own_rules;
pub mod rules;

use std::time::Duration;

use crate::backoff::Exponential;
use crate::outcome::{Outcome, Reason};

/// The backoff of a deferred job grows no further than after this many attempts: it waits for capacity, and not for an
/// outage to end, so that its backoff may stay short.
const DEFERRED_ATTEMPTS: u32 = 6;

/// No backoff is shorter: SQS counts visibility in whole seconds, and 0 would be "at once".
pub const MIN_BACKOFF: Duration = Duration::from_secs(1);

/// What is done with a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// No webhook lacks it: delete.
    Done,
    /// Hide it and what is left of its lane, and let SQS bring it back.
    Retry {
        /// For how long, in whole seconds.
        backoff: Duration,
        /// What went wrong first.
        reason: Reason,
    },
    /// Give it up: dead-letter it, then delete it.
    DeadLetter(Reason),
}

/// How retrying goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// A job that has been failing for longer is given up after a failed attempt.
    pub window: Duration,
    /// The first backoff's upper end, doubled with each attempt.
    pub base: Duration,
    /// The upper end of every backoff, `Retry-After` included.
    pub cap: Duration,
}

impl Retry {
    pub(crate) fn exponential(&self) -> Exponential {
        Exponential { base: self.base, cap: self.cap }
    }
}

/// Decides what becomes of a job after an attempt at its webhooks.
///
/// `attempts` counts this one too, or, where nothing was tried, how often that was so; `failing_for` is how long
/// the job's attempts have failed, as far as is known; `random` lies in 0..1.
#[must_use]
pub fn decide<'a>(
    outcomes: impl IntoIterator<Item = &'a Outcome>,
    attempts: u32,
    failing_for: Duration,
    retry: &Retry,
    random: f64,
) -> Disposition {
    let mut failed: Option<&Reason> = None;
    let mut transient: Option<&Reason> = None;
    let mut patient: Option<&Reason> = None;
    let mut deferred: Option<&Reason> = None;
    let mut wanted = Duration::ZERO;
    for outcome in outcomes {
        match outcome {
            Outcome::Delivered => {}
            Outcome::Transient { reason, retry_after } => {
                failed = failed.or(Some(reason));
                transient = transient.or(Some(reason));
                patient = patient.or(Some(reason).filter(|reason| !reason.gives_up()));
                wanted = wanted.max(retry_after.unwrap_or_default());
            }
            Outcome::Deferred(reason) => deferred = deferred.or(Some(reason)),
            Outcome::Permanent(reason) => failed = failed.or(Some(reason)),
        }
    }
    // However old it is: every job gets at least one attempt.
    if let Some(reason) = deferred {
        let attempts = if transient.is_some() { attempts } else { attempts.min(DEFERRED_ATTEMPTS) };
        let reason = transient.unwrap_or(reason).clone();
        return Disposition::Retry { backoff: backoff(attempts, wanted, retry, random), reason };
    }
    match (failed, transient, patient) {
        (None, _, _) => Disposition::Done,
        (Some(_), Some(reason), _) if failing_for < retry.window => {
            Disposition::Retry { backoff: backoff(attempts, wanted, retry, random), reason: reason.clone() }
        }
        // Such a failure (the app source is down, say) may last for hours: spread over the whole cap, whatever the attempt.
        (Some(_), _, Some(reason)) => {
            Disposition::Retry { backoff: backoff(u32::MAX, wanted, retry, random), reason: reason.clone() }
        }
        (Some(reason), _, None) => Disposition::DeadLetter(reason.clone()),
    }
}

/// Full jitter over min(cap, base·2^(n−1)), at least a second, raised to what the destination asked
/// for (up to the cap), in whole seconds.
#[must_use]
pub fn backoff(attempts: u32, retry_after: Duration, retry: &Retry, random: f64) -> Duration {
    let jittered = retry.exponential().jittered(attempts, random);
    // Rounding up must not lead past the cap, however short it is.
    let most = Duration::from_secs(retry.cap.as_secs()).max(MIN_BACKOFF);
    whole_seconds(jittered.max(retry_after.min(most))).clamp(MIN_BACKOFF, most)
}

/// What the backoffs after so many attempts come to, as they are on average: half of each upper end.
#[must_use]
pub fn backoffs(attempts: u32, retry: &Retry) -> Duration {
    let mut sum = Duration::ZERO;
    for attempt in 1..=attempts {
        let one = backoff(attempt, Duration::ZERO, retry, 0.5);
        sum += one;
        // The rest are all alike; the window is not asked for more.
        if sum > retry.window || one * 2 >= retry.cap {
            return sum + one.saturating_mul(attempts - attempt);
        }
    }
    sum
}

/// Rounds up to whole seconds, as SQS counts them.
#[must_use]
pub fn whole_seconds(duration: Duration) -> Duration {
    let up = u64::from(duration.subsec_nanos() > 0);
    Duration::from_secs(duration.as_secs().saturating_add(up))
}

/// Milliseconds as a log line has them: one of 128 bits would be text in JSON.
#[must_use]
pub fn whole_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::MAX_VISIBILITY;
    use proptest::prelude::*;

    const RETRY: Retry = Retry {
        window: Duration::from_secs(300),
        base: Duration::from_secs(1),
        cap: Duration::from_secs(60),
    };
    const YOUNG: Duration = Duration::from_millis(299_999);
    const OLD: Duration = Duration::from_secs(300);

    fn failed() -> Outcome {
        Outcome::transient(Reason::Status(500))
    }

    #[test]
    fn a_job_is_done_when_every_webhook_has_it() {
        assert_eq!(decide(&[], 1, OLD, &RETRY, 0.5), Disposition::Done);
        assert_eq!(decide(&[Outcome::Delivered, Outcome::Delivered], 1, OLD, &RETRY, 0.5), Disposition::Done);
    }

    #[test]
    fn a_transient_failure_is_retried_inside_the_window_and_given_up_past_it() {
        let outcomes = [Outcome::Delivered, failed()];
        assert!(matches!(decide(&outcomes, 3, YOUNG, &RETRY, 0.5), Disposition::Retry { .. }));
        assert_eq!(decide(&outcomes, 1, OLD, &RETRY, 0.5), Disposition::DeadLetter(Reason::Status(500)));
    }

    #[test]
    fn nothing_is_given_up_because_the_app_source_is_down() {
        let down = Outcome::transient(Reason::Apps("refused".into()));
        assert_eq!(
            decide(std::slice::from_ref(&down), 1, OLD, &RETRY, 1.0),
            Disposition::Retry { backoff: RETRY.cap, reason: Reason::Apps("refused".into()) },
            "at the cap, although it is the first attempt that is known of"
        );
        assert!(matches!(
            decide(&[Outcome::Permanent(Reason::Gone), failed(), down], 9, Duration::MAX, &RETRY, 0.5),
            Disposition::Retry { reason: Reason::Apps(_), .. }
        ));
    }

    #[test]
    fn a_permanent_failure_waits_for_the_transient_ones_beside_it() {
        let gone = Outcome::Permanent(Reason::Gone);
        assert_eq!(
            decide(&[Outcome::Delivered, gone.clone()], 1, YOUNG, &RETRY, 0.5),
            Disposition::DeadLetter(Reason::Gone)
        );
        assert!(matches!(
            decide(&[gone, failed()], 1, YOUNG, &RETRY, 0.5),
            Disposition::Retry { reason: Reason::Status(500), .. }
        ));
    }

    #[test]
    fn what_was_not_tried_is_retried_however_old_it_is_and_its_backoff_stays_short() {
        let busy = || Outcome::Deferred(Reason::Busy(1));
        let backoff = |outcomes: &[Outcome], attempts| match decide(outcomes, attempts, OLD, &RETRY, 1.0) {
            Disposition::Retry { backoff, .. } => backoff,
            Disposition::Done | Disposition::DeadLetter(_) => panic!("it is retried"),
        };
        assert_eq!(backoff(&[busy()], 1), Duration::from_secs(1));
        assert_eq!(backoff(&[Outcome::Delivered, busy()], 1000), Duration::from_secs(32));
        assert_eq!(backoff(&[busy(), failed()], 1000), RETRY.cap, "the failed one backs off as ever");
        assert_eq!(backoff(&[Outcome::Permanent(Reason::Gone), busy()], 1), Duration::from_secs(1));
    }

    #[test]
    fn retry_after_raises_the_backoff_up_to_the_cap() {
        let asks = |secs| backoff(1, Duration::from_secs(secs), &RETRY, 0.0);
        assert_eq!(asks(0), MIN_BACKOFF);
        assert_eq!(asks(7), Duration::from_secs(7));
        assert_eq!(asks(86_400), RETRY.cap);
    }

    #[test]
    fn a_cap_of_no_whole_seconds_is_kept_and_one_under_a_second_is_a_second() {
        for (cap, most) in [(1500, 1), (999, 1), (1, 1), (2000, 2), (59_999, 59)] {
            let retry = Retry { cap: Duration::from_millis(cap), ..RETRY };
            assert_eq!(backoff(u32::MAX, Duration::MAX, &retry, 1.0), Duration::from_secs(most), "{cap} ms");
        }
    }

    #[test]
    fn the_backoffs_upper_end_doubles_up_to_the_cap_and_never_overflows() {
        let top = |attempts| backoff(attempts, Duration::ZERO, &RETRY, 1.0).as_secs();
        assert_eq!([0, 1, 2, 3, 6, 7, 8, 33, 34, u32::MAX].map(top), [1, 1, 2, 4, 32, 60, 60, 60, 60, 60]);
        let slow = Retry { base: Duration::from_millis(1), cap: 36_000 * MIN_BACKOFF, ..RETRY };
        assert_eq!(backoff(u32::MAX, Duration::ZERO, &slow, 1.0), slow.cap);
        assert_eq!(backoff(1, Duration::ZERO, &slow, 1.0), MIN_BACKOFF);
    }

    #[test]
    fn a_window_of_zero_gives_up_after_the_first_failed_attempt() {
        let retry = Retry { window: Duration::ZERO, ..RETRY };
        let age = Duration::ZERO;
        assert_eq!(decide(&[failed()], 1, age, &retry, 0.5), Disposition::DeadLetter(Reason::Status(500)));
        assert_eq!(decide(&[Outcome::Delivered], 1, age, &retry, 0.5), Disposition::Done);
        assert!(matches!(decide(&[failed()], 1, Duration::MAX, &RETRY, 0.5), Disposition::DeadLetter(_)));
    }

    #[test]
    fn whole_seconds_are_rounded_up() {
        let second = MIN_BACKOFF;
        assert_eq!(whole_seconds(Duration::ZERO), Duration::ZERO);
        assert_eq!(whole_seconds(Duration::from_nanos(1)), second);
        assert_eq!(whole_seconds(second), second);
        assert_eq!(whole_seconds(second + Duration::from_nanos(1)), 2 * second);
        assert_eq!(whole_seconds(Duration::MAX), Duration::from_secs(u64::MAX));
    }

    proptest! {
        #[test]
        fn a_backoff_is_whole_seconds_from_one_to_the_cap_and_no_less_than_was_asked_for(
            attempts in any::<u32>(), asked in any::<Duration>(), random in 0.0..=1.0_f64,
            base in 1_u64..3_600_000, cap in 1_u64..36_000_000,
        ) {
            let retry = Retry {
                base: Duration::from_millis(base), cap: Duration::from_millis(cap), ..RETRY
            };
            let b = backoff(attempts, asked, &retry, random);
            prop_assert_eq!(b.subsec_nanos(), 0);
            prop_assert!(b >= MIN_BACKOFF && b <= retry.cap.max(MIN_BACKOFF));
            prop_assert!(b >= asked || b + MIN_BACKOFF > retry.cap, "the cap alone makes it shorter");
            prop_assert!(b < MAX_VISIBILITY, "SQS takes it");
        }
    }
}
