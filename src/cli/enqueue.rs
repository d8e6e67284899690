//! `enqueue`: put jobs on the queue, in order.

mod input;
mod line;
mod printing;
mod progress;
mod results;
mod sending;
mod signing;

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use futures_util::{Stream, StreamExt, stream};

use crate::process::signals::Stops;
use crate::process::{Failure, configuration, log};
use crate::producer::Producer;
use crate::queue::sqs::{Connection, Description};
use crate::queue::{MAX_BATCH_BYTES, NewMessage};
use crate::run::address;
pub(super) use line::{Ids, ids_beside};
use line::{event, job};
use progress::Progress;
use signing::Signing;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The queue; default: QUEUE_SQS_URL.
    #[arg(long)]
    queue_url: Option<String>,
    /// The endpoint; default: QUEUE_SQS_ENDPOINT, or the queue URL's own host if it is not AWS'.
    #[arg(long)]
    endpoint: Option<String>,
    /// The app's id; default: that of the app of --app-key, or DEFAULT_APP_ID.
    #[arg(long)]
    app_id: Option<String>,
    /// The app's key; default: that of the app of --app-id, or DEFAULT_APP_KEY. Events are signed under its secret of
    /// DEFAULT_APP_*, APPS or APPS_FILE.
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

/// A job to be sent, and the number of its line.
type NumberedJob = (u64, NewMessage);

pub(super) async fn main(options: Options) -> Result<ExitCode, Failure> {
    log(Some("warn"));
    // Nothing is sent there.
    let nowhere =
        options.print.then(|| "https://sqs.us-east-1.amazonaws.com/000000000000/print.fifo".to_owned());
    let config = configuration(&[
        ("QUEUE_SQS_URL", nowhere.or_else(|| options.queue_url.clone())),
        ("QUEUE_SQS_ENDPOINT", options.endpoint.clone()),
    ])?;
    let signing = Signing::new(&config.apps, options.app_id.as_deref(), options.app_key.as_deref());
    let several = options.event.is_none();
    let connection = (!options.print).then(|| address(&config.queue)).map(Connection::load);
    let connection = match connection {
        Some(loading) => Some(loading.await),
        None => None,
    };
    // Whoever may not ask is told by the queue.
    let described = match &connection {
        Some(connection) if several => connection.describe().await.ok(),
        Some(_) | None => None,
    };
    let most_bytes = described.as_ref().map_or(MAX_BATCH_BYTES, Description::most_bytes);
    let progress = Progress::start(several && !options.print);
    let jobs = match &options.event {
        Some(name) => {
            let fields = options.fields.as_deref().unwrap_or("{}");
            let event = event(name, options.channel.as_deref(), options.group.as_deref(), fields)?;
            let job = signing.signer()?.job(&event);
            stream::iter([Ok((1, job))]).boxed_local()
        }
        None => lines(&signing, &progress, most_bytes)?.boxed_local(),
    };
    let Some(connection) = connection else { return Ok(printing::print(jobs).await?) };
    let client = connection.sender();
    // Someone waits for a single job; of many none may overtake one that is slow to be taken.
    let producer = if several {
        Producer::new(client, config.queue.url)
    } else {
        Producer::with_retries_of(client, config.queue.url)
    };
    let code = sending::send(&producer, jobs, &progress, &mut Stops::new(), several).await?;
    // A handle is left: without one the producer's task would say that it goes on, where the process ends.
    std::mem::forget(producer);
    Ok(code)
}

/// The jobs of standard input, up to the first line that is none.
fn lines<'a>(
    signing: &'a Signing,
    progress: &'a Progress,
    most_bytes: usize,
) -> anyhow::Result<impl Stream<Item = anyhow::Result<NumberedJob>> + 'a> {
    let lines = input::lines()?;
    Ok(stream::unfold(lines, move |mut lines| async move {
        let made = lines.recv().await?.and_then(|(number, line)| {
            let job = job(&line, signing, most_bytes).with_context(|| format!("line {number}"))?;
            progress.read(line.len() as u64);
            Ok((number, job))
        });
        Some((made, lines))
    }))
}
