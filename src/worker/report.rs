//! What the worker tells of its attempts and settlements: metrics, the board and, for calls that fail,
//! health and the log.

use std::fmt;
use std::time::Duration;

use tracing::{error, warn};

use super::lane::{InFlight, Rules, Shared};
use crate::app::{Target, WebhookId};
use crate::job::QueueType;
use crate::outcome::{Outcome, Reason};
use crate::plan::Delivery;
use crate::queue::{DeadLetter, Error};
use crate::telemetry::board::blocked::Blocked;
use crate::telemetry::board::{Attempt, GivenUp};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::{Metrics, SettleCall};

/// The longest that a receive of another replica waits: SQS' own bound on a long poll.
const LONG_POLL: Duration = Duration::from_secs(20);

/// Whose webhook a job waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed<'a> {
    /// The app, if it was found.
    pub app_id: Option<&'a str>,
    /// The delivery that failed, if it came to one.
    pub delivery: Option<&'a Delivery>,
    /// Why.
    pub reason: &'a Reason,
}

impl<Q, T, A> Shared<Q, T, A> {
    /// An attempt ended; what was deferred was none.
    pub(super) fn attempted(&self, app_id: &str, delivery: &Delivery, outcome: &Outcome, took: Duration) {
        self.metrics.attempted(outcome, took);
        self.metrics.board.attempted(&Attempt {
            app_id,
            webhook: delivery.webhook.as_str(),
            destination: &Host(Some(&delivery.target)),
            outcome,
            took,
        });
    }

    /// A job was delivered so long after it was sent.
    pub(super) fn delivered(&self, age: Duration) {
        self.metrics.age_at_delivery.observe(age.as_secs_f64());
        self.metrics.board.delivered(age);
    }

    /// The head of a group waits for a retry, with so many behind it.
    pub(super) fn blocked(&self, head: &InFlight, failed: Failed<'_>, wait: Wait) {
        let group: &str = &head.message.group;
        let Failed { app_id, delivery, reason } = failed;
        self.metrics.board.blocked(&Blocked {
            group,
            app_id: app_id.unwrap_or_else(|| app_of(group)),
            destination: &Host(delivery.map(|delivery| &delivery.target)).to_string(),
            attempts: head.claim.record().attempts,
            reason: reason.code(),
            detail: &reason.to_string(),
            retry_in: wait.backoff,
            lost_after: lost_after(&self.rules),
            age: wait.age,
            behind: wait.behind,
        });
    }

    /// A job was given up.
    pub(super) fn given_up(&self, letter: &DeadLetter, failed: Failed<'_>) {
        let Failed { app_id, delivery, reason } = failed;
        self.metrics.dead_lettered(reason);
        let webhook = letter.webhook.as_ref().or(delivery.map(|delivery| &delivery.webhook));
        self.metrics.board.dead_lettered(&GivenUp {
            id: &letter.source,
            group: &letter.group,
            app_id: app_id.unwrap_or_else(|| app_of(&letter.group)),
            webhook: webhook.map(WebhookId::as_str).unwrap_or_default(),
            destination: &Host(delivery.map(|delivery| &delivery.target)).to_string(),
            reason: reason.code(),
            detail: &letter.detail,
            attempts: letter.attempts,
        });
    }
}

/// What a blocked head waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    /// Until the retry.
    pub backoff: Duration,
    /// Since it was sent.
    pub age: Duration,
    /// Jobs behind it.
    pub behind: usize,
}

/// A call that settles jobs was answered, or failed. A failing one is logged once a minute with the
/// permission that it needs, and a denied one makes the worker unready.
pub(super) fn settle_call<T>(
    metrics: &Metrics,
    health: &Health,
    call: SettleCall,
    answer: &Result<T, Error>,
) {
    let (why, denied) = match answer {
        Ok(_) | Err(Error::NoDeadLetterQueue) => return health.settle_answered(call),
        Err(Error::Denied(why)) => (why, true),
        Err(Error::Call(why)) => (why, false),
    };
    metrics.settle_failed(call);
    let permission = call.permission();
    if denied {
        health.settle_denied(call);
    }
    if !health.may_say(call) {
        return;
    }
    if denied {
        error!(permission, detail = why, "jobs cannot be settled: allow it to the worker's role");
    } else {
        warn!(permission, detail = why, "a call that settles jobs failed; they come back");
    }
}

/// After so long beyond its retry a group that was not received here is another replica's.
fn lost_after(rules: &Rules) -> Duration {
    rules.visibility + LONG_POLL
}

/// The app's id in a group's name; the whole name where it is none of soketi's.
fn app_of(group: &str) -> &str {
    QueueType::ALL
        .iter()
        .find_map(|kind| group.strip_suffix(kind.queue_name())?.strip_suffix('_'))
        .unwrap_or(group)
}

/// A target's host or function: never a path, query or user info. Looked for only where it is shown.
pub(super) struct Host<'a>(pub Option<&'a Target>);

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
mod tests {
    use super::*;

    #[test]
    fn an_app_is_told_from_its_groups_name() {
        assert_eq!(app_of("my_app_client_event_webhooks"), "my_app");
        assert_eq!(app_of("orders"), "orders");
    }
}
