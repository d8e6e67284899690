//! A process numbers its attempts of a job from 1 upwards: one that it has held untried is at its first. Of a
//! job that it has never held the receive count may be a hint.

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event, Id, Request};
use crate::simulation::book::facts::{Attempts, Each, Leases};

#[derive(Default)]
struct Story {
    /// Who had it, and at which receive.
    held: Vec<(Id, u32)>,
    receive: u32,
    /// The requests that set out, each with its process and the attempt's number; not each has arrived.
    attempts: Vec<(usize, Id, u32)>,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut stories = Each::<Story>::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        leases.see(*at, event);
        attempts.see(event, &leases);
        match event {
            Event::HandedOver { message, count, .. } => stories.of(*message).receive = *count,
            Event::Received { process, message } => {
                let story = stories.of(*message);
                story.held.push((*process, story.receive));
            }
            Event::SetOut(request) => {
                for job in &request.jobs {
                    stories.of(*job).attempts.push((request.number, request.process, request.attempt));
                }
            }
            Event::Arrived(request) => {
                for job in request.jobs.iter().copied() {
                    let wrong = stories.of(job).wrong(request);
                    if let Some(wrong) = wrong
                        && !record.lease_unknown(&attempts, request, job)
                    {
                        let what = format!("job {job}: attempt number {} {wrong}", request.attempt);
                        found.push(Violation { entry, what });
                    }
                }
            }
            _ => {}
        }
    }
    found
}

impl Story {
    fn wrong(&self, request: &Request) -> Option<&'static str> {
        let (process, number) = (request.process, request.attempt);
        let earlier = self.attempts.iter().take_while(|(other, ..)| *other != request.number);
        let mine = earlier.filter(|(_, by, _)| *by == process).map(|(.., number)| *number).max();
        let held = self.held.iter().filter(|(by, _)| *by == process);
        let first = held.clone().next().map(|(_, receive)| *receive);
        match mine {
            _ if number == 0 => Some("is none"),
            Some(mine) => (number < mine).then_some("after a higher one"),
            None if held.count() > 1 && number > 1 => Some("of a job that it held untried"),
            None => first.is_some_and(|first| number > first).then_some("beyond all its receives"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::script::{A, B, Script};

    #[test]
    fn attempts_are_counted_upwards_by_each_process() {
        Script::of(1).attempted(A, &[0], 1).over().attempted(A, &[0], 2).is_accepted_by(violations);
        Script::of(1).attempted(A, &[0], 2).over().attempted(B, &[0], 1).is_accepted_by(violations);
        Script::of(1).attempted(A, &[0], 2).over().attempted(A, &[0], 1).is_refused_by(violations, "higher");
        let mut untried = Script::of(1);
        untried
            .handed(A, &[0])
            .handed(A, &[0])
            .handed(A, &[0])
            .attempted(A, &[0], 1)
            .is_accepted_by(violations);
        let mut counted = Script::of(1);
        counted.handed(A, &[0]).handed(A, &[0]).handed(A, &[0]).attempted(A, &[0], 3);
        counted.is_refused_by(violations, "held untried");
        let mut hinted = Script::of(1);
        hinted.handed(B, &[0]).handed(A, &[0]).attempted(A, &[0], 2).is_accepted_by(violations);
        Script::of(1).attempted(A, &[0], 0).is_refused_by(violations, "number 0 is none");
    }
}
