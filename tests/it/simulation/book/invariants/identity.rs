//! Receivers know a job under the same id on every attempt: the message's id and the webhook's.

use std::collections::HashMap;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let plan = record.plan;
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for (entry, Entry { event, .. }) in record.entries.iter().enumerate() {
        match event {
            Event::Sent { message, id, .. } => drop(ids.insert(id, *message)),
            Event::Arrived(request) => {
                let mut known_as = request.id.split(',').map(|id| id.rsplit_once('.'));
                for job in &request.jobs {
                    let known_as = known_as.next().flatten();
                    let right = known_as.is_some_and(|(id, webhook)| {
                        ids.get(id) == Some(&plan.number(*job)) && webhook == request.webhook
                    });
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

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::script::{A, Script};

    #[test]
    fn a_job_goes_out_under_its_messages_id_and_its_webhooks() {
        Script::of(2).attempted(A, &[0, 1], 1).is_accepted_by(violations);
        for wrong in ["m1.0", "m0.1", "m0", "", "m0.0.0"] {
            Script::of(2).attempted_as(A, &[0], 1, wrong).is_refused_by(violations, "under the id");
        }
    }
}
