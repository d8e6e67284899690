//! `enqueue`: put jobs on the queue, in order.

mod line;
mod progress;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use futures_util::{Stream, StreamExt, stream};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::app::App;
use crate::process::{Failure, configuration, log};
use crate::producer::{self, Error, Producer, Signer};
use crate::queue::NewMessage;
use crate::queue::sqs::Connection;
use crate::run::address;
use line::{event, job};
use progress::{Progress, rate};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The queue; default: QUEUE_SQS_URL.
    #[arg(long)]
    queue_url: Option<String>,
    /// The endpoint; default: QUEUE_SQS_ENDPOINT, or the queue URL's own host if it is not AWS'.
    #[arg(long)]
    endpoint: Option<String>,
    /// The app's id; default: DEFAULT_APP_ID.
    #[arg(long)]
    app_id: Option<String>,
    /// The app's key; default: DEFAULT_APP_KEY.
    #[arg(long)]
    app_key: Option<String>,
    /// The event's name: client_event, member_added, member_removed, channel_vacated,
    /// channel_occupied or cache_miss; or one of your own, with a --group. Without it jobs are read from
    /// standard input, one JSON object a line: {"group","dedup","body"}, {"event":{…},"group","dedup"} or a
    /// job's body, in which "group" and "dedup" may stand too. "group" and "dedup" may be left out.
    #[arg(long)]
    event: Option<String>,
    /// The event's channel; default: one of the kind that the event happens on.
    #[arg(long, requires = "event")]
    channel: Option<String>,
    /// More members of the event, a JSON object: '{"event":"client-hello","data":"hi"}'.
    #[arg(long, value_name = "JSON", requires = "event")]
    fields: Option<String>,
    /// The message group; default: that of the app and the event's type.
    #[arg(long, requires = "event")]
    group: Option<String>,
    /// Print the jobs, one {"group","dedup","body"} a line, instead of sending them.
    #[arg(long)]
    print: bool,
}

/// What the command came to: jobs sent, or printed, and those that SQS would never take.
#[derive(Default)]
struct Summary {
    sent: u64,
    failed: u64,
}

pub(super) async fn main(options: Options) -> Result<ExitCode, Failure> {
    log(Some("warn"));
    // Nothing is sent there.
    let nowhere =
        options.print.then(|| "https://sqs.us-east-1.amazonaws.com/000000000000/print.fifo".to_owned());
    let config = configuration(&[
        ("QUEUE_SQS_URL", nowhere.or_else(|| options.queue_url.clone())),
        ("QUEUE_SQS_ENDPOINT", options.endpoint.clone()),
        ("DEFAULT_APP_ID", options.app_id.clone()),
        ("DEFAULT_APP_KEY", options.app_key.clone()),
    ])?;
    let App { id, key, secret, .. } = config.apps.default;
    let signer = Signer::new(id, key, secret);
    let several = options.event.is_none();
    let progress = Progress::start(several && !options.print);
    let read = RefCell::new(None);
    let jobs: stream::LocalBoxStream<'_, NewMessage> = match &options.event {
        Some(name) => {
            let fields = options.fields.as_deref().unwrap_or("{}");
            let event = event(name, options.channel.as_deref(), options.group.as_deref(), fields)?;
            stream::iter([signer.job(&event)]).boxed_local()
        }
        None => until_error(lines(&signer, &progress), &read).boxed_local(),
    };
    let summary = if options.print {
        print(jobs).await?
    } else {
        let client = Connection::load(address(&config.queue)).await.sender();
        // Someone waits for a single job; of many none may overtake one that is slow to be taken.
        let producer = if several {
            Producer::new(client, config.queue.url)
        } else {
            Producer::with_retries_of(client, config.queue.url)
        };
        send(&producer, jobs, &progress, several).await?
    };
    // What came before a line that is no job has been sent: the lines printed say how far this got.
    if let Some(error) = read.into_inner() {
        return Err(error.into());
    }
    Ok(if summary.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The jobs of standard input, or why a line is none.
fn lines(signer: &Signer, progress: &Progress) -> impl Stream<Item = anyhow::Result<NewMessage>> {
    let input = BufReader::new(tokio::io::stdin()).lines();
    stream::try_unfold((input, 0_u64), move |(mut input, mut number)| async move {
        loop {
            let Some(line) = input.next_line().await.context("standard input")? else { return Ok(None) };
            number += 1;
            if !line.trim().is_empty() {
                let job = job(&line, signer).with_context(|| format!("line {number}"))?;
                progress.read(line.len() as u64 + 1);
                return Ok(Some((job, (input, number))));
            }
        }
    })
}

/// The stream up to its first error, which is put down.
fn until_error<T>(
    items: impl Stream<Item = anyhow::Result<T>>,
    error: &RefCell<Option<anyhow::Error>>,
) -> impl Stream<Item = T> {
    items.scan((), move |(), item| {
        std::future::ready(item.map_err(|failure| *error.borrow_mut() = Some(failure)).ok())
    })
}

async fn print(jobs: impl Stream<Item = NewMessage>) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    let mut jobs = pin!(jobs);
    let mut out = std::io::stdout();
    while let Some(job) = jobs.next().await {
        if let Err(error) = producer::size(&job) {
            summary.failed += 1;
            eprintln!("{}", refused(&summary, &error));
            continue;
        }
        summary.sent += 1;
        let mut line = serde_json::json!({"group": job.group, "dedup": job.deduplication, "body": job.body});
        let attributes: BTreeMap<_, _> = job.attributes().into_iter().collect();
        if let Some(line) = line.as_object_mut().filter(|_| !attributes.is_empty()) {
            line.insert("attributes".to_owned(), serde_json::json!(attributes));
        }
        writeln!(out, "{line}").context("standard output")?;
    }
    Ok(summary)
}

async fn send(
    producer: &Producer,
    jobs: impl Stream<Item = NewMessage>,
    progress: &Progress,
    several: bool,
) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    let mut results = pin!(producer.enqueue_all(jobs));
    let mut out = std::io::stdout();
    while let Some(result) = results.next().await {
        match result {
            Ok(id) => {
                progress.one_more();
                summary.sent += 1;
                writeln!(out, "{id}").context("standard output")?;
            }
            Err(error @ (Error::Refused(_) | Error::TooLarge { .. })) => {
                progress.one_more();
                summary.failed += 1;
                progress.say(&refused(&summary, &error));
            }
            // No other job will fare better, and those behind it in its group may not go before it.
            Err(error) => {
                progress.end();
                return Err(anyhow!("after {} jobs: {error}", summary.sent + summary.failed));
            }
        }
    }
    let elapsed = progress.end();
    if several {
        eprintln!("{}", told(&summary, elapsed));
    }
    Ok(summary)
}

/// What is said of the job that came last, which SQS would never take.
fn refused(summary: &Summary, error: &Error) -> String {
    format!("job {} of the input: {error}", summary.sent + summary.failed)
}

/// The summary in words.
fn told(summary: &Summary, elapsed: Duration) -> String {
    let (seconds, rate) = (elapsed.as_secs_f64(), rate(summary.sent, elapsed));
    format!("{} sent, {} failed, in {seconds:.1} s: {rate:.0} a second", summary.sent, summary.failed)
}
