//! Nothing is lost: a job is deleted only when every webhook that wants it has told the process so or the
//! dead-letter queue has it, and at the end that is true of every job.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::{Each, Knowledge, Times, all_have_it, unwanted};

#[derive(Default)]
struct Job {
    /// When its last message was out of the queue.
    gone: Option<Duration>,
    accepted: Vec<(String, String)>,
    /// Its messages that the dead-letter queue has, or that were given up where there is none.
    letters: BTreeSet<usize>,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let plan = record.plan;
    let (mut knowledge, mut jobs) = (Knowledge::default(), Each::<Job>::default());
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        match event {
            Event::Sent { message, .. } => drop(jobs.of(plan.number(*message))),
            Event::DeleteBegan { process, message } if !knowledge.is_done(plan, *at, *message, *process) => {
                let remembered = knowledge.remembered(plan, *message, *process);
                let why = if unwanted(plan, remembered, *at, *message) {
                    "though only what was remembered has no webhook for it"
                } else {
                    "and it is neither delivered nor dead-lettered"
                };
                found
                    .push(Violation { entry, what: format!("job {message}: {process:?} deletes it, {why}") });
            }
            Event::Deleted { message, .. } => jobs.of(plan.number(*message)).gone = Some(*at),
            // Whether it may have been so is another invariant's.
            Event::Moved { message } | Event::Expired { message } => {
                let job = jobs.of(plan.number(*message));
                job.gone = Some(*at);
                job.letters.insert(*message);
            }
            Event::Lettered { message, kept, .. } if *kept || !plan.dead_letters => {
                jobs.of(plan.number(*message)).letters.insert(*message);
            }
            Event::LetterDeleted { message } => {
                jobs.of(plan.number(*message)).letters.remove(message);
            }
            Event::Accepted(request) => {
                for job in &request.jobs {
                    let taken = (request.webhook.clone(), request.url.clone());
                    jobs.of(plan.number(*job)).accepted.push(taken);
                }
            }
            Event::End => {
                for (job, Job { gone, accepted, letters }) in jobs.iter() {
                    let remembered = knowledge.remembered_by_any(plan, job);
                    let times = Times { remembered, sent: knowledge.sent(job), now: gone.unwrap_or(*at) };
                    let has =
                        |webhook: &str, url: &str| accepted.iter().any(|(w, u)| w == webhook && u == url);
                    if letters.is_empty() && !all_have_it(plan, job, &times, has) {
                        let unwanted = unwanted(plan, remembered, times.now, job);
                        let how = if unwanted { ": no webhook is for it" } else { "" };
                        found.push(Violation { entry, what: format!("job {job} is lost{how}") });
                    }
                }
            }
            _ => {}
        }
        knowledge.see(*at, event);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::event::Event;
    use crate::simulation::book::script::{A, B, Script};

    #[test]
    fn a_job_that_is_delivered_or_dead_lettered_may_be_deleted() {
        Script::of(1).attempted(A, &[0], 1).delivered().deleted(A, 0).is_accepted_by(violations);
        Script::of(1).lettered(A, 0, "gone").deleted(A, 0).is_accepted_by(violations);
        Script::of(1).happens(Event::Moved { message: 0 }).is_accepted_by(violations);
    }

    #[test]
    fn a_delete_by_who_was_not_told_is_refused() {
        let mut untold = Script::of(1);
        untold.attempted(A, &[0], 1).delivered().deleted(B, 0);
        untold.is_refused_by(violations, "neither delivered nor dead-lettered");
    }

    #[test]
    fn a_job_that_nobody_has_at_the_end_is_lost() {
        Script::of(1).attempted(A, &[0], 1).failed().is_refused_by(violations, "job 0 is lost");
        let lettered = |kept| {
            let (reason, delivered) = ("gone", Vec::new());
            Event::Lettered { process: A, message: 0, reason, attempts: 1, delivered, kept }
        };
        let mut no_queue = Script::of(1);
        no_queue.plan.dead_letters = false;
        no_queue.happens(lettered(false)).is_accepted_by(violations);
        // What is taken for a letter that was put back, and deleted, keeps nothing.
        let mut twice = Script::of(1);
        twice.happens(lettered(true)).happens(Event::LetterDeleted { message: 0 }).happens(lettered(false));
        twice.is_refused_by(violations, "job 0 is lost");
    }
}
