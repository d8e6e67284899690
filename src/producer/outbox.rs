//! What waits to be sent, per message group: the order of sends, as a state machine.
//!
//! `now` and chance are arguments; there is no clock and no I/O. The states of a group:
//!
//! ```text
//! push ─▶ Ready ──take──▶ UnderWay ──settle──▶ away, where nothing of it waits
//!           ▲                         ├──────▶ Ready, where something waits that has not failed
//!           └── its time ── Paused ◀──┘ where a job is to be sent again
//! ```
//!
//! Invariants:
//! - A group has at most one batch under way, and nothing of it is taken before that batch is settled.
//! - What is to be sent again comes before everything later of its group.
//! - Where a job is given up for a reason that is not its own (all but a refusal of the very job), what waits behind it
//!   in its group is given up with it: nothing goes before it that its sender may send anew, and a queue that is away
//!   holds a group up for one window, however many jobs of it wait.
//! - A job that may be on the queue is sent for the last time so early that it arrives within the deduplication
//!   interval of its first send: for the jobs that wait longer for a call, the process that stood still and the
//!   machine that slept, too.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::error::{CallError, Error, RETRY_WINDOW};
use super::pace::Pace;
use super::port::EntryResult;
use crate::backoff::Exponential;
use crate::queue::{MAX_BATCH, MessageId, NewMessage};
use crate::wall;

/// The backoff of a producer of many jobs.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
/// The longest wait before any retry.
const BACKOFF_CAP: Duration = Duration::from_secs(5);

/// The longest that a send may take; then it is cut off.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// A job on its way, with what its sender is told by.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) job: NewMessage,
    pub(super) ticket: T,
    size: usize,
    first_sent: Option<Moment>,
    failures: u32,
    /// An attempt may have put it on the queue; the error of the last such one.
    uncertain: Option<Error>,
    /// A batch with it was refused, and it is not known for whom of them: it goes by itself.
    alone: bool,
}

/// A point in time by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// It stands still while the machine sleeps.
    pub(super) tick: Instant,
    /// It is set, forwards and backwards.
    pub(super) wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { tick: Instant::now(), wall: wall::now() }
    }

    /// How long ago that was at the most.
    fn since(&self, earlier: &Self) -> Duration {
        let by_wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        by_wall.max(self.tick - earlier.tick)
    }
}

/// What goes out in one call: jobs of one group or more, those of a group in their order.
#[derive(Debug)]
pub(super) struct Batch<T> {
    pub(super) entries: Vec<Entry<T>>,
    began: Instant,
}

/// The end of a job: what its sender is to be told.
#[derive(Debug)]
pub(super) struct Settled<T> {
    pub(super) entry: Entry<T>,
    pub(super) result: Result<MessageId, Error>,
}

#[derive(Debug)]
struct Group<T> {
    waiting: VecDeque<Entry<T>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In line for a send.
    Ready,
    /// A batch of it is under way.
    UnderWay,
    /// It failed, and waits for its next attempt.
    Paused,
}

/// How long, and how often, a job is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryPolicy {
    /// From the first send of a job on, how long it may be sent again.
    pub(super) retry_for: Duration,
    /// The most attempts.
    pub(super) attempts: u32,
    /// The longest wait before the first retry; it doubles with each, up to the cap.
    pub(super) backoff: Duration,
}

impl Default for RetryPolicy {
    /// The policy of a producer of many jobs: it retries for the whole window.
    fn default() -> Self {
        Self { retry_for: RETRY_WINDOW, attempts: u32::MAX, backoff: BACKOFF_BASE }
    }
}

impl RetryPolicy {
    /// How long after its first send a job is sent again at the latest: the wait before the last attempt begins within
    /// the window.
    fn last_send(&self) -> Duration {
        self.retry_for + BACKOFF_CAP
    }
}

impl<T> Entry<T> {
    /// Why it may be on the queue, and since when, if SQS may have forgotten it before it arrives again.
    fn is_over(&self, now: Moment, last: Duration) -> Option<(Error, Duration)> {
        let error = self.uncertain.clone()?;
        let since = now.since(self.first_sent.as_ref()?);
        (since > last).then_some((error, since))
    }
}

/// All that is not yet confirmed and not under way.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    retries: RetryPolicy,
    groups: HashMap<Arc<str>, Group<T>>,
    ready: VecDeque<Arc<str>>,
    paused: BinaryHeap<Reverse<(Instant, Arc<str>)>>,
    /// Jobs that overtook an earlier one of their group, because SQS took them and not the earlier one of
    /// the same batch.
    pub(super) overtaken: u64,
    /// Why jobs are to be sent again, since it was taken.
    pub(super) trouble: Option<Error>,
    /// Jobs whose time was over before they could be sent again, since they were taken.
    pub(super) expired: Vec<Settled<T>>,
    pace: Pace,
}

impl<T> Outbox<T> {
    pub(super) fn new(retries: RetryPolicy) -> Self {
        Self {
            retries,
            groups: HashMap::new(),
            ready: VecDeque::new(),
            paused: BinaryHeap::new(),
            overtaken: 0,
            trouble: None,
            expired: Vec::new(),
            pace: Pace::default(),
        }
    }

    /// Whether no group waits for another attempt.
    pub(super) fn is_well(&self) -> bool {
        self.paused.is_empty()
    }

    /// Takes over a job, behind all others of its group.
    pub(super) fn push(&mut self, job: NewMessage, size: usize, ticket: T) {
        let entry = Entry { job, ticket, size, first_sent: None, failures: 0, uncertain: None, alone: false };
        if let Some(group) = self.groups.get_mut(entry.job.group.as_str()) {
            group.waiting.push_back(entry);
            return;
        }
        let name: Arc<str> = entry.job.group.as_str().into();
        self.ready.push_back(Arc::clone(&name));
        self.groups.insert(name, Group { waiting: VecDeque::from([entry]), state: State::Ready });
    }

    /// When the next paused group may go on.
    pub(super) fn next_change(&self) -> Option<Instant> {
        self.paused.peek().map(|Reverse((at, _))| *at)
    }

    /// What to send next beside the calls under way, if anything can go. A batch has jobs of one group, and of more
    /// only where more groups wait than could be sent at once. A job whose time is over is put to the expired ones,
    /// and what waits behind it in its group with it.
    pub(super) fn take(&mut self, now: Moment, under_way: usize) -> Option<Batch<T>> {
        while self.paused.peek().is_some_and(|Reverse((at, _))| *at <= now.tick) {
            let Some(Reverse((_, name))) = self.paused.pop() else { break };
            if let Some(group) = self.groups.get_mut(&name) {
                group.state = State::Ready;
                self.ready.push_back(name);
            }
        }
        let free_calls = self.pace.calls().saturating_sub(under_way);
        if free_calls == 0 {
            return None;
        }
        let (most_bytes, last) = (self.pace.bytes(), self.retries.last_send());
        let mut entries: Vec<Entry<T>> = Vec::new();
        let mut bytes = 0;
        let mut groups = self.ready.len().div_ceil(free_calls).clamp(1, MAX_BATCH);
        while groups > 0 {
            let Some(name) = self.ready.pop_front() else { break };
            let before = entries.len();
            let Some(group) = self.groups.get_mut(&name) else { continue };
            while let Some(next) = group.waiting.front() {
                if let Some(over) = next.is_over(now, last) {
                    let error = over.0.after(next.failures, over.1);
                    let expired = group.waiting.pop_front().map(|entry| failed(entry, error.clone()));
                    self.expired.extend(expired);
                    self.expired.extend(group.waiting.drain(..).map(|entry| behind(entry, &error)));
                    break;
                }
                let full = entries.len() == MAX_BATCH || bytes + next.size > most_bytes;
                if !entries.is_empty() && (full || next.alone) {
                    break;
                }
                let Some(mut entry) = group.waiting.pop_front() else { break };
                entry.first_sent.get_or_insert(now);
                bytes += entry.size;
                let alone = entry.alone;
                entries.push(entry);
                if alone {
                    group.state = State::UnderWay;
                    return Some(Batch { entries, began: now.tick });
                }
            }
            if entries.len() == before {
                if group.waiting.is_empty() {
                    self.groups.remove(&name);
                    continue;
                }
                // No room for its first job: it is the next batch's.
                self.ready.push_front(name);
                break;
            }
            group.state = State::UnderWay;
            groups -= 1;
        }
        (!entries.is_empty()).then_some(Batch { entries, began: now.tick })
    }

    /// Applies a batch's answer: returns the jobs that are finished, and puts the others back at the front of their groups.
    /// `chance` in 0..1 draws the wait.
    pub(super) fn settle(
        &mut self,
        now: Moment,
        batch: Batch<T>,
        answer: Result<Vec<EntryResult>, CallError>,
        chance: f64,
    ) -> Vec<Settled<T>> {
        match &answer {
            Ok(_) => self.pace.answered(),
            // A connection that breaks says nothing of how much it carries.
            Err(CallError::NoResponse(_)) if now.tick - batch.began >= CALL_DEADLINE / 2 => {
                self.pace.unanswered(now.tick, batch.began);
            }
            Err(_) => {}
        }
        let several = batch.entries.len() > 1;
        let mut settled = Vec::with_capacity(batch.entries.len());
        let mut again: Vec<(Arc<str>, VecDeque<Entry<T>>)> = Vec::new();
        let mut names: Vec<Arc<str>> = Vec::new();
        // Groups of which a job is given up for a reason that is not its own, and the first such reason.
        let mut ended: HashMap<Arc<str>, Error> = HashMap::new();
        let mut answers = match answer {
            Ok(answers) => Answers::Each(answers.into_iter()),
            Err(error) => Answers::All(error),
        };
        for mut entry in batch.entries {
            let (name, _) = match self.groups.get_key_value(entry.job.group.as_str()) {
                Some((name, group)) => (Arc::clone(name), group),
                None => continue,
            };
            if names.last() != Some(&name) {
                names.push(Arc::clone(&name));
            }
            let behind_kept = again.last().is_some_and(|(group, _)| *group == name);
            let verdict = answers.next(several);
            if let Verdict::Again(error) = &verdict
                && error.may_be_on_the_queue()
            {
                entry.uncertain = Some(error.clone());
            }
            match (verdict, ended.get(&name)) {
                (Verdict::Sent(id), ended) => {
                    if behind_kept || ended.is_some() {
                        self.overtaken += 1;
                    }
                    settled.push(Settled { entry, result: Ok(id) });
                }
                (Verdict::Final(error), _) => {
                    if !error.is_the_jobs_own() {
                        ended.entry(name).or_insert_with(|| error.clone());
                    }
                    settled.push(failed(entry, error));
                }
                (Verdict::Alone | Verdict::Again(_), Some(ahead)) => settled.push(behind(entry, ahead)),
                (Verdict::Alone, None) => {
                    entry.alone = true;
                    keep(&mut again, name, entry);
                }
                (Verdict::Again(error), None) => {
                    entry.failures += 1;
                    let tried = entry.first_sent.map_or(Duration::ZERO, |first| now.tick - first.tick);
                    // The next wait is inside the 50 s that the window leaves.
                    if tried >= self.retries.retry_for || entry.failures >= self.retries.attempts {
                        let error = error.after(entry.failures, tried);
                        ended.insert(name, error.clone());
                        settled.push(failed(entry, error));
                    } else {
                        self.trouble = Some(error);
                        keep(&mut again, name, entry);
                    }
                }
            }
        }
        let mut again: HashMap<Arc<str>, VecDeque<Entry<T>>> = again.into_iter().collect();
        for name in names {
            if let Some(ahead) = ended.get(&name)
                && let Some(group) = self.groups.get_mut(&name)
            {
                settled.extend(group.waiting.drain(..).map(|entry| behind(entry, ahead)));
            }
            let failed = again.remove(&name).unwrap_or_default();
            self.put_back(now.tick, name, failed, chance);
        }
        settled
    }

    /// Puts what has to be sent again before the rest of its group, and the group in line, to wait or away.
    fn put_back(&mut self, now: Instant, name: Arc<str>, failed: VecDeque<Entry<T>>, chance: f64) {
        let Some(group) = self.groups.get_mut(&name) else { return };
        let failures = failed.front().map_or(0, |head| head.failures);
        for entry in failed.into_iter().rev() {
            group.waiting.push_front(entry);
        }
        if group.waiting.is_empty() {
            self.groups.remove(&name);
        } else if failures == 0 {
            group.state = State::Ready;
            self.ready.push_back(name);
        } else {
            group.state = State::Paused;
            self.paused.push(Reverse((now + backoff(self.retries.backoff, failures, chance), name)));
        }
    }
}

fn keep<T>(again: &mut Vec<(Arc<str>, VecDeque<Entry<T>>)>, name: Arc<str>, entry: Entry<T>) {
    match again.last_mut() {
        Some((group, entries)) if *group == name => entries.push_back(entry),
        Some(_) | None => again.push((name, VecDeque::from([entry]))),
    }
}

/// The end of a job that is given up.
fn failed<T>(entry: Entry<T>, error: Error) -> Settled<T> {
    let error = if entry.uncertain.is_some() && !error.may_be_on_the_queue() {
        Error::Unconfirmed(Box::new(error))
    } else {
        error
    };
    Settled { entry, result: Err(error) }
}

/// The end of a job whose group ended with a job ahead of it, for that reason.
fn behind<T>(entry: Entry<T>, ahead: &Error) -> Settled<T> {
    let may_be_there = entry.uncertain.is_some();
    let error = if may_be_there { ahead.clone() } else { ahead.clone().behind() };
    failed(entry, error)
}

/// Full jitter over the doubled base.
fn backoff(base: Duration, failures: u32, chance: f64) -> Duration {
    Exponential { base, cap: BACKOFF_CAP }.jittered(failures, chance).max(Duration::from_millis(1))
}

/// What an answer means for one job.
enum Verdict {
    Sent(MessageId),
    /// It will never be sent.
    Final(Error),
    /// It is to be sent by itself, to learn whom the refusal is for.
    Alone,
    /// It is to be sent again; the error if there is no time left for that.
    Again(Error),
}

enum Answers {
    Each(std::vec::IntoIter<EntryResult>),
    All(CallError),
}

impl Answers {
    fn next(&mut self, several: bool) -> Verdict {
        match self {
            Self::Each(answers) => match answers.next() {
                Some(EntryResult::Sent(id)) => Verdict::Sent(id),
                Some(EntryResult::Refused(why)) => Verdict::Final(Error::Refused(why)),
                Some(EntryResult::Throttled(why)) => Verdict::Again(Error::Throttled(why)),
                Some(EntryResult::Denied(why)) => Verdict::Final(Error::Denied(why)),
                Some(EntryResult::Expired(why)) => Verdict::Again(Error::Denied(why)),
                Some(EntryResult::Failed(why)) => Verdict::Again(Error::Unavailable(why)),
                Some(EntryResult::Unknown(why)) => Verdict::Again(Error::NoResponse(why)),
                None => Verdict::Again(Error::NoResponse("the answer left the job out".to_owned())),
            },
            Self::All(error) => match error.clone() {
                CallError::Refused(_) if several => Verdict::Alone,
                CallError::Refused(why) => Verdict::Final(Error::Refused(why)),
                CallError::Denied(why) => Verdict::Final(Error::Denied(why)),
                CallError::Missing(why) => Verdict::Final(Error::Missing(why)),
                CallError::Expired(why) => Verdict::Again(Error::Denied(why)),
                CallError::Unreachable(why) => Verdict::Again(Error::Unreachable(why)),
                CallError::Throttled(why) => Verdict::Again(Error::Throttled(why)),
                CallError::Service(why) => Verdict::Again(Error::Unavailable(why)),
                CallError::NoResponse(why) => Verdict::Again(Error::NoResponse(why)),
            },
        }
    }
}
