//! What each process was told.

use std::time::Duration;

use super::super::super::plan::{Plan, Poison};
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
            Event::LetterConfirmed { process, message } => self.0.of(*message).lettered.push(*process),
            _ => {}
        }
    }

    /// Whether a process was told that this webhook has it.
    pub fn told(&self, message: usize, process: Id, webhook: &str, url: &str) -> bool {
        let same = |(by, w, u): &(Id, String, String)| *by == process && w == webhook && u == url;
        self.0.get(message).is_some_and(|message| message.told.iter().any(same))
    }

    /// Whether a process knows that the dead-letter queue has it.
    pub fn lettered(&self, message: usize, process: Id) -> bool {
        self.0.get(message).is_some_and(|message| message.lettered.contains(&process))
    }

    pub fn sent(&self, message: usize) -> Duration {
        self.0.get(message).map(|message| message.sent).unwrap_or_default()
    }

    /// Whether this process may know the job to be done: every webhook of some version of the app that was
    /// in force has told it so, or the dead-letter queue has it.
    pub fn is_done(&self, plan: &Plan, now: Duration, message: usize, process: Id) -> bool {
        self.lettered(message, process)
            || some_version(plan, message, (self.sent(message), now), |webhook, url| {
                self.told(message, process, webhook, url)
            })
    }
}

/// Whether all webhooks that want a job, in some version of its app in force in between, have it.
pub fn some_version(
    plan: &Plan,
    job: usize,
    (from, to): (Duration, Duration),
    has: impl Fn(&str, &str) -> bool,
) -> bool {
    let planned = &plan.jobs[job];
    planned.poison == Poison::None
        && plan.versions_between(planned.app, from, to).any(|version| {
            version.there && version.wants(planned.channel).iter().all(|(webhook, url)| has(webhook, url))
        })
}
