//! One attempt at the head of a lane, and at what goes out with it: send, record, decide.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::run::{Run, next_number};
use super::{InFlight, Lane, SETTLE_MARGIN, Shared, own_rules};
use crate::apps::Apps;
use crate::delivery::Transport;
use crate::outcome::{Outcome, Reason};
use crate::plan::Delivery;
use crate::policy::{Disposition, decide};
use crate::queue::Queue;
use crate::worker::breaker::{self, Gate};
use crate::worker::ledger::{Record, Settled};
use crate::worker::report::{Failed, Host};

/// What was tried for the jobs at the head of the lane, and what it came to.
pub(super) struct Attempted {
    run: Run,
    number: u32,
    /// Of each delivery of the run; or one alone, if there was nothing to plan.
    outcomes: Vec<Outcome>,
}

impl Attempted {
    /// Who failed, for a reason that decided how a job goes on.
    pub(super) fn failed<'a>(&'a self, reason: &'a Reason) -> Failed<'a> {
        let because = |outcome: &Outcome| match outcome {
            Outcome::Delivered => false,
            Outcome::Transient { reason: other, .. }
            | Outcome::Deferred(other)
            | Outcome::Permanent(other) => other == reason,
        };
        let at = self.outcomes.iter().position(because);
        Failed {
            app_id: self.run.app.as_ref().map(|app| app.id.as_str()),
            delivery: at.and_then(|at| self.run.deliveries.get(at)),
            reason,
        }
    }

    /// How many jobs it was for.
    pub(super) fn jobs(&self) -> usize {
        self.run.jobs
    }
}

impl<Q: Queue, T: Transport, A: Apps> Lane<Q, T, A> {
    /// Attempts the head, with what goes out with it; `None` if the lane had to be abandoned.
    ///
    /// What came of it is on the record of every job that was in it. The jobs' dispositions are still to
    /// be asked for, in order.
    pub(super) async fn attempt(&mut self) -> Option<Attempted> {
        let head = self.jobs.front()?;
        let number = next_number(head);
        if head.claim.record().done {
            return Some(Attempted { run: Run::default(), number, outcomes: Vec::new() });
        }
        let planned = match self.ahead.take() {
            Some(planned) => Ok(planned),
            None => self.shared.plan(head).await,
        };
        let run = match planned {
            Ok(planned) => self.run_from(planned),
            Err(outcome) => {
                let attempted = Attempted { run: Run::default(), number, outcomes: vec![outcome] };
                self.record(&attempted);
                return self.ensure_lease(SETTLE_MARGIN).await.then_some(attempted);
            }
        };
        let needed = self.shared.rules.attempt_timeout + SETTLE_MARGIN;
        if !run.deliveries.is_empty() && !self.ensure_lease(needed).await {
            return None;
        }
        let outcomes = self.send(&run, number).await;
        let attempted = Attempted { run, number, outcomes };
        self.record(&attempted);
        Some(attempted)
    }

    /// Makes all deliveries of a run at the same time.
    async fn send(&self, run: &Run, number: u32) -> Vec<Outcome> {
        let now = Instant::now();
        let (shared, arrived) = (&self.shared, now.duration_since(self.arrived));
        let ages = self.jobs.iter().take(run.jobs).map(move |held| held.message.age + arrived);
        let app = run.app.as_deref();
        let app_id = run.app.as_ref().map_or("", |app| &app.id);
        let tries = run.deliveries.iter().map(|delivery| {
            let destination = breaker::destination(app_id, &delivery.webhook);
            let own = own_rules::webhook(app, &delivery.webhook);
            let longest = own_rules::timeout(own, shared.rules.attempt_timeout);
            shared.deliver(app_id, delivery, destination, number, ages.clone(), now + longest)
        });
        // Nearly every job has one webhook; join_all costs nothing worth a special case.
        let outcomes = join_all(tries).await;
        // What failed together goes on alone first.
        let (Some(head), 1) = (self.jobs.front(), run.jobs) else { return outcomes };
        let age = self.age(head);
        let judged = |(outcome, delivery): (Outcome, &Delivery)| {
            own_rules::judged(outcome, own_rules::webhook(app, &delivery.webhook), number, age)
        };
        outcomes.into_iter().zip(&run.deliveries).map(judged).collect()
    }

    /// Puts what came of an attempt on the record of every job that was in it.
    fn record(&mut self, attempted: &Attempted) {
        let Attempted { run, number, outcomes } = attempted;
        let tried = outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Deferred(_)));
        for held in self.jobs.iter_mut().take(run.jobs) {
            let record = held.claim.record_mut();
            if tried {
                record.attempts = *number;
            }
            for (delivery, outcome) in run.deliveries.iter().zip(outcomes) {
                settle(record, delivery, outcome);
            }
        }
    }

    /// Decides what becomes of the head, which was in this attempt.
    pub(super) fn disposition(&mut self, attempted: &Attempted) -> Option<Disposition> {
        let Attempted { run, number, outcomes } = attempted;
        let head = self.jobs.front()?;
        let record = head.claim.record();
        if record.done {
            return Some(Disposition::Done);
        }
        let failing = outcomes.iter().zip(&run.deliveries);
        let failing = failing.filter(|(outcome, _)| matches!(outcome, Outcome::Transient { .. }));
        let failing = failing.map(|(_, delivery)| own_rules::webhook(run.app.as_deref(), &delivery.webhook));
        let retry = &own_rules::backoff(&self.shared.rules.retry, failing);
        let random = self.shared.random.fraction();
        // What failed for good earlier still decides how the job ends, as long as the app has it.
        let webhooks = run.app.as_ref().map_or(&[][..], |app| &app.webhooks);
        let earlier: Vec<_> = record
            .settled
            .iter()
            .filter(|settled| webhooks.iter().any(|webhook| webhook.id == settled.webhook))
            .filter_map(|settled| settled.failed.clone())
            .map(Outcome::Permanent)
            .collect();
        let age = self.age(head);
        // The failure may be another job's doing: none is given up for it before it has failed alone.
        let age = if run.jobs > 1 { age.min(retry.window) } else { age };
        let disposition = decide(outcomes.iter().chain(&earlier), *number, age, retry, random);
        for (n, outcome) in outcomes.iter().enumerate() {
            log(head, run, run.deliveries.get(n), *number, outcome, &disposition);
        }
        if matches!(disposition, Disposition::DeadLetter(_)) {
            self.record_given_up(attempted);
        }
        Some(disposition)
    }

    /// The transient failures of a job that is given up are final too.
    fn record_given_up(&mut self, attempted: &Attempted) {
        let Some(head) = self.jobs.front_mut() else { return };
        let record = head.claim.record_mut();
        for (delivery, outcome) in attempted.run.deliveries.iter().zip(&attempted.outcomes) {
            if let Outcome::Transient { reason, .. } = outcome {
                settle(record, delivery, &Outcome::Permanent(reason.clone()));
            }
        }
    }

    /// How long ago a job was sent.
    pub(super) fn age(&self, held: &InFlight) -> Duration {
        held.message.age + Instant::now().duration_since(self.arrived)
    }
}

impl<Q: Queue, T: Transport, A: Apps> Shared<Q, T, A> {
    /// Makes one attempt that ends by `deadline`, unless the breaker says not to. `ages` are those of the
    /// jobs whose events it holds.
    async fn deliver(
        &self,
        app_id: &str,
        delivery: &Delivery,
        destination: u64,
        number: u32,
        ages: impl Iterator<Item = Duration> + Clone,
        deadline: Instant,
    ) -> Outcome {
        let past = ages.clone().all(|age| age > self.rules.retry.window);
        let gate = if past { self.breaker.ask(destination, Instant::now()) } else { Gate::Closed };
        match gate {
            Gate::Open => return Outcome::Permanent(Reason::DestinationDown),
            Gate::Closed | Gate::HalfOpenProbe => {}
        }
        let started = Instant::now();
        let longest = deadline.duration_since(started);
        let outcome = timeout_at(deadline, self.transport.attempt(delivery, number))
            .await
            .unwrap_or(Outcome::transient(Reason::Timeout(longest)));
        self.attempted(app_id, delivery, &outcome, started.elapsed());
        match &outcome {
            Outcome::Delivered => {
                self.breaker.succeeded(destination);
                let took = started.elapsed();
                ages.for_each(|age| self.delivered(age + took));
            }
            Outcome::Transient { .. } => self.breaker.failed(destination, gate, Instant::now()),
            // Neither sign of life nor of failure: the destination was not asked, or is not asked again
            // for this job.
            Outcome::Deferred(_) | Outcome::Permanent(_) => {}
        }
        outcome
    }
}

fn settle(record: &mut Record, delivery: &Delivery, outcome: &Outcome) {
    let failed = match outcome {
        Outcome::Delivered => None,
        Outcome::Permanent(reason) => Some(reason.clone()),
        Outcome::Transient { .. } | Outcome::Deferred(_) => return,
    };
    record.settled.push(Settled { webhook: delivery.webhook.clone(), failed });
}

/// One line a job and attempt: at debug where it succeeded, at warn where it failed.
fn log(
    head: &InFlight,
    run: &Run,
    delivery: Option<&Delivery>,
    attempt: u32,
    outcome: &Outcome,
    then: &Disposition,
) {
    let (id, group, jobs) = (&head.message.id, &head.message.group, run.jobs);
    let app_id = run.app.as_ref().map_or("", |app| &app.id);
    let destination = Host(delivery.map(|delivery| &delivery.target));
    let next_retry_s = match then {
        Disposition::Retry { backoff, .. } => Some(backoff.as_secs()),
        Disposition::Done | Disposition::DeadLetter(_) => None,
    };
    match outcome {
        Outcome::Delivered => {
            debug!(message_id = %id, app_id, %group, %destination, attempt, jobs, "delivered");
        }
        Outcome::Deferred(reason) => {
            debug!(message_id = %id, app_id, %group, %destination, jobs, detail = %reason, next_retry_s,
                "delivery deferred");
        }
        Outcome::Transient { reason, .. } | Outcome::Permanent(reason) => {
            warn!(message_id = %id, app_id, %group, %destination, attempt, jobs, reason = reason.code(),
                detail = %reason, next_retry_s, "delivery failed");
        }
    }
}
