//! What each process was told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::super::plan::{Plan, Poison, Version};
use super::super::event::{Event, Id};
use super::Each;

/// What each process knows of each message, and of the apps.
#[derive(Debug, Default)]
pub struct Knowledge {
    messages: Each<Message>,
    /// What the source told of which app, and to which process.
    apps: BTreeMap<(usize, Id), Source>,
}

#[derive(Debug, Default)]
struct Source {
    told: Vec<Duration>,
    /// When it last told nothing.
    untold: Option<Duration>,
}

/// For how long the last answer serves after a look-up that told nothing.
const STALE: Duration = Duration::from_secs(5);

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
            Event::Sent { message, .. } => self.messages.of(*message).sent = at,
            Event::Told(request) => {
                for job in &request.jobs {
                    let told = (request.process, request.webhook.clone(), request.url.clone());
                    self.messages.of(*job).told.push(told);
                }
            }
            Event::PutBack { message, delivered, .. } => {
                self.messages.of(*message).delivered.clone_from(delivered);
            }
            Event::LetterConfirmed { process, message } => self.messages.of(*message).lettered.push(*process),
            Event::AppTold { process, app } => {
                self.apps.entry((*app, *process)).or_default().told.push(at);
            }
            Event::AppUntold { process, app } => {
                self.apps.entry((*app, *process)).or_default().untold = Some(at);
            }
            _ => {}
        }
    }

    /// Whether a process was told that this webhook has it.
    pub fn told(&self, message: usize, process: Id, webhook: &str, url: &str) -> bool {
        let same = |(by, w, u): &(Id, String, String)| *by == process && w == webhook && u == url;
        self.messages.get(message).is_some_and(|message| message.told.iter().any(same))
    }

    /// Whether its letter said so.
    pub fn said(&self, message: usize, webhook: &str) -> bool {
        self.said_by_its_letter(message).iter().any(|id| id == webhook)
    }

    /// The webhooks of which its letter said so.
    pub fn said_by_its_letter(&self, message: usize) -> &[String] {
        self.messages.get(message).map_or(&[], |message| &message.delivered)
    }

    /// Whether a process knows that the dead-letter queue has it.
    pub fn lettered(&self, message: usize, process: Id) -> bool {
        self.messages.get(message).is_some_and(|message| message.lettered.contains(&process))
    }

    pub fn sent(&self, message: usize) -> Duration {
        self.messages.get(message).map(|message| message.sent).unwrap_or_default()
    }

    /// Whether this process may know the job to be done: every webhook that wants it has told it so, or the
    /// dead-letter queue has it.
    pub fn is_done(&self, plan: &Plan, now: Duration, message: usize, process: Id) -> bool {
        let has = |webhook: &str, url: &str| {
            self.told(message, process, webhook, url) || self.said(message, webhook)
        };
        let times =
            Times { remembered: self.remembered(plan, message, process), sent: self.sent(message), now };
        self.lettered(message, process) || all_have_it(plan, message, &times, has)
    }

    /// Since when what a process remembers of a job's app may have been in force: the source is asked for a job after
    /// it was sent, unless an answer from before that is remembered, as long as answers are, or serves while the source
    /// is down. For a job that was put back it is always asked.
    pub fn remembered(&self, plan: &Plan, message: usize, process: Id) -> Duration {
        let sent = self.sent(message);
        let kept = sent.saturating_sub(plan.cache.unwrap_or_default());
        let serves = |source: &Source, told: Duration| {
            told > kept || source.untold.is_some_and(|untold| untold + STALE >= sent)
        };
        let source = self.apps.get(&(plan.job(message).app, process));
        let last = source.filter(|_| message < plan.jobs.len()).and_then(|source| {
            let last = source.told.iter().rfind(|at| **at <= sent).copied();
            last.filter(|told| serves(source, *told))
        });
        last.unwrap_or(sent).saturating_sub(plan.app_lag)
    }

    /// The same of whichever process remembers the oldest.
    pub fn remembered_by_any(&self, plan: &Plan, message: usize) -> Duration {
        let app = plan.job(message).app;
        let processes = self.apps.keys().filter(|(other, _)| *other == app).map(|(_, process)| process);
        let oldest = processes.map(|process| self.remembered(plan, message, *process)).min();
        oldest.unwrap_or_else(|| self.sent(message).saturating_sub(plan.app_lag))
    }
}

/// The times that say which versions of its app a job may have been planned by.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From when on a version that was in force may be remembered.
    pub remembered: Duration,
    pub sent: Duration,
    pub now: Duration,
}

/// Whether all webhooks that want a job have it, in some version of its app that may have been remembered
/// in between. That none wants it has to be true of a version that was in force since it was sent, and only
/// a filter on channels may be the reason.
pub fn all_have_it(
    plan: &Plan,
    job: usize,
    Times { remembered, sent, now }: &Times,
    has: impl Fn(&str, &str) -> bool,
) -> bool {
    let planned = plan.job(job);
    let told = |version: &Version| {
        let wants = version.wants(planned);
        !wants.is_empty() && wants.iter().all(|(webhook, url)| has(webhook, url))
    };
    let filtered = |version: &Version| version.is_for(planned.kind) && version.wants(planned).is_empty();
    planned.poison == Poison::None
        && (plan
            .versions_between(planned.app, *remembered, *now)
            .any(|version| version.there && told(version))
            || plan
                .versions_between(planned.app, sent.saturating_sub(plan.app_lag), *now)
                .any(|version| version.there && filtered(version)))
}

/// Some version that may have been remembered has no webhook for the job.
pub fn unwanted(plan: &Plan, remembered: Duration, now: Duration, message: usize) -> bool {
    let job = plan.job(message);
    let none = |version: &Version| version.there && version.wants(job).is_empty();
    job.poison == Poison::None && plan.versions_between(job.app, remembered, now).any(none)
}
