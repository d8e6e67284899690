//! A process ends only when it is asked to, within its grace, and where nothing fails it leaves nothing
//! hidden behind.

use std::collections::BTreeSet;

use super::Violation;
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::facts::Leases;
use crate::simulation::plan::{Kind, Plan};

pub fn violations(plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let mut leases = Leases::default();
    let mut gone = BTreeSet::new();
    let mut found = Vec::new();
    let stands_still = plan.incidents.iter().any(|(_, incident)| incident.is_standstill());
    for (entry, Entry { at, event }) in entries.iter().enumerate() {
        leases.see(*at, event);
        match event {
            Event::Deleted { message, .. } | Event::Moved { message } => drop(gone.insert(*message)),
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
                    && let Some((job, ..)) = held.next()
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
