//! What is counted, in Prometheus' terms.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::outcome::{Outcome, Reason};
use crate::queue::ReceiveError;

type Labels = [(&'static str, &'static str); 1];

/// The counters of one worker. Every field is also in [`Metrics::encode`].
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Registry,
    retries: AtomicU64,
    /// Webhooks that their destination took; those of coalesced jobs count as one.
    pub delivered: Counter,
    /// Failed attempts, by reason; one at coalesced jobs counts as one.
    pub failed: Family<Labels, Counter>,
    /// Jobs hidden for a backoff.
    pub retried: Family<Labels, Counter>,
    /// Jobs given up, by reason.
    pub dead_lettered: Family<Labels, Counter>,
    /// Sends to the dead-letter queue that failed.
    pub dead_letter_failures: Counter,
    /// Jobs deleted from the queue.
    pub acknowledged: Counter,
    /// Deletes and visibility changes that came too late or failed.
    pub late_settlements: Counter,
    /// Jobs given back untried at shutdown.
    pub released: Counter,
    /// Jobs left to their visibility timeout because a lease was lost.
    pub abandoned: Counter,
    /// Leases extended.
    pub lease_extensions: Counter,
    /// Receives answered.
    pub receives: Counter,
    /// Messages received.
    pub messages: Counter,
    /// Receives that failed, by kind.
    pub receive_errors: Family<Labels, Counter>,
    /// Delete calls made.
    pub delete_calls: Counter,
    /// Places taken of `QUEUE_SQS_MAX_IN_FLIGHT`, those of polls under way included.
    pub in_flight: Gauge,
    /// Groups whose head waits for a retry, as far as this worker knows.
    pub blocked: Gauge,
    /// Seconds that an attempt took.
    pub attempt_seconds: Seconds,
    /// Seconds from a job's send to its delivery, of each job.
    pub age_at_delivery: Seconds,
}

/// A histogram of seconds, from 1 ms to about 9 minutes in steps of two.
#[derive(Clone, Debug)]
pub struct Seconds(Histogram);

impl Default for Seconds {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.001, 2.0, 20)))
    }
}

impl Seconds {
    /// Takes one value, in seconds.
    pub fn observe(&self, seconds: f64) {
        self.0.observe(seconds);
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self::default();
        let mut registry = Registry::with_prefix("hookferry");
        let r = &mut registry;
        let m = &metrics;
        r.register(
            "deliveries",
            "Webhooks that their destination took; coalesced jobs count as one",
            m.delivered.clone(),
        );
        r.register(
            "failed_attempts",
            "Failed attempts, by reason; coalesced jobs count as one",
            m.failed.clone(),
        );
        r.register("retries", "Jobs hidden for a backoff, by reason", m.retried.clone());
        r.register("dead_letters", "Jobs given up, by reason", m.dead_lettered.clone());
        r.register(
            "dead_letter_failures",
            "Sends to the dead-letter queue that failed",
            m.dead_letter_failures.clone(),
        );
        r.register("acknowledged", "Jobs deleted from the queue", m.acknowledged.clone());
        r.register(
            "late_settlements",
            "Deletes and visibility changes that came too late or failed",
            m.late_settlements.clone(),
        );
        r.register("released", "Jobs given back untried at shutdown", m.released.clone());
        r.register("abandoned", "Jobs left to their visibility timeout", m.abandoned.clone());
        r.register("lease_extensions", "Leases extended", m.lease_extensions.clone());
        r.register("receives", "Receives answered", m.receives.clone());
        r.register("received_messages", "Messages received", m.messages.clone());
        r.register("receive_errors", "Receives that failed, by kind", m.receive_errors.clone());
        r.register("delete_calls", "Delete calls made", m.delete_calls.clone());
        r.register("in_flight", "Places taken, those of polls under way included", m.in_flight.clone());
        r.register("blocked_groups", "Groups whose head waits for a retry", m.blocked.clone());
        r.register_with_unit(
            "attempt_duration",
            "Time that an attempt took",
            Unit::Seconds,
            m.attempt_seconds.0.clone(),
        );
        r.register_with_unit(
            "age_at_delivery",
            "Time from a job's send to its delivery, of each coalesced job too",
            Unit::Seconds,
            m.age_at_delivery.0.clone(),
        );
        metrics.registry = registry;
        metrics
    }

    /// Counts an attempt; what was deferred was none.
    pub fn attempted(&self, outcome: &Outcome, took: Duration) {
        let failed = match outcome {
            Outcome::Deferred(_) => return,
            Outcome::Delivered => None,
            Outcome::Transient { reason, .. } | Outcome::Permanent(reason) => Some(reason),
        };
        self.attempt_seconds.observe(took.as_secs_f64());
        match failed {
            None => {
                self.delivered.inc();
            }
            Some(reason) => {
                self.failed.get_or_create(&[("reason", reason.code())]).inc();
            }
        }
    }

    /// Counts a job that will be retried.
    pub fn retried(&self, reason: &Reason) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.retried.get_or_create(&[("reason", reason.code())]).inc();
    }

    /// How many jobs were hidden for a backoff, whatever the reason.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Counts a job that is given up.
    pub fn dead_lettered(&self, reason: &Reason) {
        self.dead_lettered.get_or_create(&[("reason", reason.code())]).inc();
    }

    /// Counts an answered receive.
    pub fn received(&self, messages: usize) {
        self.receives.inc();
        self.messages.inc_by(messages as u64);
    }

    /// Counts a failed receive.
    pub fn receive_failed(&self, error: &ReceiveError) {
        let kind = match error {
            ReceiveError::NoResponse(_) => "no_response",
            ReceiveError::Throttled(_) => "throttled",
            ReceiveError::Denied(_) => "denied",
            ReceiveError::Missing(_) => "missing",
            ReceiveError::Service(_) => "service",
        };
        self.receive_errors.get_or_create(&[("kind", kind)]).inc();
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}
