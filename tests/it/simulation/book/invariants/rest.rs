//! Once nothing fails any more the queue drains, and with nothing to do a process holds nothing.

use super::Violation;
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::plan::Plan;

pub fn violations(_plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (entry, Entry { event, .. }) in entries.iter().enumerate() {
        let what = match event {
            Event::NotDrained { left } => format!("the queue does not drain: {left:?}"),
            Event::AtRest { process, in_flight } if *in_flight != 0 => {
                format!("{process:?} holds {in_flight} permits at rest")
            }
            Event::Bodies { held } if *held > 0 => format!("{held} bodies are in memory at rest"),
            _ => continue,
        };
        found.push(Violation { entry, what });
    }
    found
}
