//! A job is given up only for a reason that is true, and once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event, Id};
use crate::simulation::book::facts::{Each, Knowledge, Leases, Outages};
use crate::simulation::plan::{Incident, Plan, Poison, Version};

#[derive(Default)]
struct Story {
    /// An attempt was sent off; it may have arrived nowhere.
    set_out: bool,
    /// Which process asked which webhook.
    asked: Vec<(Id, String)>,
    /// How often each process asked each webhook.
    attempts: BTreeMap<(Id, String), u32>,
    /// Which process got what failure as the answer to it alone: what failed with other jobs may be their doing.
    failures: Vec<(Id, &'static str)>,
    /// Which process waited in vain for an answer to it alone.
    unanswered: Vec<Id>,
    /// The webhook that the letter was for by which it was put back.
    was_for: Option<String>,
    /// When it was handed to whom.
    handed: Vec<(Id, Duration)>,
    /// Who sent each of its letters.
    lettered_by: Vec<Id>,
    moved: bool,
    receives: u32,
}

#[derive(Default)]
struct Seen {
    stories: Each<Story>,
    knowledge: Knowledge,
    leases: Leases,
    outages: Outages,
    groups: Each<String>,
    /// When a job of each group was first handed to each process.
    first_handed: BTreeMap<(String, Id), Duration>,
    /// The requests that were answered with a failure.
    answered: BTreeSet<usize>,
    stood_still: Duration,
    frozen: Duration,
    ended_in_mid_run: bool,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let mut seen = Seen::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        match event {
            Event::Lettered { process, message, reason, .. } => {
                found.extend(
                    seen.lettered(record, *at, (*process, *message), reason)
                        .map(|what| Violation { entry, what }),
                );
            }
            Event::End => found.extend(seen.repeated(record).map(|what| Violation { entry, what })),
            _ => {}
        }
        seen.see(*at, event);
    }
    found
}

impl Story {
    /// Whether a process had a failure of it alone for this reason.
    fn has_failed(&self, process: Id, reason: &str) -> bool {
        let answered = self.failures.iter().any(|(by, failure)| *by == process && *failure == reason);
        answered || reason == "timeout" && self.unanswered.contains(&process)
    }
}

impl Seen {
    fn see(&mut self, at: Duration, event: &Event) {
        self.knowledge.see(at, event);
        self.leases.see(at, event);
        self.outages.see(at, event);
        match event {
            Event::Sent { message, group, .. } => self.groups.of(*message).clone_from(group),
            Event::PutBack { message, webhook, .. } => {
                self.stories.of(*message).was_for.clone_from(webhook);
            }
            Event::HandedOver { process, message, count, .. } => {
                let group = self.groups.of(*message).clone();
                self.first_handed.entry((group, *process)).or_insert(at);
                self.stories.of(*message).receives = *count;
                self.stories.of(*message).handed.push((*process, at));
            }
            Event::SetOut(request) => {
                for job in &request.jobs {
                    self.stories.of(*job).set_out = true;
                    let asked = (request.process, request.webhook.clone());
                    self.stories.of(*job).asked.push(asked.clone());
                    *self.stories.of(*job).attempts.entry(asked).or_default() += 1;
                }
            }
            Event::Refused { request, reason } => {
                self.answered.insert(request.number);
                if let [job] = request.jobs[..] {
                    self.stories.of(job).failures.push((request.process, reason));
                }
            }
            Event::InVain(request) if !self.answered.contains(&request.number) => {
                if let [job] = request.jobs[..] {
                    self.stories.of(job).unanswered.push(request.process);
                }
            }
            Event::Lettered { process, message, .. } => {
                self.stories.of(*message).lettered_by.push(*process);
            }
            Event::Moved { message } => self.stories.of(*message).moved = true,
            Event::StoodStill { lasts } => self.stood_still += *lasts,
            Event::Incident(incident) => {
                self.ended_in_mid_run |= incident.is_shutdown();
                if let Incident::Freeze(_, lasts) = incident {
                    self.frozen += *lasts;
                }
            }
            _ => {}
        }
    }

    fn lettered(
        &mut self,
        record: &Record<'_>,
        now: Duration,
        (process, job): (Id, usize),
        reason: &str,
    ) -> Option<String> {
        let plan = record.plan;
        // What has failed for all of a window is not waited for by those behind it, too.
        let past = (self.knowledge.sent(job) + plan.rules.retry.window).saturating_sub(plan.clock_error);
        let down = now >= past && self.is_down(plan, now, job, process, past);
        let Story { set_out: tried, receives, .. } = *self.stories.of(job);
        let has_failed = self.stories.of(job).has_failed(process, reason);
        // The window is about the destination's failures: it begins with the first receive.
        let received = self.stories.of(job).handed.first().map_or(now, |(_, at)| *at);
        let age = now.saturating_sub(received) + plan.clock_error;
        let old = age >= plan.rules.retry.window || down;
        // Where there has been nothing to send for a group for a window, those behind are not waited for.
        let group = (self.groups.of(job).clone(), process);
        let since = self.first_handed.get(&group).map_or(now, |at| *at);
        let idle = now >= past && now.saturating_sub(since) + plan.clock_error >= plan.rules.retry.window;
        let (planned, sent) = (plan.job(job), self.knowledge.sent(job));
        let poison = planned.poison;
        // A verdict on the app has to be true of a version in force since the job was sent.
        let ever = |is: &dyn Fn(&Version) -> bool| plan.versions_between(planned.app, sent, now).any(is);
        // It is signed when it is made, which may be long before it is sent.
        let made = planned.at;
        let signed =
            plan.versions_between(planned.app, made, made).last().map_or("", |version| version.secret);
        let wrong = match reason {
            "malformed" => poison != Poison::Malformed,
            "signature" => poison != Poison::Signature && !ever(&|v| v.there && v.secret != signed),
            "unknown_app" => poison != Poison::UnknownApp && !ever(&|v| !v.there),
            "no_webhook" => {
                let has_it = |(id, url): &(String, String)| {
                    self.knowledge.said(job, id) || self.knowledge.told(job, process, id, url)
                };
                // One that it waited for is gone.
                let story = self.stories.get(job);
                let asked = story.map(|story| &story.asked[..]).unwrap_or_default();
                let was_for = story.and_then(|story| story.was_for.as_ref());
                let is_gone = |wants: &[(String, String)]| {
                    asked.iter().any(|(by, id)| *by == process && !wants.iter().any(|(want, _)| want == id))
                };
                !ever(&|v| {
                    let wants = v.wants(planned);
                    let has_none = !v.is_for(planned.kind);
                    // Or the one that its letter was for.
                    let is_listed = |id: &String| v.listed(planned.kind).contains(id);
                    let was_taken_away = is_gone(&wants)
                        || !wants.is_empty() && wants.iter().all(has_it)
                        || was_for.is_some_and(|id| !is_listed(id));
                    v.there && (was_taken_away || has_none && (old || idle || job >= plan.jobs.len()))
                })
            }
            "app_unusable" => {
                !(plan.is_unusable(planned.app, self.knowledge.sent(job), now) && (old || idle))
            }
            // Together with others it may be their doing.
            "gone" => !has_failed,
            // Whatever waits behind a failing head: SQS would move it instead of handing it over once more.
            "last_receive" => plan.rules.disposal.max_receive_count().is_none_or(|most| receives < most),
            "retention" => plan.rules.disposal.retention().is_none_or(|retention| {
                // With half of its receives spent it is hidden for longer and longer, up to its share of what is left.
                let most = plan.rules.disposal.max_receive_count();
                let beyond = most.map_or(0, |most| receives.saturating_sub(most / 2)).min(16);
                let hidden = plan.rules.retry.cap.saturating_mul(1 << beyond).min(retention / 8);
                let early = retention / 32
                    + hidden.max(plan.rules.retry.cap)
                    + plan.rules.attempt_timeout * 3
                    + plan.clock_error;
                now + early + Duration::from_secs(2) + self.stood_still < sent + retention
            }),
            "destination_down" => {
                let sibling = self.others_have_it(plan, now, job, process);
                !(down || sibling && self.is_down(plan, now, job, process, Duration::ZERO))
            }
            "app_source" => true,
            _ => !has_failed || !(old || self.is_over(plan, now, job, process)),
        };
        if self.knowledge.lettered(job, process) && !self.leases.in_doubt(job, process) {
            return Some(format!("job {job}: {process:?} dead-letters again what it was told is there"));
        }
        let transient = !matches!(
            reason,
            "signature" | "unknown_app" | "no_webhook" | "malformed" | "gone" | "retention"
        );
        let early = if transient && (tried || reason == "destination_down") && !old {
            ", within its window"
        } else {
            ""
        };
        wrong.then(|| {
            format!("job {job}: dead-lettered for {reason} at {age:?}{early}, attempted before: {tried}")
        })
    }

    /// Whether a process may have taken a destination of the job for dead, after `from`, when it last had the
    /// job or earlier: what was decided is on the ledger if the letter did not come through.
    fn is_down(&self, plan: &Plan, now: Duration, job: usize, process: Id, from: Duration) -> bool {
        let (planned, rules) = (plan.job(job), &plan.rules);
        let remembered = self.knowledge.remembered(plan, job, process);
        let window = rules.retry.window;
        // A lane has up to ten jobs; then the letter has to be sent.
        let takes = rules.attempt_timeout * 10 + Duration::from_secs(5) + self.stood_still;
        // A failure is remembered for as much longer as nothing could be attempted.
        let forgotten = window + rules.attempt_timeout * 3 + self.stood_still + self.frozen;
        let handed = self.stories.get(job).map(|story| &story.handed[..]).unwrap_or_default();
        let down = |(_, url): (String, String)| {
            let mut handed = handed.iter().filter(|(to, _)| *to == process);
            handed.any(|(_, at)| {
                let times = ((*at).max(from), (*at + takes).min(now));
                self.outages.overlap(process, &url, window, forgotten, times)
            })
        };
        let alive = |url: &str| plan.is_busy(url);
        let mut versions = plan.versions_between(planned.app, remembered, now);
        versions.any(|version| {
            version.wants(planned).into_iter().any(|(id, url)| !alive(&url) && down((id, url)))
        })
    }

    /// Whether a webhook of the job has a rule of its own by which a process does not retry it any more.
    fn is_over(&self, plan: &Plan, now: Duration, job: usize, process: Id) -> bool {
        let Some(story) = self.stories.get(job) else { return false };
        let is_over = |version: &Version| {
            version.hooks.iter().zip(version.identities()).any(|(hook, id)| {
                let attempts = story.attempts.get(&(process, id)).copied().unwrap_or_default();
                hook.most_attempts.is_some_and(|most| attempts >= most)
            })
        };
        plan.versions_between(plan.job(job).app, Duration::ZERO, now).any(is_over)
    }

    /// Whether one of several webhooks is known to have it, in some version of the app, or had it before it was put back.
    fn others_have_it(&self, plan: &Plan, now: Duration, job: usize, process: Id) -> bool {
        if !self.knowledge.said_by_its_letter(job).is_empty() {
            return true;
        }
        let (planned, remembered) = (plan.job(job), self.knowledge.remembered(plan, job, process));
        let mut versions = plan.versions_between(planned.app, remembered, now);
        versions.any(|version| {
            let wants = version.wants(planned);
            let told = |(webhook, url): &&(String, String)| {
                self.knowledge.told(job, process, webhook, url) || self.knowledge.said(job, webhook)
            };
            wants.len() > 1 && wants.iter().filter(told).count() > 0
        })
    }

    fn repeated(&self, record: &Record<'_>) -> impl Iterator<Item = String> {
        let letters = |(job, story): (usize, &Story)| {
            let unanswered =
                |by: &&Id| record.letter_unanswered(self.ended_in_mid_run, &self.knowledge, job, **by);
            let excused = story.lettered_by.iter().filter(unanswered).count();
            let letters = story.lettered_by.len() + usize::from(story.moved);
            (letters > excused + 1).then(|| format!("job {job} was dead-lettered {letters} times"))
        };
        self.stories.iter().filter_map(letters).filter(|_| !record.letters_get_lost())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::violations;
    use crate::simulation::book::script::{A, B, Script};

    #[test]
    fn a_transient_failure_is_given_up_past_the_window_and_not_within_it() {
        let mut script = Script::of(1);
        script.handed(A, &[0]).attempted(A, &[0], 1).failed();
        script.at(61).attempted(A, &[0], 2).failed().lettered(A, 0, "status").is_accepted_by(violations);
        let mut early = Script::of(1);
        early.handed(A, &[0]).attempted(A, &[0], 1).failed().at(59).lettered(A, 0, "status");
        early.is_refused_by(violations, "dead-lettered for status");
        Script::of(1).at(61).lettered(A, 0, "status").is_refused_by(violations, "attempted before: false");
    }

    #[test]
    fn a_reason_that_is_not_true_is_refused() {
        for reason in ["malformed", "signature", "unknown_app", "gone", "destination_down", "app_source"] {
            Script::of(1).at(61).lettered(A, 0, reason).is_refused_by(violations, reason);
        }
    }

    #[test]
    fn a_webhook_that_ends_its_retrying_itself_has_its_attempts_and_no_window() {
        let mut once = Script::of(1);
        once.plan.apps[0][0].hooks[0].most_attempts = Some(2);
        once.handed(A, &[0]).attempted(A, &[0], 1).failed();
        let mut twice = once.clone();
        once.lettered(A, 0, "status").is_refused_by(violations, "dead-lettered for status");
        twice.attempted(A, &[0], 2).failed().lettered(A, 0, "status").is_accepted_by(violations);
    }

    #[test]
    fn an_app_without_webhooks_or_that_cannot_be_used_has_a_window() {
        let given_up = |seconds, reason| {
            let mut script = Script::of(1);
            script.plan.apps[0][0].hooks.clear();
            script.plan.unusable = Some((0, Duration::ZERO..Duration::from_secs(70)));
            script.handed(A, &[0]).at(seconds).lettered(A, 0, reason);
            script
        };
        for reason in ["no_webhook", "app_unusable"] {
            given_up(61, reason).is_accepted_by(violations);
            given_up(59, reason).is_refused_by(violations, reason);
        }
    }

    #[test]
    fn a_second_letter_is_refused() {
        let mut twice = Script::of(1);
        twice.attempted(A, &[0], 1).refused("gone").lettered(A, 0, "gone");
        twice.attempted(B, &[0], 1).refused("gone").lettered(B, 0, "gone");
        twice.is_refused_by(violations, "dead-lettered 2 times");
        twice.lettered(A, 0, "gone");
        assert!(twice.finds(violations)[0].contains("what it was told is there"));
    }
}
