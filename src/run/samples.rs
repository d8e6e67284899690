//! How many messages there are, asked of the queues once in a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use crate::queue::sqs::{Connection, Description};
use crate::telemetry::metrics::Metrics;

/// Between two samples: SQS' own counts are a minute old, and each sample is two calls at the most.
const BETWEEN: Duration = Duration::from_secs(60);

/// Samples the queue and its dead-letter queue for as long as it is polled. A sample that fails leaves the last.
pub(super) async fn take(queue: Connection, dead_letters: Option<Connection>, metrics: Arc<Metrics>) {
    loop {
        if let Some(now) = describe(&queue).await {
            for (state, kind) in [("visible", ""), ("hidden", "NotVisible"), ("delayed", "Delayed")] {
                let messages = i64::try_from(now.messages(kind)).unwrap_or(i64::MAX);
                metrics.queue_messages.get_or_create(&[("state", state)]).set(messages);
            }
        }
        if let Some(dead_letters) = &dead_letters
            && let Some(now) = describe(dead_letters).await
        {
            metrics.dead_letter_queue_messages.set(i64::try_from(now.depth()).unwrap_or(i64::MAX));
        }
        sleep(BETWEEN).await;
    }
}

async fn describe(queue: &Connection) -> Option<Description> {
    match queue.describe().await {
        Ok(description) => Some(description),
        Err(error) => {
            debug!(%error, "no sample of the queue's depth");
            None
        }
    }
}
