//! No attempt outlives the lease under which it is made, and every attempt ends.

use super::Violation;
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::excuses::lease_unknown;
use crate::simulation::book::facts::{Attempts, Leases};
use crate::simulation::plan::Plan;

pub fn violations(_plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in entries.iter().enumerate() {
        match event {
            Event::Over { request, dead: false } => {
                let process = request.process;
                for job in request.jobs.iter().copied() {
                    let outlived = leases.holder(job).is_some_and(|(by, until)| by != process || *at > until);
                    if outlived && !lease_unknown(&attempts, request, job) {
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
