//! No attempt outlives the lease under which it is made, and every attempt ends.

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::{Attempts, Leases};

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        match event {
            Event::Over { request, dead: false } => {
                let process = request.process;
                for job in request.jobs.iter().copied() {
                    let outlived = leases.holder(job).is_some_and(|(by, until)| by != process || *at > until);
                    if outlived && !record.lease_unknown(&attempts, request, job) {
                        let what = format!("job {job}: an attempt by {process:?} outlived its lease");
                        found.push(Violation { entry, what });
                    }
                }
            }
            Event::End => {
                for request in attempts.arrived() {
                    let what = format!("jobs {:?}: an attempt never ended", request.jobs);
                    found.push(Violation { entry, what });
                }
            }
            _ => {}
        }
        leases.see(*at, event);
        attempts.see(event, &leases);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::violations;
    use crate::simulation::book::event::Event;
    use crate::simulation::book::script::{A, B, Script};

    #[test]
    fn an_attempt_within_the_lease_is_accepted_and_one_beyond_it_refused() {
        Script::of(1).handed(A, &[0]).attempted(A, &[0], 1).at(5).over().is_accepted_by(violations);
        Script::of(1)
            .handed(A, &[0])
            .attempted(A, &[0], 1)
            .at(6)
            .over()
            .is_refused_by(violations, "outlived");
        let mut passed_on = Script::of(1);
        passed_on.handed(A, &[0]).attempted(A, &[0], 1).handed(B, &[0]).over();
        passed_on.is_refused_by(violations, "outlived");
    }

    #[test]
    fn an_extension_counts_and_so_does_a_standstill() {
        let timeout = Duration::from_secs(30);
        let mut extended = Script::of(1);
        extended.handed(A, &[0]).happens(Event::Hidden { process: A, message: 0, timeout });
        extended.attempted(A, &[0], 1).at(30).over().is_accepted_by(violations);
        let mut stood_still = Script::of(1);
        stood_still.handed(A, &[0]).attempted(A, &[0], 1).happens(Event::StoodStill { lasts: timeout });
        stood_still.at(31).over().is_accepted_by(violations);
    }

    #[test]
    fn an_attempt_that_never_ends_is_refused() {
        Script::of(1).handed(A, &[0]).attempted(A, &[0], 1).is_refused_by(violations, "never ended");
    }
}
