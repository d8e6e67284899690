//! What the receivers saw: every attempt, from its first byte to its end.
//!
//! All receivers share one sequence of events, so that "before" is exact. An acceptance is stamped
//! before the last bytes of its answer are written: the worker cannot have read the answer, and begun
//! the next job, earlier than that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

/// Between two looks at whether the machine keeps up.
const TICK: Duration = Duration::from_millis(50);

/// A look that comes so much too late means that the machine stalled: the worker's margins are of this
/// size.
const STALL: Duration = Duration::from_millis(250);

/// Between two looks at how crowded the machine is.
const LOOK: Duration = Duration::from_secs(1);

/// Of the time between two looks, how much of it somebody has to have waited for a core for the machine to count as
/// stalled. Whom it kept waiting is not known: it may have been a worker, whose margins are shorter.
const CROWDED: f64 = 0.9;

/// A point in the run.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its place among all events.
    pub order: u64,
    /// Since the start.
    pub at: Duration,
    /// By the wall clock, for comparison with the queue's timestamps.
    pub wall_ms: u128,
}

/// One webhook of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delivery {
    pub group: usize,
    pub n: usize,
    pub webhook: usize,
}

/// One attempt, as its receiver saw it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The worker process, by the header that its own configuration gives the webhook.
    pub worker: String,
    pub delivery: Delivery,
    /// `X-Hookferry-Id`.
    pub id: String,
    /// `X-Hookferry-Attempt`.
    pub number: u32,
    pub began: Stamp,
    pub ended: Option<(Stamp, End)>,
    /// Whether its connection had answered an earlier request.
    pub kept: bool,
    /// Whether the receiver reset the connection instead of a whole answer.
    pub reset: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A 2xx was written, all of it.
    Accepted,
    /// The receiver had taken the job, but its answer was cut, reset or too late.
    AnswerLost,
    /// The job was not taken: another status, a reset, or the worker hung up.
    NotTaken,
}

/// The record that receivers, proxy and schedule write to.
#[derive(Debug)]
pub struct History {
    began: Instant,
    next: AtomicU64,
    calm: AtomicBool,
    attempts: Mutex<Vec<Attempt>>,
    arrivals: Mutex<BTreeMap<Delivery, u32>>,
    faults: Mutex<BTreeMap<(&'static str, String), u64>>,
    stalls: Mutex<Vec<(Duration, Duration)>>,
    wrongs: Mutex<Vec<String>>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            next: AtomicU64::default(),
            calm: AtomicBool::default(),
            attempts: Mutex::default(),
            arrivals: Mutex::default(),
            faults: Mutex::default(),
            stalls: Mutex::default(),
            wrongs: Mutex::default(),
        }
    }
}

impl History {
    /// Since the start of the run.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn stamp(&self) -> Stamp {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Stamp { order: self.next.fetch_add(1, Ordering::SeqCst), at: self.now(), wall_ms: wall.as_millis() }
    }

    /// Watches for as long as it is polled whether the machine keeps up: with this process, and with all.
    pub async fn watch(&self) {
        tokio::join!(self.watch_own_ticks(), self.watch_the_crowd());
    }

    async fn watch_the_crowd(&self) {
        // Not all kernels tell.
        let Some(mut waited) = waited_for_a_core() else { return };
        loop {
            let from = self.now();
            sleep(LOOK).await;
            let (to, now) = (self.now(), waited_for_a_core().unwrap_or(waited));
            if now.saturating_sub(waited) > to.saturating_sub(from).mul_f64(CROWDED) {
                lock(&self.stalls).push((from, to));
            }
            waited = now;
        }
    }

    async fn watch_own_ticks(&self) {
        loop {
            let from = self.now();
            sleep(TICK).await;
            let to = self.now();
            if to.saturating_sub(from) > TICK + STALL {
                lock(&self.stalls).push((from, to));
            }
        }
    }

    /// From when to when the machine stalled.
    pub fn stalls(&self) -> Vec<(Duration, Duration)> {
        lock(&self.stalls).clone()
    }

    /// From here on nobody inflicts faults.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::SeqCst);
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    /// Puts an attempt down; gives its place.
    pub fn attempt_began(&self, attempt: Attempt) -> usize {
        let mut attempts = lock(&self.attempts);
        attempts.push(attempt);
        attempts.len() - 1
    }

    pub fn attempt_ended(&self, place: usize, at: Stamp, end: End) {
        lock(&self.attempts)[place].ended = Some((at, end));
    }

    pub fn attempt_reset(&self, place: usize) {
        lock(&self.attempts)[place].reset = true;
    }

    /// How often this delivery has arrived before.
    pub fn arrivals_before(&self, delivery: Delivery) -> u32 {
        let mut arrivals = lock(&self.arrivals);
        let count = arrivals.entry(delivery).or_default();
        *count += 1;
        *count - 1
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        lock(&self.attempts).clone()
    }

    /// The workers whose deliveries were accepted since then.
    pub fn at_work_since(&self, since: Duration) -> BTreeSet<String> {
        let attempts = lock(&self.attempts);
        let accepted = attempts.iter().filter(|attempt| attempt.accepted().is_some_and(|at| at.at > since));
        accepted.map(|attempt| attempt.worker.clone()).collect()
    }

    /// Counts a fault that somebody inflicted.
    pub fn fault(&self, by: &'static str, kind: impl std::fmt::Debug) {
        *lock(&self.faults).entry((by, format!("{kind:?}"))).or_default() += 1;
    }

    pub fn faults(&self) -> BTreeMap<(&'static str, String), u64> {
        lock(&self.faults).clone()
    }

    /// Puts down something that must never happen, seen as it happened.
    pub fn wrong(&self, what: String) {
        lock(&self.wrongs).push(what);
    }

    pub fn wrongs(&self) -> Vec<String> {
        lock(&self.wrongs).clone()
    }
}

impl Attempt {
    pub fn end(&self) -> Option<End> {
        self.ended.map(|(_, end)| end)
    }

    pub fn accepted(&self) -> Option<Stamp> {
        self.ended.filter(|(_, end)| *end == End::Accepted).map(|(at, _)| at)
    }

    /// Whether this is the second request of the attempt whose first is `other`: a kept connection ended before
    /// its answer, which may have been the receiver's way to close it. The second goes by a new one.
    pub fn sends_again(&self, other: &Self) -> bool {
        let ended = other.ended.is_some_and(|(at, _)| at.order < self.began.order);
        self.number == other.number && other.kept && other.reset && ended && !self.kept
    }

    /// Whether the receiver had taken the job, whatever became of its answer.
    pub fn took_effect(&self) -> bool {
        matches!(self.end(), Some(End::Accepted | End::AnswerLost))
    }
}

/// How long somebody on this machine has waited for a core, since it started.
fn waited_for_a_core() -> Option<Duration> {
    let pressure = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    let (_, total) = pressure.lines().find(|line| line.starts_with("some"))?.split_once("total=")?;
    Some(Duration::from_micros(total.trim().parse().ok()?))
}

/// A panic in one task must not hide the record from the others.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
