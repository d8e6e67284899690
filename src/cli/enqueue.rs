//! `enqueue`: put jobs on the queue.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::run::address;
use super::{Failure, configuration, log};
use crate::job::{Job, QueueType, group_id};
use crate::producer::Signer;
use crate::queue::NewMessage;
use crate::queue::sqs::{Connection, Sqs, Usage};

/// Lines read before they are sent.
const CHUNK: usize = 10;

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
    /// channel_occupied or cache_miss. Without it jobs are read from standard input.
    #[arg(long)]
    event: Option<String>,
    /// The event's channel.
    #[arg(long, default_value = "private-test", requires = "event")]
    channel: String,
    /// More members of the event, a JSON object: '{"event":"client-hello","data":"hi"}'.
    #[arg(long, value_name = "JSON", requires = "event")]
    fields: Option<String>,
}

/// A line of standard input: a job with its group and deduplication id, or a job's body alone.
#[derive(Deserialize)]
struct Line {
    body: String,
    group: Option<String>,
    dedup: Option<String>,
}

pub(super) async fn main(options: Options) -> Result<ExitCode, Failure> {
    log(Some("warn"));
    let config = configuration(&[
        ("QUEUE_SQS_URL", options.queue_url.clone()),
        ("QUEUE_SQS_ENDPOINT", options.endpoint.clone()),
        ("DEFAULT_APP_ID", options.app_id.clone()),
        ("DEFAULT_APP_KEY", options.app_key.clone()),
    ])?;
    let queue = Connection::load(address(&config.queue)).await.queue(Usage {
        wait: Duration::ZERO,
        visibility: None,
        settle_timeout: Duration::from_secs(10),
        dead_letter_url: None,
    });
    let Some(event) = &options.event else {
        return standard_input(&queue).await.map(|()| ExitCode::SUCCESS);
    };
    let kind = QueueType::of_event(event)
        .ok_or_else(|| anyhow!("--event {event}: soketi has no webhook of that name"))?;
    let mut fields = Map::from_iter([("channel".to_owned(), Value::from(options.channel.as_str()))]);
    if let Some(more) = &options.fields {
        let more: Map<String, Value> = serde_json::from_str(more).context("--fields is not a JSON object")?;
        fields.extend(more);
    }
    let app = config.apps.default;
    let producer = Signer::new(app.id, app.key, app.secret);
    send(&queue, &[producer.event(kind, fields, now_ms())]).await?;
    Ok(ExitCode::SUCCESS)
}

async fn standard_input(queue: &Sqs) -> Result<(), Failure> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut jobs = Vec::with_capacity(CHUNK);
    let mut number = 0;
    while let Some(line) = lines.next_line().await.context("standard input")? {
        number += 1;
        if line.trim().is_empty() {
            continue;
        }
        match job(&line).with_context(|| format!("line {number}")) {
            Ok(job) => jobs.push(job),
            Err(error) => {
                // What came before it goes out: the lines printed say how far this got.
                send(queue, &jobs).await?;
                return Err(error.into());
            }
        }
        if jobs.len() == CHUNK {
            send(queue, &jobs).await?;
            jobs.clear();
        }
    }
    Ok(send(queue, &jobs).await?)
}

async fn send(queue: &Sqs, jobs: &[NewMessage]) -> anyhow::Result<()> {
    for id in queue.send(jobs).await.context("the queue did not take it")? {
        println!("{id}");
    }
    Ok(())
}

fn job(line: &str) -> anyhow::Result<NewMessage> {
    let (body, group, dedup) = match serde_json::from_str::<Line>(line) {
        Ok(line) => (line.body, line.group, line.dedup),
        Err(_) => (line.trim().to_owned(), None, None),
    };
    let group = if let Some(group) = group {
        group
    } else {
        let job = Job::decode(&body.clone().into()).context("neither a job nor {\"group\",\"body\"}")?;
        let payload: Value = serde_json::from_slice(&job.payload)?;
        let name = payload.pointer("/events/0/name").and_then(Value::as_str).unwrap_or_default();
        let kind = QueueType::of_event(name)
            .with_context(|| format!("no message group is known for the event {name:?}; give a \"group\""))?;
        group_id(&job.app_id, kind)
    };
    let mut job = NewMessage::new(group, body);
    if let Some(dedup) = dedup {
        job.deduplication = dedup;
    }
    Ok(job)
}

/// What soketi writes into `time_ms`.
pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}
