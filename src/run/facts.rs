//! What the status page says of this worker and its queue that does not change.

use super::preflight;
use crate::admin::status::{Attribute, Facts, Setting};
use crate::config::{self, Config};
use crate::queue::sqs::Description;

/// Those of a worker with this configuration; `settings` is where it comes from.
pub(crate) fn of(config: &Config, settings: Vec<Setting>) -> Facts {
    let queue = config.queue.url.rsplit('/').next().unwrap_or_default().to_owned();
    Facts::new(queue, config.queue.region.clone(), replica(), settings)
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
