//! SQS itself moves no job to the dead-letter queue that a worker of ours held: on its last receive we give
//! it up ourselves, with a word.

use std::collections::BTreeSet;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event, Id};
use crate::simulation::book::facts::Each;

/// The last receive of a message.
#[derive(Default)]
struct Last {
    by: Option<Id>,
    answered: bool,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let mut receives = Each::<Last>::default();
    let mut asked_to_end = BTreeSet::new();
    let mut found = Vec::new();
    for (entry, Entry { event, .. }) in record.entries.iter().enumerate() {
        match event {
            Event::HandedOver { message, process, .. } => {
                *receives.of(*message) = Last { by: Some(*process), answered: false };
            }
            Event::Received { message, .. } => receives.of(*message).answered = true,
            Event::AskedToEnd { process } => drop(asked_to_end.insert(*process)),
            Event::Moved { message } => {
                let Last { by, answered } = *receives.of(*message);
                let ended = by.is_some_and(|by| asked_to_end.contains(&by));
                if !record.last_receive_lost(answered, ended) {
                    let what = format!("job {message}: moved by SQS while {by:?} had it");
                    found.push(Violation { entry, what });
                }
            }
            _ => {}
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
