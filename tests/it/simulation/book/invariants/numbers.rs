//! A process numbers its attempts of a job from 1 upwards.

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event, Id};
use crate::simulation::book::facts::{Attempts, Each, Leases};

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut numbers = Each::<Vec<(Id, u32)>>::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        leases.see(*at, event);
        attempts.see(event, &leases);
        let Event::Arrived(request) = event else { continue };
        for job in request.jobs.iter().copied() {
            let before = numbers.of(job);
            let higher = before.iter().any(|(by, n)| *by == request.process && *n > request.attempt);
            if (higher && !record.lease_unknown(&attempts, request, job)) || request.attempt == 0 {
                let what = format!("job {job}: attempt number {} after a higher one", request.attempt);
                found.push(Violation { entry, what });
            }
            before.push((request.process, request.attempt));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::script::{A, B, Script};

    #[test]
    fn attempts_are_counted_upwards_by_each_process() {
        Script::of(1).attempted(A, &[0], 1).over().attempted(A, &[0], 2).is_accepted_by(violations);
        Script::of(1).attempted(A, &[0], 2).over().attempted(B, &[0], 1).is_accepted_by(violations);
        Script::of(1).attempted(A, &[0], 2).over().attempted(A, &[0], 1).is_refused_by(violations, "higher");
        Script::of(1).attempted(A, &[0], 0).is_refused_by(violations, "number 0");
    }
}
