//! Fifteen minutes in slots of ten seconds, for the sparklines and the rates.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::window::Durations;

/// One slot.
pub const SLOT: Duration = Duration::from_secs(10);

/// Fifteen minutes of them.
pub const SLOTS: usize = 90;

/// Slots that end now and before, oldest first.
#[derive(Debug, Default)]
pub struct History {
    current: Option<Current>,
    past: VecDeque<Sample>,
}

#[derive(Clone, Debug)]
struct Current {
    began: Instant,
    delivered: u64,
    failed: u64,
    dead_lettered: u64,
    lag: Durations,
}

/// What is read off when a slot ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Places taken.
    pub in_flight: u64,
    /// Destinations that are failing or down.
    pub failing: u64,
    /// Groups that are blocked.
    pub blocked: u64,
    /// Seconds since the oldest waiting job was sent.
    pub oldest: u64,
}

/// One slot that has ended.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    /// Deliveries a second.
    pub deliveries: f32,
    /// Failed attempts a second.
    pub failures: f32,
    /// The median of the ages at delivery, in milliseconds.
    pub lag_p50: Option<f32>,
    /// Their 99th percentile.
    pub lag_p99: Option<f32>,
    /// Places taken at its end.
    pub in_flight: u64,
    /// Failing destinations at its end.
    pub failing: u64,
    /// Blocked groups at its end.
    pub blocked: u64,
    /// The age of the oldest waiting job at its end, in seconds.
    pub oldest: u64,
    /// Jobs given up in it.
    pub dead_letters: u64,
    #[serde(skip)]
    lag: Durations,
}

impl History {
    pub(super) fn attempted(&mut self, delivered: bool, now: Instant) {
        let current = self.current(now);
        let count = if delivered { &mut current.delivered } else { &mut current.failed };
        *count += 1;
    }

    pub(super) fn delivered(&mut self, age: Duration, now: Instant) {
        self.current(now).lag.observe(age);
    }

    pub(super) fn dead_lettered(&mut self, now: Instant) {
        self.current(now).dead_lettered += 1;
    }

    /// Ends the slot if its time is over; to be called at least once a slot.
    pub fn sample(&mut self, gauges: Gauges, now: Instant) {
        if now.duration_since(self.current(now).began) < SLOT {
            return;
        }
        let Some(slot) = self.current.take() else { return };
        self.past.push_back(slot.ended(gauges, now));
        while self.past.len() > SLOTS {
            self.past.pop_front();
        }
        self.current = Some(Current::new(now));
    }

    /// Ended slots, oldest first.
    pub fn past(&self) -> impl Iterator<Item = &Sample> {
        self.past.iter()
    }

    /// The last ten to twenty seconds as one sample: the slot before, and what there is of this one.
    #[must_use]
    pub fn now(&self, gauges: Gauges, now: Instant) -> Sample {
        let Some(current) = &self.current else { return Sample::default() };
        let mut both = current.clone();
        if let Some(last) = self.past.back() {
            // Its counts, back from its rates.
            both.began = current.began.checked_sub(SLOT).unwrap_or(current.began);
            let seconds = SLOT.as_secs_f32();
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "counts of ten seconds, from above 0"
            )]
            let count = |rate: f32| (rate * seconds).round() as u64;
            both.delivered += count(last.deliveries);
            both.failed += count(last.failures);
            both.dead_lettered += last.dead_letters;
            both.lag.add(&last.lag);
        }
        both.ended(gauges, now)
    }

    fn current(&mut self, now: Instant) -> &mut Current {
        self.current.get_or_insert_with(|| Current::new(now))
    }
}

impl Current {
    fn new(began: Instant) -> Self {
        Self { began, delivered: 0, failed: 0, dead_lettered: 0, lag: Durations::default() }
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "for a picture")]
    fn ended(self, gauges: Gauges, now: Instant) -> Sample {
        // Right after the start a rate over a fraction of a second would say nothing.
        let seconds = now.duration_since(self.began).max(Duration::from_secs(1)).as_secs_f32();
        let rate = |count: u64| (count as f32 / seconds * 10.0).round() / 10.0;
        let quantile = |share| self.lag.quantile(share).map(|ms| (ms as f32 * 10.0).round() / 10.0);
        Sample {
            deliveries: rate(self.delivered),
            failures: rate(self.failed),
            lag_p50: quantile(0.5),
            lag_p99: quantile(0.99),
            in_flight: gauges.in_flight,
            failing: gauges.failing,
            blocked: gauges.blocked,
            oldest: gauges.oldest,
            dead_letters: self.dead_lettered,
            lag: self.lag,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rates_are_those_of_the_last_slots_and_fifteen_minutes_are_kept() {
        let mut history = History::default();
        for _ in 0..200 {
            for _ in 0..50 {
                history.attempted(true, Instant::now());
                history.delivered(Duration::from_millis(8), Instant::now());
            }
            tokio::time::advance(SLOT).await;
            history.sample(Gauges::default(), Instant::now());
        }
        assert_eq!(history.past().count(), SLOTS);
        assert!(history.past().all(|sample| (sample.deliveries - 5.0).abs() < 0.01));
        let now = history.now(Gauges::default(), Instant::now());
        assert!((now.deliveries - 5.0).abs() < 0.01, "{now:?}");
        assert_eq!(now.lag_p50, Some(8.0));
        tokio::time::advance(SLOT).await;
        history.sample(Gauges::default(), Instant::now());
        let now = history.now(Gauges::default(), Instant::now());
        assert_eq!((now.lag_p50, now.deliveries), (None, 0.0));
    }
}
