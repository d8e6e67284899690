//! Where nothing fails everything happens exactly once: one receive, one attempt at each webhook, and no
//! dead letter.

use std::collections::BTreeMap;

use super::Violation;
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::excuses::poisoned;
use crate::simulation::book::facts::Each;
use crate::simulation::plan::{Kind, Plan};

#[derive(Default)]
struct Job<'a> {
    receives: u32,
    attempts: BTreeMap<(&'a str, &'a str), u32>,
}

pub fn violations(plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let mut found = Vec::new();
    if plan.kind != Kind::Faultless {
        return found;
    }
    let mut jobs = Each::<Job>::default();
    let mut ended_in_mid_run = false;
    for (entry, Entry { event, .. }) in entries.iter().enumerate() {
        match event {
            Event::Sent { message, .. } => drop(jobs.of(*message)),
            Event::HandedOver { message, count, .. } => jobs.of(*message).receives = *count,
            Event::Arrived(request) => {
                for job in &request.jobs {
                    *jobs.of(*job).attempts.entry((&request.webhook, &request.url)).or_default() += 1;
                }
            }
            Event::Lettered { message, .. } if !poisoned(plan, *message) => {
                let what = format!("job {message}: dead-lettered without a fault");
                found.push(Violation { entry, what });
            }
            Event::Incident(incident) => ended_in_mid_run |= incident.is_shutdown(),
            Event::End => {
                for (job, Job { receives, attempts }) in jobs.iter() {
                    let once = attempts.values().all(|count| *count == 1);
                    // What a shutdown releases may come back to a poll of the same process that is parked.
                    if !once || (*receives != 1 && !ended_in_mid_run) {
                        let what = format!("job {job}: {attempts:?} attempts, {receives} receives");
                        found.push(Violation { entry, what });
                    }
                }
            }
            _ => {}
        }
    }
    found
}
