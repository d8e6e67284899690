//! SQS itself moves no job to the dead-letter queue that a worker of ours held: on its last receive we give
//! it up ourselves, with a word.

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::LastReceives;

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let mut receives = LastReceives::new(record.plan);
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        receives.see(*at, event);
        if let Event::Moved { message } = event {
            let last = receives.of(*message);
            if !record.last_receive_lost(&last) && !record.refused_behind_a_copy(&last) {
                let what = format!("job {message}: moved by SQS while {:?} had it", last.by);
                found.push(Violation { entry, what });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::violations;
    use crate::simulation::book::event::Event;
    use crate::simulation::book::script::{A, Script};
    use crate::simulation::plan::Incident;

    #[test]
    fn a_job_that_a_worker_had_is_not_moved() {
        let moved = || Event::Moved { message: 0 };
        let mut held = Script::of(1);
        held.handed(A, &[0]).attempted(A, &[0], 1).failed().happens(moved());
        held.is_refused_by(violations, "moved by SQS while");
        let ended = |seconds| {
            let mut script = Script::of(1);
            let took = Duration::from_secs(seconds);
            script.handed(A, &[0]).happens(Event::AskedToEnd { process: A });
            script.happens(Event::Ended { process: A, took }).happens(moved());
            script
        };
        ended(1).is_refused_by(violations, "moved by SQS while");
        ended(4).is_accepted_by(violations);
        let mut failed = Script::of(1);
        let fails =
            |message, after| Event::CallFailed { process: A, message, after: Duration::from_secs(after) };
        failed.handed(A, &[0]).happens(fails(0, 0)).happens(moved());
        failed.is_accepted_by(violations);
        let in_its_lane = |after| {
            let mut script = Script::of(2);
            script.handed(A, &[0, 1]).happens(fails(1, after)).happens(moved());
            script
        };
        in_its_lane(0).is_refused_by(violations, "moved by SQS while");
        in_its_lane(3).is_accepted_by(violations);
        let frozen = Event::Incident(Incident::Freeze(A.replica, Duration::from_secs(3)));
        Script::of(1).happens(frozen).handed(A, &[0]).happens(moved()).is_accepted_by(violations);
        Script::of(1).handed_silently(A, 0).happens(moved()).is_accepted_by(violations);
    }
}
