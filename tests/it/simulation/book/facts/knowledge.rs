//! What each process was told.

use std::time::Duration;

use super::super::super::plan::{Plan, Poison, Version};
use super::super::event::{Event, Id};
use super::Each;

/// What each process knows of each message.
#[derive(Debug, Default)]
pub struct Knowledge(Each<Message>);

#[derive(Debug, Default)]
struct Message {
    sent: Duration,
    /// The webhooks that took it, by whom that is known.
    told: Vec<(Id, String, String)>,
    /// The webhooks that have it by what its letter said.
    delivered: Vec<String>,
    /// Who knows it to be in the dead-letter queue.
    lettered: Vec<Id>,
}

impl Knowledge {
    pub fn see(&mut self, at: Duration, event: &Event) {
        match event {
            Event::Sent { message, .. } => self.0.of(*message).sent = at,
            Event::Told(request) => {
                for job in &request.jobs {
                    let told = (request.process, request.webhook.clone(), request.url.clone());
                    self.0.of(*job).told.push(told);
                }
            }
            Event::PutBack { message, delivered, .. } => self.0.of(*message).delivered.clone_from(delivered),
            Event::LetterConfirmed { process, message } => self.0.of(*message).lettered.push(*process),
            _ => {}
        }
    }

    /// Whether a process was told that this webhook has it.
    pub fn told(&self, message: usize, process: Id, webhook: &str, url: &str) -> bool {
        let same = |(by, w, u): &(Id, String, String)| *by == process && w == webhook && u == url;
        self.0.get(message).is_some_and(|message| message.told.iter().any(same))
    }

    /// Whether its letter said so.
    pub fn said(&self, message: usize, webhook: &str) -> bool {
        self.0.get(message).is_some_and(|message| message.delivered.iter().any(|id| id == webhook))
    }

    /// Whether a process knows that the dead-letter queue has it.
    pub fn lettered(&self, message: usize, process: Id) -> bool {
        self.0.get(message).is_some_and(|message| message.lettered.contains(&process))
    }

    pub fn sent(&self, message: usize) -> Duration {
        self.0.get(message).map(|message| message.sent).unwrap_or_default()
    }

    /// Whether this process may know the job to be done: every webhook that wants it has told it so, or the
    /// dead-letter queue has it.
    pub fn is_done(&self, plan: &Plan, now: Duration, message: usize, process: Id) -> bool {
        self.lettered(message, process)
            || all_have_it(plan, message, (self.sent(message), now), |webhook, url| {
                self.told(message, process, webhook, url) || self.said(message, webhook)
            })
    }
}

/// Whether all webhooks that want a job have it, in some version of its app that may have been remembered
/// in between. That none wants it has to be true of a version that was in force since it was sent, and only
/// a filter on channels may be the reason.
pub fn all_have_it(
    plan: &Plan,
    job: usize,
    (sent, now): (Duration, Duration),
    has: impl Fn(&str, &str) -> bool,
) -> bool {
    let planned = plan.job(job);
    let told = |version: &Version| {
        let wants = version.wants(planned);
        !wants.is_empty() && wants.iter().all(|(webhook, url)| has(webhook, url))
    };
    let filtered = |version: &Version| version.is_for(planned.kind) && version.wants(planned).is_empty();
    let remembered = sent.saturating_sub(plan.remembered());
    planned.poison == Poison::None
        && (plan.versions_between(planned.app, remembered, now).any(|version| version.there && told(version))
            || plan
                .versions_between(planned.app, sent.saturating_sub(plan.app_lag), now)
                .any(|version| version.there && filtered(version)))
}

/// Some version that may have been remembered has no webhook for the job.
pub fn unwanted(plan: &Plan, sent: Duration, now: Duration, message: usize) -> bool {
    let job = plan.job(message);
    let from = sent.saturating_sub(plan.remembered());
    let none = |version: &Version| version.there && version.wants(job).is_empty();
    job.poison == Poison::None && plan.versions_between(job.app, from, now).any(none)
}
