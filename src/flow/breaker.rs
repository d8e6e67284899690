//! Which destinations have been failing, and for how long.
//!
//! A dead destination's backlog must not fill the part of the queue that SQS scans for free groups, or it starves every
//! other app; nor may it keep the app's healthy webhooks waiting. So a destination that has failed for as long as the
//! retry window without a success, at many jobs or then at new ones too, is down: what was sent longer ago than the
//! window, or has another webhook to go to, is given up for it without an attempt, but for one probe an attempt
//! timeout, whatever the number of groups. What is younger is attempted as ever.
//!
//! Other jobs tell a destination that is down from a few jobs that it cannot take: those fail for all of
//! their windows, each at the head of its group, and what is behind them would be given up untried.
//!
//! A destination that was down and is asked again after a long quiet is down again at its first failure: the
//! healthy webhooks beside it would be late by a window in each burst otherwise.
//!
//! A destination is an app's webhook: what is down for one app is not therefore down for another. An answer
//! that asks for fewer requests is a sign of life.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::app::WebhookId;
use crate::hash;

/// How many failing destinations are remembered; past it, the one failing most recently is not.
/// 10,000 entries are about half a megabyte.
const MAX_DESTINATIONS: usize = 10_000;

/// For how long it is remembered that a destination was down and has taken nothing since.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Failed attempts at new jobs: first attempted when a destination had been failing for half a window at least. One or two
/// happen at good receivers.
const CONFIRMATIONS: u8 = 3;

/// So many jobs that fail for a window are not the exception.
const MANY_JOBS: usize = 8;

/// As much is kept of what the last failure was, for people to read.
const MAX_WHY: usize = 200;

/// A destination as one app uses it.
#[must_use]
pub fn destination(app_id: &str, webhook: &WebhookId) -> u64 {
    hash::of((app_id, webhook))
}

/// An app's jobs of one message group, as the breaker tells them apart.
#[must_use]
pub fn group(group: &str, app_id: &str) -> u64 {
    hash::of((group, app_id))
}

/// A job, as the breaker tells jobs apart.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    key: u64,
    first_attempt: Instant,
}

impl Job {
    /// The job of this id, which was first attempted then.
    #[must_use]
    pub fn new(id: &str, first_attempt: Instant) -> Self {
        Self { key: hash::of(id), first_attempt }
    }
}

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The job that it was for.
    pub job: Job,
    /// When it began.
    pub began: Instant,
    /// When it failed.
    pub ended: Instant,
    /// What failed.
    pub why: &'a str,
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
    /// How many attempts have failed at new jobs.
    confirmations: u8,
    /// Jobs that it failed at, as far as it takes to see that they are many.
    jobs: Vec<u64>,
    next_probe: Instant,
}

impl Breaker {
    /// One that opens after `window` of failure and a few more; between two probes at least `probe` passes, the attempt
    /// timeout.
    ///
    /// Failures further apart than a window and two probes do not add up: in between, other processes
    /// may have had their successes.
    #[must_use]
    pub fn new(window: Duration, probe: Duration) -> Self {
        Self { window, probe, failing: Mutex::default() }
    }

    /// Whether the destination has failed for a window, at new jobs too.
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
    pub fn takes_probe(&self, destination: u64, now: Instant) -> bool {
        let mut failing = self.lock();
        let Some(state) = failing.get_mut(&destination) else { return true };
        if now < state.next_probe {
            return false;
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

    /// An attempt failed.
    pub fn failed(&self, destination: u64, failure: &Failure<'_>) {
        let Failure { job, began, ended: now, why } = *failure;
        let mut failing = self.lock();
        if failing.len() >= MAX_DESTINATIONS && !failing.contains_key(&destination) {
            failing.retain(|_, state| !self.is_stale(state, now));
            if failing.len() >= MAX_DESTINATIONS {
                return;
            }
        }
        let why: Box<str> = why.chars().take(MAX_WHY).collect();
        let new = || Failing {
            since: began,
            last: now,
            why: why.clone(),
            confirmations: 0,
            jobs: Vec::new(),
            next_probe: now,
        };
        let state = failing.entry(destination).or_insert_with(new);
        if self.is_stale(state, now) {
            // What was down and has taken nothing since is down still.
            let was_down =
                self.has_been_down(state, state.last) && now.duration_since(state.last) < REMEMBERED;
            let (since, confirmations) = if was_down { (state.since, CONFIRMATIONS) } else { (began, 0) };
            *state = Failing { since, confirmations, ..new() };
        }
        state.why = why;
        if state.jobs.len() < MANY_JOBS && !state.jobs.contains(&job.key) {
            state.jobs.push(job.key);
        }
        if job.first_attempt.saturating_duration_since(state.since) >= self.window / 2 {
            state.confirmations = state.confirmations.saturating_add(1);
        }
        state.last = now;
        // Whoever it was that asked: the answer to the next is no other so soon.
        state.next_probe = now + self.probe;
    }

    fn is_open(&self, state: &Failing, now: Instant) -> bool {
        !self.is_stale(state, now) && self.has_been_down(state, now)
    }

    /// Whether it was down by then, if it has answered nothing since.
    fn has_been_down(&self, state: &Failing, by: Instant) -> bool {
        let confirmed = state.confirmations >= CONFIRMATIONS || state.jobs.len() >= MANY_JOBS;
        confirmed && by.saturating_duration_since(state.since) >= self.window
    }

    /// Whether its last failure is too long ago to say anything of the destination now.
    fn is_stale(&self, state: &Failing, now: Instant) -> bool {
        now.duration_since(state.last) > self.window + self.probe * 2
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);
    const PROBE: Duration = Duration::from_secs(4);
    const WHY: &str = "status 500";

    /// A failed attempt that took no time.
    fn fail(breaker: &Breaker, key: u64, first_attempt: Instant, now: Instant) {
        let job = Job { key, first_attempt };
        breaker.failed(1, &Failure { job, began: now, ended: now, why: WHY });
    }

    /// Fails from `start` for a window, and then at new jobs until it is down; gives the moment.
    fn bring_down(breaker: &Breaker, start: Instant) -> Instant {
        fail(breaker, 7, start, start);
        let new = start + WINDOW;
        for n in 0..u32::from(CONFIRMATIONS) {
            assert!(!breaker.is_down(1, new + PROBE * n));
            fail(breaker, 8, new, new + PROBE * n);
        }
        let down = new + PROBE * (u32::from(CONFIRMATIONS) - 1);
        assert!(breaker.is_down(1, down));
        down
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_a_window_of_failure_and_one_probe_goes_through_in_a_timeout() {
        let breaker = Breaker::new(WINDOW, PROBE);
        assert!(!breaker.is_down(1, Instant::now()));
        let down = bring_down(&breaker, Instant::now());
        assert!(!breaker.is_down(2, down));
        assert_eq!(breaker.down(down), 1);
        let mut now = down + PROBE;
        for _ in 0..10 {
            assert!(breaker.takes_probe(1, now));
            assert!(!breaker.takes_probe(1, now + PROBE), "one at a time");
            let ended = now + PROBE;
            fail(&breaker, 8, now, ended);
            assert!(!breaker.takes_probe(1, ended));
            now = ended + PROBE;
        }
        assert!(breaker.takes_probe(1, now) && breaker.takes_probe(1, now + PROBE * 2), "a lost probe");
        breaker.succeeded(1);
        assert!(!breaker.is_down(1, now));
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_that_a_destination_cannot_take_do_not_bring_it_down() {
        let (breaker, start) = (Breaker::new(WINDOW, PROBE), Instant::now());
        for n in 0..=WINDOW.as_secs() {
            let now = start + Duration::from_secs(n);
            fail(&breaker, 7, start, now);
            fail(&breaker, n % 5, start + Duration::from_secs(n.min(100)), now);
            assert!(!breaker.is_down(1, now), "{n} s");
        }
        // Behind them, one that fails once and is taken then.
        let new = start + WINDOW;
        fail(&breaker, 9, new, new);
        assert!(!breaker.is_down(1, new));
        breaker.succeeded(1);
        fail(&breaker, 9, new, new + PROBE);
        assert!(!breaker.is_down(1, new + PROBE));
    }

    #[tokio::test(start_paused = true)]
    async fn many_jobs_that_fail_for_a_window_need_no_new_ones() {
        let (breaker, start) = (Breaker::new(WINDOW, PROBE), Instant::now());
        for job in 0..MANY_JOBS as u64 {
            assert!(!breaker.is_down(1, start + WINDOW));
            for now in [start, start + WINDOW] {
                fail(&breaker, job, start, now);
            }
        }
        assert!(breaker.is_down(1, start + WINDOW));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_down_is_down_again_at_its_first_failure_after_a_quiet() {
        let breaker = Breaker::new(WINDOW, PROBE);
        let down = bring_down(&breaker, Instant::now());
        assert_eq!(breaker.why_down(1, down).as_deref(), Some(WHY));
        let later = down + WINDOW * 9;
        assert!(!breaker.is_down(1, later), "it may be back");
        fail(&breaker, 9, later, later);
        assert!(breaker.is_down(1, later), "it is not");
        let days_later = later + REMEMBERED * 2;
        fail(&breaker, 9, days_later, days_later);
        assert!(!breaker.is_down(1, days_later));
        let down = bring_down(&breaker, days_later);
        breaker.succeeded(1);
        let after = down + WINDOW * 9;
        fail(&breaker, 9, after, after);
        assert!(!breaker.is_down(1, after), "it took something in between");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_far_apart_do_not_open_it() {
        let breaker = Breaker::new(WINDOW, PROBE);
        let (start, apart) = (Instant::now(), WINDOW + PROBE * 2 + Duration::from_millis(1));
        for n in 0..5 {
            let now = start + apart * n;
            fail(&breaker, 7, now, now);
            assert!(!breaker.is_down(1, now), "failure {n}: what came in between is not known");
        }
        bring_down(&breaker, start + apart * 5);
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_could_be_received_nothing_failed() {
        let breaker = Breaker::new(WINDOW, PROBE);
        let start = Instant::now();
        fail(&breaker, 7, start, start);
        let (absent, back) = (WINDOW * 2, start + WINDOW * 2);
        breaker.was_absent(absent, back);
        for _ in 0..5 {
            fail(&breaker, 8, back, back + PROBE);
        }
        assert!(!breaker.is_down(1, back + PROBE));
        bring_down(&breaker, back);
    }
}
