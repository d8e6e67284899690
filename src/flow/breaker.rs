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
use crate::shown::cut;

/// How many failing destinations are remembered; where more fail, an app has no more of them than its part.
/// 10,000 entries are some two megabytes.
const MAX_DESTINATIONS: usize = 10_000;

/// How often all entries may be looked at for the sake of a new one.
const EXPIRE_EVERY: Duration = Duration::from_secs(2);

/// For how long it is remembered that a destination was down and has taken nothing since.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Failed attempts at new jobs: first attempted when a destination had been failing for half a window at least. One or two
/// happen at good receivers.
const CONFIRMATIONS: u8 = 3;

/// From this many jobs that fail for a window on they are not the exception.
const MANY_JOBS: usize = 8;

/// The longest text kept of what the last failure was, for people to read.
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
    /// Whose destination it is.
    pub app_id: &'a str,
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
    failing: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_destination: HashMap<u64, Failing>,
    /// How many are each app's.
    of_app: HashMap<u64, usize>,
    /// When those were dropped last that say nothing any more.
    expired: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Failing {
    app: u64,
    /// When it began to fail, and when it failed last; time in which nothing could be attempted is left out of both.
    since: Instant,
    last: Instant,
    /// When it failed last.
    failed_at: Instant,
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
        self.lock().by_destination.get(&destination).is_some_and(|state| self.is_open(state, now))
    }

    /// What the last failure of a destination was, if it is down.
    #[must_use]
    pub fn why_down(&self, destination: u64, now: Instant) -> Option<String> {
        let failing = self.lock();
        let state = failing.by_destination.get(&destination).filter(|state| self.is_open(state, now));
        state.map(|state| state.why.to_string())
    }

    /// How many destinations are down.
    #[must_use]
    pub fn down(&self, now: Instant) -> usize {
        self.lock().by_destination.values().filter(|state| self.is_open(state, now)).count()
    }

    /// Takes the probe of a destination that is down, if it is time for one. Whoever takes it has to make
    /// an attempt; one that is lost is thought over after two attempt timeouts.
    pub fn takes_probe(&self, destination: u64, now: Instant) -> bool {
        let mut failing = self.lock();
        let Some(state) = failing.by_destination.get_mut(&destination) else { return true };
        if now < state.next_probe {
            return false;
        }
        state.next_probe = now + self.probe * 2;
        true
    }

    /// The destination took something, or said that it is alive: it is not failing.
    pub fn succeeded(&self, destination: u64) {
        let mut failing = self.lock();
        if !failing.by_destination.is_empty() {
            failing.remove(destination);
        }
    }

    /// For so long the queue gave nothing to attempt: that was no failure of any destination.
    pub fn was_absent(&self, lasted: Duration, now: Instant) {
        for state in self.lock().by_destination.values_mut() {
            state.since = now.min(state.since + lasted);
            state.last = now.min(state.last + lasted);
        }
    }

    /// An attempt failed.
    pub fn failed(&self, destination: u64, failure: &Failure<'_>) {
        let Failure { app_id, job, began, ended: now, why } = *failure;
        let app = hash::of(app_id);
        let mut failing = self.lock();
        let is_new = !failing.by_destination.contains_key(&destination);
        if is_new && !self.has_room(&mut failing, app, now) {
            return;
        }
        let why: Box<str> = cut(why, MAX_WHY).into();
        let new = || Failing {
            app,
            since: began,
            last: now,
            failed_at: now,
            why: why.clone(),
            confirmations: 0,
            jobs: Vec::new(),
            next_probe: now,
        };
        if is_new {
            *failing.of_app.entry(app).or_default() += 1;
        }
        let state = failing.by_destination.entry(destination).or_insert_with(new);
        if self.is_stale(state, now) {
            // What was down and has taken nothing since is down still.
            let was_down = self.has_been_down(state) && now.duration_since(state.last) < REMEMBERED;
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
        (state.last, state.failed_at) = (now, now);
        // Whoever it was that asked: the answer to the next is no other so soon.
        state.next_probe = now + self.probe;
    }

    /// Whether one more of the app's can be remembered. Where none is free it has the place of an app that holds more
    /// than its part, unless it does so itself.
    fn has_room(&self, failing: &mut Entries, app: u64, now: Instant) -> bool {
        if failing.by_destination.len() < MAX_DESTINATIONS {
            return true;
        }
        if failing.expired.is_none_or(|last| now.duration_since(last) >= EXPIRE_EVERY) {
            failing.expired = Some(now);
            failing.retain(|state| !self.is_stale(state, now));
            if failing.by_destination.len() < MAX_DESTINATIONS {
                return true;
            }
        }
        let own = failing.of_app.get(&app).copied().unwrap_or_default();
        let part = MAX_DESTINATIONS / (failing.of_app.len() + usize::from(own == 0));
        if own >= part {
            return false;
        }
        // All entries are looked at for it; an app's part fills by that, so that its failures cause it seldom.
        let of_app = &failing.of_app;
        let has_more = |state: &Failing| of_app.get(&state.app).is_some_and(|held| *held > part);
        let others = failing.by_destination.iter().filter(|(_, state)| has_more(state));
        let latest = others.max_by_key(|(_, state)| state.since).map(|(key, _)| *key);
        latest.is_some_and(|key| failing.remove(key))
    }

    /// What is known from before an absence is no reason to give jobs up untried. The next failure is. The failures
    /// themselves span a window: a quiet after them is no failure.
    fn is_open(&self, state: &Failing, now: Instant) -> bool {
        now.duration_since(state.failed_at) <= self.remembered() && self.has_been_down(state)
    }

    /// Whether it was down when it failed last.
    fn has_been_down(&self, state: &Failing) -> bool {
        let confirmed = state.confirmations >= CONFIRMATIONS || state.jobs.len() >= MANY_JOBS;
        confirmed && state.last.saturating_duration_since(state.since) >= self.window
    }

    /// Whether its last failure is too long ago to say anything of the destination now.
    fn is_stale(&self, state: &Failing, now: Instant) -> bool {
        now.duration_since(state.last) > self.remembered()
    }

    fn remembered(&self) -> Duration {
        self.window + self.probe * 2
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn remove(&mut self, destination: u64) -> bool {
        let Some(state) = self.by_destination.remove(&destination) else { return false };
        if let Some(held) = self.of_app.get_mut(&state.app) {
            *held -= 1;
            if *held == 0 {
                self.of_app.remove(&state.app);
            }
        }
        true
    }

    fn retain(&mut self, keep: impl Fn(&Failing) -> bool) {
        self.by_destination.retain(|_, state| keep(state));
        self.of_app.clear();
        for state in self.by_destination.values() {
            *self.of_app.entry(state.app).or_default() += 1;
        }
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
        breaker.failed(1, &Failure { app_id: "shop", job, began: now, ended: now, why: WHY });
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_dies_is_known_to_be_down_though_another_app_has_more_than_are_remembered() {
        let (breaker, start) = (Breaker::new(WINDOW, PROBE), Instant::now());
        let job = |key| Job { key, first_attempt: start };
        let flood = |app_id, begin: u64, now| {
            for destination in begin..begin + MAX_DESTINATIONS as u64 * 2 {
                breaker
                    .failed(destination, &Failure { app_id, job: job(1), began: now, ended: now, why: WHY });
            }
        };
        flood("greedy", 1_000_000, start);
        for second in (0..=WINDOW.as_secs()).step_by(50) {
            let now = start + Duration::from_secs(second);
            flood("greedy", 1_000_000 * second, now);
            for key in 0..MANY_JOBS as u64 {
                for destination in 1..=100 {
                    let failure = Failure { app_id: "shop", job: job(key), began: now, ended: now, why: WHY };
                    breaker.failed(destination, &failure);
                }
            }
        }
        let now = start + WINDOW;
        assert_eq!((1..=100).filter(|destination| breaker.is_down(*destination, now)).count(), 100);
        {
            let failing = breaker.lock();
            let held = failing.of_app.values().sum::<usize>();
            assert_eq!((failing.by_destination.len(), held), (MAX_DESTINATIONS, MAX_DESTINATIONS));
        }
        (1..=100).for_each(|destination| breaker.succeeded(destination));
        assert_eq!(breaker.lock().of_app.len(), 1);
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
    async fn a_breaker_opens_after_a_window_of_failure_and_one_probe_goes_through_in_a_timeout() {
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
    async fn a_quiet_after_a_few_failures_is_no_failure() {
        let (breaker, start) = (Breaker::new(WINDOW, PROBE), Instant::now());
        for job in 0..MANY_JOBS as u64 {
            fail(&breaker, job, start, start + PROBE);
        }
        let later = start + WINDOW + PROBE;
        assert!(!breaker.is_down(1, later));
        fail(&breaker, 99, later, later);
        assert!(breaker.is_down(1, later), "it has failed for a window without a success");
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

    #[tokio::test(start_paused = true)]
    async fn what_was_down_before_an_absence_is_asked_again_before_anything_is_given_up_for_it() {
        let breaker = Breaker::new(WINDOW, PROBE);
        let start = Instant::now();
        bring_down(&breaker, start);
        let back = start + WINDOW * 5;
        breaker.was_absent(WINDOW * 4, back);
        assert!(!breaker.is_down(1, back));
        fail(&breaker, 99, back, back + PROBE);
        assert!(breaker.is_down(1, back + PROBE), "at its first failure");
    }
}
