//! `status`: what the worker that runs with this environment tells at `/status`, for people.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;

use super::ops::ask;
use crate::process::Failure;
use crate::process::output::{print, span};

/// Rows of a kind that are shown; the document has more.
const ROWS: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The document of `/status` as it is (`docs/status.md`), instead of a summary.
    #[arg(long)]
    json: bool,
}

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
}

#[derive(Deserialize)]
struct Limits {
    max_in_flight: i64,
}

#[derive(Deserialize)]
struct Totals {
    dead_letters: u64,
    lost: u64,
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
    detail: String,
    kept: bool,
    ago_s: u64,
}

pub(super) async fn main(options: &Options) -> Result<ExitCode, Failure> {
    let answer = match ask("/status").await {
        Ok(answer) => answer,
        Err(why) => {
            for line in why {
                eprintln!("{line}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    if options.json {
        print(&format!("{}\n", answer.said.trim_end()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = serde_json::from_str(&answer.said).with_context(|| {
        format!("the worker's status cannot be read (is it of release {}?)", env!("CARGO_PKG_VERSION"))
    })?;
    print(&summary(&status))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        // Texts of tenants are in it: one line each, and no control sequence.
        let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
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
        "{:.1} deliveries/s, lag {} (median) and {} (p99), {} in flight of {}, oldest waiting {}, {} dead letters{}",
        now.deliveries,
        lag(now.lag_p50),
        lag(now.lag_p99),
        now.in_flight,
        status.limits.max_in_flight,
        span(now.oldest),
        status.totals.dead_letters,
        if status.totals.lost > 0 {
            format!(", {} of them deleted: no dead-letter queue", status.totals.lost)
        } else {
            String::new()
        }
    ));
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
    section(&mut line, "Failing destinations", count, rows);
    let rows = status.blocked.rows.iter().map(|row| {
        let (at, next) = (endpoint(&row.destination), span(row.next_retry_s));
        format!(
            "{} of app {}{at}: blocked for {}, {} attempts, next retry in {next}, at least {} behind: {}",
            row.name,
            row.app,
            span(row.blocked_s),
            row.attempts,
            row.behind,
            row.detail
        )
    });
    section(&mut line, "Blocked groups", (status.blocked.count, status.blocked.at_least), rows);
    let rows = status.dead_letters.rows.iter().map(|row| {
        let webhook =
            if row.webhook.is_empty() { String::new() } else { format!(", webhook {}", row.webhook) };
        let place = if row.kept {
            format!("hookferry dlq show {}", row.id)
        } else {
            format!("deleted: no dead-letter queue ({})", row.id)
        };
        format!(
            "{} ago, app {}{}{webhook}: {}   {place}",
            span(row.ago_s),
            row.app,
            endpoint(&row.destination),
            row.detail,
        )
    });
    section(&mut line, "Last dead letters", (status.dead_letters.count, false), rows);
    section(&mut line, "Warnings", (status.warnings.len(), false), status.warnings.iter().cloned());
    text
}

fn endpoint(destination: &str) -> String {
    if destination.is_empty() { String::new() } else { format!(" at {destination}") }
}

/// A heading, and the first of `count` rows, or of at least so many; nothing if there is none.
fn section(
    line: &mut impl FnMut(String),
    heading: &str,
    (count, at_least): (usize, bool),
    rows: impl Iterator<Item = String>,
) {
    let rows: Vec<String> = rows.take(ROWS).collect();
    if rows.is_empty() && count == 0 {
        return;
    }
    line(String::new());
    line(format!("{heading} ({}{count})", if at_least { "at least " } else { "" }));
    let more = count.saturating_sub(rows.len());
    for row in rows {
        line(format!("  {row}"));
    }
    if more > 0 {
        line(format!("  and {more} more: hookferry status --json, or the status page"));
    }
}
