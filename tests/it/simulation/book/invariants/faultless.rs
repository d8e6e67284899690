//! Where nothing fails everything happens exactly once: one receive, one attempt at each webhook, and no
//! dead letter.

use std::collections::BTreeMap;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::Each;
use crate::simulation::plan::{Kind, Poison};

#[derive(Default)]
struct Job<'a> {
    receives: u32,
    attempts: BTreeMap<(&'a str, &'a str), u32>,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let plan = record.plan;
    let mut found = Vec::new();
    if plan.kind != Kind::Faultless {
        return found;
    }
    let mut jobs = Each::<Job>::default();
    let mut shutdowns = 0;
    for (entry, Entry { event, .. }) in record.entries.iter().enumerate() {
        match event {
            Event::Sent { message, .. } => drop(jobs.of(*message)),
            Event::HandedOver { message, count, .. } => jobs.of(*message).receives = *count,
            Event::Arrived(request) => {
                for job in &request.jobs {
                    *jobs.of(*job).attempts.entry((&request.webhook, &request.url)).or_default() += 1;
                }
            }
            Event::Lettered { message, .. } if plan.job(*message).poison == Poison::None => {
                let what = format!("job {message}: dead-lettered without a fault");
                found.push(Violation { entry, what });
            }
            Event::AskedToEnd { .. } => shutdowns += 1,
            Event::End => {
                for (job, Job { receives, attempts }) in jobs.iter() {
                    let once = attempts.values().all(|count| *count == 1);
                    if !once || *receives > 1 + shutdowns {
                        let what = format!("job {job}: {attempts:?} attempts, {receives} receives");
                        found.push(Violation { entry, what });
                    }
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::script::{A, Script};
    use crate::simulation::plan::Kind;

    fn script() -> Script {
        let mut script = Script::of(1);
        script.plan.kind = Kind::Faultless;
        script.handed(A, &[0]).attempted(A, &[0], 1).delivered();
        script
    }

    #[test]
    fn once_is_accepted_and_twice_is_refused() {
        script().deleted(A, 0).is_accepted_by(violations);
        script().attempted(A, &[0], 2).delivered().is_refused_by(violations, "2} attempts, 1 receives");
        script().handed(A, &[0]).is_refused_by(violations, "2 receives");
        script().lettered(A, 0, "gone").is_refused_by(violations, "without a fault");
    }
}
