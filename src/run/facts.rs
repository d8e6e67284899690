//! What the status page says of this worker and its queue that does not change.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::preflight::{self, Finding, Severity};
use super::sources::Sources;
use crate::admin::status::{Attribute, Setting, StatusFacts, Warnings};
use crate::config::{self, Config};
use crate::lease::least_visibility;
use crate::queue::sqs::Description;
use crate::telemetry::metrics::Metrics;

/// The facts of a worker with this configuration; `settings` is where it comes from.
pub(crate) fn of(config: &Config, settings: Vec<Setting>) -> StatusFacts {
    let queue = config.queue.url.rsplit('/').next().unwrap_or_default().to_owned();
    StatusFacts::new(queue, config.queue.region.clone(), replica(), settings)
}

/// How often the apps are looked at: whether there is something else to be said of them, and which webhooks are gone.
const APPS_EVERY: Duration = Duration::from_secs(10);

/// What is to be said of the configuration and of the queue.
pub(super) fn warnings(config: &Config, findings: &[Finding]) -> Vec<String> {
    let of_the_queue = findings.iter().filter(|finding| finding.severity > Severity::Ok).map(Finding::line);
    let well_known = config.apps.well_known.then(|| super::WELL_KNOWN.to_owned());
    of_the_queue.chain(config.warnings.iter().cloned()).chain(well_known).collect()
}

/// Keeps what is shown of the apps as they are now, which a file can change: the warnings, beside those of configuration
/// and queue, and no rows of webhooks that are gone.
pub(super) async fn keep(
    facts: Arc<StatusFacts>,
    others: watch::Receiver<Vec<String>>,
    metrics: Arc<Metrics>,
    apps: Sources,
) {
    let mut ticks = interval(APPS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (first, count) = apps.warnings();
        let more = count.saturating_sub(first.len());
        let first = others.borrow().iter().cloned().chain(first).collect();
        *facts.warnings.write().unwrap_or_else(PoisonError::into_inner) = Warnings { first, more };
        // A database's apps are known one by one.
        if let Some(apps) = apps.all() {
            let webhooks =
                apps.iter().flat_map(|app| app.webhooks.iter().map(move |webhook| (&app.id, &webhook.id)));
            metrics.board.only(webhooks.map(|(app_id, webhook)| (app_id.as_str(), webhook.as_str())));
        }
    }
}

/// Shows the queue's attributes as it says now.
pub(super) fn show(facts: &StatusFacts, queue: &Description, config: &Config) {
    *facts.attributes.write().unwrap_or_else(PoisonError::into_inner) = attributes(queue, config);
}

/// The queue's attributes beside those that this configuration asks for.
fn attributes(queue: &Description, config: &Config) -> Vec<Attribute> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: Option<&str>, recommended: String, ok: bool| {
        let value = value.unwrap_or("not set").to_owned();
        rows.push(Attribute { name: name.to_owned(), value, recommended, ok });
    };
    let at_least = |name: &str, least: u64| queue.number(name).is_none_or(|number| number >= least);
    let visibility = least_visibility(config.timeout);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;
    use crate::apps::array::Array;
    use crate::board::Attempt;
    use crate::outcome::{Outcome, Reason};

    #[tokio::test(start_paused = true)]
    async fn the_row_of_a_webhook_that_is_no_longer_in_the_list_goes() {
        let text = r#"{"id":"shop","key":"k","secret":"s","webhooks":[{"url":"https://hooks.example/"}]}"#;
        let shop: App = serde_json::from_str(text).unwrap();
        let metrics = Arc::new(Metrics::new());
        for app_id in ["gone", "shop"] {
            metrics.board.attempted(&Attempt {
                app_id,
                webhook: shop.webhooks[0].id.as_str(),
                destination: "hooks.example",
                outcome: &Outcome::transient(Reason::Status(500)),
                took: Duration::from_millis(5),
                failing: Duration::ZERO,
            });
        }
        let apps = Sources::Array(Array::new([shop]));
        let facts = StatusFacts::new(String::new(), String::new(), String::new(), Vec::new());
        let keeping =
            tokio::spawn(keep(Arc::new(facts), watch::channel(Vec::new()).1, Arc::clone(&metrics), apps));
        tokio::time::sleep(APPS_EVERY).await;
        keeping.abort();
        let rows = metrics.board.snapshot(0, 9).destinations.rows;
        let left: Vec<_> = rows.iter().map(|row| row.app.as_str()).collect();
        assert_eq!(left, ["shop"]);
    }
}
