//! Counts and durations of the last minutes.

use std::time::Duration;

use tokio::time::Instant;

/// The window's length in slots of a minute each.
const SLOTS: usize = 5;
const SLOT: Duration = Duration::from_secs(60);
/// The window's length.
pub(super) const LENGTH: Duration = Duration::from_secs(SLOTS as u64 * SLOT.as_secs());

/// Buckets of quarter powers of two from 1 ms: up to 24 days, as lags are as old as a queue keeps messages.
const BUCKETS: usize = 125;
const A_POWER: f64 = 4.0;

/// Durations by bucket: what is told of them is up to 19 % off.
#[derive(Clone, Debug)]
pub struct Durations {
    buckets: [u32; BUCKETS],
    /// The shortest and the longest, if there is any.
    range: Option<(Duration, Duration)>,
}

impl Default for Durations {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], range: None }
    }
}

impl Durations {
    /// Takes one.
    pub fn observe(&mut self, duration: Duration) {
        // The first bucket whose upper end is not below it, an end itself included.
        let at = (milliseconds(duration).log2() * A_POWER - 1e-9).ceil();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "it is clamped; of 0 it is 0"
        )]
        let at = at.clamp(0.0, (BUCKETS - 1) as f64) as usize;
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket = bucket.saturating_add(1);
        }
        self.widen((duration, duration));
    }

    /// The duration that a share of them, 0 to 1, stays within, in milliseconds.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let (shortest, longest) = self.range?;
        let all: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        #[allow(clippy::cast_precision_loss, reason = "counts of minutes")]
        let (rank, mut upper, mut before) = (share * all as f64, 1.0, 0.0);
        for count in &self.buckets {
            let count = f64::from(*count);
            if count > 0.0 && before + count >= rank {
                // As if those of a bucket were spread over it evenly.
                let part = ((rank - before) / count).clamp(0.0, 1.0);
                let within = upper * ((part - 1.0) / A_POWER).exp2();
                return Some(within.clamp(milliseconds(shortest), milliseconds(longest)));
            }
            before += count;
            upper *= (1.0 / A_POWER).exp2();
        }
        Some(milliseconds(longest))
    }

    /// Takes in others.
    pub fn add(&mut self, others: &Self) {
        for (bucket, other) in self.buckets.iter_mut().zip(&others.buckets) {
            *bucket = bucket.saturating_add(*other);
        }
        if let Some(range) = others.range {
            self.widen(range);
        }
    }

    fn widen(&mut self, (shortest, longest): (Duration, Duration)) {
        let (least, most) = self.range.unwrap_or((shortest, longest));
        self.range = Some((least.min(shortest), most.max(longest)));
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
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
    /// Attempts that took long, whatever came of them.
    long: u32,
    /// How long they took.
    pub took: Durations,
}

impl Window {
    /// Takes one attempt; `long` is from when on it counts as one that took long.
    pub fn observe(&mut self, delivered: bool, took: Duration, long: Duration, now: Instant) {
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
        counts.long = counts.long.saturating_add(u32::from(took >= long));
        counts.took.observe(took);
    }

    /// How many attempts of the last five minutes there are, and how many of them took long.
    #[must_use]
    pub fn attempts(&self, now: Instant) -> (u32, u32) {
        let slots = self.slots.iter().filter(|slot| slot.is_within(LENGTH, now));
        slots.fold((0, 0), |(all, long), Slot { counts, .. }| {
            let attempts = counts.delivered.saturating_add(counts.failed);
            (all.saturating_add(attempts), long.saturating_add(counts.long))
        })
    }

    /// All of the last five minutes.
    #[must_use]
    pub fn counts(&self, now: Instant) -> Counts {
        let mut all = Counts::default();
        for slot in self.slots.iter().filter(|slot| slot.is_within(LENGTH, now)) {
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
    fn a_quantile_is_at_most_a_quarter_power_of_two_off_and_never_beyond_the_longest() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantile(0.5), None);
        for ms in 1..=1000 {
            durations.observe(Duration::from_millis(ms));
        }
        let near = |share: f64, expected: f64| {
            let is = durations.quantile(share).unwrap();
            assert!(is >= expected / 1.19 && is <= expected * 1.19, "{is} for {expected}");
        };
        near(0.5, 500.0);
        near(0.01, 10.0);
        assert!((durations.quantile(1.0).unwrap() - 1000.0).abs() < 0.001);
        durations.observe(Duration::from_secs(900));
        assert!((durations.quantile(1.0).unwrap() - 900_000.0).abs() < 0.001);
    }

    #[test]
    fn the_median_of_lags_after_an_outage_is_not_the_oldest_jobs() {
        let mut lags = Durations::default();
        for _ in 0..99 {
            lags.observe(Duration::from_secs(40));
        }
        lags.observe(Duration::from_secs(3600));
        for share in [0.5, 0.99] {
            let lag = lags.quantile(share).unwrap();
            assert!((40_000.0..48_000.0).contains(&lag), "{lag}");
        }
        let mut old = Durations::default();
        for days in 1..=14 {
            old.observe(Duration::from_secs(days * 86_400));
        }
        let median = old.quantile(0.5).unwrap() / 86_400_000.0;
        assert!((6.0..8.4).contains(&median), "{median} days");
        let mut none = Durations::default();
        none.observe(Duration::ZERO);
        assert_eq!(none.quantile(0.5), Some(0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_five_minutes_does_not_count() {
        let mut window = Window::default();
        let start = Instant::now();
        for minute in 0..10_u32 {
            window.observe(minute % 2 == 0, Duration::from_millis(5), SLOT, start + SLOT * minute);
        }
        let counts = window.counts(start + SLOT * 9);
        assert_eq!((counts.delivered, counts.failed), (2, 3));
        let counts = window.counts(start + SLOT * 20);
        assert_eq!((counts.delivered, counts.failed, counts.took.quantile(0.5)), (0, 0, None));
    }
}
