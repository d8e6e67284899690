//! The board as it is now, ready to be shown: at most so many rows of each kind, the most telling first.

use std::cmp::Reverse;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::blocked::{MAX_GROUPS, Waiting};
use super::history::{Gauges, Sample};
use super::window::LENGTH;
use super::{App, Board, Condition, Destination, LETTERS, Letter, State};

/// What the board holds at one moment, as `/status` and the page show it. Durations are whole seconds unless their name says otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// The last ten to twenty seconds.
    pub now: Sample,
    /// Fifteen minutes, oldest first.
    pub history: History,
    /// The blocked groups.
    pub blocked: Rows<Group>,
    /// The destinations.
    pub destinations: Rows<DestinationRow>,
    /// The last dead letters.
    pub dead_letters: Rows<LetterRow>,
    /// The apps.
    pub apps: Rows<AppRow>,
    /// How many destinations do not take what they are sent.
    pub failing: Failing,
    /// Set while the app source does not answer.
    pub app_source: Option<AppSource>,
}

/// An app source that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AppSource {
    /// For how long it has not.
    pub unanswered_s: u64,
    /// Whether the last job that asked for an app got an older answer; else it waits.
    pub served: bool,
}

/// Destinations that do not take what they are sent, whether or not they have a row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Failing {
    /// Destinations that are down.
    pub down: usize,
    /// Destinations that failed last.
    pub failing: usize,
    /// Whether there may be more: no more are remembered.
    pub at_least: bool,
}

/// Some of what there is.
#[derive(Clone, Debug, Serialize)]
pub struct Rows<T> {
    /// How many there are that this process knows of.
    pub count: usize,
    /// Whether there may be more: some have lost their places to others, or are no longer remembered.
    pub at_least: bool,
    /// The first of them.
    pub rows: Vec<T>,
}

/// A number a slot for each line.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    /// The length of a slot.
    pub slot_s: u64,
    /// Deliveries a second.
    pub deliveries: Vec<f32>,
    /// Failed attempts a second.
    pub failures: Vec<f32>,
    /// Median age at delivery in milliseconds.
    pub lag_p50: Vec<Option<f32>>,
    /// 99th percentile of it.
    pub lag_p99: Vec<Option<f32>>,
    /// Messages in memory.
    pub in_flight: Vec<u64>,
    /// Failing destinations.
    pub failing: Vec<u64>,
    /// Blocked groups.
    pub blocked: Vec<u64>,
    /// Age of the oldest waiting job.
    pub oldest: Vec<u64>,
    /// Dead letters.
    pub dead_letters: Vec<u64>,
}

/// A blocked group.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// The message group.
    pub group: String,
    /// The app.
    pub app: String,
    /// The queue type, from the group's name.
    pub queue_type: String,
    /// How long its head has been failing, at least.
    pub blocked_s: u64,
    /// Attempts at its head, here.
    pub attempts: u32,
    /// Receives of its head, here and elsewhere.
    pub receives: u32,
    /// Why, as a code.
    pub reason: &'static str,
    /// Why, in words.
    pub detail: String,
    /// What failed.
    pub destination: String,
    /// Until the next retry; 0 once it is due.
    pub next_retry_s: u64,
    /// Jobs behind the head, at least.
    pub behind: usize,
    /// The head's age.
    pub age_s: u64,
}

/// A webhook.
#[derive(Clone, Debug, Serialize)]
pub struct DestinationRow {
    /// Whose it is.
    pub app: String,
    /// Its identity.
    pub webhook: String,
    /// Its host or function.
    pub destination: String,
    /// How it is doing.
    pub state: Condition,
    /// For how long it has been failing.
    pub since_s: Option<u64>,
    /// How long ago its last attempt failed, if that is so long that how it is doing now is not known.
    pub last_failed_s: Option<u64>,
    /// The share of the last five minutes' attempts that it took, 0 to 1.
    pub success: Option<f32>,
    /// Attempts of the last five minutes.
    pub attempts: u32,
    /// The median of what they took.
    pub p50_ms: Option<f32>,
    /// The 99th percentile.
    pub p99_ms: Option<f32>,
    /// Its last failure, if nothing came after it.
    pub error: Option<String>,
    /// Attempts it took, since the start.
    pub delivered: u64,
    /// Attempts that failed, since the start.
    pub failed: u64,
    /// Attempts put off untried, since the start.
    pub deferred: u64,
    /// Jobs given up for it, since the start.
    pub dead_lettered: u64,
}

/// A dead letter.
#[derive(Clone, Debug, Serialize)]
pub struct LetterRow {
    /// What `dlq show` takes.
    pub id: String,
    /// The message group.
    pub group: String,
    /// Whose it was.
    pub app: String,
    /// The webhook that lacks it.
    pub webhook: String,
    /// That webhook's host or function.
    pub destination: String,
    /// How many other webhooks lack it too.
    pub others: usize,
    /// Why, as a code.
    pub reason: &'static str,
    /// Why, in words.
    pub detail: String,
    /// Attempts made.
    pub attempts: u32,
    /// Whether a dead-letter queue has it; else it was deleted.
    pub kept: bool,
    /// How long ago.
    pub ago_s: u64,
}

/// An app.
#[derive(Clone, Debug, Serialize)]
pub struct AppRow {
    /// Its id.
    pub app: String,
    /// Attempts of the last five minutes, a second.
    pub load: f32,
    /// Attempts taken, since the start.
    pub delivered: u64,
    /// Attempts failed, since the start.
    pub failed: u64,
    /// Jobs put back untried, since the start.
    pub deferred: u64,
    /// Jobs given up, since the start.
    pub dead_lettered: u64,
    /// Jobs that filters leave nothing of, since the start.
    pub unmatched: u64,
}

impl Board {
    /// With at most `rows` rows of each kind.
    #[must_use]
    pub fn snapshot(&self, in_flight: u64, rows: usize) -> Snapshot {
        let now = Instant::now();
        let mut state = self.state();
        let gauges = state.gauges(in_flight, now);
        let blocked = state.groups.count(now);
        let groups = state.groups.longest(now);
        let groups = groups.iter().take(rows).map(|(since, waiting)| group(*since, waiting, now)).collect();
        Snapshot {
            now: state.history.now(gauges, now),
            history: history(&state),
            blocked: Rows { count: blocked, at_least: blocked >= MAX_GROUPS, rows: groups },
            destinations: destinations(&state, rows, now),
            dead_letters: Rows {
                count: state.letters.len(),
                at_least: state.letters.len() >= LETTERS,
                rows: state.letters.iter().take(rows).map(|letter| letter_row(letter, now)).collect(),
            },
            apps: apps(&state, rows, now),
            failing: state.failing(now),
            app_source: state.unanswered(now).map(|unanswered| AppSource {
                unanswered_s: (now - unanswered.since).as_secs(),
                served: unanswered.served,
            }),
        }
    }

    /// Takes the numbers for the history; to be called at least every ten seconds.
    pub fn sample(&self, in_flight: u64) {
        let now = Instant::now();
        let mut state = self.state();
        let gauges = state.gauges(in_flight, now);
        state.history.sample(gauges, now);
        self.note(&state);
    }
}

impl State {
    pub(super) fn failing(&mut self, now: Instant) -> Failing {
        let (down, failing) = self.troubles.count(&self.limits, now);
        Failing { down, failing, at_least: self.troubles.is_full() }
    }

    fn gauges(&mut self, in_flight: u64, now: Instant) -> Gauges {
        let Failing { down, failing, .. } = self.failing(now);
        Gauges {
            in_flight,
            failing: (down + failing) as u64,
            blocked: self.groups.count(now) as u64,
            oldest: self.oldest(now).as_secs(),
        }
    }
}

fn history(state: &State) -> History {
    let mut columns = History { slot_s: super::history::SLOT.as_secs(), ..History::default() };
    for sample in state.history.past() {
        columns.deliveries.push(sample.deliveries);
        columns.failures.push(sample.failures);
        columns.lag_p50.push(sample.lag_p50);
        columns.lag_p99.push(sample.lag_p99);
        columns.in_flight.push(sample.in_flight);
        columns.failing.push(sample.failing);
        columns.blocked.push(sample.blocked);
        columns.oldest.push(sample.oldest);
        columns.dead_letters.push(sample.dead_letters);
    }
    columns
}

fn group(since: Instant, waiting: &Waiting, now: Instant) -> Group {
    let (name, app) = (waiting.group.to_string(), waiting.app_id.to_string());
    // Groups are named by app and queue type; one that is not says nothing of its type.
    let rest = name.strip_prefix(&app).and_then(|rest| rest.strip_prefix('_')).unwrap_or_default();
    Group {
        queue_type: rest.strip_suffix("_webhooks").unwrap_or(rest).to_owned(),
        group: name,
        app,
        blocked_s: (now - since).as_secs(),
        attempts: waiting.attempts,
        receives: waiting.receives,
        reason: waiting.reason,
        detail: waiting.detail.to_string(),
        destination: waiting.destination.to_string(),
        next_retry_s: ceiled(waiting.retry_at.saturating_duration_since(now)),
        behind: waiting.behind,
        age_s: (waiting.age + (now - waiting.noted)).as_secs(),
    }
}

fn destinations(state: &State, rows: usize, now: Instant) -> Rows<DestinationRow> {
    let mut all: Vec<(Condition, &Destination)> =
        state.asked().map(|one| (state.condition(one, now), one)).collect();
    // Those that fail first, longest failing first; then by load.
    all.sort_by_key(|(condition, one)| {
        let since = state.trouble(one, now).map(|trouble| trouble.since);
        (*condition, since, Reverse(one.delivered + one.failed), one.app_id.clone())
    });
    let row = |(condition, one): &(Condition, &Destination)| {
        let recent = one.recent.counts(now);
        let attempts = recent.delivered.saturating_add(recent.failed);
        DestinationRow {
            app: one.app_id.to_string(),
            webhook: one.webhook.to_string(),
            destination: one.destination.to_string(),
            state: *condition,
            since_s: state.trouble(one, now).map(|trouble| (now - trouble.since).as_secs()),
            last_failed_s: one
                .last
                .filter(|_| *condition == Condition::Unknown)
                .map(|last| (now - last).as_secs()),
            success: (attempts > 0).then(|| share(recent.delivered, attempts)),
            attempts,
            p50_ms: recent.took.quantile(0.5).map(rounded),
            p99_ms: recent.took.quantile(0.99).map(rounded),
            error: one.failed_last.as_ref().map(|failed| failed.detail.to_string()),
            delivered: one.delivered,
            failed: one.failed,
            deferred: one.deferred,
            dead_lettered: one.dead_lettered,
        }
    };
    let at_least = state.destinations.evicted() > 0;
    Rows { count: all.len(), at_least, rows: all.iter().take(rows).map(row).collect() }
}

fn letter_row(letter: &Letter, now: Instant) -> LetterRow {
    LetterRow {
        id: letter.id.to_string(),
        group: letter.group.to_string(),
        app: letter.app_id.to_string(),
        webhook: letter.webhook.to_string(),
        destination: letter.destination.to_string(),
        others: letter.others,
        reason: letter.reason,
        detail: letter.detail.to_string(),
        attempts: letter.attempts,
        kept: letter.kept,
        ago_s: (now - letter.at).as_secs(),
    }
}

fn apps(state: &State, rows: usize, now: Instant) -> Rows<AppRow> {
    let mut all: Vec<(u32, &App)> = state
        .apps
        .iter()
        .filter(|app| app.delivered + app.failed + app.deferred + app.dead_lettered + app.unmatched > 0)
        .map(|app| (app.recent.attempts(now).0, app))
        .collect();
    all.sort_by_key(|(recent, app)| (Reverse(*recent), Reverse(app.deferred), app.app_id.clone()));
    let row = |(recent, app): &(u32, &App)| AppRow {
        app: app.app_id.to_string(),
        load: rounded(f64::from(*recent) / LENGTH.as_secs_f64()),
        delivered: app.delivered,
        failed: app.failed,
        deferred: app.deferred,
        dead_lettered: app.dead_lettered,
        unmatched: app.unmatched,
    };
    let at_least = state.apps.evicted() > 0;
    Rows { count: all.len(), at_least, rows: all.iter().take(rows).map(row).collect() }
}

fn ceiled(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[allow(clippy::cast_possible_truncation, reason = "for the eye")]
fn share(part: u32, all: u32) -> f32 {
    (f64::from(part) / f64::from(all)) as f32
}

#[allow(clippy::cast_possible_truncation, reason = "for the eye")]
fn rounded(value: f64) -> f32 {
    ((value * 10.0).round() / 10.0) as f32
}
