//! A shutdown spends at the most one receive of each job: what an ending process has given back it does not
//! receive again.

use std::collections::BTreeSet;

use hookferry::policy::{MIN_BACKOFF, whole_seconds};

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event, Id};
use crate::simulation::book::facts::Each;

/// The receives of a message by one process that came to no attempt, while it was ending or before.
#[derive(Default)]
struct Held {
    by: Option<Id>,
    receive: u32,
    attempted: bool,
    /// It was in its hands untried when it was told to end, or since.
    spent: bool,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let mut messages = Each::<Held>::default();
    let mut ending = BTreeSet::new();
    let mut found = Vec::new();
    // For as long another's poll may be parked; what is put off for the shortest backoff is not given back.
    let parked =
        Some(whole_seconds(record.plan.bounds.wait)).filter(|parked| *parked > whole_seconds(MIN_BACKOFF));
    for (entry, Entry { event, .. }) in record.entries.iter().enumerate() {
        match event {
            Event::AskedToEnd { process } => drop(ending.insert(*process)),
            Event::HandedOver { process, message, count, .. } => {
                let held = messages.of(*message);
                let again =
                    held.by == Some(*process) && held.receive < *count && held.spent && !held.attempted;
                if again && ending.contains(process) {
                    let what = format!("job {message}: {process:?}, which is ending, receives it again");
                    found.push(Violation { entry, what });
                }
                *held = Held {
                    by: Some(*process),
                    receive: *count,
                    attempted: false,
                    spent: ending.contains(process),
                };
            }
            Event::SetOut(request) => {
                for job in &request.jobs {
                    messages.of(*job).attempted |= messages.of(*job).by == Some(request.process);
                }
            }
            // Given back untried.
            Event::Hidden { process, message, timeout } if timeout.is_zero() || Some(*timeout) == parked => {
                let held = messages.of(*message);
                held.spent |= held.by == Some(*process) && ending.contains(process);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::violations;
    use crate::simulation::book::event::Event;
    use crate::simulation::book::script::{A, B, Script};

    #[test]
    fn what_an_ending_process_released_goes_to_another() {
        let released = Event::Hidden { process: A, message: 0, timeout: Duration::ZERO };
        let mut script = Script::of(1);
        script.handed(A, &[0]).happens(Event::AskedToEnd { process: A }).happens(released);
        script.handed(B, &[0]).is_accepted_by(violations);
        let mut again = Script::of(1);
        again.happens(Event::AskedToEnd { process: A }).handed(A, &[0]).is_accepted_by(violations);
        again.handed(A, &[0]).is_refused_by(violations, "receives it again");
    }
}
