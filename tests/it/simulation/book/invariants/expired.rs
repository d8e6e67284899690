//! SQS deletes no job for its age that a worker of ours held and could have given up: it does not hide a job until it
//! is too late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event, Id};
use crate::simulation::book::facts::{Each, Leases};

/// The last time that a message was handed over.
#[derive(Default)]
struct Last {
    by: Option<Id>,
    at: Duration,
    answered: bool,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let (mut leases, mut receives) = (Leases::default(), Each::<Last>::default());
    let (mut asked_to_end, mut sent) = (BTreeSet::new(), BTreeMap::<usize, Duration>::new());
    let retention = record.plan.rules.retention.unwrap_or(Duration::MAX);
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        leases.see(*at, event);
        match event {
            Event::Sent { message, .. } => drop(sent.insert(*message, *at)),
            Event::HandedOver { message, process, .. } => {
                *receives.of(*message) = Last { by: Some(*process), at: *at, answered: false };
            }
            Event::Received { message, .. } => receives.of(*message).answered = true,
            Event::AskedToEnd { process } => drop(asked_to_end.insert(*process)),
            Event::Expired { message } => {
                let Last { by, at, answered } = *receives.of(*message);
                let ended = by.is_some_and(|by| asked_to_end.contains(&by));
                let expires = sent[message] + retention;
                let hidden_until = leases.holder(*message).map_or(Duration::ZERO, |(_, until)| until);
                // It could be received and given up, or was received when there was no time for that.
                let settling = record.plan.rules.attempt_timeout + Duration::from_secs(1);
                let late = hidden_until + settling < expires || at + settling >= expires;
                if !record.not_handed_over_in_time(late) && !record.last_receive_lost(answered, ended) {
                    let what = format!("job {message}: deleted for its age while {by:?} had it");
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
    use std::time::Duration;

    use super::violations;
    use crate::simulation::book::event::Event;
    use crate::simulation::book::script::{A, Script};

    fn of_a_minute() -> Script {
        let mut script = Script::of(1);
        script.plan.rules.retention = Some(Duration::from_secs(60));
        script
    }

    #[test]
    fn a_job_that_a_worker_hid_until_its_end_is_not_deleted_for_its_age() {
        let expired = || Event::Expired { message: 0 };
        let mut hidden = of_a_minute();
        hidden.handed(A, &[0]).attempted(A, &[0], 1).failed();
        let hides = |timeout| Event::Hidden { process: A, message: 0, timeout: Duration::from_secs(timeout) };
        hidden.at(50).happens(hides(30)).at(60).happens(expired());
        hidden.is_refused_by(violations, "deleted for its age while");
        let mut waits = of_a_minute();
        waits.handed(A, &[0]).happens(hides(30)).at(60).happens(expired());
        waits.is_accepted_by(violations);
    }
}
