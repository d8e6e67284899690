//! How many receives the queue's `maxReceiveCount` has to allow.

use std::time::Duration;

use super::{Finding, QueueFacts, Remedy, Severity};
use crate::config::Config;
use crate::policy::{MIN_BACKOFF, Retry};
use crate::queue::MAX_BATCH;

/// The highest `maxReceiveCount` that SQS has, and the recommended one.
pub(super) const MOST: u32 = 1000;

/// The longest `WEBHOOKS_RETRY_MAX_MS`, in seconds.
const MAX_CAP: u64 = 36_000;

/// What a job can need: for as many attempts as fit into its window, and, while it waits behind others of
/// its receive that fail one after the other, for theirs too, since it is received with them.
///
/// Backoffs are jittered: a quarter of each upper end, of which sums of many are hardly ever below, and a
/// second at the least. Attempts themselves are taken to fail at once.
pub(crate) fn needed_receives(retry: &Retry) -> u32 {
    let mut attempts: u32 = 1;
    let mut waited = Duration::ZERO;
    loop {
        let top = retry.exponential().ceiling(attempts);
        let one = (top / 4).max(MIN_BACKOFF);
        waited += one;
        if waited > retry.window {
            break;
        }
        attempts += 1;
        if top == retry.cap {
            // The rest are all alike.
            let left = retry.window.saturating_sub(waited).as_millis() / one.as_millis().max(1);
            attempts = attempts.saturating_add(u32::try_from(left).unwrap_or(u32::MAX));
            break;
        }
    }
    attempts.saturating_mul(u32::try_from(MAX_BATCH).unwrap_or(u32::MAX))
}

/// The shortest cap, in whole seconds, with which the highest count is enough; `None` if none that there can be is.
fn enough_cap(retry: &Retry) -> Option<Duration> {
    let is_enough = |seconds: u64| {
        let cap = Duration::from_secs(seconds);
        needed_receives(&Retry { cap, base: retry.base.min(cap), ..*retry }) <= MOST
    };
    let (mut low, mut high) = (0, MAX_CAP);
    while low + 1 < high {
        let middle = low.midpoint(high);
        if is_enough(middle) { high = middle } else { low = middle }
    }
    is_enough(high).then_some(Duration::from_secs(high))
}

pub(super) fn judge(facts: &QueueFacts, config: &Config, set: &Remedy<'_>, findings: &mut Vec<Finding>) {
    let Some(most) = facts.queue.max_receive_count else { return };
    let needed = needed_receives(&config.retry);
    if most >= needed {
        findings
            .push(Finding::ok("receive count", format!("maxReceiveCount is {most}, {needed} can be needed")));
        return;
    }
    let retry = &config.retry;
    let needs = format!(
        "with WEBHOOKS_RETRY_WINDOW_SECONDS={}, _BASE_MS={} and _MAX_MS={} a job that keeps failing, and those that wait behind it, \
         can need {needed}",
        retry.window.as_secs(),
        retry.base.as_millis(),
        retry.cap.as_millis()
    );
    let end = "a job on its last receive is given up inside its window";
    // More than the most there is cannot be asked for.
    if most >= MOST {
        let cap = enough_cap(retry).map_or_else(
            || "lower WEBHOOKS_RETRY_WINDOW_SECONDS".to_owned(),
            |cap| format!("set WEBHOOKS_RETRY_MAX_MS={} or more", cap.as_millis()),
        );
        let text = format!(
            "the queue's RedrivePolicy has maxReceiveCount {most}, of which SQS has none above {MOST}; {needs}: {end}"
        );
        let remedy = format!(
            "{cap}, or set QUEUE_SQS_DLQ_URL and take the RedrivePolicy away from the queue, which then counts no receives"
        );
        findings.push(Finding::new(Severity::Warning, "receive count", text).remedy(remedy));
        return;
    }
    let severity = if config.queue.allow_low_receive_count { Severity::Warning } else { Severity::Refused };
    let policy = serde_json::json!({
        "deadLetterTargetArn": facts.queue.dead_letter_arn, "maxReceiveCount": MOST.to_string(),
    });
    let line = set.attributes(&config.queue.url, &serde_json::json!({ "RedrivePolicy": policy.to_string() }));
    let text = format!(
        "the queue's RedrivePolicy has maxReceiveCount {most}; {needs}: {end} (QUEUE_SQS_ALLOW_LOW_RECEIVE_COUNT=true runs anyway)"
    );
    findings.push(Finding::new(severity, "receive count", text).remedy(line));
}
