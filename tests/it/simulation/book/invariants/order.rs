//! Order within a group: an attempt begins only when all earlier jobs of the group are out of the queue,
//! done as far as the process can know, or ahead in the same request; and first attempts come in the order
//! in which the jobs were sent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event, Request};
use crate::simulation::book::facts::{Each, Knowledge, unwanted};
use crate::simulation::plan::Plan;

#[derive(Default)]
struct Groups<'a> {
    of: Each<&'a str>,
    /// Those in the queue, in the order in which they were sent.
    queued: BTreeMap<&'a str, BTreeMap<usize, usize>>,
    place: Each<usize>,
    sent: usize,
    firsts: BTreeMap<&'a str, Vec<usize>>,
    first_attempt: Each<Option<Duration>>,
    /// When it was given up for the first time, or moved.
    end: Each<Option<Duration>>,
    knowledge: Knowledge,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let plan = record.plan;
    let mut groups = Groups::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        groups.knowledge.see(*at, event);
        match event {
            Event::Sent { message, group, .. } => {
                *groups.of.of(*message) = group;
                groups.sent += 1;
                *groups.place.of(*message) = groups.sent;
                groups.queued.entry(group).or_default().insert(groups.sent, *message);
                groups.firsts.entry(group).or_default().push(*message);
            }
            Event::Deleted { message, .. } => groups.out(*message),
            Event::Moved { message } | Event::Expired { message } => {
                groups.out(*message);
                groups.end.of(*message).get_or_insert(*at);
            }
            Event::Lettered { message, .. } => {
                groups.end.of(*message).get_or_insert(*at);
            }
            Event::Arrived(request) => {
                found.extend(groups.overtaken(plan, *at, request).map(|what| Violation { entry, what }));
            }
            Event::End => found.extend(groups.unsorted(record).map(|what| Violation { entry, what })),
            _ => {}
        }
    }
    found
}

impl Groups<'_> {
    fn out(&mut self, message: usize) {
        let group = *self.of.of(message);
        let place = *self.place.of(message);
        self.queued.entry(group).or_default().remove(&place);
    }

    fn overtaken(&mut self, plan: &Plan, now: Duration, request: &Request) -> impl Iterator<Item = String> {
        let process = request.process;
        let mut found = Vec::new();
        for (place, job) in request.jobs.iter().enumerate() {
            let group = *self.of.of(*job);
            self.first_attempt.of(*job).get_or_insert(now);
            let before = *self.place.of(*job);
            for (_, other) in self.queued.get(group).into_iter().flat_map(|queued| queued.range(..before)) {
                let ahead = request.jobs[..place].contains(other);
                if !ahead && !self.knowledge.is_done(plan, now, *other, process) {
                    let remembered = self.knowledge.remembered(plan, *other, process);
                    let why = if unwanted(plan, remembered, now, *other) {
                        ", though only what was remembered has no webhook for it"
                    } else {
                        ""
                    };
                    found.push(format!(
                        "job {job}: attempted by {process:?} before job {other} of {group} is settled{why}"
                    ));
                }
            }
        }
        found.into_iter()
    }

    fn unsorted(&self, record: &Record<'_>) -> impl Iterator<Item = String> {
        let first = |job: &usize| {
            let first = (*self.first_attempt.get(*job)?)?;
            let end = self.end.get(*job).copied().flatten();
            (!record.attempted_after_its_end(end, first)).then_some(first)
        };
        let unsorted = move |jobs: &&Vec<usize>| {
            let firsts: Vec<_> = jobs.iter().filter_map(|job| Some((*job, first(job)?))).collect();
            let overtaken = |n: usize| firsts[n..].iter().any(|(_, later)| *later < firsts[n].1);
            // A change of the app can turn a job that had nowhere to go into one that has.
            (0..firsts.len()).any(|n| overtaken(n) && !record.app_changed(firsts[n].0, firsts[n].1))
        };
        self.firsts.values().filter(unsorted).map(|jobs| format!("first attempts out of order: {jobs:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::simulation::book::script::{A, B, Script};

    #[test]
    fn a_job_is_attempted_once_the_one_before_it_is_done_or_gone() {
        let mut in_order = Script::of(2);
        in_order.attempted(A, &[0], 1).delivered().attempted(A, &[1], 1).is_accepted_by(violations);
        let mut gone = Script::of(2);
        gone.attempted(A, &[0], 1).delivered().deleted(A, 0).attempted(B, &[1], 1).is_accepted_by(violations);
        Script::of(2).lettered(A, 0, "gone").attempted(A, &[1], 1).is_accepted_by(violations);
        Script::of(2).attempted(A, &[0, 1], 1).is_accepted_by(violations);
    }

    #[test]
    fn a_job_that_overtakes_is_refused() {
        Script::of(2)
            .attempted(A, &[0], 1)
            .failed()
            .attempted(A, &[1], 1)
            .is_refused_by(violations, "settled");
        let mut unknown = Script::of(2);
        unknown.attempted(A, &[0], 1).delivered().attempted(B, &[1], 1);
        unknown.is_refused_by(violations, "before job 0 of g is settled");
    }

    #[test]
    fn first_attempts_out_of_order_are_refused_even_where_the_earlier_job_was_gone() {
        let mut late = Script::of(2);
        late.at(1).deleted(A, 0).attempted(A, &[1], 1).at(2).attempted(A, &[0], 1);
        late.is_refused_by(violations, "out of order");
    }
}
