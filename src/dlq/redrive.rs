//! `dlq redrive`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::filters::Filters;
use super::list::shown;
use super::port::{ByApps, JobQueue};
use super::{Dlq, confirmed};
use crate::apps::Observer;
use crate::config::Config;
use crate::letters::Letter;
use crate::letters::redrive::{Left, Plan, Report, redrive};
use crate::process::Failure;
use crate::run::sources;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// These letters alone, by their id or their job's; all of them if none is named.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// Stop after so many.
    #[arg(long)]
    most: Option<usize>,
    /// So many a second at the most.
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
        if !confirmed(&format!("Put {what} back on {}? [y/N] ", dlq.url), "y")? {
            return Ok(ExitCode::FAILURE);
        }
    }
    let named = |letter: &Letter| {
        let id =
            |id: &String| **id == *letter.message.id || letter.attribute("source_message_id") == Some(id);
        options.ids.is_empty() || options.ids.iter().any(id)
    };
    let plan = Plan {
        chosen: &|letter| named(letter) && options.filters.matches(letter),
        // One that is named by its id is meant.
        unmarked: !shared || !options.ids.is_empty(),
        most: options.most.unwrap_or(usize::MAX),
        rate: options.rate,
        dry_run: options.dry_run,
    };
    let (apps, _tasks) = sources::open(config.apps, config.timeout, Observer::default(), &dlq.stop).await?;
    let wanted = ByApps::new(apps);
    let source = JobQueue(dlq.connection.queue(super::usage()));
    let bar = std::io::stderr().is_terminal();
    let progress = |count| {
        if bar {
            eprint!("\r{count} of about {depth} put back ");
            drop(std::io::stderr().flush());
        }
    };
    let ports = (&dlq.letters, &source, &wanted);
    let (report, ended) = redrive(ports, &plan, &dlq.random, dlq.stop.clone(), progress).await;
    if bar {
        eprintln!();
    }
    tell(&report, &dlq.url, options.dry_run);
    if report.put_back == 0 && !options.ids.is_empty() {
        println!("what was named cannot be seen: it may lie behind ten letters of its group that were left");
    }
    let known: usize = report.left.values().sum();
    // What was done is done, whether or not the queue says how much there is left.
    let remaining = dlq.depth().await.unwrap_or(known);
    if !options.dry_run && remaining > known && !report.stopped && options.most.is_none() {
        println!(
            "about {} more are hidden: behind ten letters of their group that were left, or held by another command",
            remaining - known
        );
    }
    ended.context(if report.put_back > 0 { "the rest is where it was" } else { "nothing was put back" })?;
    let failed = [Left::Refused, Left::NotDeleted].iter().any(|why| report.left.contains_key(why));
    Ok(if failed || report.stopped { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn tell(report: &Report, url: &str, dry_run: bool) {
    let done = if dry_run { "would be put back" } else { "put back" };
    println!("{} jobs {done} on {url}", report.put_back);
    for (why, count) in &report.left {
        println!("{count} left: {}", why.words());
    }
    if let Some(refusal) = &report.refusal {
        println!("the queue says: {refusal}");
    }
    for (id, group, why) in &report.named {
        println!("  {id} of group {}: {}", shown(group), why.words());
    }
    for (id, group) in &report.overtaken {
        println!("  {id} of group {} is left out, and a later one of its group was put back", shown(group));
    }
    for id in &report.bare {
        println!("  {id} was too large for what is known of it: webhooks that have it get it again");
    }
    if report.late > 0 {
        println!("{} letters could not be given back: they are hidden for up to two minutes", report.late);
    }
    if report.stopped {
        println!("stopped; run this again for the rest: nothing is put back twice");
    }
}
