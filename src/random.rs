//! The source of randomness: injected, so that a test can repeat a run.

use std::sync::{Mutex, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

/// A seeded source of jitter and of attempt ids. Not for secrets.
#[derive(Debug)]
pub struct Random(Mutex<SmallRng>);

impl Random {
    /// One seed always gives the same numbers: for tests and benches, which repeat a run.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    /// Seeded by the system.
    #[must_use]
    pub fn from_system() -> Self {
        Self(Mutex::new(rand::make_rng()))
    }

    /// A number in 0..1.
    pub fn fraction(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    /// A fresh UUID of version 4.
    pub fn uuid(&self) -> uuid::Uuid {
        let mut bytes = [0; 16];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}
