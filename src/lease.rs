//! For how long a lane's messages are its own.
//!
//! SQS begins to count before the worker does: when it hands the messages over, not when they arrive.
//! [`SAFETY_MARGIN`] stands for the ways there and back, at both ends: a lease ends that much before
//! the visibility timeout seems to, and asks for that much less than SQS seems to grant.

use std::time::Duration;

use tokio::time::Instant;

/// The longest visibility timeout, counted from the receive.
pub const MAX_VISIBILITY: Duration = Duration::from_secs(43_200);

/// Taken off the lease for the way of the receive's response: SQS starts counting before the worker
/// does. Twice what a slow call within a region takes.
pub const SAFETY_MARGIN: Duration = Duration::from_millis(250);

/// Kept free after an attempt's deadline, for the call that settles the job.
pub const SETTLE_MARGIN: Duration = Duration::from_millis(500);

/// The least that a lease is extended to: a lane of ten slow jobs pays for few extensions, and a
/// crash blocks a group for no longer than this.
pub const MIN_EXTENSION: Duration = Duration::from_secs(30);

/// The time in which a lane may work. Pure: `now` is an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    received: Instant,
    until: Instant,
}

impl Lease {
    /// Of messages that arrived at `received` and are hidden for `visibility`.
    pub(crate) fn new(received: Instant, visibility: Duration) -> Self {
        Self { received, until: received + visibility.saturating_sub(SAFETY_MARGIN) }
    }

    /// When it ends.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Whether it has ended: the messages may be someone else's.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.until
    }

    /// Whether so much still fits in.
    pub(crate) fn fits(&self, now: Instant, needed: Duration) -> bool {
        now + needed <= self.until
    }

    /// The longest visibility timeout, in whole seconds, that SQS still grants: 43,200 s from the receive
    /// are the end of it.
    pub(crate) fn longest(&self, now: Instant) -> Duration {
        let used = now.duration_since(self.received) + SAFETY_MARGIN;
        Duration::from_secs(MAX_VISIBILITY.saturating_sub(used).as_secs())
    }

    /// This lease once the messages are hidden for `visibility` from `now` on.
    pub(crate) fn extended(&self, now: Instant, visibility: Duration) -> Self {
        Self { received: self.received, ..Self::new(now, visibility) }
    }
}

/// What has to be left of a visibility timeout besides the attempt.
#[must_use]
pub fn margins() -> Duration {
    SAFETY_MARGIN + SETTLE_MARGIN
}

/// The least visibility timeout that leaves room for an attempt and what is around it, in whole seconds.
#[must_use]
pub fn least_visibility(timeout: Duration) -> u64 {
    // One more even where they come to whole seconds: they have to be less than it.
    (timeout + margins()).as_secs().saturating_add(1)
}

/// Holds a visibility timeout against the attempt timeout; `source` says where it comes from.
///
/// # Errors
/// What does not fit, and what to do.
pub fn check_visibility(timeout: Duration, visibility: Duration, source: &str) -> Result<(), String> {
    if timeout + margins() < visibility {
        return Ok(());
    }
    Err(format!(
        "WEBHOOKS_TIMEOUT_MS: {} ms plus {} ms of margins must be less than the visibility timeout of {} s ({source}): \
         lower WEBHOOKS_TIMEOUT_MS or raise QUEUE_SQS_VISIBILITY_TIMEOUT",
        timeout.as_millis(),
        margins().as_millis(),
        visibility.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn an_attempt_fits_to_the_millisecond_and_not_past_it() {
        let received = Instant::now();
        let lease = Lease::new(received, ms(5000));
        assert!(lease.fits(received + ms(250), ms(4500)));
        assert!(!lease.fits(received + ms(251), ms(4500)));
        assert!(!lease.is_over(received + ms(4749)) && lease.is_over(received + ms(4750)));
    }

    #[test]
    fn a_visibility_shorter_than_the_margin_is_no_lease_at_all() {
        let received = Instant::now();
        assert!(Lease::new(received, ms(100)).is_over(received));
    }

    #[test]
    fn nothing_is_asked_for_past_43_200_s_from_the_receive() {
        let received = Instant::now();
        let lease = Lease::new(received, ms(5000));
        for (after, longest) in
            [(0, 43_199), (43_198_750, 1), (43_198_751, 0), (43_200_000, 0), (1_000_000_000, 0)]
        {
            assert_eq!(lease.longest(received + ms(after)), Duration::from_secs(longest), "after {after} ms");
        }
    }

    proptest! {
        /// SQS as its documentation has it, a way there and back of up to the margin.
        #[test]
        fn sqs_grants_what_is_asked_for_and_hides_the_messages_longer_than_the_lease_lasts(
            visibility in 0_u64..=43_200, handed_over in 0_u64..250, elapsed in 0_u64..43_300_000,
            wanted in 0_u64..=43_200, needed in 0_u64..900_000,
        ) {
            let sqs = Instant::now();
            let received = sqs + ms(handed_over);
            let lease = Lease::new(received, Duration::from_secs(visibility));
            prop_assert!(lease.is_over(sqs + Duration::from_secs(visibility)));
            let now = received + ms(elapsed);
            // The call takes what is left of the margin to get there.
            let called = now + ms(250 - handed_over);
            let extension = lease.longest(now).min(Duration::from_secs(wanted));
            prop_assert_eq!(extension.subsec_nanos(), 0);
            prop_assert!(extension.is_zero() || called + extension <= sqs + MAX_VISIBILITY, "SQS refuses");
            let extended = lease.extended(now, extension);
            // The messages are hidden for longer than that: the call is under way before it counts.
            prop_assert!(extended.is_over(now + extension.saturating_sub(SAFETY_MARGIN)));
            if extended.fits(now, ms(needed)) {
                prop_assert!(now + ms(needed) + SAFETY_MARGIN <= called + extension);
            }
            prop_assert_eq!(extended.longest(now), lease.longest(now), "counted from the receive still");
        }
    }
}
