//! SQS itself moves no job to the dead-letter queue that was never attempted.

use std::collections::BTreeSet;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let mut attempted = BTreeSet::new();
    let mut ended_in_mid_run = false;
    let mut found = Vec::new();
    for (entry, Entry { event, .. }) in record.entries.iter().enumerate() {
        match event {
            Event::Arrived(request) => attempted.extend(request.jobs.iter().copied()),
            Event::Incident(incident) => ended_in_mid_run |= incident.is_shutdown(),
            Event::Moved { message }
                if !attempted.contains(message) && !record.moved_by_right(ended_in_mid_run) =>
            {
                let what = format!("job {message}: moved to the dead-letter queue untried");
                found.push(Violation { entry, what });
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
    fn a_job_that_was_never_attempted_is_not_moved() {
        let moved = Event::Moved { message: 0 };
        Script::of(1).attempted(A, &[0], 1).failed().happens(moved.clone()).is_accepted_by(violations);
        Script::of(1).happens(moved).is_refused_by(violations, "untried");
    }
}
