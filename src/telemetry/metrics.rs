//! What is counted, in Prometheus' terms.
//!
//! Every counter exists from the start, at 0. Labels here are from fixed sets; what is counted by app or destination is the
//! board's, and bounded there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use crate::apps::LookUp;
use crate::board::Board;
use crate::outcome::{Outcome, Reason};
use crate::queue::ReceiveError;
use crate::wall;

type Labels = [(&'static str, &'static str); 1];

/// The calls that settle jobs, and the permission that each needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettleCall {
    /// A job is done.
    Delete,
    /// A job is retried or released, or a lease extended.
    ChangeVisibility,
    /// A job is given up.
    DeadLetter,
}

/// The formats in which metrics can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, 0.0.4.
    Prometheus,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

/// Upper bounds of ages at delivery, in seconds: up to 14 days, the longest that SQS keeps a message.
const AGES: [f64; 24] = [
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    150.0,
    300.0,
    900.0,
    3600.0,
    14_400.0,
    43_200.0,
    86_400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    1_209_600.0,
];

/// Kinds of failed receives.
const RECEIVE_ERRORS: [&str; 5] = ["no_response", "throttled", "denied", "missing", "service"];

/// The counters of one worker. Every field is also in [`Metrics::encode`].
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Registry,
    retries: AtomicU64,
    given_up: AtomicU64,
    /// Counts by app and by destination, and what the status page shows.
    pub board: Arc<Board>,
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
    /// Failed sends of letters that the dead-letter queue will never take as they are.
    pub refused_letters: Counter,
    /// Jobs lost without a dead letter: there is no dead-letter queue, or it took none before SQS deleted the job for its age.
    pub lost: Counter,
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
    /// Messages in memory; what a poll under way has reserved is not counted.
    pub in_flight: Gauge,
    /// `QUEUE_SQS_MAX_IN_FLIGHT`, or what descriptors leave of it.
    pub max_in_flight: Gauge,
    /// Bytes of message bodies, and of bodies made for webhooks, in memory.
    pub bytes_in_flight: Gauge,
    /// The bound on them.
    pub max_bytes_in_flight: Gauge,
    /// Lanes at work: groups of which jobs are held.
    pub lanes: Gauge,
    /// Receives under way.
    pub pollers: Gauge,
    /// Destinations that the breaker holds for down: jobs past their window are given up for them untried.
    pub breakers_open: Gauge,
    /// Jobs put back untried: their app has no room, or their destination is busy or down.
    pub deferred: Counter,
    /// Jobs that the filters of their app's webhooks leave nothing of.
    pub unmatched: Counter,
    /// Settling calls that failed, by permission.
    pub settle_failures: Family<Labels, Counter>,
    /// App look-ups, by what they came to.
    pub look_ups: Family<Labels, Counter>,
    /// Unix time of the last receive that was answered; 0 before the first.
    pub last_receive: Gauge,
    /// Messages in the queue, by state, as last sampled.
    pub queue_messages: Family<Labels, Gauge>,
    /// Messages in the dead-letter queue, as last sampled.
    pub dead_letter_queue_messages: Gauge,
    /// Unix time of the queue's last sample; 0 before the first.
    pub queue_sampled: Gauge,
    /// Unix time of the dead-letter queue's last sample; 0 before the first, and where there is none.
    pub dead_letter_queue_sampled: Gauge,
    /// Seconds that an attempt took.
    pub attempt_seconds: Seconds,
    /// Seconds from a job's send to its delivery, of each job.
    pub age_at_delivery: Ages,
}

/// A histogram of seconds, from 1 ms to 17 minutes, beyond the longest attempt, in steps of two.
#[derive(Clone, Debug)]
pub struct Seconds(Histogram);

/// A histogram of seconds, from 5 ms to 14 days.
#[derive(Clone, Debug)]
pub struct Ages(Histogram);

impl Default for Seconds {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.001, 2.0, 21)))
    }
}

impl Default for Ages {
    fn default() -> Self {
        Self(Histogram::new(AGES))
    }
}

impl Ages {
    /// Takes one value, in seconds.
    pub fn observe(&self, seconds: f64) {
        self.0.observe(seconds);
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
        let mut root = Registry::default();
        root.register_collector(Box::new(Process::new()));
        let registry = root.sub_registry_with_prefix("hookferry");
        metrics.register_counts(registry);
        metrics.register_gauges(registry);
        registry.register_collector(Box::new(Arc::clone(&metrics.board)));
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "This build", Info::new(version));
        metrics.registry = root;
        metrics.labels_at_zero();
        metrics
    }

    fn register_counts(&self, r: &mut Registry) {
        let counters = [
            (
                "deliveries",
                "Webhooks that their destination took; coalesced jobs count as one",
                &self.delivered,
            ),
            (
                "dead_letter_failures",
                "Sends to the dead-letter queue that failed",
                &self.dead_letter_failures,
            ),
            (
                "refused_letters",
                "Sends of letters that the dead-letter queue does not take, even without attributes: most likely too large",
                &self.refused_letters,
            ),
            (
                "lost_jobs",
                "Jobs lost without a dead letter: there is no dead-letter queue, or it took none before SQS deleted the job for its age",
                &self.lost,
            ),
            ("acknowledged", "Jobs deleted from the queue", &self.acknowledged),
            (
                "late_settlements",
                "Deletes and visibility changes that came too late or failed",
                &self.late_settlements,
            ),
            ("released", "Jobs given back untried at shutdown", &self.released),
            ("abandoned", "Jobs left to their visibility timeout", &self.abandoned),
            (
                "deferred_jobs",
                "Jobs put back untried: their app has no room, or their destination is busy or down",
                &self.deferred,
            ),
            ("unmatched_jobs", "Jobs that filters leave nothing of", &self.unmatched),
            ("lease_extensions", "Leases extended", &self.lease_extensions),
            ("receives", "Receives answered", &self.receives),
            ("received_messages", "Messages received", &self.messages),
            ("delete_calls", "Delete calls made", &self.delete_calls),
        ];
        for (name, help, counter) in counters {
            r.register(name, help, counter.clone());
        }
        let families = [
            ("failed_attempts", "Failed attempts, by reason; coalesced jobs count as one", &self.failed),
            ("retries", "Jobs hidden for a backoff, by reason", &self.retried),
            ("dead_letters", "Jobs given up, by reason", &self.dead_lettered),
            ("receive_errors", "Receives that failed, by kind", &self.receive_errors),
            (
                "settle_failures",
                "Deletes, visibility changes and sends to the dead-letter queue that failed, by the permission that they need",
                &self.settle_failures,
            ),
            ("app_look_ups", "App look-ups, by what they came to", &self.look_ups),
        ];
        for (name, help, family) in families {
            r.register(name, help, family.clone());
        }
    }

    fn register_gauges(&self, r: &mut Registry) {
        let gauges = [
            (
                "in_flight",
                "Messages in memory; what a poll under way has reserved is not counted",
                &self.in_flight,
            ),
            ("max_in_flight", "Places that there are", &self.max_in_flight),
            (
                "bytes_in_flight",
                "Bytes of message bodies, and of bodies made for webhooks, in memory",
                &self.bytes_in_flight,
            ),
            ("max_bytes_in_flight", "Bytes beyond which no poll starts", &self.max_bytes_in_flight),
            ("lanes", "Groups of which jobs are held", &self.lanes),
            ("pollers", "Receives under way", &self.pollers),
            (
                "breakers_open",
                "Destinations whose jobs are given up untried once they are past their window; those that are down are in hookferry_destinations",
                &self.breakers_open,
            ),
            (
                "last_receive_timestamp_seconds",
                "Unix time of the last receive that was answered",
                &self.last_receive,
            ),
            (
                "dead_letter_queue_messages",
                "Messages in the dead-letter queue, sampled",
                &self.dead_letter_queue_messages,
            ),
            (
                "queue_sampled_timestamp_seconds",
                "Unix time of the queue's last sample; 0 before the first",
                &self.queue_sampled,
            ),
            (
                "dead_letter_queue_sampled_timestamp_seconds",
                "Unix time of the dead-letter queue's last sample; 0 before the first, and where there is none",
                &self.dead_letter_queue_sampled,
            ),
        ];
        for (name, help, gauge) in gauges {
            r.register(name, help, gauge.clone());
        }
        r.register("queue_messages", "Messages in the queue by state, sampled", self.queue_messages.clone());
        r.register_with_unit(
            "attempt_duration",
            "Time that an attempt took",
            Unit::Seconds,
            self.attempt_seconds.0.clone(),
        );
        r.register_with_unit(
            "age_at_delivery",
            "Time from a job's send to its delivery, of each coalesced job too",
            Unit::Seconds,
            self.age_at_delivery.0.clone(),
        );
    }

    /// Makes the labelled series that can be known: an alert on a series that does not exist never fires,
    /// and the first increase of one that begins at 1 is seen by no `rate()`.
    fn labels_at_zero(&self) {
        for code in Reason::CODES {
            for family in [&self.failed, &self.retried, &self.dead_lettered] {
                drop(family.get_or_create(&[("reason", code)]));
            }
        }
        for kind in RECEIVE_ERRORS {
            drop(self.receive_errors.get_or_create(&[("kind", kind)]));
        }
        for call in SettleCall::ALL {
            drop(self.settle_failures.get_or_create(&[("permission", call.permission())]));
        }
        for result in LookUp::ALL {
            drop(self.look_ups.get_or_create(&[("result", result.name())]));
        }
        for state in ["visible", "hidden", "delayed"] {
            drop(self.queue_messages.get_or_create(&[("state", state)]));
        }
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
        self.given_up.fetch_add(1, Ordering::Relaxed);
        self.dead_lettered.get_or_create(&[("reason", reason.code())]).inc();
    }

    /// How many jobs were given up, whatever the reason.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Takes the numbers for the status page's history.
    pub fn sample(&self) {
        self.board.sample(self.in_flight.get().try_into().unwrap_or_default());
    }

    /// Counts an answered receive.
    pub fn received(&self, messages: usize) {
        self.receives.inc();
        self.last_receive.set(unix_time());
        self.messages.inc_by(messages as u64);
    }

    /// Notes how many messages the queue has in each state.
    pub fn queue_has(&self, states: [(&'static str, u64); 3]) {
        for (state, messages) in states {
            self.queue_messages.get_or_create(&[("state", state)]).set(signed(messages));
        }
        self.queue_sampled.set(unix_time());
    }

    /// Notes how many messages the dead-letter queue has.
    pub fn dead_letter_queue_has(&self, messages: usize) {
        self.dead_letter_queue_messages.set(signed(messages as u64));
        self.dead_letter_queue_sampled.set(unix_time());
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

    /// Counts a settling call that failed.
    pub fn settle_failed(&self, call: SettleCall) {
        self.settle_failures.get_or_create(&[("permission", call.permission())]).inc();
    }

    /// Counts an app look-up.
    pub fn looked_up(&self, result: LookUp) {
        self.look_ups.get_or_create(&[("result", result.name())]).inc();
        match result {
            LookUp::Remembered => {}
            LookUp::Asked => self.board.apps_answered(),
            LookUp::Stale | LookUp::Failed => self.board.apps_unanswered(result == LookUp::Stale),
        }
    }

    /// How much of what may be in memory is, of messages or of bytes, whichever is more: 1 where no poll starts.
    #[must_use]
    pub fn fullness(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a share")]
        let share = |taken: &Gauge, most: &Gauge| match most.get() {
            1.. => (taken.get().max(0) as f64 / most.get() as f64).min(1.0),
            // It is not known yet.
            _ => 0.0,
        };
        let bytes = share(&self.bytes_in_flight, &self.max_bytes_in_flight);
        share(&self.in_flight, &self.max_in_flight).max(bytes)
    }

    /// Counts a job that the filters of its app's webhooks leave nothing of. Whether it is the first of the app's of which that is
    /// known.
    pub fn unmatched(&self, app_id: &str) -> bool {
        self.unmatched.inc();
        self.board.unmatched(app_id)
    }

    /// Counts jobs of an app that are put back untried.
    pub fn deferred(&self, app_id: &str, jobs: usize) {
        self.deferred.inc_by(jobs as u64);
        self.board.deferred(app_id, jobs);
    }

    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn encode(&self, format: Format) -> String {
        let mut text = String::new();
        let encoded = match format {
            Format::Prometheus => prometheus_text::encode(&mut text, &self.registry),
            Format::OpenMetrics => text::encode(&mut text, &self.registry),
        };
        if encoded.is_err() {
            text.clear();
        }
        text
    }
}

impl SettleCall {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Delete, Self::ChangeVisibility, Self::DeadLetter];

    /// What the worker's role needs for it.
    #[must_use]
    pub fn permission(self) -> &'static str {
        match self {
            Self::Delete => "sqs:DeleteMessage",
            Self::ChangeVisibility => "sqs:ChangeMessageVisibility",
            Self::DeadLetter => "sqs:SendMessage",
        }
    }
}

impl Format {
    /// The format that a scraper's `Accept` asks for: `OpenMetrics` if it is named and no other text is
    /// preferred to it.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let weight = |wanted: &[&str]| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let name = parts.next()?.to_ascii_lowercase();
                let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
                wanted.contains(&name.as_str()).then_some(quality.unwrap_or(1.0))
            });
            ranges.fold(0.0, f32::max)
        };
        let open = weight(&["application/openmetrics-text"]);
        if open > 0.0 && open >= weight(&["text/plain", "text/*"]) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

fn unix_time() -> i64 {
    let now = wall::since_epoch();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
