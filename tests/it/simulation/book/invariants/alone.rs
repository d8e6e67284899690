//! One attempt of a job at a webhook is under way at a time: of one process always, of several as long as
//! they can know their leases.

use super::Violation;
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::excuses::lease_unknown;
use crate::simulation::book::facts::{Attempts, Leases};
use crate::simulation::plan::Plan;

pub fn violations(_plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in entries.iter().enumerate() {
        leases.see(*at, event);
        attempts.see(event, &leases);
        let Event::Arrived(request) = event else { continue };
        for job in request.jobs.iter().copied() {
            let others = attempts.arrived_with(job).filter(|other| other.number != request.number);
            for other in others.filter(|other| other.webhook == request.webhook) {
                let (process, unknown) = (request.process, |r| lease_unknown(&attempts, r, job));
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
