//! What goes out next: the head's deliveries or, coalesced, those of the jobs right behind it too.
//!
//! A run is the longest beginning of the lane whose jobs are of one app, have the same webhooks left,
//! all of them HTTP, and fit into the limits. Only jobs that were never attempted go into one: what
//! failed together goes on alone, so that one event that its receiver cannot take gets no other job
//! dead-lettered. A job that ends a run is worked next, as any other.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{InFlight, Lane, Shared};
use crate::app::App;
use crate::apps::{Apps, LookUpError};
use crate::delivery::Transport;
use crate::job::Job;
use crate::outcome::{Outcome, Reason};
use crate::plan::{Coalescer, Delivery, Limits, plan};
use crate::queue::{Message, MessageId, Queue};
use crate::worker::ledger::Record;

/// A job with what is still to be sent for it.
#[derive(Debug)]
pub(super) struct Planned {
    app: Arc<App>,
    deliveries: Vec<Delivery>,
}

/// Jobs at the head of a lane that go out together.
#[derive(Debug)]
pub(super) struct Run {
    /// How many: one, unless they are coalesced.
    pub jobs: usize,
    /// Whose they are, if that could be found out.
    pub app: Option<Arc<App>>,
    /// What is sent for all of them.
    pub deliveries: Vec<Delivery>,
}

/// The head, with nothing to be sent.
impl Default for Run {
    fn default() -> Self {
        Self { jobs: 1, app: None, deliveries: Vec::new() }
    }
}

impl<Q: Queue, T: Transport, A: Apps> Lane<Q, T, A> {
    /// The run that begins with the head, which is planned.
    pub(super) fn run_from(&mut self, head: Planned) -> Run {
        let Planned { app, deliveries } = head;
        if let Some(limits) = self.shared.rules.coalesce
            && self.jobs.len() > 1
            && let Some((jobs, deliveries)) = self.coalesced(&app, &deliveries, limits)
        {
            return Run { jobs, app: Some(app), deliveries };
        }
        Run { jobs: 1, app: Some(app), deliveries }
    }

    /// The number of jobs that go out together, and what is sent for them; `None` if the head goes
    /// alone.
    fn coalesced(
        &mut self,
        app: &Arc<App>,
        deliveries: &[Delivery],
        limits: Limits,
    ) -> Option<(usize, Vec<Delivery>)> {
        let mut fresh = self.jobs.iter().take_while(|held| self.is_fresh(held));
        let mut merge = Coalescer::new(app, limits);
        if !merge.add(known_as(&fresh.next()?.message), deliveries) {
            return None;
        }
        for held in fresh {
            let Some(next) = same_app(held, app) else { break };
            if !merge.add(known_as(&held.message), &next.deliveries) {
                self.ahead = Some(next);
                break;
            }
        }
        (merge.jobs() > 1).then(|| (merge.jobs(), merge.finish()))
    }

    /// Whether nothing is known of a job but that it came, and it is inside its retry window.
    fn is_fresh(&self, held: &InFlight) -> bool {
        next_number(held) == 1
            && *held.claim.record() == Record::default()
            && self.age(held) <= self.shared.rules.retry.window
    }
}

impl<Q: Queue, T: Transport, A: Apps> Shared<Q, T, A> {
    pub(super) async fn plan(&self, held: &InFlight) -> Result<Planned, Outcome> {
        let job = decode(held)?;
        let app = self.find(&job.app_key).await?;
        planned(held, job, app)
    }

    async fn find(&self, key: &str) -> Result<Arc<App>, Outcome> {
        let deadline = Instant::now() + self.rules.attempt_timeout;
        match timeout_at(deadline, self.apps.find_by_key(key)).await {
            Ok(Ok(Some(app))) => Ok(app),
            Ok(Ok(None)) => Err(Outcome::Permanent(Reason::UnknownApp(shown(key)))),
            Ok(Err(LookUpError::Unreachable(why))) => Err(Outcome::transient(Reason::Apps(why))),
            Ok(Err(LookUpError::Unusable(why))) => Err(Outcome::transient(Reason::AppUnusable(why))),
            Err(_) => Err(Outcome::transient(Reason::Apps("it did not answer in time".into()))),
        }
    }
}

fn decode(held: &InFlight) -> Result<Job, Outcome> {
    Job::decode(&held.message.body).map_err(|error| Outcome::Permanent(Reason::Malformed(error.to_string())))
}

fn planned(held: &InFlight, job: Job, app: Arc<App>) -> Result<Planned, Outcome> {
    let job = app.verified(job).map_err(|error| Outcome::Permanent(error.into()))?;
    let wanted = plan(&job, &app, known_as(&held.message))
        .map_err(|error| Outcome::Permanent(Reason::Malformed(error.to_string())))?;
    let deliveries = pending(wanted, held);
    // Its letter was for a webhook that is no more: the new letter keeps the job for its owner.
    if deliveries.is_empty() && held.message.redriven.is_some() && held.claim.record().settled.is_empty() {
        return Err(Outcome::Permanent(Reason::NoWebhook));
    }
    Ok(Planned { app, deliveries })
}

/// Plans a job of an app that is known; `None` if it is another's, or none that can be sent.
fn same_app(held: &InFlight, app: &Arc<App>) -> Option<Planned> {
    let job = decode(held).ok().filter(|job| job.app_key == app.key)?;
    planned(held, job, Arc::clone(app)).ok()
}

/// The attempts that this process knows of, else those that the receive count tells of; and one.
pub(super) fn next_number(held: &InFlight) -> u32 {
    let (record, message) = (held.claim.record(), &held.message);
    let known = if record.attempts > 0 { record.attempts } else { message.receive_count.saturating_sub(1) };
    known.saturating_add(1)
}

/// The id under which receivers know a job.
fn known_as(message: &Message) -> &MessageId {
    message.redriven.as_ref().map_or(&message.id, |redriven| &redriven.source)
}

/// What is still to be sent, given what this process and a redrive know.
fn pending(deliveries: Vec<Delivery>, held: &InFlight) -> Vec<Delivery> {
    let (record, message) = (held.claim.record(), &held.message);
    let delivered = message.redriven.as_ref().map_or(&[][..], |redriven| &redriven.delivered);
    deliveries
        .into_iter()
        .filter(|delivery| !delivered.contains(&delivery.webhook))
        .filter(|delivery| !record.settled.iter().any(|settled| settled.webhook == delivery.webhook))
        .collect()
}

/// A key from an unverified body, short enough for a log line.
fn shown(key: &str) -> String {
    key.chars().take(64).collect()
}
