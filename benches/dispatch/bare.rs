//! The role of the other floor, *bare*: a plain loop over the libraries that one would take, the AWS
//! SDK and reqwest, without lanes, leases, signatures or policy.

use anyhow::Context;
use aws_config::BehaviorVersion;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use tokio::task::JoinSet;

use super::contender::LOOPS;
use super::raw::payload;

/// Delivers until it is killed.
pub fn main(queue_url: &str, endpoint: &str, sink: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let config =
            aws_config::defaults(BehaviorVersion::latest()).region("us-east-1").endpoint_url(endpoint);
        let sqs = Client::new(&config.load().await);
        let http = reqwest::Client::new();
        let mut loops = JoinSet::new();
        for _ in 0..LOOPS {
            loops.spawn(deliver(sqs.clone(), http.clone(), queue_url.to_owned(), sink.to_owned()));
        }
        while let Some(ended) = loops.join_next().await {
            ended??;
        }
        Ok(())
    })
}

async fn deliver(sqs: Client, http: reqwest::Client, queue: String, sink: String) -> anyhow::Result<()> {
    loop {
        let receive =
            sqs.receive_message().queue_url(&queue).max_number_of_messages(10).wait_time_seconds(10);
        let mut entries = Vec::new();
        for (n, message) in receive.send().await?.messages.unwrap_or_default().into_iter().enumerate() {
            let body = message.body.context("no body")?;
            let payload = payload(&body).context("no payload")?.to_owned();
            let post = http.post(&sink).header("content-type", "application/json").body(payload);
            post.send().await?.error_for_status()?.bytes().await?;
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id(n.to_string())
                .set_receipt_handle(message.receipt_handle)
                .build()?;
            entries.push(entry);
        }
        if !entries.is_empty() {
            sqs.delete_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await?;
        }
    }
}
