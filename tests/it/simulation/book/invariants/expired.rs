//! SQS deletes no job for its age that a worker of ours held and could have given up: it does not hide a job until it
//! is too late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event, Id};
use crate::simulation::book::facts::{Each, Knowledge, LastReceive, LastReceives};

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let (mut receives, mut in_time) = (LastReceives::new(record.plan), Each::<LastReceive>::default());
    let (mut sent, mut knowledge) = (BTreeMap::<usize, Duration>::new(), Knowledge::default());
    let mut lettered = BTreeSet::new();
    let retention = record.plan.rules.disposal.retention().unwrap_or(Duration::MAX);
    let settling = record.plan.rules.attempt_timeout + Duration::from_secs(1);
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        // The last receive at which there was time to give it up: those after it are too late.
        if let Event::HandedOver { message, .. } = event
            && sent.get(message).is_some_and(|sent| *at + settling >= sent.saturating_add(retention))
        {
            let earlier = receives.of(*message);
            let earlier_in_time = earlier.at + settling < sent[message].saturating_add(retention);
            if earlier_in_time && earlier.by.is_some() {
                *in_time.of(*message) = earlier;
            }
        }
        receives.see(*at, event);
        match event {
            Event::Lettered { message, .. } => drop(lettered.insert(*message)),
            Event::Sent { message, .. } => drop(sent.insert(*message, *at)),
            Event::Expired { message } => {
                let (last, expires) = (receives.of(*message), sent[message] + retention);
                let earlier = *in_time.of(*message);
                let last = if earlier.by.is_some() { earlier } else { last };
                let late = last.hidden_until + settling < expires || last.at + settling >= expires;
                if !record.not_handed_over_in_time(late) && !record.last_receive_lost(&last) {
                    let what = format!("job {message}: deleted for its age while {:?} had it", last.by);
                    found.push((*message, last.by, Violation { entry, what }));
                }
            }
            _ => {}
        }
        knowledge.see(*at, event);
    }
    // Nothing but its delete was missing, or it was given up by who attempted it until then.
    let end = record.entries.last().map_or(Duration::ZERO, |entry| entry.at);
    let is_done = |message: usize, by: Option<Id>| {
        lettered.contains(&message) || by.is_some_and(|by| knowledge.is_done(record.plan, end, message, by))
    };
    let silent = found.into_iter().filter(|(message, by, _)| !is_done(*message, *by));
    silent.map(|(.., violation)| violation).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::violations;
    use crate::simulation::book::event::Event;
    use crate::simulation::book::script::{A, Script};

    fn of_a_minute() -> Script {
        let script = Script::of(1);
        script.plan.rules.disposal.set_retention(Some(Duration::from_secs(60)));
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
        let mut again_and_again = of_a_minute();
        for second in 50..60 {
            again_and_again.at(second).handed(A, &[0]).happens(hides(1));
        }
        again_and_again.at(60).happens(expired());
        again_and_again.is_refused_by(violations, "deleted for its age while");
    }
}
