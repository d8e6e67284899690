//! A receive is never given up before its answer, and its attempt id is used again only if none came.

use std::collections::HashSet;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let mut answered = HashSet::new();
    let mut found = Vec::new();
    for (entry, Entry { event, .. }) in record.entries.iter().enumerate() {
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

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::event::Event;
    use crate::simulation::book::script::{A, Script};

    #[test]
    fn an_attempt_id_is_used_again_only_where_no_answer_came() {
        let began = || Event::ReceiveBegan { process: A, attempt: "a".to_owned() };
        let mut script = Script::of(0);
        script.happens(began()).happens(began()).is_accepted_by(violations);
        script.happens(Event::ReceiveAnswered { attempt: "a".to_owned() }).is_accepted_by(violations);
        script.happens(began()).is_refused_by(violations, "used an attempt id again");
        Script::of(0).happens(Event::ReceiveGivenUp { process: A }).is_refused_by(violations, "gave up");
    }
}
