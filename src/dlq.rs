//! `dlq`: dead letters.

// clap shows the options' docs as they stand, back-ticks and all.
#![allow(clippy::doc_markdown, reason = "the docs of options are help texts")]

mod filters;
mod list;
mod port;
mod purge;
mod redrive;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Errors};
use crate::letters::redrive::Left;
use crate::process::{Failure, configuration, log, signals};
use crate::queue::MAX_BATCH_BYTES;
use crate::queue::sqs::{Connection, Description, Policies, Usage};
use crate::random::Random;
use crate::run::address;
use crate::run::preflight::{self, Remedy, moves_on};
use filters::Filters;
use port::DeadLetterQueue;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

/// Every one of them uses QUEUE_SQS_URL and QUEUE_SQS_DLQ_URL, or the target of the queue's RedrivePolicy.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show how many letters there are, by app and reason. They are received for that, which hides them and their groups
    /// for its duration, and all are given back.
    List {
        #[command(flatten)]
        filters: Filters,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Show one letter, its attributes and its body.
    Show {
        /// The letter's id, or its job's.
        id: String,
    },
    /// Put letters back on the queue, in order, for the webhooks that do not have them yet. Takes what is there when it
    /// begins, each once; may be interrupted and repeated.
    Redrive(redrive::Options),
    /// Write letters to standard output as JSON lines that `enqueue` takes, and leave them where they are.
    Export {
        #[command(flatten)]
        filters: Filters,
    },
    /// Delete letters, after a copy of them was written to a file.
    Purge(purge::Options),
}

/// A dead-letter queue, the queue that it belongs to, and what the commands share.
struct Dlq {
    connection: Connection,
    url: String,
    /// The largest message that the queue takes.
    most_bytes: usize,
    dead: Connection,
    letters: DeadLetterQueue,
    random: Random,
    stop: CancellationToken,
}

pub(super) async fn main(options: Options) -> Result<ExitCode, Failure> {
    log(Some("warn"));
    // No app is needed to look at letters, nor to take them away: that is done when a list of apps is broken, too.
    let without_apps =
        ["APPS_FILE", "APPS", "SOKETI_APPS_FILE", "SOKETI_APPS"].map(|name| (name, Some(String::new())));
    let needs_apps = matches!(options.command, Command::Redrive { .. });
    let config = configuration(if needs_apps { &[] } else { &without_apps })?;
    let connection = Connection::load(address(&config.queue)).await;
    let (dead, queue_says) = if let Some(url) = config.queue.dead_letter_url.clone() {
        (url, connection.describe().await.ok())
    } else {
        let queue_says = connection.describe().await.context("the queue")?;
        let url = queue_says.dead_letter_url.clone();
        let url = url.ok_or_else(|| anyhow!("there is no dead-letter queue: set QUEUE_SQS_DLQ_URL"))?;
        (url, Some(queue_says))
    };
    let dead = connection.at(dead);
    // Its messages are live jobs then: to redrive would send them twice, and to purge would lose them.
    let arn = queue_says.as_ref().and_then(|says| says.attribute("QueueArn"));
    let dead_says = dead.describe().await.ok();
    let dead_arn = dead_says.as_ref().and_then(|says| says.attribute("QueueArn"));
    if preflight::is_same_queue((dead.url(), dead_arn), (&config.queue.url, arn)) {
        return Err(Errors(vec![preflight::is_the_queue_itself(dead.url()).line()]).into());
    }
    let by_url = connection.queue(usage()).identity();
    let ours = by_url.into_iter().chain(queue_says.as_ref().and_then(Description::identity)).collect();
    let letters = DeadLetterQueue { sqs: dead.queue(usage()), ours };
    let url = config.queue.url.clone();
    let stop = signals::shutdown();
    // A role that may not ask cannot be told; the command goes on.
    if let Some(dead_says) = &dead_says {
        tell_of_delay(&dead, dead_says);
        tell_that_letters_move(&dead, dead_says, arn, &config);
    }
    let most_bytes = queue_says.as_ref().map_or(MAX_BATCH_BYTES, Description::most_bytes);
    let dlq = Dlq { connection, url, most_bytes, dead, letters, random: Random::from_system(), stop };
    match options.command {
        Command::List { filters, json } => list::list(&dlq, &filters, json).await,
        Command::Show { id } => list::show(&dlq, &id).await,
        Command::Redrive(options) => Box::pin(redrive::main(&dlq, config, options)).await,
        Command::Export { filters } => list::export(&dlq, &filters).await,
        Command::Purge(options) => purge::main(&dlq, options).await,
    }
}

/// Letters that no command sees yet.
fn tell_of_delay(dead: &Connection, dead_says: &Description) {
    let (delay, delayed) =
        (dead_says.number("DelaySeconds").unwrap_or_default(), dead_says.messages("Delayed"));
    if delayed > 0 {
        let remedy = if delay > 0 { " (set it to 0: hookferry check prints the line)" } else { "" };
        eprintln!(
            "about {delayed} letters are delayed and cannot be seen yet: DelaySeconds of {} is {delay}{remedy}",
            dead.url()
        );
    }
}

/// Said before anything is received: to look at letters is what moves them.
fn tell_that_letters_move(dead: &Connection, dead_says: &Description, arn: Option<&str>, config: &Config) {
    if dead_says.dead_letter_arn.is_none() {
        return;
    }
    if let Some(finding) = moves_on(dead.url(), dead_says, arn, &Remedy { config }) {
        eprintln!("{}", finding.line());
    }
}

fn usage() -> Usage {
    Usage {
        wait: Duration::from_secs(1),
        visibility: None,
        settle_timeout: Duration::from_secs(10),
        policies: Policies::default(),
        traced: false,
    }
}

impl Dlq {
    /// How many letters there are, hidden ones included, by the queue's own count.
    async fn depth(&self) -> anyhow::Result<usize> {
        Ok(self.dead.describe().await.context("the dead-letter queue")?.depth())
    }

    /// Whether other queues too name this one in their RedrivePolicy. Where that is not to be known, a letter
    /// that names no queue is taken for ours.
    async fn is_shared(&self) -> bool {
        match self.dead.sources().await {
            Ok(sources) => sources.iter().any(|source| !self.letters.is_ours(source)),
            Err(error) => {
                eprintln!("whether other queues share the dead-letter queue cannot be told: {error}");
                false
            }
        }
    }
}

/// Asks on the terminal; whether the answer is `wanted`. A signal is a no.
async fn confirmed(question: &str, wanted: &str, stop: &CancellationToken) -> anyhow::Result<bool> {
    eprint!("{question}");
    std::io::stderr().flush().context("the terminal")?;
    let (send, answered) = oneshot::channel();
    // A thread of its own, which ends with the process: the runtime waits for its own threads when it ends, and
    // reading a line cannot be called off.
    std::thread::spawn(move || {
        let mut answer = String::new();
        send.send(std::io::stdin().read_line(&mut answer).map(|_| answer))
    });
    let Some(answer) = stop.run_until_cancelled(answered).await else {
        eprintln!();
        return Ok(false);
    };
    let answer = answer.context("the terminal")?.context("the terminal")?;
    Ok(answer.trim().eq_ignore_ascii_case(wanted))
}

/// Letters that were left, a line for each reason.
fn tell_left(left: &BTreeMap<Left, usize>) -> String {
    left.iter().fold(String::new(), |mut text, (why, count)| {
        // Writing to a string does not fail.
        writeln!(text, "{count} left: {}", why.words()).ok();
        text
    })
}
