//! Which app, which destination, since when and why: what the status page and the labelled series show.
//!
//! The worker feeds it with one call an attempt and one a settlement. What it keeps is bounded whatever
//! tenants do: [`DESTINATIONS`] and [`APPS`] by failures and by load (see [`heaviest`]), the rest summed
//! up as `other`; which destinations fail as `trouble` says; blocked groups as [`blocked`] says; the last [`LETTERS`] dead letters; a history of
//! fifteen minutes. Every text is cut to [`Label::MOST`] and holds no control characters. The numbers are
//! those of this process alone.
//!
//! It holds no URL, header, body or receipt handle, and nothing here decides what becomes of a job.

#![allow(clippy::struct_field_names, reason = "the names are those of /status")]

pub mod blocked;
pub mod heaviest;
pub mod history;
pub mod series;
mod shared_groups;
pub mod snapshot;
mod trouble;
pub mod window;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::hash;
use crate::outcome::{Outcome, Reason};
use crate::shown::Label;
use blocked::{Blocked, Groups};
use heaviest::{Fold, Heaviest};
use history::History;
use shared_groups::SharedGroups;
use trouble::{Trouble, Troubles};
use window::Window;

/// Webhooks with counts of their own: three kilobytes each, and four series.
pub const DESTINATIONS: usize = 128;

/// Apps with counts of their own: five series each.
pub const APPS: usize = 128;

/// Apps of which it is remembered that a job was unmatched, whether or not they have a row: eight bytes each. Of those
/// past them no job is the first.
const MAX_UNMATCHED: usize = 10_000;

/// Dead letters that are remembered.
pub const LETTERS: usize = 20;

/// What the board's states are told by.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A destination that fails for longer is down.
    pub retry_window: Duration,
    /// One that takes half of it is slow.
    pub attempt_timeout: Duration,
    /// So long after the last that was heard of a failing one no retry of it is due here: another replica has made
    /// it, or nothing waits for it any more. How it is doing is not known then.
    pub forgotten_after: Duration,
}

/// One attempt at a webhook.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// Whose webhook it is.
    pub app_id: &'a str,
    /// The webhook's identity.
    pub webhook: &'a str,
    /// Its host or function, without path, query and user info.
    pub destination: &'a str,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// How long it took.
    pub took: Duration,
    /// For how long the job has been failing there, attempts of other replicas included as far as that is known.
    pub failing: Duration,
}

/// A job that is given up.
#[derive(Clone, Copy, Debug)]
pub struct GivenUp<'a> {
    /// The dead letter's source message id: what `dlq show` takes.
    pub id: &'a str,
    /// The message group.
    pub group: &'a str,
    /// The app's id, as the app source or, if that is not known, the envelope has it.
    pub app_id: &'a str,
    /// The webhook it was given up for, if it was for one.
    pub webhook: &'a str,
    /// That webhook's host or function.
    pub destination: &'a str,
    /// The other webhooks that lack it, each with its host or function.
    pub others: &'a [(&'a str, &'a str)],
    /// The reason's code.
    pub reason: &'static str,
    /// The reason in words.
    pub detail: &'a str,
    /// How often it was attempted.
    pub attempts: u32,
    /// Whether a dead-letter queue has it; else it is deleted.
    pub kept: bool,
}

/// What this process knows of apps, destinations and groups: counts, failures, the last dead letters; bounded.
/// [`Board::snapshot`] gives it as it is to be shown.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
    blocked: AtomicUsize,
    /// Whether there is a group that a delivery unblocks, or whose head was given up.
    remembered: AtomicBool,
    shared_groups: SharedGroups,
}

#[derive(Debug)]
pub(crate) struct State {
    limits: Limits,
    destinations: Heaviest<Destination>,
    troubles: Troubles,
    apps: Heaviest<App>,
    /// Apps that filters have left nothing of a job of.
    unmatched: HashSet<u64>,
    groups: Groups,
    letters: VecDeque<Letter>,
    history: History,
    unanswered: Option<Unanswered>,
}

/// The app source has not answered.
#[derive(Clone, Copy, Debug)]
struct Unanswered {
    since: Instant,
    /// The last time that it did not.
    heard: Instant,
    /// What is remembered had to do, and did.
    served: bool,
}

/// Counts of one webhook.
#[derive(Clone, Debug, Default)]
pub struct Destination {
    /// Whose it is.
    pub app_id: Label,
    /// Its identity.
    pub webhook: Label,
    /// Its host or function.
    pub destination: Label,
    /// Attempts that it took.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts that were put off untried.
    pub deferred: u64,
    /// Jobs given up that it lacks.
    pub dead_lettered: u64,
    key: u64,
    recent: Window,
    last: Option<Instant>,
    failed_last: Option<FailedLast>,
}

/// The last attempt failed.
#[derive(Clone, Debug)]
struct FailedLast {
    since: Instant,
    detail: Label,
}

/// Counts of one app.
#[derive(Clone, Debug, Default)]
pub struct App {
    /// Its id.
    pub app_id: Label,
    /// Attempts that were taken.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Jobs put off untried.
    pub deferred: u64,
    /// Jobs given up.
    pub dead_lettered: u64,
    /// Jobs that the filters of its webhooks leave nothing of.
    pub unmatched: u64,
    recent: Window,
}

/// How a destination is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It has failed for longer than the retry window, without a success or an answer that asks for fewer requests.
    Down,
    /// Its last attempt failed.
    Failing,
    /// It takes what it is sent, in more than half of an attempt's time.
    Slow,
    /// Its last attempt failed so long ago that no retry of it is due here.
    Unknown,
    /// It takes what it is sent.
    Ok,
}

/// A job that was given up: a dead letter, or where there is no queue for those, nothing any more.
#[derive(Clone, Debug)]
pub struct Letter {
    /// What `dlq show` takes.
    pub id: Label,
    /// The message group.
    pub group: Label,
    /// Whose it was.
    pub app_id: Label,
    /// Which webhook lacks it.
    pub webhook: Label,
    /// That webhook's host or function.
    pub destination: Label,
    /// How many other webhooks lack it too.
    pub others: usize,
    /// Why, as a code.
    pub reason: &'static str,
    /// Why, in words.
    pub detail: Label,
    /// Attempts made.
    pub attempts: u32,
    /// Whether a dead-letter queue has it.
    pub kept: bool,
    /// When.
    pub at: Instant,
}

impl Board {
    /// Says what its states are told by; before that, the defaults are.
    pub fn set_limits(&self, limits: Limits) {
        self.state().limits = limits;
    }

    /// A job of that app came in that message group. Says so once of a group that holds several apps.
    pub fn met(&self, group: &str, app_id: &str) {
        self.shared_groups.met(group, app_id);
    }

    /// Apps and webhooks that there are, each webhook with its host or function: their series exist from now on, at 0,
    /// so that the first failure is an increase. As many as leave half of the places free.
    pub fn known<'a>(&self, webhooks: impl IntoIterator<Item = (&'a str, &'a str, String)>) {
        let now = Instant::now();
        let mut state = self.state();
        let State { destinations, apps, .. } = &mut *state;
        for (app_id, webhook, destination) in webhooks.into_iter().take(DESTINATIONS.min(APPS) / 2) {
            let key = key(&[app_id, webhook]);
            destinations.touch(key, false, now, || Destination::new(key, (app_id, webhook), &destination));
            apps.touch(app_key(app_id), false, now, || App::new(app_id));
        }
    }

    /// All webhooks that there are now: the rows of others go, and their counts move to `other`.
    pub fn only<'a>(&self, webhooks: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let keys: HashSet<u64> =
            webhooks.into_iter().map(|(app_id, webhook)| key(&[app_id, webhook])).collect();
        let mut state = self.state();
        state.destinations.retain(|key| keys.contains(&key));
        state.troubles.retain(|key| keys.contains(&key));
    }

    /// An attempt ended. One that was deferred counts as deferred, not as tried.
    pub fn attempted(&self, attempt: &Attempt<'_>) {
        let now = Instant::now();
        let mut state = self.state();
        let State { destinations, troubles, apps, history, limits, .. } = &mut *state;
        let (failed, deferred) = match attempt.outcome {
            Outcome::Delivered => (None, false),
            Outcome::Deferred(_) => (None, true),
            Outcome::Transient { reason, .. } | Outcome::Permanent(reason) => (Some(reason), false),
        };
        let of_app = (attempt.app_id, attempt.webhook);
        let key = key(&[of_app.0, of_app.1]);
        let new = || Destination::new(key, of_app, attempt.destination);
        let destination = destinations.touch(key, failed.is_some(), now, new);
        let app = apps.touch(app_key(attempt.app_id), failed.is_some(), now, || App::new(attempt.app_id));
        if deferred {
            destination.deferred += 1;
            if matches!(attempt.outcome, Outcome::Deferred(Reason::DestinationDown(_))) {
                troubles.waited_for(key, now);
            }
            return;
        }
        let failed_last = match failed {
            None => {
                troubles.delivered(key, now);
                None
            }
            Some(reason) => Some(FailedLast {
                since: troubles.failed(key, attempt.outcome.asks_for_fewer(), attempt.failing, limits, now),
                detail: Label::new(&reason.to_string()),
            }),
        };
        let long = limits.attempt_timeout / 2;
        destination.attempted(failed_last, attempt.took, long, now);
        app.recent.observe(failed.is_none(), attempt.took, long, now);
        let count = if failed.is_none() { &mut app.delivered } else { &mut app.failed };
        *count += 1;
        history.attempted(failed.is_none(), now);
    }

    /// A job was not sent to a webhook because it is down, and is given up for it: that counts when the job is given up,
    /// and neither as deferred nor as failed.
    pub fn passed_over(&self, app_id: &str, webhook: &str) {
        self.state().troubles.waited_for(key(&[app_id, webhook]), Instant::now());
    }

    /// A job was delivered, so long after it was sent.
    pub fn delivered(&self, age: Duration) {
        self.state().history.delivered(age, Instant::now());
    }

    /// The app source answered.
    pub fn apps_answered(&self) {
        self.state().unanswered = None;
    }

    /// The app source did not answer; whether an older answer of its was `served` instead.
    pub fn apps_unanswered(&self, served: bool) {
        let now = Instant::now();
        let mut state = self.state();
        let since = state.unanswered(now).map_or(now, |unanswered| unanswered.since);
        state.unanswered = Some(Unanswered { since, heard: now, served });
    }

    /// Jobs of an app were put back untried, because others need the room.
    pub fn deferred(&self, app_id: &str, jobs: usize) {
        self.app(app_id, false, |app| app.deferred += jobs as u64);
    }

    /// The filters of an app's webhooks leave nothing of a job. Whether it is the first of the app's of which that is known;
    /// of [`MAX_UNMATCHED`] apps that is told.
    pub fn unmatched(&self, app_id: &str) -> bool {
        self.app(app_id, false, |app| app.unmatched += 1);
        let mut state = self.state();
        state.unmatched.len() < MAX_UNMATCHED && state.unmatched.insert(app_key(app_id))
    }

    /// The head of a group was not done: it waits for a retry.
    pub fn blocked(&self, blocked: &Blocked<'_>) {
        let now = Instant::now();
        let mut state = self.state();
        state.groups.blocked(blocked, now);
        self.note(&state);
    }

    /// The head of a group is done. Costs nothing while no group is blocked.
    pub fn unblocked(&self, group: &str) {
        self.ended(|groups| groups.unblocked(group));
    }

    /// The head of a group was given up: its group has not recovered by that. Costs nothing while no group is
    /// blocked.
    pub fn head_given_up(&self, group: &str) {
        self.ended(|groups| groups.given_up(group, Instant::now()));
    }

    fn ended(&self, end: impl FnOnce(&mut Groups)) {
        if self.remembered.load(Ordering::Relaxed) {
            let mut state = self.state();
            end(&mut state.groups);
            self.note(&state);
        }
    }

    /// Puts down of the groups what is asked for without the lock.
    fn note(&self, state: &State) {
        self.blocked.store(state.groups.known(), Ordering::Relaxed);
        self.remembered.store(!state.groups.is_empty(), Ordering::Relaxed);
    }

    /// How many groups are blocked, as far as this process knows; those that other replicas have
    /// delivered count until the next [`Board::sample`].
    #[must_use]
    pub fn blocked_groups(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// How many destinations are down, whether or not they have a row.
    #[must_use]
    pub fn destinations_down(&self) -> usize {
        self.state().failing(Instant::now()).down
    }

    /// A job was given up.
    pub fn dead_lettered(&self, given_up: &GivenUp<'_>) {
        let now = Instant::now();
        {
            let mut state = self.state();
            let State { letters, destinations, history, .. } = &mut *state;
            letters.truncate(LETTERS - 1);
            letters.push_front(letter(given_up, now));
            history.dead_lettered(now);
            let first = (given_up.webhook, given_up.destination);
            let lacking = std::iter::once(&first).chain(given_up.others);
            for (webhook, destination) in lacking.filter(|(webhook, _)| !webhook.is_empty()) {
                let key = key(&[given_up.app_id, webhook]);
                let new = || Destination::new(key, (given_up.app_id, webhook), destination);
                destinations.touch(key, true, now, new).dead_lettered += 1;
            }
        }
        self.app(given_up.app_id, true, |app| app.dead_lettered += 1);
    }

    fn app(&self, app_id: &str, failed: bool, count: impl FnOnce(&mut App)) {
        let mut state = self.state();
        count(state.apps.touch(app_key(app_id), failed, Instant::now(), || App::new(app_id)));
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            limits: Limits {
                retry_window: Duration::from_secs(300),
                attempt_timeout: Duration::from_secs(4),
                forgotten_after: Duration::from_secs(120),
            },
            destinations: Heaviest::new(DESTINATIONS),
            troubles: Troubles::default(),
            apps: Heaviest::new(APPS),
            unmatched: HashSet::new(),
            groups: Groups::default(),
            letters: VecDeque::new(),
            history: History::default(),
            unanswered: None,
        }
    }
}

impl Destination {
    fn new(key: u64, (app_id, webhook): (&str, &str), destination: &str) -> Self {
        let (app_id, webhook) = (Label::name(app_id), Label::new(webhook));
        Self { key, app_id, webhook, destination: Label::new(destination), ..Self::default() }
    }

    fn attempted(&mut self, failed: Option<FailedLast>, took: Duration, long: Duration, now: Instant) {
        self.last = Some(now);
        self.recent.observe(failed.is_none(), took, long, now);
        let count = if failed.is_none() { &mut self.delivered } else { &mut self.failed };
        *count += 1;
        self.failed_last = failed;
    }

    /// With what is known of its failures.
    fn condition(&self, trouble: Option<&Trouble>, limits: &Limits, now: Instant) -> Condition {
        match trouble {
            Some(trouble) if trouble.is_down(limits) => Condition::Down,
            Some(_) => Condition::Failing,
            None if self.failed_last.is_some() => Condition::Unknown,
            None => {
                let (all, long) = self.recent.attempts(now);
                let is_slow = long > 0 && u64::from(long) * 100 >= u64::from(all);
                if is_slow { Condition::Slow } else { Condition::Ok }
            }
        }
    }
}

impl State {
    /// What one that has a row fails with, if it was heard of lately.
    fn trouble(&self, one: &Destination, now: Instant) -> Option<&Trouble> {
        self.troubles.get(one.key, &self.limits, now)
    }

    /// Since when the app source has not answered, if it was asked lately.
    fn unanswered(&self, now: Instant) -> Option<&Unanswered> {
        self.unanswered.as_ref().filter(|unanswered| now - unanswered.heard <= self.limits.forgotten_after)
    }

    /// How one that has a row is doing.
    fn condition(&self, one: &Destination, now: Instant) -> Condition {
        one.condition(self.trouble(one, now), &self.limits, now)
    }
}

impl App {
    fn new(app_id: &str) -> Self {
        Self { app_id: Label::name(app_id), ..Self::default() }
    }
}

impl Fold for Destination {
    fn fold(&mut self, evicted: &Self) {
        self.delivered += evicted.delivered;
        self.failed += evicted.failed;
        self.deferred += evicted.deferred;
        self.dead_lettered += evicted.dead_lettered;
    }

    fn failing_since(&self) -> Option<Instant> {
        self.failed_last.as_ref().map(|failed| failed.since)
    }
}

impl Fold for App {
    fn fold(&mut self, evicted: &Self) {
        self.delivered += evicted.delivered;
        self.failed += evicted.failed;
        self.deferred += evicted.deferred;
        self.dead_lettered += evicted.dead_lettered;
        self.unmatched += evicted.unmatched;
    }
}

fn letter(given_up: &GivenUp<'_>, at: Instant) -> Letter {
    Letter {
        id: Label::new(given_up.id),
        group: Label::new(given_up.group),
        app_id: Label::name(given_up.app_id),
        webhook: Label::new(given_up.webhook),
        destination: Label::new(given_up.destination),
        others: given_up.others.len(),
        reason: given_up.reason,
        detail: Label::new(given_up.detail),
        attempts: given_up.attempts,
        kept: given_up.kept,
        at,
    }
}

fn app_key(app_id: &str) -> u64 {
    key(&[app_id])
}

/// What entries are found by, without a copy of their names.
fn key(parts: &[&str]) -> u64 {
    hash::of(parts)
}

#[cfg(test)]
mod tests;
