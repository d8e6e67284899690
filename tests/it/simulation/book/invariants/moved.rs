//! SQS itself moves no job to the dead-letter queue that a worker of ours held: on its last receive we give
//! it up ourselves, with a word.

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::LastReceives;

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let mut receives = LastReceives::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        receives.see(*at, event);
        if let Event::Moved { message } = event {
            let last = receives.of(*message);
            if !record.last_receive_lost(&last) {
                let what = format!("job {message}: moved by SQS while {:?} had it", last.by);
                found.push(Violation { entry, what });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::event::Event;
    use crate::simulation::book::script::{A, Script};

    #[test]
    fn a_job_that_a_worker_had_is_not_moved() {
        let moved = || Event::Moved { message: 0 };
        let mut held = Script::of(1);
        held.handed(A, &[0]).attempted(A, &[0], 1).failed().happens(moved());
        held.is_refused_by(violations, "moved by SQS while");
        let mut asked_to_end = Script::of(1);
        asked_to_end.handed(A, &[0]).happens(Event::AskedToEnd { process: A }).happens(moved());
        asked_to_end.is_accepted_by(violations);
        Script::of(1).handed_silently(A, 0).happens(moved()).is_accepted_by(violations);
    }
}
