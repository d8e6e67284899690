//! Order within a group: an attempt begins only when all earlier jobs of the group are out of the queue,
//! done as far as the process can know, or ahead in the same request; and first attempts come in the order
//! in which the jobs were sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Violation;
use crate::simulation::book::event::{Entry, Event, Request};
use crate::simulation::book::excuses::{app_changed, attempted_after_its_end};
use crate::simulation::book::facts::{Each, Knowledge};
use crate::simulation::plan::Plan;

#[derive(Default)]
struct Groups<'a> {
    of: Each<&'a str>,
    queued: BTreeMap<&'a str, BTreeSet<usize>>,
    firsts: BTreeMap<&'a str, Vec<usize>>,
    first_attempt: Each<Option<Duration>>,
    /// When it was given up for the first time, or moved.
    end: Each<Option<Duration>>,
    knowledge: Knowledge,
}

pub fn violations(plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let mut groups = Groups::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in entries.iter().enumerate() {
        groups.knowledge.see(*at, event);
        match event {
            Event::Sent { message, group, .. } => {
                *groups.of.of(*message) = group;
                groups.queued.entry(group).or_default().insert(*message);
                groups.firsts.entry(group).or_default().push(*message);
            }
            Event::Deleted { message, .. } => groups.out(*message),
            Event::Moved { message } => {
                groups.out(*message);
                groups.end.of(*message).get_or_insert(*at);
            }
            Event::Lettered { message, .. } | Event::LetterConfirmed { message, .. } => {
                groups.end.of(*message).get_or_insert(*at);
            }
            Event::Arrived(request) => {
                found.extend(groups.overtaken(plan, *at, request).map(|what| Violation { entry, what }));
            }
            Event::End => found.extend(groups.unsorted(plan).map(|what| Violation { entry, what })),
            _ => {}
        }
    }
    found
}

impl Groups<'_> {
    fn out(&mut self, message: usize) {
        let group = *self.of.of(message);
        self.queued.entry(group).or_default().remove(&message);
    }

    fn overtaken(&mut self, plan: &Plan, now: Duration, request: &Request) -> impl Iterator<Item = String> {
        let process = request.process;
        let mut found = Vec::new();
        for (place, job) in request.jobs.iter().enumerate() {
            let group = *self.of.of(*job);
            self.first_attempt.of(*job).get_or_insert(now);
            for other in self.queued.get(group).into_iter().flat_map(|queued| queued.range(..job)) {
                let ahead = request.jobs[..place].contains(other);
                if !ahead && !self.knowledge.is_done(plan, now, *other, process) {
                    found.push(format!(
                        "job {job}: attempted by {process:?} before job {other} of {group} is settled"
                    ));
                }
            }
        }
        found.into_iter()
    }

    fn unsorted(&self, plan: &Plan) -> impl Iterator<Item = String> {
        let first = |job: &usize| {
            let first = (*self.first_attempt.get(*job)?)?;
            let end = self.end.get(*job).copied().flatten();
            (!attempted_after_its_end(end, first)).then_some(first)
        };
        let unsorted = move |jobs: &&Vec<usize>| {
            // A change of the app can turn a job that had nowhere to go into one that has.
            let changed = jobs.first().is_some_and(|job| app_changed(plan, *job));
            !changed && !jobs.iter().filter_map(first).is_sorted()
        };
        self.firsts.values().filter(unsorted).map(|jobs| format!("first attempts out of order: {jobs:?}"))
    }
}
