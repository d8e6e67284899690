//! How many polls there should be.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Exponential;
use crate::queue::ReceiveError;

/// Polls at once at the most: at ten messages each and 10 ms a call, 32,000 messages a second.
const MAX_POLLERS: usize = 32;

/// The jittered wait after an error: never less than its base, and after the first up to twice of it.
const ERROR_WAIT: Exponential = Exponential { base: Duration::from_millis(100), cap: Duration::from_secs(5) };

/// The wait where only an operator can help.
pub const DENIED_WAIT: Duration = Duration::from_secs(10);

/// The pause after a receive that was not full: what is sent meanwhile comes together in the next. Each receive has a
/// delete to follow it, and calls are what AWS bills and most of a delivery's CPU goes into.
const GATHER: Duration = Duration::from_millis(6);

/// The first and the longest pause after a receive that came back empty at once, although the queue had leave to wait:
/// an idle queue would be asked hundreds of times a second.
const IDLE_PAUSE: Exponential = Exponential { base: Duration::from_millis(10), cap: Duration::from_secs(1) };

/// How many polls there should be: one when idle, more while they come back full.
#[derive(Debug)]
pub(crate) struct PollScaler {
    target: usize,
    errors: u32,
    /// Receives in a row that came back empty at once.
    hasty: u32,
    /// Since when no receive has been answered with messages, or with none.
    failing_since: Option<Instant>,
    batch: usize,
    /// Before the next poll.
    pause: Duration,
}

impl PollScaler {
    pub(crate) fn new(batch: usize) -> Self {
        Self { target: 1, errors: 0, hasty: 0, failing_since: None, batch, pause: Duration::ZERO }
    }

    pub(crate) fn target(&self) -> usize {
        self.target
    }

    /// The pause before the next poll.
    pub(crate) fn pause(&self) -> Duration {
        self.pause
    }

    /// A receive was answered with `count` messages, of `asked`: for how long none had been before. It was `hasty` if
    /// it did not wait for the first as long as it might.
    pub(crate) fn received(&mut self, count: usize, asked: usize, hasty: bool, now: Instant) -> Duration {
        self.errors = 0;
        self.pause = if (1..asked).contains(&count) { GATHER } else { Duration::ZERO };
        if count == 0 && hasty {
            self.hasty = self.hasty.saturating_add(1);
            self.pause = IDLE_PAUSE.ceiling(self.hasty);
        } else {
            self.hasty = 0;
        }
        if count == 0 {
            self.target = self.target.saturating_sub(1).max(1);
        } else if count >= asked && asked >= self.batch.min(2) {
            self.target = (self.target + 1).min(MAX_POLLERS);
        }
        self.failing_since.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// A receive failed: how long to wait before the next, `random` in 0..1.
    pub(crate) fn failed(&mut self, error: &ReceiveError, random: f64, now: Instant) -> Duration {
        self.failing_since.get_or_insert(now);
        self.errors = self.errors.saturating_add(1);
        match error {
            ReceiveError::Denied(_) | ReceiveError::Missing(_) => {
                self.target = 1;
                return DENIED_WAIT;
            }
            ReceiveError::Throttled(_) => self.target = (self.target / 2).max(1),
            ReceiveError::NoResponse(_) | ReceiveError::Service(_) => {}
        }
        ERROR_WAIT.jittered(self.errors.saturating_add(1), random).max(ERROR_WAIT.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn full_receives_add_pollers_empty_ones_remove_them_and_throttling_halves_them() {
        let (mut pollers, now) = (PollScaler::new(10), Instant::now());
        for _ in 0..40 {
            pollers.received(10, 10, false, now);
        }
        assert_eq!(pollers.target(), MAX_POLLERS);
        pollers.received(4, 10, false, now);
        assert_eq!(pollers.target(), MAX_POLLERS);
        pollers.failed(&ReceiveError::Throttled(String::new()), 0.5, now);
        assert_eq!(pollers.target(), MAX_POLLERS / 2);
        for _ in 0..40 {
            pollers.received(0, 10, false, now);
        }
        assert_eq!(pollers.target(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_after_errors_lies_between_100_ms_and_5_s_and_is_10_s_where_only_people_can_help() {
        let (mut pollers, now) = (PollScaler::new(10), Instant::now());
        for n in 0..50_u32 {
            let wait = pollers.failed(&ReceiveError::Service(String::new()), f64::from(n % 10) / 10.0, now);
            assert!(wait >= ERROR_WAIT.base && wait <= ERROR_WAIT.cap);
        }
        assert_eq!(pollers.failed(&ReceiveError::Denied(String::new()), 0.0, now), DENIED_WAIT);
        assert_eq!(pollers.failed(&ReceiveError::Missing(String::new()), 0.0, now), DENIED_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_outage_before_an_answered_receive_is_measured() {
        let (mut pollers, start) = (PollScaler::new(10), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pollers.received(0, 10, false, after(5)), Duration::ZERO);
        for seconds in [7, 30] {
            pollers.failed(&ReceiveError::NoResponse(String::new()), 0.0, after(seconds));
        }
        assert_eq!(pollers.received(3, 10, false, after(47)), Duration::from_secs(40));
        assert_eq!(pollers.received(3, 10, false, after(48)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn receives_that_come_back_empty_at_once_are_followed_by_longer_and_longer_pauses() {
        let (mut pollers, now) = (PollScaler::new(10), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..10 {
            pollers.received(0, 10, true, now);
            pauses.push(pollers.pause());
        }
        assert_eq!((pauses[0], pauses[1], pauses[9]), (IDLE_PAUSE.base, IDLE_PAUSE.base * 2, IDLE_PAUSE.cap));
        pollers.received(10, 10, true, now);
        assert_eq!(pollers.pause(), Duration::ZERO, "there is more");
        pollers.received(0, 10, false, now);
        assert_eq!(pollers.pause(), Duration::ZERO, "it waited");
        pollers.received(0, 10, true, now);
        assert_eq!(pollers.pause(), IDLE_PAUSE.base);
    }
}
