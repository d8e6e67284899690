//! A process attempts no webhook again that has told it that it took the job.

use super::Violation;
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::excuses::lease_unknown;
use crate::simulation::book::facts::{Attempts, Knowledge, Leases};
use crate::simulation::plan::Plan;

pub fn violations(_plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut knowledge = Knowledge::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in entries.iter().enumerate() {
        leases.see(*at, event);
        attempts.see(event, &leases);
        knowledge.see(*at, event);
        let Event::Arrived(request) = event else { continue };
        let (process, webhook) = (request.process, &request.webhook);
        for job in request.jobs.iter().copied() {
            let told = knowledge.told(job, process, webhook, &request.url);
            if told && !lease_unknown(&attempts, request, job) {
                let what = format!("job {job}: {process:?} repeats webhook {webhook}, which took it");
                found.push(Violation { entry, what });
            }
        }
    }
    found
}
