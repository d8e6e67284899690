//! Counts and durations of the last minutes.

use std::time::Duration;

use tokio::time::Instant;

/// The window's length in slots of a minute each.
const SLOTS: usize = 5;
const SLOT: Duration = Duration::from_secs(60);
/// The window's length.
pub(super) const LENGTH: Duration = Duration::from_secs(SLOTS as u64 * SLOT.as_secs());

/// Buckets of half powers of two from 1 ms: the last one holds what took longer than 46 s.
const BUCKETS: usize = 32;

/// Durations, each told by the upper end of its bucket: up to 42 % too high.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    buckets: [u32; BUCKETS],
    longest: Duration,
}

impl Durations {
    /// Takes one.
    pub fn observe(&mut self, duration: Duration) {
        let milliseconds = duration.as_secs_f64() * 1000.0;
        let mut upper = 1.0;
        let at = (0..BUCKETS - 1).find(|_| {
            let fits = milliseconds <= upper;
            upper *= std::f64::consts::SQRT_2;
            fits
        });
        if let Some(bucket) = self.buckets.get_mut(at.unwrap_or(BUCKETS - 1)) {
            *bucket = bucket.saturating_add(1);
        }
        self.longest = self.longest.max(duration);
    }

    /// The duration that a share of them, 0 to 1, stays within, in milliseconds.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        if all == 0 {
            return None;
        }
        let mut upper = 1.0;
        let mut seen = 0_u64;
        for count in &self.buckets[..BUCKETS - 1] {
            seen += u64::from(*count);
            #[allow(clippy::cast_precision_loss, reason = "counts of minutes")]
            if seen as f64 >= share * all as f64 {
                return Some(f64::min(upper, self.longest.as_secs_f64() * 1000.0));
            }
            upper *= std::f64::consts::SQRT_2;
        }
        Some(self.longest.as_secs_f64() * 1000.0)
    }

    /// Takes in others.
    pub fn add(&mut self, others: &Self) {
        for (bucket, other) in self.buckets.iter_mut().zip(&others.buckets) {
            *bucket = bucket.saturating_add(*other);
        }
        self.longest = self.longest.max(others.longest);
    }
}

/// Attempts of the last five minutes.
#[derive(Clone, Debug, Default)]
pub struct Window {
    slots: [Slot; SLOTS],
}

#[derive(Clone, Debug, Default)]
struct Slot {
    began: Option<Instant>,
    counts: Counts,
}

/// What a window holds.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Attempts that were taken.
    pub delivered: u32,
    /// Attempts that failed.
    pub failed: u32,
    /// How long they took.
    pub took: Durations,
}

impl Window {
    /// Takes one attempt.
    pub fn observe(&mut self, delivered: bool, took: Duration, now: Instant) {
        let current = self.slots.iter().position(|slot| slot.is_within(SLOT, now));
        // The one that began first gives way; one that is empty began never.
        let oldest = (0..SLOTS).min_by_key(|at| self.slots.get(*at).and_then(|slot| slot.began)).unwrap_or(0);
        let Some(slot) = self.slots.get_mut(current.unwrap_or(oldest)) else { return };
        if current.is_none() {
            *slot = Slot { began: Some(now), counts: Counts::default() };
        }
        let counts = &mut slot.counts;
        let count = if delivered { &mut counts.delivered } else { &mut counts.failed };
        *count = count.saturating_add(1);
        counts.took.observe(took);
    }

    /// All of the last five minutes.
    #[must_use]
    pub fn counts(&self, now: Instant) -> Counts {
        let length = SLOT * u32::try_from(SLOTS).unwrap_or(1);
        let mut all = Counts::default();
        for slot in self.slots.iter().filter(|slot| slot.is_within(length, now)) {
            all.delivered = all.delivered.saturating_add(slot.counts.delivered);
            all.failed = all.failed.saturating_add(slot.counts.failed);
            all.took.add(&slot.counts.took);
        }
        all
    }
}

impl Slot {
    fn is_within(&self, length: Duration, now: Instant) -> bool {
        self.began.is_some_and(|began| now.duration_since(began) < length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_half_a_power_of_two_too_high_and_never_above_the_longest() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantile(0.5), None);
        for ms in 1..=1000 {
            durations.observe(Duration::from_millis(ms));
        }
        let near = |share: f64, expected: f64| {
            let is = durations.quantile(share).unwrap();
            assert!(is >= expected && is <= expected * 1.42, "{is} for {expected}");
        };
        near(0.5, 500.0);
        near(0.01, 10.0);
        assert!((durations.quantile(1.0).unwrap() - 1000.0).abs() < 0.001);
        durations.observe(Duration::from_secs(900));
        assert!((durations.quantile(1.0).unwrap() - 900_000.0).abs() < 0.001);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_five_minutes_does_not_count() {
        let mut window = Window::default();
        let start = Instant::now();
        for minute in 0..10_u32 {
            window.observe(minute % 2 == 0, Duration::from_millis(5), start + SLOT * minute);
        }
        let counts = window.counts(start + SLOT * 9);
        assert_eq!((counts.delivered, counts.failed), (2, 3));
        let counts = window.counts(start + SLOT * 20);
        assert_eq!((counts.delivered, counts.failed, counts.took.quantile(0.5)), (0, 0, None));
    }
}
