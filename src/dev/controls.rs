//! What can be changed while `dev` runs: which endpoints fail, the rate, whether there is a worker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::{APPS, FAILING_APP, FAILS_FOR, MAX_RATE};

/// What the keys of the panel change, shared by the producer, the receiver and the worker of a run.
#[derive(Debug)]
pub(super) struct Controls {
    /// Sample jobs a second, as bits.
    rate: AtomicU64,
    endpoints: Mutex<[Endpoint; APPS.len()]>,
    /// Whether there is to be a worker.
    pub worker: watch::Sender<bool>,
}

/// How an app's endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Healthy,
    Failing,
    /// It fails for [`FAILS_FOR`] from its first webhook on.
    FailsAtFirst,
    FailsUntil(Instant),
}

impl Controls {
    pub(super) fn new(rate: f64, faults: bool) -> Self {
        let mut endpoints = [Endpoint::Healthy; APPS.len()];
        if faults && let Some(endpoint) = endpoints.get_mut(FAILING_APP) {
            *endpoint = Endpoint::FailsAtFirst;
        }
        Self {
            rate: AtomicU64::new(rate.to_bits()),
            endpoints: Mutex::new(endpoints),
            worker: watch::Sender::new(true),
        }
    }

    pub(super) fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }

    /// Multiplies the rate.
    pub(super) fn accelerate(&self, by: f64) {
        let rate = (self.rate() * by).clamp(0.1, MAX_RATE);
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// Whether an app's endpoint answers the webhook that it has just got with a failure.
    pub(super) fn fails(&self, app: usize) -> bool {
        let mut endpoints = self.endpoints();
        let Some(endpoint) = endpoints.get_mut(app) else { return false };
        if *endpoint == Endpoint::FailsAtFirst {
            *endpoint = Endpoint::FailsUntil(Instant::now() + FAILS_FOR);
        }
        endpoint.fails()
    }

    /// Whether it would.
    pub(super) fn is_failing(&self, app: usize) -> bool {
        self.endpoints().get(app).is_some_and(Endpoint::fails)
    }

    /// Fails an endpoint that is healthy, and heals one that fails.
    pub(super) fn toggle(&self, app: usize) {
        if let Some(endpoint) = self.endpoints().get_mut(app) {
            *endpoint = if endpoint.fails() { Endpoint::Healthy } else { Endpoint::Failing };
        }
    }

    fn endpoints(&self) -> MutexGuard<'_, [Endpoint; APPS.len()]> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    fn fails(&self) -> bool {
        match self {
            Self::Healthy => false,
            Self::Failing | Self::FailsAtFirst => true,
            Self::FailsUntil(end) => Instant::now() < *end,
        }
    }
}
