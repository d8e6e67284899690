//! Nothing is lost: a job is deleted only when every webhook that wants it has told the process so or the
//! dead-letter queue has it, and at the end that is true of every job.

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::{Each, Knowledge, some_version};

#[derive(Default)]
struct Job {
    gone: Option<std::time::Duration>,
    accepted: Vec<(String, String)>,
    /// The dead-letter queue has it, or it was given up where there is none.
    given_up: bool,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let plan = record.plan;
    let (mut knowledge, mut jobs) = (Knowledge::default(), Each::<Job>::default());
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        match event {
            Event::Sent { message, .. } => drop(jobs.of(*message)),
            Event::DeleteBegan { process, message } if !knowledge.is_done(plan, *at, *message, *process) => {
                let what = format!(
                    "job {message}: {process:?} deletes it, and it is neither delivered nor dead-lettered"
                );
                found.push(Violation { entry, what });
            }
            Event::Deleted { message, .. } => drop(jobs.of(*message).gone.get_or_insert(*at)),
            Event::Moved { message } => {
                let job = jobs.of(*message);
                job.gone.get_or_insert(*at);
                job.given_up = true;
            }
            Event::Lettered { message, .. } => jobs.of(*message).given_up = true,
            Event::LetterConfirmed { message, .. } if !plan.dead_letters => {
                jobs.of(*message).given_up = true;
            }
            Event::Accepted(request) => {
                for job in &request.jobs {
                    jobs.of(*job).accepted.push((request.webhook.clone(), request.url.clone()));
                }
            }
            Event::End => {
                for (job, Job { gone, accepted, given_up }) in jobs.iter() {
                    let times = (knowledge.sent(job), gone.unwrap_or(*at));
                    let has =
                        |webhook: &str, url: &str| accepted.iter().any(|(w, u)| w == webhook && u == url);
                    if !given_up && !some_version(plan, job, times, has) {
                        found.push(Violation { entry, what: format!("job {job} is lost") });
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
        let mut no_queue = Script::of(1);
        no_queue.plan.dead_letters = false;
        no_queue.happens(Event::LetterConfirmed { process: A, message: 0 }).is_accepted_by(violations);
    }
}
