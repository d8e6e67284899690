//! What the queue and its dead-letter queue say of themselves, asked once in a while: how many messages there are, and
//! whether an operator changed what the worker goes by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::facts;
use super::preflight::{self, Finding, Severity};
use crate::admin::status::StatusFacts;
use crate::config::Config;
use crate::policy::rules::Disposal;
use crate::queue::ReceiveError;
use crate::queue::sqs::{Connection, Description, Policies};
use crate::shown::cut;
use crate::telemetry::metrics::Metrics;

/// Between two looks at the queue: for so long the worker goes by what was changed meanwhile.
const BETWEEN: Duration = Duration::from_secs(10);

/// The dead-letter queue is looked at once in so many, SQS' own counts being a minute old, and after a job was given
/// up: who looks at the page for it finds it in the count.
const DEAD_LETTERS_ONCE_IN: u32 = 6;

/// Characters that are shown of what was changed.
const MAX_CHANGE: usize = 1000;

/// So many looks in a row that fail are said: one or two pass by themselves.
const FAILED_LOOKS: u32 = 3;

/// What is kept up to date.
pub(super) struct Upkeep {
    pub(super) queue: Connection,
    pub(super) config: Arc<Config>,
    pub(super) policies: Policies,
    pub(super) disposal: Disposal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) facts: Arc<StatusFacts>,
    /// What is to be said of the configuration and of the queue.
    pub(super) warnings: watch::Sender<Vec<String>>,
}

/// What is known of the queues beside their counts.
struct Known {
    queue: BTreeMap<String, String>,
    /// Of the dead-letter queue: its URL, and what it says.
    dead: Option<(String, Reported)>,
    findings: Vec<Finding>,
}

/// What a dead-letter queue says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reported {
    Attributes(BTreeMap<String, String>),
    /// There is none.
    Missing,
    /// It did not answer, or may not be asked.
    Nothing,
}

/// Looks at the queue and its dead-letter queue for as long as it is polled. A look that fails leaves what was known.
pub(super) async fn keep(kept: Upkeep, found: preflight::QueueFacts, findings: Vec<Finding>) {
    let dead = found.dead_letters.map(|dead| (dead.url, said(&dead.description)));
    let mut known = Known { queue: lasting(&found.queue), dead, findings };
    let mut looks: u32 = 0;
    let (mut of_queue, mut of_letters) = (Failures("the queue", 0), Failures("the dead-letter queue", 0));
    // How many jobs had been given up when the letters were last looked at.
    let mut given_up = kept.metrics.given_up();
    loop {
        if let Some(now) = of_queue.told(kept.queue.describe().await) {
            kept.counted(&now);
            kept.disposal.set_max_receive_count(now.max_receive_count);
            kept.disposal.set_retention(now.retention());
            kept.policies.follow(&now);
            let is_other = lasting(&now) != known.queue;
            let looks_at_letters =
                is_other || looks.is_multiple_of(DEAD_LETTERS_ONCE_IN) || kept.metrics.given_up() != given_up;
            if looks_at_letters {
                given_up = kept.metrics.given_up();
            }
            let dead = if looks_at_letters {
                kept.dead_letters(&known, &mut of_letters).await
            } else {
                known.dead.clone()
            };
            if is_other || dead != known.dead {
                Box::pin(kept.judge(now, dead, &mut known)).await;
            }
        }
        looks = looks.wrapping_add(1);
        tokio::select! {
            () = sleep(BETWEEN) => {}
            () = kept.policies.changed() => {}
        }
    }
}

impl Upkeep {
    fn counted(&self, queue: &Description) {
        let states = [("visible", ""), ("hidden", "NotVisible"), ("delayed", "Delayed")];
        self.metrics.queue_has(states.map(|(state, kind)| (state, queue.messages(kind))));
    }

    /// Looks at the dead-letter queue of now.
    async fn dead_letters(&self, known: &Known, failures: &mut Failures) -> Option<(String, Reported)> {
        let url = self.policies.dead_letter_url()?.to_string();
        let answer = self.queue.at(url.clone()).describe().await;
        if let Ok(now) = &answer {
            self.metrics.dead_letter_queue_has(now.depth());
        }
        let reported = said(&answer);
        // That there is none is told by what judges it.
        if reported != Reported::Missing {
            failures.told(answer);
        }
        // A look that fails is no change.
        let last = known.dead.as_ref().filter(|(last, _)| *last == url).map(|(_, said)| said.clone());
        let said = match (reported, last) {
            (Reported::Nothing, Some(last)) => last,
            (said, _) => said,
        };
        Some((url, said))
    }

    /// Something was changed: it is judged as at start, and what is new is said. Nothing of it ends the worker.
    async fn judge(&self, now: Description, dead: Option<(String, Reported)>, known: &mut Known) {
        let queue = lasting(&now);
        let mut changed = differences(&known.queue, &queue);
        match (&known.dead, &dead) {
            (Some((before, Reported::Attributes(old))), Some((now, Reported::Attributes(new))))
                if before == now =>
            {
                let of_letters = differences(old, new);
                if !of_letters.is_empty() {
                    changed = format!("{changed}; dead-letter queue: {of_letters}");
                }
            }
            (before, now) if before == now => {}
            _ => changed.push_str("; the dead-letter queue is another, or gone"),
        }
        let named = now.dead_letter_url.is_some() || self.config.queue.dead_letter_url.is_some();
        facts::show(&self.facts, &now, &self.config);
        let found = preflight::facts(&self.queue, now, &self.config).await;
        let mut findings = preflight::judge(&found, &self.config);
        if !named && let Some((url, _)) = &dead {
            let about = "dead-letter queue";
            findings.retain(|finding| finding.about != about);
            let text = format!(
                "the queue's RedrivePolicy is gone: until this worker ends it sends letters to {url}, which the policy named last"
            );
            let remedy = "set QUEUE_SQS_DLQ_URL to keep it";
            findings.push(Finding::new(Severity::Warning, about, text).remedy(remedy));
        }
        let dead_letters = dead.as_ref().map_or("none", |(url, _)| url);
        info!(
            changed = cut(changed.trim_start_matches("; "), MAX_CHANGE),
            dead_letters, "the queue or its dead-letter queue was changed while this runs"
        );
        for finding in new(&known.findings, &findings) {
            match finding.severity {
                Severity::Ok => {}
                Severity::Warning => warn!("{}", finding.line()),
                Severity::Error => error!("{}", finding.line()),
                Severity::Refused => {
                    error!("{} (this worker goes on; one that starts now ends at once)", finding.line());
                }
            }
        }
        self.warnings.send_replace(facts::warnings(&self.config, &findings));
        *known = Known { queue, dead, findings };
    }
}

/// The findings that were not there before.
fn new<'a>(before: &'a [Finding], now: &'a [Finding]) -> impl Iterator<Item = &'a Finding> {
    now.iter().filter(|finding| !before.contains(finding))
}

/// What differs, in words.
fn differences(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let value = |of: &BTreeMap<String, String>, name: &str| {
        of.get(name).filter(|value| !value.is_empty()).map_or_else(|| "nothing".to_owned(), Clone::clone)
    };
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differ = names.into_iter().filter(|name| before.get(*name) != now.get(*name));
    let words = differ.map(|name| format!("{name} was {} and is {}", value(before, name), value(now, name)));
    words.collect::<Vec<_>>().join("; ")
}

/// The attributes that only an operator changes.
fn lasting(description: &Description) -> BTreeMap<String, String> {
    let changes_by_itself = |name: &str| name.starts_with("Approximate") || name == "LastModifiedTimestamp";
    let lasting = description.attributes.iter().filter(|(name, _)| !changes_by_itself(name));
    lasting.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn said(answer: &Result<Description, ReceiveError>) -> Reported {
    match answer {
        Ok(description) => Reported::Attributes(lasting(description)),
        Err(ReceiveError::Missing(_)) => Reported::Missing,
        Err(
            ReceiveError::NoResponse(_)
            | ReceiveError::Throttled(_)
            | ReceiveError::Denied(_)
            | ReceiveError::Service(_),
        ) => Reported::Nothing,
    }
}

/// Looks that failed in a row: at what, and how many.
struct Failures(&'static str, u32);

impl Failures {
    /// The answer, once it was told what the depths and attributes that are shown are worth.
    fn told(&mut self, answer: Result<Description, ReceiveError>) -> Option<Description> {
        let Self(what, failed) = self;
        match answer {
            Ok(description) => {
                if *failed >= FAILED_LOOKS {
                    info!("{what} tells its attributes again");
                }
                *failed = 0;
                Some(description)
            }
            Err(error) => {
                *failed = failed.saturating_add(1);
                if *failed == FAILED_LOOKS {
                    warn!(%error, "{what} does not tell its attributes: its depth on the status page is old, and what is changed of it does not hold here (remedy: allow sqs:GetQueueAttributes)");
                } else {
                    debug!(%error, "no look at {what}");
                }
                None
            }
        }
    }
}
