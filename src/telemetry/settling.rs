//! What is told of calls that settle jobs: metrics and, for those that fail, health and the log.

use tracing::{error, warn};

use super::health::Health;
use super::metrics::{Metrics, SettleCall};
use crate::queue::{BatchEntryResult, Error};

/// A batch's call was answered, or failed. What is refused of it, or left out of the answer, counts as a
/// call that failed; an entry whose receipt is over does not, it is only late.
pub fn report_batch(
    metrics: &Metrics,
    health: &Health,
    call: SettleCall,
    answer: &Result<Vec<BatchEntryResult>, Error>,
) {
    let entries = answer.as_ref().map(Vec::as_slice).unwrap_or_default();
    let failures = || entries.iter().filter_map(BatchEntryResult::failure);
    // What was done of it says that the call can be made.
    if entries.contains(&BatchEntryResult::Ok) {
        health.settle_answered(call);
    }
    // A missing right lasts: it is what is told.
    let denied = failures().find(|error| matches!(error, Error::Denied(_)));
    match denied.or_else(|| failures().next()) {
        Some(error) => report_call::<()>(metrics, health, call, &Err(error)),
        None => report_call(metrics, health, call, answer),
    };
}

/// A call that settles jobs was answered, or failed. A failing one is logged once a minute with the
/// permission that it needs, and one that is denied or goes on failing makes the worker unready. Gives whether it was
/// logged.
pub fn report_call<T>(
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
        Err(error @ Error::LetterRefused { .. }) => (&error.to_string(), false),
        Err(Error::Call(why)) => (why, false),
    };
    metrics.settle_failed(call);
    let permission = call.permission();
    match answer {
        Err(Error::Denied(why)) => health.settle_denied(call, why),
        Err(Error::Call(why)) => health.settle_failed(call, why),
        // Of one letter alone.
        Ok(_) | Err(Error::NoDeadLetterQueue | Error::LetterRefused { .. }) => {}
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

#[cfg(test)]
mod tests;
