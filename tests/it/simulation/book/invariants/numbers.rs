//! A process numbers its attempts of a job from 1 upwards.

use super::Violation;
use crate::simulation::book::event::{Entry, Event, Id};
use crate::simulation::book::excuses::lease_unknown;
use crate::simulation::book::facts::{Attempts, Each, Leases};
use crate::simulation::plan::Plan;

pub fn violations(_plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut numbers = Each::<Vec<(Id, u32)>>::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in entries.iter().enumerate() {
        leases.see(*at, event);
        attempts.see(event, &leases);
        let Event::Arrived(request) = event else { continue };
        for job in request.jobs.iter().copied() {
            let before = numbers.of(job);
            let higher = before.iter().any(|(by, n)| *by == request.process && *n > request.attempt);
            if (higher && !lease_unknown(&attempts, request, job)) || request.attempt == 0 {
                let what = format!("job {job}: attempt number {} after a higher one", request.attempt);
                found.push(Violation { entry, what });
            }
            before.push((request.process, request.attempt));
        }
    }
    found
}
