//! Everything that is drawn comes from the run's seed.
//!
//! Processes and sockets are not deterministic, so a seed does not repeat a run to the byte. It does
//! repeat the schedule of signals, the weather, and what a receiver does to the k-th attempt at a job.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Fine weather and storms take turns in slots of this length.
const SLOT: Duration = Duration::from_secs(2);

/// One slot in so many is a storm.
const STORMS: u32 = 6;

/// A place in the tree of draws that grows from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The draws for `what`, independent of those for anything else.
    pub fn of(self, what: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        (self.0, what).hash(&mut hasher);
        Self(hasher.finish())
    }

    pub fn rng(self) -> SmallRng {
        SmallRng::seed_from_u64(self.0)
    }

    /// Whether it storms at this time. Faults that come alone are mended by one retry; only in a
    /// storm do all retries of a call fail.
    pub fn storm(self, at: Duration) -> bool {
        let slot = at.as_millis() / SLOT.as_millis();
        self.of(("storm", slot)).rng().random_ratio(1, STORMS)
    }
}

/// Draws from a table of (what, out of 1,000); `None` if nothing of it comes up.
pub fn drawn<T: Copy>(rng: &mut SmallRng, table: &[(T, u32)]) -> Option<T> {
    let mut left: u32 = rng.random_range(0..1000);
    for (what, share) in table {
        match left.checked_sub(*share) {
            None => return Some(*what),
            Some(rest) => left = rest,
        }
    }
    None
}

/// A duration of so many milliseconds.
pub fn millis(rng: &mut SmallRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}
