//! A process attempts no webhook again that has told it that it took the job.

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::{Attempts, Knowledge, Leases};

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut knowledge = Knowledge::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        leases.see(*at, event);
        attempts.see(event, &leases);
        knowledge.see(*at, event);
        let Event::Arrived(request) = event else { continue };
        let (process, webhook) = (request.process, &request.webhook);
        for job in request.jobs.iter().copied() {
            let told = knowledge.told(job, process, webhook, &request.url);
            if told && !record.lease_unknown(&attempts, request, job) {
                let what = format!("job {job}: {process:?} repeats webhook {webhook}, which took it");
                found.push(Violation { entry, what });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::script::{A, B, Script};

    #[test]
    fn what_a_process_was_told_of_it_does_not_repeat() {
        Script::of(1).attempted(A, &[0], 1).failed().attempted(A, &[0], 2).is_accepted_by(violations);
        Script::of(1).attempted(A, &[0], 1).delivered().attempted(B, &[0], 1).is_accepted_by(violations);
        let mut repeated = Script::of(1);
        repeated.attempted(A, &[0], 1).delivered().attempted(A, &[0], 2);
        repeated.is_refused_by(violations, "which took it");
    }
}
