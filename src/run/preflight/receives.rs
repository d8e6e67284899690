//! How many receives the queue's `maxReceiveCount` has to allow.

use std::time::Duration;

use super::{Facts, Finding, Remedy, Severity};
use crate::config::Config;
use crate::policy::{MIN_BACKOFF, Retry};
use crate::queue::MAX_BATCH;

/// The highest `maxReceiveCount` that SQS has, and the recommended one.
const MOST: u32 = 1000;

/// What a job can need: for as many attempts as fit into its window, and, while it waits behind others of
/// its receive that fail one after the other, for theirs too, since it is received with them.
///
/// Backoffs are jittered: a quarter of each upper end, of which sums of many are hardly ever below, and a
/// second at the least. Attempts themselves are taken to fail at once.
pub(crate) fn needed_receives(retry: &Retry) -> u32 {
    let mut attempts: u32 = 1;
    let mut waited = Duration::ZERO;
    while attempts < MOST {
        let doubled = 2_u32.saturating_pow(attempts - 1);
        let top = retry.base.saturating_mul(doubled).min(retry.cap);
        waited += (top / 4).max(MIN_BACKOFF);
        if waited > retry.window {
            break;
        }
        attempts += 1;
    }
    attempts.saturating_mul(u32::try_from(MAX_BATCH).unwrap_or(u32::MAX)).min(MOST)
}

pub(super) fn judge(facts: &Facts, config: &Config, set: &Remedy<'_>, findings: &mut Vec<Finding>) {
    let Some(most) = facts.queue.max_receive_count else { return };
    let needed = needed_receives(&config.retry);
    if most >= needed {
        findings
            .push(Finding::ok("receive count", format!("maxReceiveCount is {most}, {needed} can be needed")));
        return;
    }
    let severity = if config.queue.allow_low_receive_count { Severity::Warning } else { Severity::Refused };
    let policy = serde_json::json!({
        "deadLetterTargetArn": facts.queue.dead_letter_arn, "maxReceiveCount": MOST.to_string(),
    });
    let line = set.attributes(&config.queue.url, &serde_json::json!({ "RedrivePolicy": policy.to_string() }));
    let text = format!(
        "the queue's RedrivePolicy has maxReceiveCount {most}; with WEBHOOKS_RETRY_WINDOW_SECONDS={}, _BASE_MS={} and _MAX_MS={} a job \
         that keeps failing, and those that wait behind it, can need {needed}: SQS would move jobs to the dead-letter queue inside \
         their window, some of them untried (QUEUE_SQS_ALLOW_LOW_RECEIVE_COUNT=true runs anyway)",
        config.retry.window.as_secs(),
        config.retry.base.as_millis(),
        config.retry.cap.as_millis()
    );
    findings.push(Finding::new(severity, "receive count", text).remedy(line));
}
