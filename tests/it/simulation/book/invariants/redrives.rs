//! A letter says which webhooks have the job, all that the process knows of, by what it was told or by an earlier
//! letter, and no other; put back, it goes to none of them again.

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::{Each, Knowledge};

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let plan = record.plan;
    let mut knowledge = Knowledge::default();
    // By job: the webhooks that took it, and those that told a process so.
    let (mut accepted, mut told) = (Each::<Vec<&str>>::default(), Each::<Vec<_>>::default());
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        match event {
            Event::Accepted(request) => {
                for job in &request.jobs {
                    accepted.of(plan.number(*job)).push(&request.webhook);
                }
            }
            Event::Told(request) => {
                for job in &request.jobs {
                    told.of(*job).push((request.process, request.webhook.as_str()));
                }
            }
            Event::Arrived(request) => {
                let webhook = &request.webhook;
                for job in request.jobs.iter().filter(|job| knowledge.said(**job, webhook)) {
                    let what = format!("job {job}: put back, it goes again to {webhook}, which has it");
                    found.push(Violation { entry, what });
                }
            }
            Event::Lettered { process, message, delivered, .. } => {
                let mine =
                    told.of(*message).iter().filter(|(by, _)| by == process).map(|(_, webhook)| *webhook);
                let earlier = knowledge.said_by_its_letter(*message).iter().map(String::as_str);
                for webhook in mine.chain(earlier).filter(|webhook| !delivered.iter().any(|id| id == webhook))
                {
                    let what = format!("job {message}: its letter does not say that {webhook} has it");
                    found.push(Violation { entry, what });
                }
                let taken = accepted.of(plan.number(*message));
                // Beside an identity stands the one that it would have among others with its target.
                let target = |webhook: &str| webhook.split('-').next().unwrap_or_default().to_owned();
                let took = |webhook: &&String| taken.iter().any(|one| target(one) == target(webhook));
                for webhook in delivered.iter().filter(|webhook| !took(webhook)) {
                    let what =
                        format!("job {message}: its letter says that {webhook} has it, which never took it");
                    found.push(Violation { entry, what });
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
    use crate::simulation::book::script::{A, B, Script, webhook};

    fn lettered(delivered: &[String]) -> Event {
        let delivered = delivered.to_vec();
        Event::Lettered { process: A, message: 0, reason: "gone", attempts: 1, delivered, kept: true }
    }

    #[test]
    fn a_letter_says_who_has_the_job() {
        let delivered = || {
            let mut script = Script::of(1);
            script.handed(A, &[0]).attempted(A, &[0], 1).delivered();
            script
        };
        delivered().happens(lettered(&[webhook()])).is_accepted_by(violations);
        delivered().happens(lettered(&[])).is_refused_by(violations, "does not say");
        Script::of(1).happens(lettered(&[webhook()])).is_refused_by(violations, "never took it");
        let mut again = delivered();
        again.happens(Event::PutBack { message: 1, delivered: vec![webhook()], webhook: None });
        let lettered_again = |delivered| {
            let (reason, process) = ("gone", B);
            Event::Lettered { process, message: 1, reason, attempts: 1, delivered, kept: true }
        };
        again.happens(lettered_again(vec![])).is_refused_by(violations, "does not say");
    }

    #[test]
    fn who_has_the_job_does_not_get_it_again() {
        let put_back = |delivered| {
            let mut script = Script::of(1);
            script.happens(Event::PutBack { message: 1, delivered, webhook: None }).attempted(B, &[1], 1);
            script
        };
        put_back(vec![]).is_accepted_by(violations);
        put_back(vec![webhook()]).is_refused_by(violations, "which has it");
    }
}
