//! The few numbers that alarms and autoscaling need, as CloudWatch embedded metric lines on standard output: CloudWatch
//! makes metrics of them wherever the log driver is `awslogs`, without an agent and without a permission.
//!
//! Pure but for [`Writing`]; knows nothing of AWS but the format, which is CloudWatch's "Embedded metric format".

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::telemetry::metrics::Metrics;
use crate::wall;

/// CloudWatch keeps one value a minute, and alarms look at nothing finer.
const EVERY: Duration = Duration::from_secs(60);

/// The lines of one worker: counts are told as what came since the line before.
#[derive(Debug)]
pub struct Lines {
    queue: String,
    deliveries: u64,
    given_up: u64,
}

impl Lines {
    /// For the worker of the queue with this URL; its metrics have the queue's name as their only dimension.
    #[must_use]
    pub fn new(queue_url: &str) -> Self {
        let queue = queue_url.rsplit('/').next().unwrap_or_default().to_owned();
        Self { queue, deliveries: 0, given_up: 0 }
    }

    /// The next line, at this Unix time.
    pub fn next(&mut self, metrics: &Metrics, now: Duration) -> Value {
        let (deliveries, given_up) = (metrics.delivered.get(), metrics.given_up());
        // Down, so that 100 is full.
        let percent = (metrics.fullness() * 1000.0).floor() / 10.0;
        let line = json!({
            "_aws": {
                "Timestamp": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
                "CloudWatchMetrics": [{
                    "Namespace": "hookferry",
                    "Dimensions": [["Queue"]],
                    "Metrics": [
                        {"Name": "InFlightPercent", "Unit": "Percent"},
                        {"Name": "BlockedGroups", "Unit": "Count"},
                        {"Name": "DestinationsDown", "Unit": "Count"},
                        {"Name": "Deliveries", "Unit": "Count"},
                        {"Name": "DeadLetters", "Unit": "Count"},
                    ],
                }],
            },
            "Queue": self.queue,
            "InFlightPercent": percent,
            "BlockedGroups": metrics.board.blocked_groups(),
            "DestinationsDown": metrics.board.destinations_down(),
            "Deliveries": deliveries.saturating_sub(self.deliveries),
            "DeadLetters": given_up.saturating_sub(self.given_up),
        });
        (self.deliveries, self.given_up) = (deliveries, given_up);
        line
    }
}

/// Lines that are being written.
#[derive(Debug)]
pub struct Writing {
    ended: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Writing {
    /// Begins to write lines to standard output.
    #[must_use]
    pub fn begin(lines: Lines, metrics: Arc<Metrics>) -> Self {
        let ended = CancellationToken::new();
        let task = write_lines(lines, metrics, ended.clone(), std::io::stdout());
        Self { ended, task: AbortOnDropHandle::new(tokio::spawn(task)) }
    }

    /// Writes the last line, of what came since the one before: the worker has drained.
    pub async fn end(self) {
        self.ended.cancel();
        if let Err(error) = self.task.await {
            warn!(%error, "METRICS_EMF: the last metric line was not written");
        }
    }
}

/// Writes a line a minute, the first at once, and one more when it has ended.
async fn write_lines(mut lines: Lines, metrics: Arc<Metrics>, ended: CancellationToken, mut out: impl Write) {
    let mut minutes = interval(EVERY);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_last = ended.run_until_cancelled(minutes.tick()).await.is_none();
        let now = wall::since_epoch();
        let line = lines.next(&metrics, now);
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
            warn!(%error, "METRICS_EMF: standard output is closed; no more metric lines are written");
            return;
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Attempt;
    use crate::outcome::{Outcome, Reason};

    #[test]
    fn a_line_declares_every_number_that_it_holds_and_counts_from_the_line_before() {
        let metrics = Metrics::new();
        metrics.max_in_flight.set(2000);
        metrics.in_flight.set(1001);
        metrics.delivered.inc_by(5);
        let mut lines = Lines::new("https://sqs.eu-west-1.amazonaws.com/111111111111/webhooks.fifo");
        let line = lines.next(&metrics, Duration::from_millis(1_700_000_000_123));
        assert_eq!(line["_aws"]["Timestamp"], 1_700_000_000_123_u64);
        assert_eq!(line["Queue"], "webhooks.fifo");
        assert_eq!(line["InFlightPercent"], 50.0);
        assert_eq!(line["Deliveries"], 5);
        let declared = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap().clone();
        assert!(declared.iter().all(|metric| line[metric["Name"].as_str().unwrap()].is_number()));
        assert_eq!(line.as_object().unwrap().len(), declared.len() + 2);
        metrics.delivered.inc_by(2);
        assert_eq!(lines.next(&metrics, Duration::ZERO)["Deliveries"], 2);
    }

    #[test]
    fn a_worker_whose_bytes_are_taken_is_full_however_few_messages_they_are() {
        let metrics = Metrics::new();
        metrics.max_in_flight.set(2000);
        metrics.in_flight.set(100);
        metrics.max_bytes_in_flight.set(64 << 20);
        metrics.bytes_in_flight.set((64 << 20) + 9);
        assert_eq!(Lines::new("webhooks.fifo").next(&metrics, Duration::ZERO)["InFlightPercent"], 100.0);
        metrics.bytes_in_flight.set(1 << 20);
        assert_eq!(Lines::new("webhooks.fifo").next(&metrics, Duration::ZERO)["InFlightPercent"], 5.0);
    }

    #[tokio::test(start_paused = true)]
    async fn destinations_are_down_where_the_status_page_says_so() {
        let metrics = Metrics::new();
        let down = || {
            let outcome = Outcome::transient(Reason::Status(500));
            let attempt = Attempt {
                app_id: "shop",
                webhook: "a",
                destination: "hooks.example.com",
                outcome: &outcome,
                took: Duration::from_millis(9),
                failing: Duration::ZERO,
            };
            metrics.board.attempted(&attempt);
            Lines::new("https://sqs.eu-west-1.amazonaws.com/111111111111/webhooks.fifo")
                .next(&metrics, Duration::ZERO)["DestinationsDown"]
                .clone()
        };
        for _ in 0..4 {
            assert_eq!(down(), 0);
            tokio::time::advance(Duration::from_secs(100)).await;
        }
        assert_eq!(down(), 1);
    }

    /// What was written.
    #[derive(Clone, Default)]
    struct Written(Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_since_the_last_minute_is_told_when_the_worker_ends() {
        let (metrics, written) = (Arc::new(Metrics::new()), Written::default());
        let ended = CancellationToken::new();
        let lines = Lines::new("https://sqs.eu-west-1.amazonaws.com/111111111111/webhooks.fifo");
        let writing = tokio::spawn(write_lines(lines, Arc::clone(&metrics), ended.clone(), written.clone()));
        tokio::time::sleep(EVERY / 2).await;
        metrics.delivered.inc_by(3);
        ended.cancel();
        writing.await.unwrap();
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let deliveries: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["Deliveries"].clone())
            .collect();
        assert_eq!(deliveries, [json!(0), json!(3)]);
    }
}
