//! The document of `/status` in words, as `hookferry status` prints it.

use std::fmt::Write;

use serde::Deserialize;

use crate::shown::{self, span};

/// Rows of a kind that are shown; the document has more.
const ROWS: usize = 20;

/// What is older than so many seconds is told with its age: the queue is sampled every ten, its dead-letter queue once a
/// minute.
const OLD_SAMPLE: u64 = 120;
const OLD_LETTERS: u64 = 300;

/// What is shown of the document.
#[derive(Deserialize)]
struct Status {
    state: String,
    why: Vec<String>,
    release: String,
    uptime_s: u64,
    queue: String,
    region: String,
    replica: String,
    limits: Limits,
    totals: Totals,
    now: Now,
    failing: Troubled,
    blocked: Listed<Group>,
    destinations: Listed<Endpoint>,
    dead_letters: Listed<Letter>,
    warnings: Vec<String>,
    #[serde(default)]
    warnings_left_out: usize,
}

#[derive(Deserialize)]
struct Limits {
    max_in_flight: i64,
}

#[derive(Deserialize)]
struct Totals {
    dead_letters: u64,
    lost: u64,
    queue_visible: i64,
    queue_hidden: i64,
    dead_letter_queue: i64,
    // A worker of an earlier release does not tell when it sampled.
    #[serde(default)]
    queue_sampled: i64,
    #[serde(default)]
    dead_letter_queue_sampled: i64,
    queue_sampled_s: Option<u64>,
    dead_letter_queue_sampled_s: Option<u64>,
}

/// Destinations that do not take what they are sent.
#[derive(Deserialize)]
struct Troubled {
    down: usize,
    failing: usize,
    at_least: bool,
}

#[derive(Deserialize)]
struct Now {
    deliveries: f32,
    lag_p50: Option<f32>,
    lag_p99: Option<f32>,
    in_flight: u64,
    oldest: u64,
}

#[derive(Deserialize)]
struct Listed<T> {
    count: usize,
    at_least: bool,
    rows: Vec<T>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(rename = "group")]
    name: String,
    app: String,
    destination: String,
    blocked_s: u64,
    attempts: u32,
    // A worker of an earlier release does not tell it.
    #[serde(default)]
    receives: u32,
    detail: String,
    next_retry_s: u64,
    behind: usize,
}

#[derive(Deserialize)]
struct Endpoint {
    app: String,
    webhook: String,
    destination: String,
    state: String,
    since_s: Option<u64>,
    success: Option<f32>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Letter {
    id: String,
    app: String,
    webhook: String,
    destination: String,
    #[serde(default)]
    others: usize,
    detail: String,
    kept: bool,
    ago_s: u64,
}

/// What the document tells, for people.
///
/// # Errors
/// It is none of this release's.
pub fn summary(document: &str) -> serde_json::Result<String> {
    let status: Status = serde_json::from_str(document)?;
    let mut text = String::new();
    let mut line = |line: String| {
        // Texts of tenants are in it: one line each, and no control sequence.
        let clean = shown::cut(&line, usize::MAX);
        // Writing to a string does not fail.
        writeln!(text, "{}", clean.trim_end()).ok();
    };
    let why = if status.why.is_empty() { String::new() } else { format!(": {}", status.why.join("; ")) };
    line(format!("{}{why}", status.state));
    line(format!(
        "hookferry {}, up {}, queue {} in {}, replica {} (this replica only)",
        status.release,
        span(status.uptime_s),
        status.queue,
        status.region,
        status.replica
    ));
    let now = &status.now;
    let lag = |ms: Option<f32>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
    line(format!(
        "{:.1} deliveries/s, lag {} (median) and {} (p99), {} in flight of {}, oldest waiting {}",
        now.deliveries,
        lag(now.lag_p50),
        lag(now.lag_p99),
        now.in_flight,
        status.limits.max_in_flight,
        span(now.oldest),
    ));
    line(depths(&status.totals));
    let ill = |row: &&Endpoint| row.state == "failing" || row.state == "down";
    let failing: Vec<&Endpoint> = status.destinations.rows.iter().filter(ill).collect();
    let rows = failing.iter().map(|row| {
        let since = row.since_s.map(|since| format!(" for {}", span(since))).unwrap_or_default();
        let success =
            row.success.map(|share| format!(", {:.0} % taken in 5 min", share * 100.0)).unwrap_or_default();
        let error = row.error.as_deref().unwrap_or("no error is known");
        format!(
            "{}, webhook {} of app {}: {}{since}{success}: {error}",
            row.destination, row.webhook, row.app, row.state
        )
    });
    let count = (status.failing.down + status.failing.failing, status.failing.at_least);
    section(&mut line, "Failing destinations", count, rows, "");
    let rows = status.blocked.rows.iter().map(|row| {
        let (at, next) = (endpoint(&row.destination), span(row.next_retry_s));
        format!(
            "{} of app {}{at}: blocked for {}, {} attempts here in {} receives, next retry in {next}, at least {} behind: {}",
            row.name,
            row.app,
            span(row.blocked_s),
            row.attempts,
            row.receives,
            row.behind,
            row.detail
        )
    });
    section(&mut line, "Blocked groups", (status.blocked.count, status.blocked.at_least), rows, "");
    let rows = status.dead_letters.rows.iter().map(|row| {
        let webhook =
            if row.webhook.is_empty() { String::new() } else { format!(", webhook {}", row.webhook) };
        let others = if row.others > 0 { format!(" and {} more", row.others) } else { String::new() };
        let place = if row.kept {
            format!("hookferry dlq show {}", row.id)
        } else {
            format!("deleted: no dead-letter queue ({})", row.id)
        };
        format!(
            "{} ago, app {}{}{webhook}{others}: {}   {place}",
            span(row.ago_s),
            row.app,
            endpoint(&row.destination),
            row.detail,
        )
    });
    section(&mut line, "Last dead letters", (status.dead_letters.count, false), rows, "");
    let count = (status.warnings.len() + status.warnings_left_out, false);
    section(&mut line, "Warnings", count, status.warnings.iter().cloned(), "; see hookferry check");
    Ok(text)
}

/// What waits in the queues, whoever put it there, and what this replica gave up.
fn depths(totals: &Totals) -> String {
    let old = |ago: Option<u64>, most: u64| {
        ago.filter(|ago| *ago > most).map(|ago| format!("sampled {} ago", span(ago)))
    };
    let of_queue = old(totals.queue_sampled_s, OLD_SAMPLE).map(|old| format!(" ({old})")).unwrap_or_default();
    let (visible, hidden) = (totals.queue_visible, totals.queue_hidden);
    let queue = match totals.queue_sampled {
        0 => "the queue is not sampled".to_owned(),
        _ => format!("{visible} visible and {hidden} hidden in the queue{of_queue}"),
    };
    let of_letters = old(totals.dead_letter_queue_sampled_s, OLD_LETTERS);
    let of_letters = of_letters.unwrap_or_else(|| "as sampled".to_owned());
    let dead = match totals.dead_letter_queue_sampled {
        0 => "no dead-letter queue is sampled".to_owned(),
        _ => format!("{} waiting in the dead-letter queue ({of_letters})", totals.dead_letter_queue),
    };
    let lost = match totals.lost {
        0 => String::new(),
        lost => format!(", {lost} lost without a dead letter"),
    };
    format!("{queue}, {dead}; {} given up here since the start{lost}", totals.dead_letters)
}

fn endpoint(destination: &str) -> String {
    if destination.is_empty() { String::new() } else { format!(" at {destination}") }
}

/// A heading, and the first of `count` rows, or of at least so many, of which the document has these; nothing if there is
/// none. `beside` says where else they are told.
fn section(
    line: &mut impl FnMut(String),
    heading: &str,
    (count, at_least): (usize, bool),
    rows: impl Iterator<Item = String>,
    beside: &str,
) {
    let rows: Vec<String> = rows.collect();
    let (listed, count) = (rows.len(), count.max(rows.len()));
    if count == 0 {
        return;
    }
    line(String::new());
    line(format!("{heading} ({}{count})", if at_least { "at least " } else { "" }));
    for row in rows.into_iter().take(ROWS) {
        line(format!("  {row}"));
    }
    let more = count.saturating_sub(listed.min(ROWS));
    if more > 0 {
        let listed = if listed < count { format!("the first {listed} are") } else { "all are".to_owned() };
        line(format!("  and {more} more: {listed} in hookferry status --json{beside}"));
    }
}
