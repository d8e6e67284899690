//! `/status`: what the status page shows, as JSON. Its fields are documented in `docs/status.md`; what is
//! there keeps its meaning for as long as `version` is the same.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::board::snapshot::{AppSource, Snapshot};
use crate::shown::cut_marked;
use crate::shown::span;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::wall;

/// The version of the fields: raised when one changes its meaning or goes.
const VERSION: u32 = 1;

/// The most that an answer may have, whatever the number of tenants and the length of their names.
pub const MAX_BYTES: usize = 64 * 1024;

/// Rows of each kind, where they fit.
const ROWS: usize = 40;

/// The most of all warnings together, as JSON.
const WARNINGS_BYTES: usize = 8 * 1024;

/// The most of all settings together, as JSON.
const SETTINGS_BYTES: usize = 16 * 1024;

/// Characters kept of each one's value and source: as many as leave room for the rest. Variables are few.
const SETTING_MOST: [usize; 4] = [512, 128, 64, 16];

/// Characters kept of one: a queue's finding with its remedy.
const WARNING_MOST: usize = 600;

/// What does not change while a worker runs, and what is found out while it starts.
#[derive(Debug)]
pub struct StatusFacts {
    /// The queue's name.
    pub queue: String,
    /// The queue's region.
    pub region: String,
    /// Which replica this is.
    pub replica: String,
    /// When it started.
    pub started: Instant,
    /// The configuration in force.
    pub settings: RwLock<Vec<Setting>>,
    /// The queue's attributes as it last said, once it has answered.
    pub attributes: RwLock<Vec<Attribute>>,
    /// What there is to be warned of: the configuration, the queue, the apps that are in force.
    pub warnings: RwLock<Warnings>,
}

/// What there is to be warned of.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    /// The first of them.
    pub first: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value; a secret's is masked.
    pub value: String,
    /// Where it comes from.
    pub source: String,
}

/// One attribute of the queue, and what is recommended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What is recommended.
    pub recommended: String,
    /// Whether it will do.
    pub ok: bool,
}

#[derive(Debug, Serialize)]
struct Status<'a> {
    version: u32,
    state: State,
    why: Vec<String>,
    release: &'static str,
    uptime_s: u64,
    queue: &'a str,
    region: &'a str,
    replica: &'a str,
    limits: Limits,
    totals: Totals,
    #[serde(flatten)]
    board: Snapshot,
    attributes: Vec<Attribute>,
    settings: Vec<Setting>,
    warnings: Vec<String>,
    warnings_left_out: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Delivering,
    Degraded,
    Unready,
    Draining,
}

#[derive(Debug, Serialize)]
struct Limits {
    max_in_flight: i64,
    bytes_in_flight: i64,
    max_bytes_in_flight: i64,
    pollers: i64,
    lanes: i64,
}

#[derive(Debug, Serialize)]
struct Totals {
    received: u64,
    deliveries: u64,
    acknowledged: u64,
    retries: u64,
    dead_letters: u64,
    lost: u64,
    deferred: u64,
    unmatched: u64,
    late_settlements: u64,
    last_receive: i64,
    queue_visible: i64,
    queue_hidden: i64,
    queue_sampled: i64,
    queue_sampled_s: Option<u64>,
    dead_letter_queue: i64,
    dead_letter_queue_sampled: i64,
    dead_letter_queue_sampled_s: Option<u64>,
}

impl StatusFacts {
    /// The facts of a worker that starts now.
    #[must_use]
    pub fn new(queue: String, region: String, replica: String, settings: Vec<Setting>) -> Self {
        Self {
            queue,
            region,
            replica,
            started: Instant::now(),
            settings: RwLock::new(settings),
            attributes: RwLock::default(),
            warnings: RwLock::default(),
        }
    }

    /// A variable has this value from now on, if it had another; `source` is where that comes from.
    pub fn changed(&self, name: &str, value: &str, source: &str) {
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        for setting in settings.iter_mut().filter(|setting| setting.name == name && setting.value != value) {
            value.clone_into(&mut setting.value);
            source.clone_into(&mut setting.source);
        }
    }
}

/// The whole of it, with fewer rows where it would be too long.
pub(super) fn json(facts: &StatusFacts, health: &Health, metrics: &Metrics) -> String {
    let mut rows = ROWS;
    loop {
        let text = serde_json::to_string(&status(facts, health, metrics, rows)).unwrap_or_default();
        if text.len() <= MAX_BYTES || rows == 0 {
            return text;
        }
        rows /= 2;
    }
}

fn status<'a>(facts: &'a StatusFacts, health: &Health, metrics: &Metrics, rows: usize) -> Status<'a> {
    let board = metrics.board.snapshot(metrics.in_flight.get().try_into().unwrap_or_default(), rows);
    let (state, why) = state(health, metrics, &board);
    let (warnings, warnings_left_out) =
        bounded(&facts.warnings.read().unwrap_or_else(PoisonError::into_inner));
    let queue = |state| metrics.queue_messages.get_or_create(&[("state", state)]).get();
    Status {
        version: VERSION,
        state,
        why,
        release: env!("CARGO_PKG_VERSION"),
        uptime_s: facts.started.elapsed().as_secs(),
        queue: &facts.queue,
        region: &facts.region,
        replica: &facts.replica,
        limits: Limits {
            max_in_flight: metrics.max_in_flight.get(),
            bytes_in_flight: metrics.bytes_in_flight.get(),
            max_bytes_in_flight: metrics.max_bytes_in_flight.get(),
            pollers: metrics.pollers.get(),
            lanes: metrics.lanes.get(),
        },
        totals: Totals {
            received: metrics.messages.get(),
            deliveries: metrics.delivered.get(),
            acknowledged: metrics.acknowledged.get(),
            retries: metrics.retries(),
            dead_letters: metrics.given_up(),
            lost: metrics.lost.get(),
            deferred: metrics.deferred.get(),
            unmatched: metrics.unmatched.get(),
            late_settlements: metrics.late_settlements.get(),
            last_receive: metrics.last_receive.get(),
            queue_visible: queue("visible"),
            queue_hidden: queue("hidden"),
            queue_sampled: metrics.queue_sampled.get(),
            queue_sampled_s: ago(metrics.queue_sampled.get()),
            dead_letter_queue: metrics.dead_letter_queue_messages.get(),
            dead_letter_queue_sampled: metrics.dead_letter_queue_sampled.get(),
            dead_letter_queue_sampled_s: ago(metrics.dead_letter_queue_sampled.get()),
        },
        board,
        attributes: facts.attributes.read().unwrap_or_else(PoisonError::into_inner).clone(),
        settings: shown(&facts.settings.read().unwrap_or_else(PoisonError::into_inner)),
        warnings,
        warnings_left_out,
    }
}

/// How long ago a Unix time is; nothing of one that has not been.
fn ago(unix_time: i64) -> Option<u64> {
    let then = Duration::from_secs(u64::try_from(unix_time).ok().filter(|time| *time > 0)?);
    let now = wall::since_epoch();
    Some(now.saturating_sub(then).as_secs())
}

/// All settings, with as much of each value as leaves room for the rest whatever they hold.
fn shown(settings: &[Setting]) -> Vec<Setting> {
    let cut = |most: usize| {
        let cut = |text: &str| cut_marked(text, most);
        let setting = |setting: &Setting| Setting {
            name: setting.name.clone(),
            value: cut(&setting.value),
            source: cut(&setting.source),
        };
        settings.iter().map(setting).collect::<Vec<_>>()
    };
    let fits = |all: &Vec<Setting>| serde_json::to_string(all).is_ok_and(|text| text.len() <= SETTINGS_BYTES);
    let [most, .., least] = SETTING_MOST;
    // Nearly always the first.
    let all = cut(most);
    if fits(&all) { all } else { SETTING_MOST.into_iter().map(cut).find(fits).unwrap_or_else(|| cut(least)) }
}

/// As many of the warnings, and as much of each, as leave room for the rest whatever they hold; and how many are left out.
fn bounded(warnings: &Warnings) -> (Vec<String>, usize) {
    let mut room = WARNINGS_BYTES;
    let mut shown: Vec<String> = Vec::new();
    for warning in &warnings.first {
        let text = cut_marked(warning, WARNING_MOST);
        let bytes = serde_json::to_string(&text).map_or(0, |text| text.len());
        let Some(left) = room.checked_sub(bytes) else { break };
        room = left;
        shown.push(text);
    }
    let left_out = warnings.first.len() - shown.len() + warnings.more;
    (shown, left_out)
}

/// The first of draining, unready and degraded that holds, and why.
fn state(health: &Health, metrics: &Metrics, board: &Snapshot) -> (State, Vec<String>) {
    if health.is_draining() {
        return (State::Draining, vec!["jobs under way are finished, the rest is given back".to_owned()]);
    }
    if let Err(why) = health.ready() {
        return (State::Unready, why);
    }
    let mut why: Vec<String> = health.live().err().into_iter().collect();
    if let Some(AppSource { unanswered_s, served }) = board.app_source {
        let serving = if served { "an older answer" } else { "nothing: jobs wait" };
        why.push(format!(
            "apps cannot be looked up for {}: serving {serving} (the log names the error)",
            span(unanswered_s)
        ));
    }
    let failing = board.failing;
    let least = if failing.at_least { "at least " } else { "" };
    for (count, verb) in [(failing.down, "down"), (failing.failing, "failing")] {
        match count {
            0 => {}
            1 => why.push(format!("{least}1 destination is {verb}")),
            more => why.push(format!("{least}{more} destinations are {verb}")),
        }
    }
    match board.blocked.count {
        0 => {}
        1 => why.push("1 group waits for a retry".to_owned()),
        more => why.push(format!("{more} groups wait for a retry")),
    }
    if metrics.fullness() >= 1.0 {
        let of_messages = metrics.in_flight.get() >= metrics.max_in_flight.get();
        let most = if of_messages { "" } else { " of QUEUE_SQS_MAX_IN_FLIGHT_BYTES" };
        why.push(format!("no place{most} is free: deliveries are slower than what comes in"));
    }
    (if why.is_empty() { State::Delivering } else { State::Degraded }, why)
}

#[cfg(test)]
mod tests;
