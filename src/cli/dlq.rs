//! `dlq`: dead letters.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use super::run::address;
use super::{Failure, configuration, log};
use crate::queue::NewMessage;
use crate::queue::sqs::{Connection, Sqs, Usage};
use crate::queue::{AttemptId, BatchEntryResult, MAX_BATCH, Message, Queue, Redriven};
use crate::random::Random;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put the dead letters back on the queue, in order, for the webhooks that do not have them yet.
    ///
    /// Uses QUEUE_SQS_URL and QUEUE_SQS_DLQ_URL, or the target of the queue's RedrivePolicy.
    Redrive {
        /// Stop after so many.
        #[arg(long)]
        most: Option<usize>,
    },
}

pub(super) async fn main(options: Options) -> Result<ExitCode, Failure> {
    log(Some("warn"));
    let Command::Redrive { most } = options.command;
    let config = configuration(&[])?;
    let usage = Usage {
        wait: Duration::from_secs(1),
        // Long enough to send ten back, and to see that the queue is empty before any reappears.
        visibility: Some(Duration::from_secs(30)),
        settle_timeout: Duration::from_secs(10),
        dead_letter_url: None,
    };
    let connection = Connection::load(address(&config.queue)).await;
    let dead = match config.queue.dead_letter_url.clone() {
        Some(url) => url,
        None => connection
            .describe()
            .await
            .context("the queue")?
            .dead_letter_url
            .ok_or_else(|| anyhow!("there is no dead-letter queue: set QUEUE_SQS_DLQ_URL"))?,
    };
    let letters = {
        let mut queue = config.queue.clone();
        queue.url = dead;
        Connection::load(address(&queue)).await.queue(usage.clone())
    };
    let source = connection.queue(usage);
    let count = redrive(&letters, &source, most.unwrap_or(usize::MAX)).await?;
    println!("{count} jobs put back on {}", config.queue.url);
    Ok(ExitCode::SUCCESS)
}

async fn redrive(letters: &Sqs, source: &Sqs, most: usize) -> anyhow::Result<usize> {
    let random = Random::from_system();
    let mut count = 0;
    while count < most {
        let attempt = AttemptId(random.uuid().to_string());
        let messages =
            letters.receive(MAX_BATCH.min(most - count), &attempt).await.context("the dead-letter queue")?;
        if messages.is_empty() {
            break;
        }
        let jobs = messages.iter().map(back).collect::<anyhow::Result<Vec<_>>>()?;
        // Deleted only once the queue has them; sent twice, they are deduplicated.
        source.send(&jobs).await.context("the queue")?;
        let receipts: Vec<_> = messages.iter().map(|message| &message.receipt).collect();
        let deleted = letters.delete(&receipts).await.context("the dead-letter queue")?;
        count += messages.len();
        if deleted.iter().any(|entry| *entry != BatchEntryResult::Ok) {
            return Err(anyhow!(
                "some letters were put back but not deleted; run this again within five minutes"
            ));
        }
    }
    Ok(count)
}

fn back(message: &Message) -> anyhow::Result<NewMessage> {
    let body = std::str::from_utf8(&message.body)
        .with_context(|| format!("the body of {} is no text", message.id))?;
    let redriven = message
        .redriven
        .clone()
        .unwrap_or_else(|| Redriven { source: message.id.clone(), delivered: Vec::new() });
    Ok(NewMessage {
        body: body.to_owned(),
        group: message.group.to_string(),
        deduplication: format!("redrive-{}", message.id),
        redriven: Some(redriven),
    })
}
