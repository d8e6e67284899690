//! Which destinations have been failing, and for how long.
//!
//! A dead destination's backlog must not fill the part of the queue that SQS scans for free groups,
//! or it starves every other app. So once a destination has failed for longer than the retry window,
//! jobs past their window are given up without an attempt, while one probe at a time goes through.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many failing destinations are remembered; past it, the one failing most recently is not.
/// 10,000 entries are about half a megabyte.
const MAX_DESTINATIONS: usize = 10_000;

/// Whether a job past its window may be attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Attempt it: the destination is not known to be down.
    Attempt,
    /// Attempt it: this is the probe.
    Probe,
    /// Give it up untried.
    Skip,
}

/// Remembers failing destinations by their fingerprint.
#[derive(Debug)]
pub struct Breaker {
    window: Duration,
    probe: Duration,
    failing: Mutex<HashMap<u64, Failing>>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    last: Instant,
    probe_until: Option<Instant>,
}

impl Breaker {
    /// One that opens after `window` of failure; a probe is thought lost after `probe`, the attempt
    /// timeout.
    #[must_use]
    pub fn new(window: Duration, probe: Duration) -> Self {
        Self { window, probe, failing: Mutex::default() }
    }

    /// Asks for leave to attempt a job that is past its window, taking the probe if there is one.
    pub fn ask(&self, destination: u64, now: Instant) -> Gate {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = failing.get_mut(&destination) else { return Gate::Attempt };
        if now.duration_since(state.since) <= self.window {
            return Gate::Attempt;
        }
        if state.probe_until.is_some_and(|until| now < until) {
            return Gate::Skip;
        }
        state.probe_until = Some(now + self.probe);
        Gate::Probe
    }

    /// The destination took something: it is not failing.
    pub fn succeeded(&self, destination: u64) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if !failing.is_empty() {
            failing.remove(&destination);
        }
    }

    /// The destination failed. A probe that fails gives its place back; other attempts that are
    /// still under way when the breaker opens do not.
    pub fn failed(&self, destination: u64, gate: Gate, now: Instant) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.len() >= MAX_DESTINATIONS && !failing.contains_key(&destination) {
            // What has not been tried for two windows is no longer worth its place.
            let window = self.window * 2;
            failing.retain(|_, state| now.duration_since(state.last) <= window);
            if failing.len() >= MAX_DESTINATIONS {
                return;
            }
        }
        let state =
            failing.entry(destination).or_insert(Failing { since: now, last: now, probe_until: None });
        state.last = now;
        if gate == Gate::Probe {
            state.probe_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_a_window_of_failure_and_lets_one_probe_through() {
        let breaker = Breaker::new(WINDOW, Duration::from_secs(4));
        let start = Instant::now();
        assert_eq!(breaker.ask(1, start), Gate::Attempt);
        breaker.failed(1, Gate::Attempt, start);
        assert_eq!(breaker.ask(1, start + WINDOW), Gate::Attempt);
        let later = start + WINDOW + Duration::from_millis(1);
        assert_eq!(breaker.ask(1, later), Gate::Probe);
        assert_eq!(breaker.ask(1, later), Gate::Skip);
        breaker.failed(1, Gate::Attempt, later);
        assert_eq!(breaker.ask(1, later), Gate::Skip, "that was not the probe");
        assert_eq!(breaker.ask(2, later), Gate::Attempt, "another destination");
        breaker.failed(1, Gate::Probe, later);
        assert_eq!(breaker.ask(1, later), Gate::Probe, "the next probe");
        assert_eq!(breaker.ask(1, later + Duration::from_secs(3)), Gate::Skip);
        assert_eq!(breaker.ask(1, later + Duration::from_secs(4)), Gate::Probe, "a lost probe");
        breaker.succeeded(1);
        assert_eq!(breaker.ask(1, later), Gate::Attempt);
        assert_eq!(breaker.ask(1, later), Gate::Attempt, "closed again");
    }
}
