//! Nothing is lost: a job is deleted only when every webhook that wants it has told the process so or the
//! dead-letter queue has it, and at the end that is true of every job.

use super::Violation;
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::{Each, Knowledge, some_version};
use crate::simulation::plan::Plan;

#[derive(Default)]
struct Job {
    gone: Option<std::time::Duration>,
    accepted: Vec<(String, String)>,
    /// The dead-letter queue has it, or it was given up where there is none.
    given_up: bool,
}

pub fn violations(plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let (mut knowledge, mut jobs) = (Knowledge::default(), Each::<Job>::default());
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in entries.iter().enumerate() {
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
