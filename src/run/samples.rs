//! How many messages there are, asked of the queues once in a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::queue::sqs::{Connection, Description};
use crate::telemetry::metrics::Metrics;

/// Between two samples: SQS' own counts are a minute old, and each sample is two calls at the most.
const BETWEEN: Duration = Duration::from_secs(60);

/// The same after a job was given up: who looks at the page for it finds it in the dead-letter queue's count.
const SOON: Duration = Duration::from_secs(5);

/// Samples the queue and its dead-letter queue for as long as it is polled. A sample that fails leaves the last.
pub(super) async fn take(queue: Connection, dead_letters: Option<Connection>, metrics: Arc<Metrics>) {
    loop {
        let given_up = metrics.given_up();
        if let Some(now) = describe(&queue).await {
            let states = [("visible", ""), ("hidden", "NotVisible"), ("delayed", "Delayed")];
            metrics.queue_has(states.map(|(state, kind)| (state, now.messages(kind))));
        }
        if let Some(dead_letters) = &dead_letters
            && let Some(now) = describe(dead_letters).await
        {
            metrics.dead_letter_queue_has(now.depth());
        }
        next(&metrics, given_up).await;
    }
}

/// Waits for the next sample's time; `given_up` jobs had been given up when the last began.
async fn next(metrics: &Metrics, given_up: u64) {
    let due = Instant::now() + BETWEEN;
    while Instant::now() < due {
        sleep(SOON).await;
        if metrics.given_up() != given_up {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Reason;

    #[tokio::test(start_paused = true)]
    async fn the_next_sample_is_a_minute_away_and_at_once_after_a_dead_letter() {
        let (metrics, began) = (Metrics::new(), Instant::now());
        next(&metrics, metrics.given_up()).await;
        assert_eq!(began.elapsed(), BETWEEN);
        let (given_up, began) = (metrics.given_up(), Instant::now());
        metrics.dead_lettered(&Reason::Gone);
        next(&metrics, given_up).await;
        assert_eq!(began.elapsed(), SOON);
    }
}
