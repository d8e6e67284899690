//! Which destinations have been failing, and for how long.
//!
//! A dead destination's backlog must not fill the part of the queue that SQS scans for free groups,
//! or it starves every other app. So once a destination has failed for longer than the retry window,
//! jobs past their window are given up without an attempt, while one probe at a time goes through.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::app::WebhookId;

/// How many failing destinations are remembered; past it, the one failing most recently is not.
/// 10,000 entries are about half a megabyte.
const MAX_DESTINATIONS: usize = 10_000;

/// Whether a job past its window may be attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Attempt it: the destination is not known to be down.
    Closed,
    /// Attempt it: this is the one probe of a destination that is down.
    HalfOpenProbe,
    /// Do not attempt it.
    Open,
}

/// A destination as one app uses it: what is down for one app is not therefore down for another.
#[must_use]
pub fn destination(app_id: &str, webhook: &WebhookId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (app_id, webhook).hash(&mut hasher);
    hasher.finish()
}

/// Remembers failing destinations.
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
    ///
    /// Failures further apart than a window and two probes do not add up: in between, other processes
    /// may have had their successes.
    #[must_use]
    pub fn new(window: Duration, probe: Duration) -> Self {
        Self { window, probe, failing: Mutex::default() }
    }

    /// Asks for leave to attempt a job that is past its window, taking the probe if there is one.
    pub fn ask(&self, destination: u64, now: Instant) -> Gate {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = failing.get_mut(&destination) else { return Gate::Closed };
        if self.is_stale(state, now) || now.duration_since(state.since) <= self.window {
            return Gate::Closed;
        }
        if state.probe_until.is_some_and(|until| now < until) {
            return Gate::Open;
        }
        state.probe_until = Some(now + self.probe);
        Gate::HalfOpenProbe
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
            failing.retain(|_, state| !self.is_stale(state, now));
            if failing.len() >= MAX_DESTINATIONS {
                return;
            }
        }
        let first = Failing { since: now, last: now, probe_until: None };
        let state = failing.entry(destination).or_insert(first);
        if self.is_stale(state, now) {
            *state = first;
        }
        state.last = now;
        if gate == Gate::HalfOpenProbe {
            state.probe_until = None;
        }
    }

    /// Whether its last failure is too long ago to say anything of the destination now.
    fn is_stale(&self, state: &Failing, now: Instant) -> bool {
        now.duration_since(state.last) > self.window + self.probe * 2
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
        assert_eq!(breaker.ask(1, start), Gate::Closed);
        breaker.failed(1, Gate::Closed, start);
        assert_eq!(breaker.ask(1, start + WINDOW), Gate::Closed);
        let later = start + WINDOW + Duration::from_millis(1);
        assert_eq!(breaker.ask(1, later), Gate::HalfOpenProbe);
        assert_eq!(breaker.ask(1, later), Gate::Open);
        breaker.failed(1, Gate::Closed, later);
        assert_eq!(breaker.ask(1, later), Gate::Open, "that was not the probe");
        assert_eq!(breaker.ask(2, later), Gate::Closed, "another destination");
        breaker.failed(1, Gate::HalfOpenProbe, later);
        assert_eq!(breaker.ask(1, later), Gate::HalfOpenProbe, "the next probe");
        assert_eq!(breaker.ask(1, later + Duration::from_secs(3)), Gate::Open);
        assert_eq!(breaker.ask(1, later + Duration::from_secs(4)), Gate::HalfOpenProbe, "a lost probe");
        breaker.succeeded(1);
        assert_eq!(breaker.ask(1, later), Gate::Closed);
        assert_eq!(breaker.ask(1, later), Gate::Closed, "closed again");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_far_apart_do_not_open_it() {
        let probe = Duration::from_secs(4);
        let breaker = Breaker::new(WINDOW, probe);
        let (start, apart) = (Instant::now(), WINDOW + probe * 2 + Duration::from_millis(1));
        for n in 0..3 {
            let now = start + apart * n;
            for _ in 0..2 {
                assert_eq!(
                    breaker.ask(1, now),
                    Gate::Closed,
                    "failure {n}: what came in between is not known"
                );
            }
            breaker.failed(1, Gate::Closed, now);
        }
        let last = start + apart * 2;
        assert_eq!(breaker.ask(1, last + WINDOW), Gate::Closed);
        breaker.failed(1, Gate::Closed, last + WINDOW);
        assert_eq!(breaker.ask(1, last + WINDOW + probe), Gate::HalfOpenProbe, "these were close enough");
    }
}
