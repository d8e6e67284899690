//! A process ends only when it is asked to, within its grace, and where nothing fails it leaves nothing
//! hidden behind.

use std::collections::BTreeSet;
use std::time::Duration;

use hookferry::policy::{MIN_BACKOFF, whole_seconds};

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::Leases;
use crate::simulation::plan::Kind;

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let plan = record.plan;
    let mut leases = Leases::default();
    let (mut gone, mut put_off, mut released) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut ending = BTreeSet::new();
    // For as long another's poll may be parked.
    let parked = whole_seconds(plan.bounds.wait);
    let mut found = Vec::new();
    let behind = whole_seconds(MIN_BACKOFF + plan.rules.attempt_timeout + Duration::from_secs(1));
    let stands_still = plan.incidents.iter().any(|(_, incident)| incident.is_standstill());
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        leases.see(*at, event);
        match event {
            Event::Deleted { message, .. } | Event::Moved { message } | Event::Expired { message } => {
                gone.insert(*message);
            }
            Event::AskedToEnd { process } => drop(ending.insert(*process)),
            Event::HandedOver { message, .. } => {
                put_off.remove(message);
                released.remove(message);
            }
            Event::Hidden { process, message, timeout } if ending.contains(process) && *timeout == parked => {
                released.insert(*message);
            }
            // What is behind one that is put off is hidden for longer where receives are spared.
            Event::Hidden { message, timeout, .. } if [MIN_BACKOFF, behind].contains(timeout) => {
                put_off.insert(*message);
            }
            Event::EndedUnasked { process } => {
                found.push(Violation { entry, what: format!("{process:?} ended unasked") });
            }
            Event::Ended { process, took } => {
                if *took > plan.bounds.grace && !stands_still {
                    found.push(Violation { entry, what: format!("{process:?} took {took:?} to end") });
                }
                let mut held = leases
                    .holders()
                    .filter(|(message, by, until)| by == process && until > at && !gone.contains(message));
                if plan.kind == Kind::Faultless
                    && let Some((job, ..)) = held
                        .find(|(job, ..)| !released.contains(job) && !record.put_off(put_off.contains(job)))
                {
                    let what = format!("job {job}: {process:?} ended and did not release it");
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
    use crate::simulation::plan::Kind;

    fn ended(seconds: u64) -> Event {
        Event::Ended { process: A, took: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_process_ends_within_its_grace_and_when_it_is_asked_to() {
        Script::of(0).happens(ended(8)).is_accepted_by(violations);
        Script::of(0).happens(ended(9)).is_refused_by(violations, "took 9s");
        Script::of(0).happens(Event::EndedUnasked { process: A }).is_refused_by(violations, "unasked");
    }

    #[test]
    fn where_nothing_fails_it_releases_what_it_holds() {
        let mut held = Script::of(1);
        held.plan.kind = Kind::Faultless;
        held.handed(A, &[0]).happens(ended(1)).is_refused_by(violations, "did not release");
        let mut released = Script::of(1);
        released.plan.kind = Kind::Faultless;
        let timeout = Duration::ZERO;
        released.handed(A, &[0]).happens(Event::Hidden { process: A, message: 0, timeout });
        released.happens(ended(1)).is_accepted_by(violations);
        let parked = |asked: bool| {
            let mut script = Script::of(1);
            script.plan.kind = Kind::Faultless;
            script.plan.bounds.wait = Duration::from_secs(7);
            script.handed(A, &[0]);
            if asked {
                script.happens(Event::AskedToEnd { process: A });
            }
            script.happens(Event::Hidden { process: A, message: 0, timeout: Duration::from_secs(7) });
            script.happens(ended(1));
            script
        };
        parked(true).is_accepted_by(violations);
        parked(false).is_refused_by(violations, "did not release");
    }
}
