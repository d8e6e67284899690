//! Once nothing fails any more the queue drains, and with nothing to do a process holds nothing.

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event};

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (entry, Entry { event, .. }) in record.entries.iter().enumerate() {
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

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::event::Event;
    use crate::simulation::book::script::{A, Script};

    #[test]
    fn at_rest_nothing_is_held() {
        let at_rest = |in_flight| Event::AtRest { process: A, in_flight };
        Script::of(0).happens(at_rest(0)).happens(Event::Bodies { held: 0 }).is_accepted_by(violations);
        Script::of(0).happens(at_rest(1)).is_refused_by(violations, "holds 1 permits");
        Script::of(0).happens(Event::Bodies { held: 2 }).is_refused_by(violations, "2 bodies");
        Script::of(1).happens(Event::NotDrained { left: vec![0] }).is_refused_by(violations, "drain: [0]");
    }
}
