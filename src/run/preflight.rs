//! What `run` refuses or warns of at start, and `check` shows: the queue and its dead-letter queue against
//! the configuration.

mod dead_letters;
mod receives;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;

use crate::config::Config;
use crate::lease::{check_visibility, least_visibility};
use crate::queue::ReceiveError;
use crate::queue::sqs::{Connection, Description, Probe};
pub(crate) use dead_letters::{is_same_queue, is_the_queue_itself, moves_on};
pub(crate) use receives::needed_receives;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// The worker works, and something is not as recommended.
    Warning,
    /// Something will fail when it is needed.
    Error,
    /// The worker does not start: exit 78.
    Refused,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// What was looked at, in a word or two.
    pub(crate) about: &'static str,
    pub(crate) text: String,
    /// A line to paste, or what to set.
    pub(crate) remedy: Option<String>,
}

impl Finding {
    pub(crate) fn new(severity: Severity, about: &'static str, text: impl Into<String>) -> Self {
        Self { severity, about, text: text.into(), remedy: None }
    }

    pub(crate) fn ok(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Ok, about, text)
    }

    pub(crate) fn remedy(mut self, line: impl Into<String>) -> Self {
        self.remedy = Some(line.into());
        self
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}: {} (remedy: {remedy})", self.about, self.text),
            None => format!("{}: {}", self.about, self.text),
        }
    }
}

/// The ops port cannot be listened on: why a worker does not start.
pub(crate) fn cannot_listen(address: SocketAddr, error: &io::Error) -> Finding {
    Finding::new(Severity::Refused, "METRICS_PORT", format!("cannot listen on {address}: {error}"))
        .remedy("set METRICS_HOST and METRICS_PORT to a free address")
}

/// The dead-letter queue, as far as it could be looked at.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    pub(crate) url: String,
    pub(crate) description: Result<Description, ReceiveError>,
    /// Whether the role may send to it.
    pub(crate) send: Probe,
}

/// The queue as it is now.
#[derive(Debug)]
pub(crate) struct QueueFacts {
    pub(crate) queue: Description,
    pub(crate) dead_letters: Option<DeadLetters>,
}

/// Asks for all of them; `queue` has been asked already.
pub(crate) async fn facts(connection: &Connection, queue: Description, config: &Config) -> QueueFacts {
    let url = config.queue.dead_letter_url.clone().or_else(|| queue.dead_letter_url.clone());
    let dead_letters = match url {
        None => None,
        Some(url) => {
            let dead = connection.at(url.clone());
            let (description, send) = tokio::join!(dead.describe(), dead.probe_send());
            Some(DeadLetters { url, description, send })
        }
    };
    QueueFacts { queue, dead_letters }
}

/// Everything that is to be said of the queue.
pub(crate) fn judge(facts: &QueueFacts, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let set = Remedy { config };
    visibility(facts, config, &set, &mut findings);
    retention(facts, config, &set, &mut findings);
    attributes(facts, &set, &mut findings);
    receives::judge(facts, config, &set, &mut findings);
    dead_letters::judge(facts, config, &set, &mut findings);
    findings
}

/// What allows the role a call.
pub(crate) fn statement(action: &str, resource: &str) -> String {
    let statement = serde_json::json!({ "Effect": "Allow", "Action": action, "Resource": resource });
    format!("add this statement to the worker's role: {statement}")
}

/// Lines to paste.
pub(crate) struct Remedy<'a> {
    pub(crate) config: &'a Config,
}

impl Remedy<'_> {
    /// Sets attributes of a queue.
    fn attributes(&self, url: &str, attributes: &serde_json::Value) -> String {
        format!("{} --queue-url {url} --attributes '{attributes}'", self.call("set-queue-attributes"))
    }

    /// Makes a dead-letter queue.
    fn dead_letter_queue(&self, name: &str) -> String {
        let attributes = serde_json::json!({
            "FifoQueue": "true", "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId", "MessageRetentionPeriod": "1209600",
        });
        format!("{} --queue-name {name} --attributes '{attributes}'", self.call("create-queue"))
    }

    fn call(&self, call: &str) -> String {
        let queue = &self.config.queue;
        let endpoint =
            queue.endpoint.as_ref().map(|endpoint| format!(" --endpoint-url {endpoint}")).unwrap_or_default();
        format!("aws sqs {call} --region {}{endpoint}", queue.region)
    }

    /// Sets an attribute of the queue.
    pub(crate) fn attribute(&self, name: &str, value: &str) -> String {
        self.attributes(&self.config.queue.url, &serde_json::json!({ name: value }))
    }
}

fn visibility(facts: &QueueFacts, config: &Config, set: &Remedy<'_>, findings: &mut Vec<Finding>) {
    let visibility = config.queue.visibility.unwrap_or(facts.queue.visibility);
    findings.push(match check_visibility(config.timeout, visibility, "the queue's own VisibilityTimeout") {
        Ok(()) => Finding::ok("visibility timeout", format!("{} s", visibility.as_secs())),
        Err(error) => Finding::new(Severity::Refused, "visibility timeout", error)
            .remedy(set.attribute("VisibilityTimeout", &least_visibility(config.timeout).to_string())),
    });
}

/// The least retention that leaves room for retries and for what waits behind them, in seconds.
pub(crate) fn enough_retention(config: &Config) -> u64 {
    config.retry.window.as_secs().saturating_mul(4)
}

/// For so many seconds SQS keeps messages at the longest.
const LONGEST_RETENTION: u64 = 1_209_600;

fn retention(facts: &QueueFacts, config: &Config, set: &Remedy<'_>, findings: &mut Vec<Finding>) {
    let Some(retention) = facts.queue.number("MessageRetentionPeriod") else { return };
    let window = config.retry.window.as_secs();
    let severity = match retention {
        kept if kept < window => Severity::Refused,
        kept if kept < enough_retention(config) => Severity::Warning,
        kept => {
            findings.push(Finding::ok("retention", format!("{kept} s")));
            return;
        }
    };
    let text = format!(
        "the queue keeps messages for {retention} s, WEBHOOKS_RETRY_WINDOW_SECONDS is {window} s: SQS deletes jobs that still \
         wait for a retry, without a word (at least four times the window is recommended)"
    );
    // The longest there is leaves the window to be shortened.
    let remedy = if window.saturating_mul(4) > LONGEST_RETENTION && retention >= LONGEST_RETENTION {
        format!("export WEBHOOKS_RETRY_WINDOW_SECONDS={}", LONGEST_RETENTION / 4)
    } else {
        set.attribute("MessageRetentionPeriod", &LONGEST_RETENTION.to_string())
    };
    findings.push(Finding::new(severity, "retention", text).remedy(remedy));
}

/// Attributes that have one recommended value, and what any other costs.
pub(crate) const RECOMMENDED: [(&str, &str, &str); 3] = [
    ("DelaySeconds", "0", "every job is that late"),
    (
        "DeduplicationScope",
        "messageGroup",
        "of two jobs in different groups that have one deduplication id, as equal bodies have, the queue swallows \
         the second in silence; with FifoThroughputLimit=perQueue all groups together get 300 calls a second",
    ),
    ("FifoThroughputLimit", "perMessageGroupId", "all groups together get 300 calls a second"),
];

/// What differs from the recommended queue.
fn attributes(facts: &QueueFacts, set: &Remedy<'_>, findings: &mut Vec<Finding>) {
    // Producers that give every job an id, as soketi does, need neither; sockudo, which does not, needs it.
    findings.extend(facts.queue.attribute("ContentBasedDeduplication").map(|value| {
        let why = if value == "true" {
            ": a job that is sent without a deduplication id counts as one with that of the body's SHA-256"
        } else {
            ": a job that is sent without a deduplication id is refused"
        };
        Finding::ok("queue attributes", format!("ContentBasedDeduplication is {value}{why}"))
    }));
    for (name, recommended, why) in RECOMMENDED {
        let Some(value) = facts.queue.attribute(name) else { continue };
        findings.push(if value == recommended {
            Finding::ok("queue attributes", format!("{name} is {value}"))
        } else {
            let both = serde_json::json!({
                "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
            });
            let line = match name {
                "DeduplicationScope" | "FifoThroughputLimit" => set.attributes(&set.config.queue.url, &both),
                _ => set.attribute(name, recommended),
            };
            let text = format!("{name} is {value}, {recommended} is recommended: {why}");
            Finding::new(Severity::Warning, "queue attributes", text).remedy(line)
        });
    }
}
