//! The board's counts as series: one for each app and webhook that has a place, and `other`.

use std::borrow::Cow;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::time::Instant;

use super::{App, Board, Condition, Destination, State};
use crate::shown::Label;

const OTHER: &str = "other";

/// The name of a count, its help, and how it is read.
type Count<T> = (&'static str, &'static str, fn(&T) -> u64);

const DESTINATION_COUNTS: [Count<Destination>; 4] = [
    ("destination_deliveries", "Attempts that a webhook took", |d| d.delivered),
    ("destination_failures", "Attempts that a webhook failed", |d| d.failed),
    ("destination_deferrals", "Attempts at a webhook that were put off untried", |d| d.deferred),
    ("destination_dead_letters", "Jobs given up that a webhook lacks", |d| d.dead_lettered),
];

const APP_COUNTS: [Count<App>; 5] = [
    ("app_deliveries", "Attempts that an app's webhooks took", |a| a.delivered),
    ("app_failures", "Attempts that an app's webhooks failed", |a| a.failed),
    ("app_deferrals", "Jobs of an app that were put off untried", |a| a.deferred),
    ("app_dead_letters", "Jobs of an app that were given up", |a| a.dead_lettered),
    ("app_unmatched_jobs", "Jobs of an app that filters leave nothing of", |a| a.unmatched),
];

impl Collector for Board {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let now = Instant::now();
        let mut state = self.state();
        for (name, help, count) in DESTINATION_COUNTS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for one in state.destinations.iter() {
                let app = label(&one.app_id);
                let labels = [
                    ("app", &*app),
                    ("webhook", one.webhook.as_str()),
                    ("destination", one.destination.as_str()),
                ];
                ConstCounter::new(count(one)).encode(family.encode_family(&labels)?)?;
            }
            let labels = [("app", OTHER), ("webhook", OTHER), ("destination", OTHER)];
            ConstCounter::new(count(state.destinations.other())).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, count) in APP_COUNTS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for one in state.apps.iter() {
                let app = label(&one.app_id);
                let labels = [("app", &*app)];
                ConstCounter::new(count(one)).encode(family.encode_family(&labels)?)?;
            }
            let labels = [("app", OTHER)];
            ConstCounter::new(count(state.apps.other())).encode(family.encode_family(&labels)?)?;
        }
        let help = "Destinations by how they are doing: all that are down or failing, and others as far as they have a place on the status page";
        let mut family = encoder.encode_descriptor("destinations", help, None, MetricType::Gauge)?;
        let troubled = state.failing(now);
        for (condition, name) in Condition::NAMES {
            let count = match condition {
                Condition::Down => troubled.down,
                Condition::Failing => troubled.failing,
                Condition::Slow | Condition::Unknown | Condition::Ok => state.in_condition(condition, now),
            };
            ConstGauge::new(signed(count)).encode(family.encode_family(&[("state", name)])?)?;
        }
        let gauges = [
            ("blocked_groups", "Groups whose head waits for a retry", state.groups.count(now)),
            (
                "oldest_waiting_seconds",
                "Time since the oldest job that waits for a retry was sent",
                usize::try_from(state.oldest(now).as_secs()).unwrap_or(usize::MAX),
            ),
        ];
        for (name, help, value) in gauges {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(signed(value)).encode(family)?;
        }
        Ok(())
    }
}

impl Condition {
    /// All of them, with their names.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::Down, "down"),
        (Self::Failing, "failing"),
        (Self::Slow, "slow"),
        (Self::Unknown, "unknown"),
        (Self::Ok, "ok"),
    ];
}

impl State {
    /// The destinations for which there has been anything.
    pub(super) fn asked(&self) -> impl Iterator<Item = &Destination> {
        let counts = |one: &Destination| one.delivered + one.failed + one.deferred + one.dead_lettered;
        self.destinations.iter().filter(move |one| counts(one) > 0)
    }

    /// How many destinations that have a row are doing so.
    fn in_condition(&self, condition: Condition, now: Instant) -> usize {
        self.asked().filter(|one| self.condition(one, now) == condition).count()
    }

    /// The age of the oldest job that waits for a retry.
    pub(super) fn oldest(&mut self, now: Instant) -> std::time::Duration {
        self.groups.oldest(now)
    }
}

/// An app's id as a label; one that is the word for all others is told from them.
fn label(app_id: &Label) -> Cow<'_, str> {
    match app_id.as_str() {
        OTHER => Cow::Owned(Label::hashed(OTHER).to_string()),
        label => Cow::Borrowed(label),
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
