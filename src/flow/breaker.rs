//! Which destinations have been failing, and for how long.
//!
//! A dead destination's backlog must not fill the part of the queue that SQS scans for free groups, or it
//! starves every other app; nor may it keep the app's healthy webhooks waiting. So once a destination has
//! failed for as long as the retry window without a success it is down: what was sent longer ago
//! than that, or has another webhook to go to, is given up for it without an attempt, but for one probe an attempt
//! timeout, whatever the number of groups. What is younger is attempted as ever. Where one job
//! alone has failed the fault may be the job's: the next one probes at once.
//!
//! A destination that was down and is asked again after a long quiet is down again at its first failure: the
//! healthy webhooks beside it would be late by a window in each burst otherwise.
//!
//! A destination is an app's webhook: what is down for one app is not therefore down for another. An answer
//! that asks for fewer requests is a sign of life.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::app::WebhookId;

/// How many failing destinations are remembered; past it, the one failing most recently is not.
/// 10,000 entries are about half a megabyte.
const MAX_DESTINATIONS: usize = 10_000;

/// For how long it is remembered that a destination was down and has taken nothing since.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// As much is kept of what the last failure was, for people to read.
const MAX_WHY: usize = 200;

/// A destination as one app uses it.
#[must_use]
pub fn destination(app_id: &str, webhook: &WebhookId) -> u64 {
    hashed((app_id, webhook))
}

/// An app's jobs of one message group, as the breaker tells them apart.
#[must_use]
pub fn group(group: &str, app_id: &str) -> u64 {
    hashed((group, app_id))
}

/// A job, as the breaker tells jobs apart.
#[must_use]
pub fn job(id: &str) -> u64 {
    hashed(id)
}

/// Remembers failing destinations.
#[derive(Debug)]
pub struct Breaker {
    window: Duration,
    probe: Duration,
    failing: Mutex<HashMap<u64, Failing>>,
}

#[derive(Clone, Debug)]
struct Failing {
    since: Instant,
    last: Instant,
    /// What the last failure was.
    why: Box<str>,
    /// The job, while no other has failed or probed.
    only: Option<u64>,
    next_probe: Instant,
}

impl Breaker {
    /// One that opens after `window` of failure; between two probes at least `probe` passes, the attempt
    /// timeout.
    ///
    /// Failures further apart than a window and two probes do not add up: in between, other processes
    /// may have had their successes.
    #[must_use]
    pub fn new(window: Duration, probe: Duration) -> Self {
        Self { window, probe, failing: Mutex::default() }
    }

    /// Whether the destination has failed for a window and may not be attempted without a probe.
    #[must_use]
    pub fn is_down(&self, destination: u64, now: Instant) -> bool {
        self.lock().get(&destination).is_some_and(|state| self.is_open(state, now))
    }

    /// What the last failure of a destination was, if it is down.
    #[must_use]
    pub fn why_down(&self, destination: u64, now: Instant) -> Option<String> {
        let failing = self.lock();
        failing.get(&destination).filter(|state| self.is_open(state, now)).map(|state| state.why.to_string())
    }

    /// How many destinations are down.
    #[must_use]
    pub fn down(&self, now: Instant) -> usize {
        self.lock().values().filter(|state| self.is_open(state, now)).count()
    }

    /// Takes the probe of a destination that is down, if it is time for one. Whoever takes it has to make
    /// an attempt; one that is lost is thought over after two attempt timeouts.
    pub fn takes_probe(&self, destination: u64, job: u64, now: Instant) -> bool {
        let mut failing = self.lock();
        let Some(state) = failing.get_mut(&destination) else { return true };
        if now < state.next_probe && state.only.is_none_or(|only| only == job) {
            return false;
        }
        if state.only != Some(job) {
            state.only = None;
        }
        state.next_probe = now + self.probe * 2;
        true
    }

    /// The destination took something, or said that it is alive: it is not failing.
    pub fn succeeded(&self, destination: u64) {
        let mut failing = self.lock();
        if !failing.is_empty() {
            failing.remove(&destination);
        }
    }

    /// For so long the queue gave nothing to attempt: that was no failure of any destination.
    pub fn was_absent(&self, lasted: Duration, now: Instant) {
        for state in self.lock().values_mut() {
            state.since = now.min(state.since + lasted);
            state.last = now.min(state.last + lasted);
        }
    }

    /// An attempt at a job that began at `began` failed, for this reason.
    pub fn failed(&self, destination: u64, job: u64, (began, now): (Instant, Instant), why: &str) {
        let mut failing = self.lock();
        if failing.len() >= MAX_DESTINATIONS && !failing.contains_key(&destination) {
            failing.retain(|_, state| !self.is_stale(state, now));
            if failing.len() >= MAX_DESTINATIONS {
                return;
            }
        }
        let why: Box<str> = why.chars().take(MAX_WHY).collect();
        let first =
            || Failing { since: began, last: now, why: why.clone(), only: Some(job), next_probe: now };
        let state = failing.entry(destination).or_insert_with(first);
        if self.is_stale(state, now) {
            // What was down and has taken nothing since is down still.
            let was_down = state.last.duration_since(state.since) >= self.window
                && now.duration_since(state.last) < REMEMBERED;
            let since = if was_down { state.since } else { began };
            *state = Failing { since, ..first() };
        }
        state.why = why;
        if state.only != Some(job) {
            state.only = None;
        }
        state.last = now;
        // Whoever it was that asked: the answer to the next is no other so soon.
        state.next_probe = now + self.probe;
    }

    fn is_open(&self, state: &Failing, now: Instant) -> bool {
        !self.is_stale(state, now) && now.duration_since(state.since) >= self.window
    }

    /// Whether its last failure is too long ago to say anything of the destination now.
    fn is_stale(&self, state: &Failing, now: Instant) -> bool {
        now.duration_since(state.last) > self.window + self.probe * 2
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hashed(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);
    const PROBE: Duration = Duration::from_secs(4);
    const WHY: &str = "status 500";

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_a_window_of_failure_and_one_probe_goes_through_in_a_timeout() {
        let breaker = Breaker::new(WINDOW, PROBE);
        let start = Instant::now();
        assert!(!breaker.is_down(1, start));
        breaker.failed(1, 7, (start, start + PROBE), WHY);
        breaker.failed(1, 8, (start, start + PROBE), WHY);
        assert!(!breaker.is_down(1, start + WINDOW - Duration::from_millis(1)));
        let mut now = start + WINDOW;
        assert!(breaker.is_down(1, now) && !breaker.is_down(2, now));
        assert_eq!(breaker.down(now), 1);
        for _ in 0..10 {
            assert!(breaker.takes_probe(1, 7, now));
            assert!(!breaker.takes_probe(1, 7, now + PROBE), "one at a time");
            let ended = now + PROBE;
            breaker.failed(1, 7, (now, ended), WHY);
            assert!(!breaker.takes_probe(1, 7, ended), "a group alone has no more of them");
            now = ended + PROBE;
        }
        assert!(breaker.takes_probe(1, 7, now) && breaker.takes_probe(1, 7, now + PROBE * 2), "a lost probe");
        breaker.succeeded(1);
        assert!(!breaker.is_down(1, now));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_down_is_down_again_at_its_first_failure_after_a_quiet() {
        let breaker = Breaker::new(WINDOW, PROBE);
        let start = Instant::now();
        breaker.failed(1, 7, (start, start), WHY);
        breaker.failed(1, 8, (start + WINDOW, start + WINDOW), WHY);
        assert_eq!(breaker.why_down(1, start + WINDOW).as_deref(), Some(WHY));
        let later = start + WINDOW * 9;
        assert!(!breaker.is_down(1, later), "it may be back");
        breaker.failed(1, 9, (later, later), WHY);
        assert!(breaker.is_down(1, later), "it is not");
        let days_later = later + REMEMBERED * 2;
        breaker.failed(1, 9, (days_later, days_later), WHY);
        assert!(!breaker.is_down(1, days_later));
        breaker.failed(1, 9, (days_later + WINDOW, days_later + WINDOW), WHY);
        breaker.succeeded(1);
        let after = days_later + WINDOW * 9;
        breaker.failed(1, 9, (after, after), WHY);
        assert!(!breaker.is_down(1, after), "it took something in between");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_far_apart_do_not_open_it() {
        let breaker = Breaker::new(WINDOW, PROBE);
        let (start, apart) = (Instant::now(), WINDOW + PROBE * 2 + Duration::from_millis(1));
        for n in 0..3 {
            let now = start + apart * n;
            assert!(!breaker.is_down(1, now), "failure {n}: what came in between is not known");
            breaker.failed(1, 7, (now, now), WHY);
        }
        let last = start + apart * 2;
        breaker.failed(1, 7, (last + WINDOW, last + WINDOW), WHY);
        assert!(breaker.is_down(1, last + WINDOW + PROBE), "these were close enough");
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_job_alone_has_failed_the_next_one_probes_at_once_and_no_third() {
        let breaker = Breaker::new(WINDOW, PROBE);
        let start = Instant::now();
        breaker.failed(1, 7, (start, start), WHY);
        let now = start + WINDOW;
        breaker.failed(1, 7, (now, now), WHY);
        assert!(!breaker.takes_probe(1, 7, now));
        assert!(breaker.takes_probe(1, 8, now));
        assert!(!breaker.takes_probe(1, 9, now));
        breaker.failed(1, 8, (now, now), WHY);
        assert!(!breaker.takes_probe(1, 9, now));
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_could_be_received_nothing_failed() {
        let breaker = Breaker::new(WINDOW, PROBE);
        let start = Instant::now();
        breaker.failed(1, 7, (start, start), WHY);
        let (absent, back) = (WINDOW * 2, start + WINDOW * 2);
        breaker.was_absent(absent, back);
        breaker.failed(1, 7, (back, back + PROBE), WHY);
        assert!(!breaker.is_down(1, back + PROBE));
        breaker.failed(1, 7, (back + WINDOW, back + WINDOW), WHY);
        assert!(breaker.is_down(1, back + WINDOW));
    }
}
