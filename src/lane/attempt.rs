//! One attempt at the head of a lane: decode, verify, plan, send, decide.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::{Lane, SETTLE_MARGIN, Shared};
use crate::app::{App, Target};
use crate::apps::Apps;
use crate::job::Job;
use crate::ledger::{Record, Settled};
use crate::plan::{Delivery, plan};
use crate::policy::{Disposition, Gate, Outcome, Reason, decide};
use crate::queue::{Message, Queue};
use crate::transport::Transport;

/// A job with what has to be sent for it.
struct Planned {
    app_id: String,
    deliveries: Vec<Delivery>,
}

impl<Q: Queue, T: Transport, A: Apps> Lane<Q, T, A> {
    /// Attempts the head; `None` if the lane had to be abandoned.
    pub(super) async fn attempt(&mut self) -> Option<Disposition> {
        let shared = Arc::clone(&self.shared);
        let head = self.jobs.front_mut()?;
        if head.claim.record().done {
            return Some(Disposition::Done);
        }
        let number = next_number(head.claim.record(), &head.message);
        let message_age = head.message.age;
        let planned = match shared.plan(&head.message).await {
            Ok(planned) => planned,
            Err(outcome) => {
                head.claim.record_mut().attempts = number;
                if !self.secure(SETTLE_MARGIN).await {
                    return None;
                }
                let disposition = self.decide(std::slice::from_ref(&outcome), number, self.age(message_age));
                self.log("", None, number, &outcome, &disposition);
                return Some(disposition);
            }
        };
        let pending = pending(planned.deliveries, head.claim.record(), &head.message);
        if !pending.is_empty() && !self.secure(shared.rules.attempt_timeout + SETTLE_MARGIN).await {
            return None;
        }
        let age = self.age(message_age);
        let deadline = Instant::now() + shared.rules.attempt_timeout;
        let tries = pending.iter().map(|delivery| shared.deliver(delivery, number, age, deadline));
        // Nearly every job has one webhook; join_all costs nothing worth a special case.
        let outcomes = join_all(tries).await;
        let head = self.jobs.front_mut()?;
        let record = head.claim.record_mut();
        if outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Deferred(_))) {
            record.attempts = number;
        }
        for (delivery, outcome) in pending.iter().zip(&outcomes) {
            settle(record, delivery, outcome);
        }
        // What failed for good earlier still decides how the job ends.
        let earlier = record.settled.iter().filter_map(|settled| settled.failed.clone());
        let mut all = outcomes;
        let attempted = all.len();
        all.extend(earlier.map(Outcome::Permanent));
        let age = self.age(message_age);
        let disposition = self.decide(&all, number, age);
        for (delivery, outcome) in pending.iter().zip(all.iter().take(attempted)) {
            self.log(&planned.app_id, Some(&delivery.target), number, outcome, &disposition);
        }
        if matches!(disposition, Disposition::DeadLetter(_)) {
            self.record_given_up(&pending, &all);
        }
        Some(disposition)
    }

    /// The transient failures of a job that is given up are final too.
    fn record_given_up(&mut self, pending: &[Delivery], outcomes: &[Outcome]) {
        let Some(head) = self.jobs.front_mut() else { return };
        let record = head.claim.record_mut();
        for (delivery, outcome) in pending.iter().zip(outcomes) {
            if let Outcome::Transient { reason, .. } = outcome {
                settle(record, delivery, &Outcome::Permanent(reason.clone()));
            }
        }
    }

    /// One line an attempt: at debug where it succeeded, at warn where it failed.
    fn log(
        &self,
        app_id: &str,
        target: Option<&Target>,
        attempt: u32,
        outcome: &Outcome,
        then: &Disposition,
    ) {
        let Some(head) = self.jobs.front() else { return };
        let (id, group) = (&head.message.id, &head.message.group);
        let destination = Destination(target);
        let next_retry_s = match then {
            Disposition::Retry { backoff, .. } => Some(backoff.as_secs()),
            Disposition::Done | Disposition::DeadLetter(_) => None,
        };
        match outcome {
            Outcome::Delivered => {
                debug!(message_id = %id, app_id, %group, %destination, attempt, "delivered");
            }
            Outcome::Deferred(reason) => {
                debug!(message_id = %id, app_id, %group, %destination, detail = %reason, next_retry_s,
                    "delivery deferred");
            }
            Outcome::Transient { reason, .. } | Outcome::Permanent(reason) => {
                warn!(message_id = %id, app_id, %group, %destination, attempt, reason = reason.code(),
                    detail = %reason, next_retry_s, "delivery failed");
            }
        }
    }

    fn decide(&self, outcomes: &[Outcome], attempts: u32, age: Duration) -> Disposition {
        let random = self.shared.random.fraction();
        decide(outcomes, attempts, age, &self.shared.rules.retry, random)
    }

    /// How long ago a job was sent that was `at_receive` old when it arrived.
    fn age(&self, at_receive: Duration) -> Duration {
        at_receive + Instant::now().duration_since(self.arrived)
    }
}

impl<Q: Queue, T: Transport, A: Apps> Shared<Q, T, A> {
    async fn plan(&self, message: &Message) -> Result<Planned, Outcome> {
        let job = Job::decode(&message.body)
            .map_err(|error| Outcome::Permanent(Reason::Malformed(error.to_string())))?;
        let app = self.find(&job.app_key).await?;
        job.verify(&app.secret).map_err(|error| Outcome::Permanent(error.into()))?;
        let id = message.redriven.as_ref().map_or(&message.id, |redriven| &redriven.source);
        let deliveries =
            plan(&job, &app, id).map_err(|error| Outcome::Permanent(Reason::Malformed(error.to_string())))?;
        Ok(Planned { app_id: app.id.clone(), deliveries })
    }

    async fn find(&self, key: &str) -> Result<Arc<App>, Outcome> {
        let deadline = Instant::now() + self.rules.attempt_timeout;
        match timeout_at(deadline, self.apps.find_by_key(key)).await {
            Ok(Ok(Some(app))) => Ok(app),
            Ok(Ok(None)) => Err(Outcome::Permanent(Reason::UnknownApp(shown(key)))),
            Ok(Err(unreachable)) => Err(Outcome::transient(Reason::Apps(unreachable.0))),
            Err(_) => Err(Outcome::transient(Reason::Apps("it did not answer in time".into()))),
        }
    }

    /// Makes one attempt that ends by `deadline`, unless the breaker says not to.
    async fn deliver(&self, delivery: &Delivery, number: u32, age: Duration, deadline: Instant) -> Outcome {
        let destination = delivery.target.fingerprint();
        let past = age > self.rules.retry.window;
        let gate = if past { self.breaker.ask(destination, Instant::now()) } else { Gate::Attempt };
        match gate {
            Gate::Skip => return Outcome::Permanent(Reason::DestinationDown),
            Gate::Attempt | Gate::Probe => {}
        }
        let started = Instant::now();
        let outcome = timeout_at(deadline, self.transport.attempt(delivery, number))
            .await
            .unwrap_or(Outcome::transient(Reason::Timeout(self.rules.attempt_timeout)));
        self.metrics.attempted(&outcome, started.elapsed());
        match &outcome {
            Outcome::Delivered => {
                self.breaker.succeeded(destination);
                self.metrics.age_at_delivery.observe((age + started.elapsed()).as_secs_f64());
            }
            Outcome::Transient { .. } => self.breaker.failed(destination, gate, Instant::now()),
            // Neither sign of life nor of failure: the destination was not asked, or is not asked again
            // for this job.
            Outcome::Deferred(_) | Outcome::Permanent(_) => {}
        }
        outcome
    }
}

/// The attempts that this process knows of, else those that the receive count tells of; and one.
fn next_number(record: &Record, message: &Message) -> u32 {
    let known = if record.attempts > 0 { record.attempts } else { message.receive_count.saturating_sub(1) };
    known.saturating_add(1)
}

/// What is still to be sent, given what this process and a redrive know.
fn pending(deliveries: Vec<Delivery>, record: &Record, message: &Message) -> Vec<Delivery> {
    let wanted = message.redriven.as_ref().map_or(&[][..], |redriven| &redriven.undelivered);
    deliveries
        .into_iter()
        .filter(|delivery| wanted.is_empty() || wanted.contains(&delivery.webhook))
        .filter(|delivery| {
            let target = delivery.target.fingerprint();
            let same = |s: &Settled| s.webhook == delivery.webhook && s.target == target;
            !record.settled.iter().any(same)
        })
        .collect()
}

fn settle(record: &mut Record, delivery: &Delivery, outcome: &Outcome) {
    let failed = match outcome {
        Outcome::Delivered => None,
        Outcome::Permanent(reason) => Some(reason.clone()),
        Outcome::Transient { .. } | Outcome::Deferred(_) => return,
    };
    let target = delivery.target.fingerprint();
    record.settled.push(Settled { webhook: delivery.webhook, target, failed });
}

/// A key from an unverified body, short enough for a log line.
fn shown(key: &str) -> String {
    key.chars().take(64).collect()
}

/// The destination's host or function: never a path, query or user info. Looked for only where a line
/// is logged.
struct Destination<'a>(Option<&'a Target>);

impl fmt::Display for Destination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Target::Http(url)) => {
                let url = url::Url::parse(url.trim());
                f.write_str(url.as_ref().ok().and_then(url::Url::host_str).unwrap_or_default())
            }
            Some(Target::Lambda(lambda)) => f.write_str(&lambda.function),
            Some(Target::Missing) | None => Ok(()),
        }
    }
}
