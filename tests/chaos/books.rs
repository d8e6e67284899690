//! The books: what was sent against what arrived.
//!
//! - **Lost**: a sound job that some webhook of it never accepted; a job that should have been
//!   dead-lettered and was not, or was twice, or for another reason; a sound job that was.
//! - **Reordered**: a job whose first attempt came after the first attempt at a later job of its group.
//! - **Overtaken**: an attempt at a job, at any webhook, begun before every earlier job of its group
//!   had been accepted by all its webhooks or stood in the dead-letter queue. "Accepted" is the moment
//!   before the receiver wrote the last byte of its 2xx; "begun" is the first byte that it read. A
//!   late second attempt at an earlier job is a duplicate and overtakes nothing. There is no exception
//!   for workers that were stopped: a worker goes on to a job only after it has read a whole 2xx for
//!   the one before, and the queue hands a job out only after the one before was deleted, so even a
//!   worker that lost its lease in its sleep can only repeat.
//! - **Duplicates**: see [`duplicates`].
//! - **Overstayed**: an attempt that its worker did not give up at the attempt timeout.
//! - **Attempt id reused**: a receive repeated by its attempt id after it had been answered, be it by a
//!   throttling, to a worker that was running and could read the answer.
//! - **Names**: every attempt carries the message id and the webhook's index; within one process the
//!   attempts at a delivery are counted upwards from at least 1.

mod duplicates;
mod order;
mod self_check;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::{Attempt, Delivery};
use crate::producer::Sent;
use crate::proxy::Notes;
use crate::timing::ATTEMPT_TIMEOUT;
use crate::workers::Life;
pub use duplicates::Cause;
pub use self_check::self_check;
pub use table::table;

/// A loaded machine may be so late in giving an attempt up, and in noticing that it was.
const TARDY: Duration = Duration::from_millis(800);

/// A message in the dead-letter queue.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The id of the message that it was.
    pub source: String,
    pub reason: String,
    /// When it was sent there, by the wall clock.
    pub sent_ms: u128,
}

/// All that is known at the end of a run.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// By group, in the order of the queue.
    pub sent: Vec<Vec<Sent>>,
    /// How many webhooks a job of each group has.
    pub webhooks: Vec<usize>,
    pub attempts: Vec<Attempt>,
    pub dead: Vec<Dead>,
    pub lives: BTreeMap<String, Life>,
    pub notes: Notes,
    /// From when to when the machine stalled.
    pub stalls: Vec<(Duration, Duration)>,
}

/// What is wrong, by the kind of wrong.
#[derive(Clone, Debug, Default)]
pub struct Violations(BTreeMap<&'static str, Vec<String>>);

/// The outcome.
#[derive(Clone, Debug, Default)]
pub struct Balance {
    pub violations: Violations,
    pub duplicates: BTreeMap<Cause, u64>,
}

/// Balances the books.
pub fn balance(evidence: &Evidence) -> Balance {
    let mut violations = Violations::default();
    names(evidence, &mut violations);
    lost(evidence, &mut violations);
    overstayed(evidence, &mut violations);
    reused(evidence, &mut violations);
    order::check(evidence, &mut violations);
    let duplicates = duplicates::count(evidence, &mut violations);
    Balance { violations, duplicates }
}

impl Violations {
    pub fn add(&mut self, kind: &'static str, what: String) {
        self.0.entry(kind).or_default().push(what);
    }

    pub fn count(&self, kind: &str) -> usize {
        self.0.get(kind).map_or(0, Vec::len)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first few of each kind, a line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        const SHOWN: usize = 8;
        self.0.iter().flat_map(|(kind, list)| {
            let more = list.len().saturating_sub(SHOWN);
            let rest = (more > 0).then(|| format!("{kind}: and {more} more"));
            list.iter().take(SHOWN).map(move |what| format!("{kind}: {what}")).chain(rest)
        })
    }
}

impl Evidence {
    pub fn sent(&self, group: usize, n: usize) -> Option<&Sent> {
        self.sent.get(group)?.get(n)
    }

    /// Whether a worker was stopped at some time between these.
    fn stopped(&self, worker: &str, from: Duration, to: Duration) -> bool {
        self.lives.get(worker).is_some_and(|life| overlap(&life.stops, from, to))
    }

    /// Whether the machine stalled at some time between these.
    fn stalled(&self, from: Duration, to: Duration) -> bool {
        overlap(&self.stalls, from, to)
    }

    /// Attempts by delivery, each list in the order in which they began.
    pub fn by_delivery(&self) -> BTreeMap<Delivery, Vec<&Attempt>> {
        let mut all: BTreeMap<Delivery, Vec<&Attempt>> = BTreeMap::new();
        for attempt in &self.attempts {
            all.entry(attempt.delivery).or_default().push(attempt);
        }
        for list in all.values_mut() {
            list.sort_by_key(|attempt| attempt.began.order);
        }
        all
    }
}

/// An attempt in a line of text.
pub fn shown(attempt: &Attempt) -> String {
    let Delivery { group, n, webhook } = attempt.delivery;
    let began = seconds(attempt.began.at);
    let end = match attempt.ended {
        Some((at, end)) => format!("{} {end:?}", seconds(at.at)),
        None => "not ended".to_owned(),
    };
    format!("group {group} job {n} webhook {webhook} by {} #{} {began}–{end}", attempt.worker, attempt.number)
}

pub fn seconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64())
}

/// Whether a worker was kept from running between these, by a stop or by the machine.
fn slept(evidence: &Evidence, worker: &str, from: Duration, to: Duration) -> bool {
    evidence.stopped(worker, from, to) || evidence.stalled(from, to)
}

fn overlap(times: &[(Duration, Duration)], from: Duration, to: Duration) -> bool {
    times.iter().any(|(since, until)| *since <= to && *until >= from)
}

fn names(evidence: &Evidence, violations: &mut Violations) {
    let mut last: BTreeMap<(&str, Delivery), &Attempt> = BTreeMap::new();
    for attempt in &evidence.attempts {
        let Delivery { group, n, webhook } = attempt.delivery;
        let Some(sent) = evidence.sent(group, n) else {
            violations.add("unknown", shown(attempt));
            continue;
        };
        if attempt.id != format!("{}.{webhook}", sent.id) {
            violations.add("wrong id", format!("{} for {}: {}", attempt.id, sent.id, shown(attempt)));
        }
        let before = last.insert((&attempt.worker, attempt.delivery), attempt);
        let counted = before.map_or(0, |before| before.number);
        if attempt.number <= counted && !before.is_some_and(|before| attempt.sends_again(before)) {
            violations.add("wrong number", format!("after #{counted}: {}", shown(attempt)));
        }
        if !evidence.lives.contains_key(&attempt.worker) {
            violations.add("unknown worker", shown(attempt));
        }
    }
}

fn overstayed(evidence: &Evidence, violations: &mut Violations) {
    for attempt in &evidence.attempts {
        let (from, to) = (attempt.began.at, attempt.ended.map_or(Duration::MAX, |(at, _)| at.at));
        if to.saturating_sub(from) > ATTEMPT_TIMEOUT + TARDY && !slept(evidence, &attempt.worker, from, to) {
            violations.add("overstayed", shown(attempt));
        }
    }
}

fn reused(evidence: &Evidence, violations: &mut Violations) {
    for reused in &evidence.notes.reused {
        if !slept(evidence, &reused.worker, reused.answered, reused.again) {
            violations.add("attempt id reused", format!("{reused:?}"));
        }
    }
}

fn lost(evidence: &Evidence, violations: &mut Violations) {
    let attempts = evidence.by_delivery();
    let mut dead: BTreeMap<&str, Vec<&Dead>> = BTreeMap::new();
    for letter in &evidence.dead {
        dead.entry(&letter.source).or_default().push(letter);
    }
    for (group, jobs) in evidence.sent.iter().enumerate() {
        for (n, job) in jobs.iter().enumerate() {
            let letters = dead.remove(job.id.as_str()).unwrap_or_default();
            let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
            let expected: Vec<&str> = job.kind.reason().into_iter().collect();
            if reasons != expected {
                let what = format!("group {group} job {n} ({:?}) is dead-lettered for {reasons:?}", job.kind);
                violations.add("lost", format!("{what}, not for {expected:?}"));
            }
            if job.kind.reason().is_some() {
                continue;
            }
            for webhook in 0..evidence.webhooks[group] {
                let delivery = Delivery { group, n, webhook };
                let tries = attempts.get(&delivery).map_or(&[][..], Vec::as_slice);
                if tries.iter().all(|attempt| attempt.accepted().is_none()) {
                    let last = tries.last().map_or("no attempt".to_owned(), |last| shown(last));
                    let what = format!("group {group} job {n} webhook {webhook} was never accepted");
                    violations.add("lost", format!("{what}; {} attempts, the last: {last}", tries.len()));
                }
            }
        }
    }
    for letter in dead.into_values().flatten() {
        violations.add("unknown", format!("in the dead-letter queue: {letter:?}"));
    }
}
