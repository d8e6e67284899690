//! SQS itself moves no job to the dead-letter queue that was never attempted.

use std::collections::BTreeSet;

use super::Violation;
use crate::simulation::book::event::{Entry, Event};
use crate::simulation::book::excuses::few_receives;
use crate::simulation::plan::{Kind, Plan};

pub fn violations(plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let mut attempted = BTreeSet::new();
    let mut ended_in_mid_run = false;
    let mut found = Vec::new();
    for (entry, Entry { event, .. }) in entries.iter().enumerate() {
        match event {
            Event::Arrived(request) => attempted.extend(request.jobs.iter().copied()),
            Event::Incident(incident) => ended_in_mid_run |= incident.is_shutdown(),
            Event::Moved { message } => {
                let judged = match plan.kind {
                    Kind::Faultless => !ended_in_mid_run,
                    Kind::Destinations => !few_receives(plan),
                    Kind::Everything => false,
                };
                if judged && !attempted.contains(message) {
                    let what = format!("job {message}: moved to the dead-letter queue untried");
                    found.push(Violation { entry, what });
                }
            }
            _ => {}
        }
    }
    found
}
