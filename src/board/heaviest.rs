//! The entries that matter most of an unbounded number: those with the most failures and those with the
//! most load. Three eighths of the places are kept for each, the last quarter is for what is new.
//!
//! This is the space-saving algorithm with two weights, its evictions made in batches: when the places
//! are full, a quarter that is among the heaviest by neither weight is folded into `other`, and
//! whatever comes new after that begins at the greatest weight that was evicted. So a weight is never
//! under-estimated, and a flood of names that each come once cannot push out one that keeps coming.
//! Where the heaviest by both weights are the same, as when everything fails, the rest of the three
//! quarters is kept too, what has been failing for longest first.
//! Values, unlike weights, are exact from the moment from which an entry has its place. Weights halve
//! every `HALF_LIFE`, so that what was busy yesterday gives way.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// Long enough for a destination that is tried once a minute to keep its place, short enough for the
/// traffic of an hour ago to give way.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// What can be added up.
pub trait Fold: Default {
    /// Takes in what an evicted entry held.
    fn fold(&mut self, evicted: &Self);

    /// Since when it fails, if it does.
    fn failing_since(&self) -> Option<Instant> {
        None
    }
}

/// The heaviest entries, and the sum of all others.
#[derive(Debug)]
pub struct Heaviest<V> {
    places: usize,
    entries: HashMap<u64, Place<V>>,
    other: V,
    evicted: u64,
    floor: Weights,
    halved: Option<Instant>,
}

#[derive(Debug)]
struct Place<V> {
    value: V,
    weights: Weights,
}

#[derive(Clone, Copy, Debug, Default)]
struct Weights {
    load: u64,
    failures: u64,
}

impl<V: Fold> Heaviest<V> {
    /// At most `places` entries.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let places = places.max(4);
        Self {
            places,
            entries: HashMap::new(),
            other: V::default(),
            evicted: 0,
            floor: Weights::default(),
            halved: None,
        }
    }

    /// The entry of `key`, made by `new` if it has no place; it gains weight.
    pub fn touch(&mut self, key: u64, failed: bool, now: Instant, new: impl FnOnce() -> V) -> &mut V {
        self.halve(now);
        if self.entries.len() >= self.places && !self.entries.contains_key(&key) {
            self.evict();
        }
        let floor = self.floor;
        let fresh = || Place { value: new(), weights: Weights { load: floor.load, failures: 0 } };
        let place = self.entries.entry(key).or_insert_with(fresh);
        place.weights.load += 1;
        if failed {
            place.weights.failures = place.weights.failures.max(floor.failures) + 1;
        }
        &mut place.value
    }

    /// Removes the entries that `keep` refuses, and adds their values to `other`.
    pub fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        let Self { entries, other, .. } = self;
        entries.retain(|key, place| {
            let is_kept = keep(*key);
            if !is_kept {
                other.fold(&place.value);
            }
            is_kept
        });
    }

    /// All entries that have a place, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|place| &place.value)
    }

    /// The sum of the entries that were removed.
    pub fn other(&self) -> &V {
        &self.other
    }

    /// How often an entry lost its place.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    fn halve(&mut self, now: Instant) {
        let last = *self.halved.get_or_insert(now);
        if now.duration_since(last) < HALF_LIFE {
            return;
        }
        self.halved = Some(now);
        for weights in
            self.entries.values_mut().map(|place| &mut place.weights).chain(std::iter::once(&mut self.floor))
        {
            weights.load /= 2;
            weights.failures /= 2;
        }
    }

    fn evict(&mut self) {
        let kept_by_each = self.places * 3 / 8;
        let mut kept = HashSet::new();
        for weight in [by_failures, by_load] {
            let mut order: Vec<_> =
                self.entries.iter().map(|(key, place)| (weight(&place.weights), *key)).collect();
            order.sort_unstable_by(|a, b| b.cmp(a));
            kept.extend(
                order.iter().take(kept_by_each).filter(|(weight, _)| *weight > (0, 0)).map(|(_, key)| *key),
            );
        }
        let rest = self.entries.iter().filter(|(key, _)| !kept.contains(key));
        let mut rest: Vec<_> = rest
            .map(|(key, place)| {
                let since = place.value.failing_since();
                (since.is_none(), since, Reverse(by_load(&place.weights)), *key)
            })
            .collect();
        rest.sort_unstable();
        let room = (kept_by_each * 2).saturating_sub(kept.len());
        kept.extend(rest.into_iter().take(room).map(|(.., key)| key));
        let lost: Vec<u64> = self.entries.keys().copied().filter(|key| !kept.contains(key)).collect();
        for key in lost {
            let Some(place) = self.entries.remove(&key) else { continue };
            self.other.fold(&place.value);
            self.evicted += 1;
            self.floor.load = self.floor.load.max(place.weights.load);
            self.floor.failures = self.floor.failures.max(place.weights.failures);
        }
    }
}

fn by_failures(weights: &Weights) -> (u64, u64) {
    // What never failed has no place among the failing ones, however much of it there is.
    if weights.failures == 0 { (0, 0) } else { (weights.failures, weights.load) }
}

fn by_load(weights: &Weights) -> (u64, u64) {
    (weights.load, weights.failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Count {
        key: u64,
        seen: u64,
    }

    impl Fold for Count {
        fn fold(&mut self, evicted: &Self) {
            self.seen += evicted.seen;
        }
    }

    fn touch(heaviest: &mut Heaviest<Count>, key: u64, failed: bool) {
        heaviest.touch(key, failed, Instant::now(), || Count { key, seen: 0 }).seen += 1;
    }

    fn seen(heaviest: &Heaviest<Count>, key: u64) -> Option<u64> {
        heaviest.iter().find(|count| count.key == key).map(|count| count.seen)
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_names_pushes_out_neither_the_busy_nor_the_failing() {
        // Three eighths of 64 places are kept by load: what has a tenth of it all is among them for sure.
        let mut heaviest = Heaviest::new(64);
        for n in 0..100_000 {
            touch(&mut heaviest, 1_000 + n, false);
            if n % 10 == 0 {
                touch(&mut heaviest, 1, false);
            }
            if n % 100 == 0 {
                touch(&mut heaviest, 2, true);
            }
        }
        assert_eq!(seen(&heaviest, 1), Some(10_000));
        assert_eq!(seen(&heaviest, 2), Some(1_000));
        assert!(heaviest.iter().count() <= 64);
        let all: u64 = heaviest.iter().map(|count| count.seen).sum();
        assert_eq!(all + heaviest.other().seen, 111_000, "nothing is counted twice or dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_begins_to_be_busy_late_gets_its_place() {
        let mut heaviest = Heaviest::new(16);
        for n in 0..10_000 {
            touch(&mut heaviest, n, n % 2 == 0);
        }
        for n in 0..1_000 {
            touch(&mut heaviest, 100_000, false);
            touch(&mut heaviest, 200_000 + n, false);
        }
        assert!(seen(&heaviest, 100_000).is_some_and(|seen| seen > 900), "{heaviest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_busy_gives_way_in_time() {
        let mut heaviest = Heaviest::new(8);
        for key in 0..8 {
            for _ in 0..1_000 {
                touch(&mut heaviest, key, false);
            }
        }
        tokio::time::advance(HALF_LIFE * 2).await;
        for round in 0..20 {
            tokio::time::advance(HALF_LIFE).await;
            for key in 100..108 {
                touch(&mut heaviest, key + round % 2, false);
            }
        }
        let old = heaviest.iter().filter(|count| count.key < 8).count();
        assert!(old < 4, "{old} of the old ones are left");
    }
}
