//! What the worker tells of calls that settle jobs (metrics and, for those that fail, health and the log), and
//! how destinations are named.

use std::fmt;
use std::time::Duration;

use tracing::{error, warn};

use super::rules::Rules;
use crate::app::Target;
use crate::queue::{BatchEntryResult, Error};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::{Metrics, SettleCall};

/// The longest that a receive of another replica waits: SQS' own bound on a long poll.
const LONG_POLL: Duration = Duration::from_secs(20);

/// A batch's call was answered, or failed. What is refused of it, or left out of the answer, counts as a
/// call that failed; an entry whose receipt is over does not, it is only late.
pub(super) fn settle_batch(
    metrics: &Metrics,
    health: &Health,
    call: SettleCall,
    answer: &Result<Vec<BatchEntryResult>, Error>,
) {
    let entries = answer.as_ref().map(Vec::as_slice).unwrap_or_default();
    let failures = || entries.iter().filter_map(BatchEntryResult::failure);
    // A missing right lasts: it is what is told.
    let denied = failures().find(|error| matches!(error, Error::Denied(_)));
    match denied.or_else(|| failures().next()) {
        Some(error) => settle_call::<()>(metrics, health, call, &Err(error)),
        None => settle_call(metrics, health, call, answer),
    };
}

/// A call that settles jobs was answered, or failed. A failing one is logged once a minute with the
/// permission that it needs, and a denied one makes the worker unready. Gives whether it was logged.
pub(super) fn settle_call<T>(
    metrics: &Metrics,
    health: &Health,
    call: SettleCall,
    answer: &Result<T, Error>,
) -> bool {
    let (why, denied) = match answer {
        Ok(_) | Err(Error::NoDeadLetterQueue) => {
            health.settle_answered(call);
            return false;
        }
        Err(Error::Denied(why)) => (why, true),
        Err(Error::Call(why)) => (why, false),
    };
    metrics.settle_failed(call);
    let permission = call.permission();
    if denied {
        health.settle_denied(call, why);
    }
    // Its own text says what to do: it may be the role, the queue's key, or a proxy.
    let Some(failures) = health.may_say(call) else { return false };
    if denied {
        error!(
            permission,
            detail = why,
            failures,
            "jobs cannot be settled: a call is denied; they come back"
        );
    } else {
        warn!(permission, detail = why, failures, "a call that settles jobs failed; they come back");
    }
    true
}

/// After so long beyond its retry a group that was not received here is another replica's.
pub(super) fn lost_after(rules: &Rules) -> Duration {
    rules.visibility + LONG_POLL
}

/// A target's host or function: never a path, query or user info. Looked for only where it is shown.
pub(crate) struct Host<'a>(pub Option<&'a Target>);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Target::Http(url)) => {
                let url = url::Url::parse(url.trim());
                f.write_str(url.as_ref().ok().and_then(url::Url::host_str).unwrap_or_default())
            }
            Some(Target::Lambda(lambda)) => f.write_str(&lambda.function),
            Some(Target::Unusable { registered, .. }) => Host(Some(registered)).fmt(f),
            Some(Target::Missing) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
