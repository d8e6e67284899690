//! What the status page says of this worker and its queue that does not change.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::preflight::{self, Finding, Severity};
use crate::admin::status::{Attribute, Facts, Setting};
use crate::apps::Sources;
use crate::config::{self, Config};
use crate::queue::sqs::Description;

/// Those of a worker with this configuration; `settings` is where it comes from.
pub(crate) fn of(config: &Config, settings: Vec<Setting>) -> Facts {
    let queue = config.queue.url.rsplit('/').next().unwrap_or_default().to_owned();
    Facts::new(queue, config.queue.region.clone(), replica(), settings)
}

/// How often it is looked at whether there is something else to be said of the apps.
const APPS_EVERY: Duration = Duration::from_secs(10);

/// What is to be said of the configuration and of the queue, which stays the same.
pub(super) fn warnings(config: &Config, findings: &[Finding]) -> Vec<String> {
    let of_the_queue = findings.iter().filter(|finding| finding.severity > Severity::Ok).map(Finding::line);
    let well_known = config.apps.well_known.then(|| super::WELL_KNOWN.to_owned());
    of_the_queue.chain(config.warnings.iter().cloned()).chain(well_known).collect()
}

/// Keeps the warnings as they are now: those that stay, and what is wrong with the apps, which a file can change.
pub(super) async fn keep_warnings(facts: Arc<Facts>, stay: Vec<String>, apps: Sources) {
    let mut ticks = interval(APPS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (first, count) = apps.warnings();
        let more = count.saturating_sub(first.len());
        let more = (more > 0).then(|| format!("apps: and {more} more (see hookferry check)"));
        let all = stay.iter().cloned().chain(first).chain(more).collect();
        *facts.warnings.write().unwrap_or_else(PoisonError::into_inner) = all;
    }
}

/// The queue's attributes beside those that this configuration asks for.
pub(super) fn attributes(queue: &Description, config: &Config) -> Vec<Attribute> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: Option<&str>, recommended: String, ok: bool| {
        let value = value.unwrap_or("not set").to_owned();
        rows.push(Attribute { name: name.to_owned(), value, recommended, ok });
    };
    let at_least = |name: &str, least: u64| queue.number(name).is_none_or(|number| number >= least);
    let visibility = preflight::enough_visibility(config);
    row(
        "VisibilityTimeout",
        queue.attribute("VisibilityTimeout"),
        format!("{visibility} or more"),
        config.queue.visibility.is_some() || at_least("VisibilityTimeout", visibility),
    );
    let retention = preflight::enough_retention(config);
    row(
        "MessageRetentionPeriod",
        queue.attribute("MessageRetentionPeriod"),
        format!("{retention} or more"),
        at_least("MessageRetentionPeriod", retention),
    );
    let receives = preflight::needed_receives(&config.retry);
    let most = queue.max_receive_count;
    let value = most.map_or_else(|| "none".to_owned(), |most| most.to_string());
    row(
        "maxReceiveCount",
        Some(&value),
        format!("{receives} or more"),
        most.is_none_or(|most| most >= receives),
    );
    for (name, recommended, _) in preflight::RECOMMENDED {
        let value = queue.attribute(name);
        row(name, value, recommended.to_owned(), value.is_none_or(|value| value == recommended));
    }
    let dead = config.queue.dead_letter_url.as_deref().or(queue.dead_letter_url.as_deref());
    row("dead-letter queue", dead, "one that is FIFO".to_owned(), dead.is_some());
    rows
}

/// The host's name: with containers, the task's or the pod's.
fn replica() -> String {
    let host = config::environment().remove("HOSTNAME").filter(|name| !name.is_empty());
    let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    host.map_or_else(|| format!("process {}", std::process::id()), |host| host.trim().to_owned())
}
