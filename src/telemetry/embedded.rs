//! The few numbers that alarms and autoscaling need, as CloudWatch embedded metric lines on standard output: CloudWatch
//! makes metrics of them wherever the log driver is `awslogs`, without an agent and without a permission.
//!
//! Pure but for [`write_lines`]; knows nothing of AWS but the format, which is CloudWatch's "Embedded metric format".

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::telemetry::metrics::Metrics;

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
        let places = metrics.max_in_flight.get().max(1);
        let in_flight = metrics.in_flight.get().clamp(0, places);
        let percent = f64::from(i32::try_from(in_flight * 1000 / places).unwrap_or_default()) / 10.0;
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
            "DestinationsDown": metrics.breakers_open.get(),
            "Deliveries": deliveries.saturating_sub(self.deliveries),
            "DeadLetters": given_up.saturating_sub(self.given_up),
        });
        (self.deliveries, self.given_up) = (deliveries, given_up);
        line
    }
}

/// Writes a line a minute to standard output until `shutdown`, the first at once.
pub async fn write_lines(mut lines: Lines, metrics: Arc<Metrics>, shutdown: CancellationToken) {
    let mut minutes = interval(EVERY);
    minutes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(minutes.tick()).await.is_some() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let line = lines.next(&metrics, now);
        if let Err(error) = writeln!(std::io::stdout(), "{line}") {
            warn!(%error, "METRICS_EMF: standard output is closed; no more metric lines are written");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
