//! The book: all that happened in a world, in order, and what must never happen in one.
//!
//! The ports write it from outside the worker; it knows the truth: what the queue holds, whose lease it
//! is, what each destination accepted and what each process was told. It is an append-only list of
//! events. Each invariant is a pure function over that list, in a file of its own; what several of them
//! have to know of what came before is in `facts`, and every exception that they make is a predicate in
//! `excuses`.

mod event;
mod excuses;
mod facts;
mod invariants;
#[cfg(test)]
mod script;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hookferry::queue::MessageId;

use super::plan::Plan;
pub use event::{Entry, Event, Id, Request};
use invariants::Record;
pub use invariants::Violation;

/// All that happened.
#[derive(Debug)]
pub struct Book {
    plan: Arc<Plan>,
    entries: Vec<Entry>,
    messages: HashMap<MessageId, usize>,
    /// The messages that are in the queue, and when each was sent.
    queued: BTreeMap<usize, Duration>,
    requests: usize,
    /// The messages of each job that a process has received, and of which it does not know that they are done.
    held: HashMap<(Id, usize), Vec<usize>>,
    /// Which process was told that which webhook has a message's job.
    told: HashSet<(Id, usize, String)>,
    /// The messages that a process knows to be in the dead-letter queue.
    given_up: HashSet<(Id, usize)>,
    stood_still: Duration,
}

impl Book {
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            plan,
            entries: Vec::new(),
            messages: HashMap::new(),
            queued: BTreeMap::new(),
            requests: 0,
            held: HashMap::new(),
            told: HashSet::new(),
            given_up: HashSet::new(),
            stood_still: Duration::ZERO,
        }
    }

    /// Appends an event.
    pub fn write(&mut self, at: Duration, event: Event) {
        match &event {
            Event::Sent { message, id, .. } => {
                self.messages.insert(Arc::clone(id), *message);
                self.queued.insert(*message, at);
            }
            Event::Deleted { message, .. } | Event::Moved { message } | Event::Expired { message } => {
                self.queued.remove(message);
            }
            Event::Received { process, message } => {
                let held = self.held.entry((*process, self.plan.number(*message))).or_default();
                if !held.contains(message) && !self.given_up.contains(&(*process, *message)) {
                    held.push(*message);
                }
            }
            Event::DeleteBegan { process, message } | Event::LetterConfirmed { process, message } => {
                if matches!(event, Event::LetterConfirmed { .. }) {
                    self.given_up.insert((*process, *message));
                }
                if let Some(held) = self.held.get_mut(&(*process, self.plan.number(*message))) {
                    held.retain(|other| other != message);
                }
            }
            Event::Told(request) => {
                let told = |message: &usize| (request.process, *message, request.webhook.clone());
                self.told.extend(request.jobs.iter().map(told));
            }
            Event::StoodStill { lasts } => self.stood_still += *lasts,
            _ => {}
        }
        self.entries.push(Entry { at, event });
    }

    /// The number of the message with that id.
    pub fn message(&self, id: &str) -> Option<usize> {
        self.messages.get(id).copied()
    }

    /// Under which message a process holds a job: it may have been put back while its first message is still
    /// in the queue, and then that one comes first, until it is done for this webhook.
    /// `taken` are those that stand before it in the same request.
    pub fn held(&self, process: Id, job: usize, webhook: &str, taken: &[usize]) -> usize {
        let held = self.held.get(&(process, job)).map_or(&[][..], Vec::as_slice);
        let is_open = |message: &&usize| {
            !taken.contains(message) && !self.told.contains(&(process, **message, webhook.to_owned()))
        };
        let queued = || held.iter().filter(|message| self.queued.contains_key(message));
        let first = queued().find(is_open).or_else(|| queued().next());
        first.or(held.last()).copied().unwrap_or(job)
    }

    /// A number for the next request.
    pub fn next_request(&mut self) -> usize {
        self.requests += 1;
        self.requests
    }

    /// For how long everything has stood still in all.
    pub fn stood_still(&self) -> Duration {
        self.stood_still
    }

    /// Every job was sent and is out of the queue.
    pub fn drained(&self) -> bool {
        self.messages.len() >= self.plan.jobs.len() && self.queued.is_empty()
    }

    /// The messages in the queue that were sent at that time or before.
    pub fn sent_before(&self, time: Duration) -> Vec<usize> {
        let old = |(message, sent): (&usize, &Duration)| (*sent <= time).then_some(*message);
        self.queued.iter().filter_map(old).collect()
    }

    /// The messages that are still in the queue.
    pub fn left(&self) -> Vec<usize> {
        self.queued.keys().copied().collect()
    }

    /// What of all that must not have happened, and the excuses that were needed.
    pub fn judged(&self) -> (Vec<Violation>, BTreeSet<&'static str>) {
        let granted = RefCell::default();
        let record = Record { plan: &self.plan, entries: &self.entries, granted: &granted };
        (invariants::violations(&record), granted.into_inner())
    }

    /// All that happened, a line an event, with what was violated by it.
    pub fn trace(&self) -> Vec<String> {
        let mut violations = self.judged().0;
        violations.sort_by_key(|violation| violation.entry);
        let mut violations = violations.into_iter().peekable();
        let mut lines = Vec::new();
        for (n, entry) in self.entries.iter().enumerate() {
            lines.extend(entry.lines());
            while let Some(violation) = violations.next_if(|violation| violation.entry <= n) {
                lines.push(entry.line(&format!("VIOLATED {}", violation.what)));
            }
        }
        lines
    }

    /// How often each of the things happened that a run of many seeds has to have seen.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        let mut together: HashSet<usize> = HashSet::new();
        for entry in &self.entries {
            let mut count = |what| *counts.entry(what).or_default() += 1;
            entry.event.counted().into_iter().for_each(&mut count);
            match &entry.event {
                Event::Arrived(request) if request.jobs.len() > 1 => {
                    count("coalesced");
                    together.extend(&request.jobs);
                }
                Event::Arrived(request) if together.contains(&request.jobs[0]) => {
                    count("coalesced, then alone");
                }
                _ => {}
            }
        }
        counts
    }

    /// How long a job took from its send until it was out of the queue: to compare runs.
    pub fn took(&self, job: usize) -> Duration {
        let mut sent = Duration::ZERO;
        for entry in &self.entries {
            match entry.event {
                Event::Sent { message, .. } if message == job => sent = entry.at,
                Event::Deleted { message, .. } | Event::Moved { message } if message == job => {
                    return entry.at.saturating_sub(sent);
                }
                _ => {}
            }
        }
        Duration::MAX
    }
}
