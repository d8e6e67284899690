//! A receive is never given up before its answer, and its attempt id is used again only if none came.

use std::collections::HashSet;

use super::Violation;
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::plan::Plan;

pub fn violations(_plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let mut answered = HashSet::new();
    let mut found = Vec::new();
    for (entry, Entry { event, .. }) in entries.iter().enumerate() {
        match event {
            Event::ReceiveBegan { process, attempt } if answered.contains(attempt) => {
                let what = format!("{process:?} used an attempt id again that had been answered");
                found.push(Violation { entry, what });
            }
            Event::ReceiveAnswered { attempt } => drop(answered.insert(attempt)),
            Event::ReceiveGivenUp { process } => {
                found.push(Violation { entry, what: format!("{process:?} gave up a receive") });
            }
            _ => {}
        }
    }
    found
}
