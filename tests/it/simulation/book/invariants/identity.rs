//! Receivers know a job under the same id on every attempt: the message's id and the webhook's.

use std::collections::HashMap;

use super::Violation;
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::plan::Plan;

pub fn violations(_plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for (entry, Entry { event, .. }) in entries.iter().enumerate() {
        match event {
            Event::Sent { message, id, .. } => drop(ids.insert(id, *message)),
            Event::Arrived(request) => {
                let mut known_as = request.id.split(',').map(|id| id.rsplit_once('.'));
                for job in &request.jobs {
                    let known_as = known_as.next().flatten();
                    let right = known_as
                        .is_some_and(|(id, webhook)| ids.get(id) == Some(job) && webhook == request.webhook);
                    if !right {
                        let what = format!("job {job}: attempted under the id {}", request.id);
                        found.push(Violation { entry, what });
                    }
                }
            }
            _ => {}
        }
    }
    found
}
