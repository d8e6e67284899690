//! One attempt of a job at a webhook is under way at a time: of one process always, of several as long as
//! they can know their leases.

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::{Attempts, Leases};

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        leases.see(*at, event);
        attempts.see(event, &leases);
        let Event::Arrived(request) = event else { continue };
        for job in request.jobs.iter().copied() {
            let others = attempts.arrived_with(job).filter(|other| other.number != request.number);
            for other in others.filter(|other| other.webhook == request.webhook) {
                let (process, unknown) = (request.process, |r| record.lease_unknown(&attempts, r, job));
                if other.process == process {
                    let what = format!("job {job}: two attempts at once by {process:?}");
                    found.push(Violation { entry, what });
                } else if !unknown(request) && !unknown(other) {
                    let what =
                        format!("job {job}: attempted by {process:?} while {:?} attempts it", other.process);
                    found.push(Violation { entry, what });
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::event::Event;
    use crate::simulation::book::script::{A, B, Script};

    #[test]
    fn an_attempt_after_another_is_accepted_and_one_beside_it_refused() {
        Script::of(1).attempted(A, &[0], 1).over().attempted(B, &[0], 1).is_accepted_by(violations);
        Script::of(1).attempted(A, &[0], 1).attempted(B, &[0], 1).is_refused_by(violations, "attempts it");
        Script::of(1).attempted(A, &[0], 1).attempted(A, &[0], 2).is_refused_by(violations, "two attempts");
    }

    #[test]
    fn one_beside_it_is_accepted_only_from_another_process_whose_lease_is_unknown() {
        let late = |process| Event::HandedOverLate { process, message: 0 };
        let mut beside = Script::of(1);
        beside.handed(A, &[0]).happens(late(A)).attempted(A, &[0], 1).handed(B, &[0]).attempted(B, &[0], 1);
        beside.is_accepted_by(violations);
        beside.attempted(B, &[0], 2).is_refused_by(violations, "two attempts");
    }
}
