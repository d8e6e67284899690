//! Findings about the dead-letter queue: whether there is one, and whether it is another queue, takes letters and keeps them.
//!
//! Decides from what was asked before, and calls nothing.

use url::Url;

use super::receives::MOST;
use super::{DeadLetters, Finding, QueueFacts, Remedy, Severity, statement};
use crate::config::Config;
use crate::queue::sqs::{Description, Probe};
use crate::queue::{ReceiveError, lacks_right};

const ABOUT: &str = "dead-letter queue";

pub(super) fn judge(facts: &QueueFacts, config: &Config, set: &Remedy<'_>, findings: &mut Vec<Finding>) {
    let Some(dead) = &facts.dead_letters else {
        let text = "there is none, by the queue's RedrivePolicy or QUEUE_SQS_DLQ_URL: a job that is given up is logged and \
                    deleted";
        let line = new(facts.queue.attribute("QueueArn"), &config.queue.url, set);
        findings.push(Finding::new(Severity::Warning, ABOUT, text).remedy(line));
        return;
    };
    if is_same_queue((&dead.url, arn(dead)), (&config.queue.url, facts.queue.attribute("QueueArn"))) {
        findings.push(is_the_queue_itself(&dead.url));
        return;
    }
    let before = findings.len();
    match &dead.description {
        Ok(description) => described(dead, description, facts, set, findings),
        Err(error) => findings.push(unreachable(dead, error, facts, set)),
    }
    another_target(dead, facts, config, findings);
    if let Ok(description) = &dead.description {
        findings.extend(moves_on(&dead.url, description, facts.queue.attribute("QueueArn"), set));
    }
    match &dead.send {
        Probe::Denied(why) => findings.push(denied(dead, why)),
        Probe::Allowed | Probe::Unknown(_) => {}
    }
    if findings.len() == before {
        findings.push(Finding::ok(ABOUT, dead.url.clone()));
    }
}

/// Only where it is the right to send that is missing is it the remedy: else it is the key's, the credentials or a
/// proxy, and the error says so.
fn denied(dead: &DeadLetters, why: &str) -> Finding {
    let finding =
        Finding::new(Severity::Error, ABOUT, format!("letters cannot be sent to {}: {why}", dead.url));
    if lacks_right(why, "sqs:SendMessage") {
        return finding.remedy(statement("sqs:SendMessage", arn(dead).unwrap_or(&dead.url)));
    }
    finding
}

/// Makes one beside the queue, and names it in the queue's `RedrivePolicy`.
fn new(queue_arn: Option<&str>, queue_url: &str, set: &Remedy<'_>) -> String {
    const SUFFIX: &str = "-dead-letters.fifo";
    const MOST_CHARACTERS: usize = 80;
    let own = name(queue_url, '/');
    let own = own.strip_suffix(".fifo").unwrap_or(own);
    let name = format!("{}{SUFFIX}", own.get(..MOST_CHARACTERS - SUFFIX.len()).unwrap_or(own));
    let create = set.dead_letter_queue(&name);
    let Some((place, _)) = queue_arn.and_then(|arn| arn.rsplit_once(':')) else { return create };
    let policy = serde_json::json!({
        "deadLetterTargetArn": format!("{place}:{name}"), "maxReceiveCount": MOST.to_string(),
    });
    format!("{create} && {}", set.attribute("RedrivePolicy", &policy.to_string()))
}

/// The last part of a URL or an ARN.
fn name(text: &str, separator: char) -> &str {
    text.rsplit(separator).next().unwrap_or_default()
}

fn arn(dead: &DeadLetters) -> Option<&str> {
    dead.description.as_ref().ok()?.attribute("QueueArn")
}

/// What is said of a dead-letter queue that is the queue.
pub(crate) fn is_the_queue_itself(url: &str) -> Finding {
    let text = format!("{url} is the queue itself: every job that is given up would come back at once");
    Finding::new(Severity::Refused, ABOUT, text)
        .remedy("set QUEUE_SQS_DLQ_URL to another FIFO queue, or leave it out for the RedrivePolicy's target")
}

/// Whether two queues, each by its URL and what is known of its ARN, are one: by the ARN, which is the same however
/// the URL is spelled; else by the URL's path.
pub(crate) fn is_same_queue(dead: (&str, Option<&str>), queue: (&str, Option<&str>)) -> bool {
    if let (Some(dead), Some(queue)) = (dead.1, queue.1) {
        return dead == queue;
    }
    let place = |url: &str| {
        let url = Url::parse(url).ok()?;
        let path: Vec<String> =
            url.path_segments()?.filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Some(path)
    };
    place(dead.0) == place(queue.0)
}

fn unreachable(dead: &DeadLetters, error: &ReceiveError, facts: &QueueFacts, set: &Remedy<'_>) -> Finding {
    let (severity, text, remedy) = match error {
        ReceiveError::Missing(_) => (
            Severity::Error,
            format!(
                "{} does not exist, as the queue's endpoint says: jobs that are given up will stay on the queue and block their groups",
                dead.url
            ),
            set.dead_letter_queue(name(&dead.url, '/')),
        ),
        ReceiveError::Denied(why) => {
            let text = format!("{} cannot be looked at: {error}", dead.url);
            let finding = Finding::new(Severity::Warning, ABOUT, text);
            let target = facts.queue.dead_letter_arn.as_deref();
            let target = target.filter(|target| name(target, ':') == name(&dead.url, '/'));
            return if lacks_right(why, "sqs:GetQueueAttributes") {
                finding.remedy(statement("sqs:GetQueueAttributes", target.unwrap_or(&dead.url)))
            } else {
                finding
            };
        }
        ReceiveError::NoResponse(_) | ReceiveError::Throttled(_) | ReceiveError::Service(_) => (
            Severity::Warning,
            format!("{} could not be looked at: {error}", dead.url),
            "run hookferry check again when the queue answers".to_owned(),
        ),
    };
    Finding::new(severity, ABOUT, text).remedy(remedy)
}

fn described(
    dead: &DeadLetters,
    description: &Description,
    facts: &QueueFacts,
    set: &Remedy<'_>,
    findings: &mut Vec<Finding>,
) {
    let mut tell = |severity, text: String, attributes: Option<serde_json::Value>| {
        let finding = Finding::new(severity, ABOUT, text);
        findings.push(match attributes {
            Some(attributes) => finding.remedy(set.attributes(&dead.url, &attributes)),
            None => finding.remedy("create a queue with FifoQueue=true and a name that ends in .fifo"),
        });
    };
    #[allow(clippy::case_sensitive_file_extension_comparisons, reason = "SQS' suffix is lower case")]
    let named_fifo = dead.url.ends_with(".fifo");
    if description.attribute("FifoQueue") == Some("false") || !named_fifo {
        tell(Severity::Error, format!("{} is no FIFO queue: it refuses every letter", dead.url), None);
    }
    let both = |name| Some((description.number(name)?, facts.queue.number(name)?));
    if let Some((dead_takes, queue_takes)) = both("MaximumMessageSize").filter(|(dead, queue)| dead < queue) {
        tell(
            Severity::Warning,
            format!(
                "{} takes messages up to {dead_takes} bytes, the queue up to {queue_takes}: the largest jobs cannot be given up",
                dead.url
            ),
            Some(serde_json::json!({ "MaximumMessageSize": queue_takes.to_string() })),
        );
    }
    if let Some(delay) = description.number("DelaySeconds").filter(|delay| *delay > 0) {
        tell(
            Severity::Warning,
            format!("DelaySeconds of {} is {delay}: for so long no dlq command sees a new letter", dead.url),
            Some(serde_json::json!({ "DelaySeconds": "0" })),
        );
    }
    if let Some((dead_keeps, queue_keeps)) =
        both("MessageRetentionPeriod").filter(|(dead, queue)| dead < queue)
    {
        tell(
            Severity::Warning,
            format!(
                "{} keeps letters for {dead_keeps} s, less than the queue keeps jobs ({queue_keeps} s); a letter that SQS moves keeps its age",
                dead.url
            ),
            Some(serde_json::json!({ "MessageRetentionPeriod": "1209600" })),
        );
    }
}

/// A dead-letter queue with a `RedrivePolicy` of its own: each look at a letter is a receive, and after so many
/// SQS moves it on. Onto the queue itself, given-up jobs would go round for ever.
pub(crate) fn moves_on(
    url: &str,
    description: &Description,
    queue_arn: Option<&str>,
    set: &Remedy<'_>,
) -> Option<Finding> {
    let target = description.dead_letter_arn.as_deref()?;
    let (severity, what) = if Some(target) == queue_arn {
        (Severity::Refused, "back to the queue: a job that is given up would come again and again")
    } else {
        (Severity::Warning, "away: no dlq command finds them there")
    };
    let count =
        description.max_receive_count.map(|count| format!(" after {count} receives")).unwrap_or_default();
    let text = format!(
        "{url} has a RedrivePolicy of its own: each dlq list, show or export spends a receive of each letter, and{count} \
         SQS moves letters to {target}, {what}"
    );
    let none = serde_json::json!({ "RedrivePolicy": "" });
    Some(Finding::new(severity, ABOUT, text).remedy(set.attributes(url, &none)))
}

/// Both are set, and they are not the same.
fn another_target(dead: &DeadLetters, facts: &QueueFacts, config: &Config, findings: &mut Vec<Finding>) {
    let (Some(_), Some(target)) = (&config.queue.dead_letter_url, &facts.queue.dead_letter_arn) else {
        return;
    };
    let same = arn(dead).map_or_else(|| name(&dead.url, '/') == name(target, ':'), |arn| arn == target);
    if same {
        return;
    }
    let text = format!(
        "QUEUE_SQS_DLQ_URL is {}, and the queue's RedrivePolicy moves jobs to {target}: letters lie in two places, and dlq looks at the former alone",
        dead.url
    );
    findings.push(
        Finding::new(Severity::Warning, ABOUT, text)
            .remedy("leave QUEUE_SQS_DLQ_URL out, or make it the RedrivePolicy's target"),
    );
}
