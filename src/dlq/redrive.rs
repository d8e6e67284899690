//! `dlq redrive`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::filters::Filters;
use super::list::shown;
use super::port::{ByApps, JobQueue};
use super::{Dlq, confirmed, tell_left};
use crate::apps::Observer;
use crate::config::Config;
use crate::letters::Letter;
use crate::letters::redrive::{Left, Plan, Report, redrive};
use crate::process::Failure;
use crate::process::output::print;
use crate::run::sources;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// These letters alone, by their id or their job's; all of them if none is named.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// Stop after this many letters.
    #[arg(long)]
    most: Option<usize>,
    /// The most letters a second.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Only say what would be put back.
    #[arg(long)]
    dry_run: bool,
    /// Ask nothing.
    #[arg(long)]
    yes: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.001..=100_000.0).contains(rate));
    rate.ok_or_else(|| format!("{text:?} is no number of letters a second from 0.001 to 100000"))
}

pub(super) async fn main(dlq: &Dlq, config: Config, options: Options) -> Result<ExitCode, Failure> {
    let depth = dlq.depth().await?;
    let shared = dlq.is_shared().await;
    if std::io::stdin().is_terminal() && !options.dry_run && !options.yes {
        let what = if options.ids.is_empty() && options.filters.all() {
            format!("all dead letters (about {depth})")
        } else {
            format!("the chosen ones of about {depth} dead letters")
        };
        if !confirmed(&format!("Put {what} back on {}? [y/N] ", dlq.url), "y", &dlq.stop).await? {
            return Ok(ExitCode::FAILURE);
        }
    }
    // Which of the ids a letter was seen for.
    let found: Mutex<HashSet<&String>> = Mutex::default();
    let named = |letter: &Letter| {
        let is =
            |id: &&String| ***id == *letter.message.id || letter.attribute("source_message_id") == Some(id);
        let meant: Vec<&String> = options.ids.iter().filter(is).collect();
        let chosen = options.ids.is_empty() || !meant.is_empty();
        found.lock().unwrap_or_else(PoisonError::into_inner).extend(meant);
        chosen
    };
    let plan = Plan {
        chosen: &|letter| named(letter) && options.filters.matches(letter),
        // One that is named by its id is meant.
        unmarked: !shared || !options.ids.is_empty(),
        most: options.most.unwrap_or(usize::MAX),
        rate: options.rate,
        dry_run: options.dry_run,
        most_bytes: dlq.most_bytes,
    };
    let (apps, _tasks) = sources::open(config.apps, config.timeout, Observer::default(), &dlq.stop).await?;
    let bar = bar(depth.min(plan.most), options.dry_run);
    let wanted = ByApps::new(apps, bar.clone());
    let source = JobQueue(dlq.connection.queue(super::usage()));
    let progress = |count| bar.set_position(count as u64);
    let ports = (&dlq.letters, &source, &wanted);
    let (report, ended) = redrive(ports, &plan, &dlq.random, dlq.stop.clone(), progress).await;
    bar.finish_and_clear();
    let mut text = told(&report, &dlq.url, options.dry_run);
    let found = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // What lies behind the last one that was to be put back was not looked for.
    let enough = report.put_back >= plan.most;
    let missing: Vec<_> = options.ids.iter().filter(|id| !found.contains(id) && !enough).collect();
    // Writing to a string does not fail.
    for id in &missing {
        writeln!(
            text,
            "  {} was not found: no letter has that id, or it lies behind ten letters of its group that were left, or another command holds it",
            shown(id)
        )
        .ok();
    }
    let known: usize = report.left.values().sum();
    if options.dry_run && !report.stopped && options.most.is_none() {
        let behind = depth.saturating_sub(known + report.put_back);
        if behind > 0 {
            writeln!(text, "and up to {behind} more behind them: a group shows ten letters at a time").ok();
        }
    }
    // What was done is done, whether or not the queue says how much there is left.
    let remaining = dlq.depth().await.unwrap_or(known);
    // Letters of jobs that failed again meanwhile were not there when it began.
    let older = known - report.left.get(&Left::Newer).copied().unwrap_or_default();
    let hidden = remaining.saturating_sub(known).min(depth.saturating_sub(older + report.put_back));
    let hidden = if options.dry_run || report.stopped || options.most.is_some() { 0 } else { hidden };
    if hidden > 0 && ended.is_ok() {
        writeln!(
            text,
            "about {hidden} more are hidden: behind ten letters of their group that were left, held by another command, or delayed by the dead-letter queue"
        )
        .ok();
    }
    print(&text)?;
    ended.context(if report.put_back > 0 { "the rest is where it was" } else { "nothing was put back" })?;
    // Whoever names letters wants each of them.
    let unmet = !options.ids.is_empty()
        && (!missing.is_empty()
            || report.left.keys().any(|why| !matches!(why, Left::NotChosen | Left::Newer)));
    let failed = [Left::Refused, Left::Unsent, Left::Behind, Left::PutBackNotDeleted]
        .iter()
        .any(|why| report.left.contains_key(why))
        || report.given_back.late > 0
        || report.stopped
        || hidden > 0 && options.ids.is_empty() && options.filters.all()
        || unmet;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How many of about `total` letters are done with, for people at a terminal; it is hidden elsewhere.
fn bar(total: usize, dry_run: bool) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total as u64);
    let done = if dry_run { "would be put back" } else { "put back" };
    let template = "{bar:30} {percent}%  {pos} of about {len} {msg}, {elapsed}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(done);
    // Time passes between two letters, too, above all with --rate.
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn told(report: &Report, url: &str, dry_run: bool) -> String {
    let done = if dry_run { "would be put back" } else { "put back" };
    let mut lines = vec![format!("{} jobs {done} on {url}", report.put_back)];
    let left = tell_left(&report.left);
    lines.extend(left.lines().map(str::to_owned));
    lines.extend(report.refusal.iter().map(|refusal| format!("the queue says: {refusal}")));
    let named = report.named.iter();
    lines.extend(named.map(|(id, group, why)| format!("  {id} of group {}: {}", shown(group), why.words())));
    lines.extend(report.overtaken.iter().map(|(id, group)| {
        format!("  {id} of group {} is left out, and a later one of its group was put back", shown(group))
    }));
    lines.extend(report.bare.iter().map(|id| {
        let (is, get) = if dry_run { ("is", "would get") } else { ("was", "get") };
        format!("  {id} {is} too large for what is known of it: webhooks that have it {get} it again")
    }));
    lines.extend(report.given_back.words());
    if report.stopped {
        lines.push("stopped; run this again for the rest: nothing is put back twice".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}
