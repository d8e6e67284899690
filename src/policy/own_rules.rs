//! What a webhook says itself of its attempts: a shorter timeout, an earlier end, other backoffs.
//!
//! The worker's own rules are the limits: nothing that an app's owner chooses lasts longer than what the
//! operator allows.

use std::time::Duration;

use super::{MIN_BACKOFF, Retry};
use crate::app::Webhook;
use crate::outcome::Outcome;

/// The longest that an attempt at a webhook may take.
pub(crate) fn timeout(webhook: Option<&Webhook>, most: Duration) -> Duration {
    webhook.and_then(|webhook| webhook.timeout).map_or(most, |own| own.min(most))
}

/// An attempt's outcome by the webhook's own end of retrying: a failure that may pass is final after so many
/// attempts, or where the job's attempts will have failed for longer when the shortest wait is over: sockudo gives up
/// before it sleeps. A webhook that cannot be used was not attempted: `attempt` is the number of the attempt that is still
/// to be made, and does not count.
pub(crate) fn judged(
    outcome: Outcome,
    webhook: Option<&Webhook>,
    attempt: u32,
    failing_for: Duration,
) -> Outcome {
    let Some(own) = webhook.map(|webhook| webhook.retry) else { return outcome };
    let over = own.max_attempts.is_some_and(|most| outcome.was_made() && attempt >= most)
        || own.window.is_some_and(|most| {
            failing_for >= most || outcome.was_made() && failing_for + MIN_BACKOFF > most
        });
    match outcome {
        Outcome::Transient { reason, .. } if over && reason.gives_up() => Outcome::Permanent(reason),
        outcome => outcome,
    }
}

/// The backoff's rules for a job whose webhooks failed thus. It is one for all that have to be tried again,
/// so that it is none shorter than any of them wants.
pub(crate) fn backoff<'a>(rules: &Retry, failing: impl IntoIterator<Item = Option<&'a Webhook>>) -> Retry {
    let mut longest: Option<(Duration, Duration)> = None;
    for webhook in failing {
        let own = webhook.map(|webhook| webhook.retry).unwrap_or_default();
        let cap = own.cap.map_or(rules.cap, |own| own.min(rules.cap));
        let base = own.base.unwrap_or(rules.base).min(cap);
        let (most, highest) = longest.unwrap_or_default();
        longest = Some((most.max(base), highest.max(cap)));
    }
    let (base, cap) = longest.unwrap_or((rules.base, rules.cap));
    Retry { base, cap, ..*rules }
}

#[cfg(test)]
mod tests;
