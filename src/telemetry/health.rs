//! Whether the worker is alive, and whether it is ready.
//!
//! Alive is about this process alone: its poll loop turns and its lanes end what they begin in the time
//! that it has. That SQS, an app source or a webhook does not answer says nothing of that: an orchestrator
//! that replaced the process for it would do so in a loop, and beside soketi every WebSocket with it.
//! What is wrong with the outside is a reason not to be ready.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::metrics::SettleCall;
use crate::queue::ReceiveError;

/// How often a loop that has nothing to do says that it turns.
pub const BEAT: Duration = Duration::from_secs(1);

/// What a lane may be late by before that counts: as much as a machine that is short of CPU may cause.
const LATE: Duration = Duration::from_secs(30);

/// How often one failing call is logged.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// For how long a denied or failing call counts that is neither answered nor made again: a job whose call fails is tried
/// again by then, here or by another replica, which may be the one that finds it answered.
const FAILED_FOR: Duration = Duration::from_secs(600);
/// For how long a call that settles jobs fails, and how often, before that makes the worker unready: one that got lost
/// says nothing, nor do two an hour apart.
const FAILS_FOR: Duration = Duration::from_secs(30);
const FAILS_TIMES: u32 = 3;

/// The worker's state as its health endpoints tell it.
#[derive(Debug)]
pub struct Health {
    patience: Duration,
    failed_for: Duration,
    turns: AtomicU64,
    settles_fail: AtomicBool,
    lanes: Arc<Lanes>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    turned: Option<Instant>,
    draining: bool,
    queue: Option<String>,
    /// The calls that were denied when they were made last, why, and when that was.
    settles: BTreeMap<SettleCall, (String, Instant)>,
    failing: BTreeMap<SettleCall, Failing>,
    said: BTreeMap<SettleCall, Logged>,
}

/// Failures of a call since it was last answered.
#[derive(Debug)]
struct Failing {
    first: Instant,
    last: Instant,
    times: u32,
    why: String,
}

impl Failing {
    fn lasts(&self) -> bool {
        self.times >= FAILS_TIMES && self.last.duration_since(self.first) >= FAILS_FOR
    }
}

/// When failures of a call were last logged, and how many there have been since.
#[derive(Debug, Default)]
struct Logged {
    at: Option<Instant>,
    failures: u64,
}

/// The lanes at work, and when each should have got on at the latest.
#[derive(Debug, Default)]
struct Lanes {
    next: AtomicU64,
    due: Mutex<HashMap<u64, Instant>>,
}

/// One lane's promise to get on. Dropped with the lane.
#[derive(Debug)]
pub struct Watch {
    lanes: Arc<Lanes>,
    lane: u64,
}

impl Health {
    /// Not ready before the queue has answered; alive while the poll loop turns at least once in
    /// `patience`, and before it has begun to.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        let queue = Some("the queue has not answered yet".to_owned());
        let state = State {
            turned: None,
            draining: false,
            queue,
            settles: BTreeMap::new(),
            failing: BTreeMap::new(),
            said: BTreeMap::new(),
        };
        Self {
            patience,
            failed_for: FAILED_FOR,
            turns: AtomicU64::new(0),
            settles_fail: AtomicBool::new(false),
            lanes: Arc::default(),
            state: Mutex::new(state),
        }
    }

    /// Where a job may have to wait for so long until it is tried again.
    #[must_use]
    pub fn with_backoffs_of(self, longest: Duration) -> Self {
        Self { failed_for: FAILED_FOR + longest * 2, ..self }
    }

    /// The poll loop turned, whatever for.
    pub fn turned(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.state().turned = Some(Instant::now());
    }

    /// How often it did.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// A lane begins something that takes no longer than this.
    #[must_use]
    pub fn watch(&self, at_most: Duration) -> Watch {
        let lane = self.lanes.next.fetch_add(1, Ordering::Relaxed);
        let watch = Watch { lanes: Arc::clone(&self.lanes), lane };
        watch.goes_on(at_most);
        watch
    }

    /// The queue answered a receive, or at start with its attributes.
    pub fn received(&self) {
        self.state().queue = None;
    }

    /// A receive failed.
    pub fn receive_failed(&self, error: &ReceiveError) {
        self.state().queue = Some(error.to_string());
    }

    /// A call that settles jobs is denied; `why` says what would allow it.
    pub fn settle_denied(&self, call: SettleCall, why: &str) {
        let why = format!("{} is denied: {why}", call.permission());
        self.state().settles.insert(call, (why, Instant::now()));
        self.settles_fail.store(true, Ordering::Relaxed);
    }

    /// A call that settles jobs failed, and not for a missing right.
    pub fn settle_failed(&self, call: SettleCall, why: &str) {
        let (now, mut state) = (Instant::now(), self.state());
        if state.failing.get(&call).is_some_and(|failing| now.duration_since(failing.last) > self.failed_for)
        {
            state.failing.remove(&call);
        }
        let failing = state.failing.entry(call).or_insert_with(|| Failing {
            first: now,
            last: now,
            times: 0,
            why: String::new(),
        });
        (failing.last, failing.times) = (now, failing.times.saturating_add(1));
        why.clone_into(&mut failing.why);
        self.settles_fail.store(true, Ordering::Relaxed);
    }

    /// A call that settles jobs failed. Once a minute that may be logged: then it gives how many have failed
    /// since the last time, this one included.
    #[must_use]
    pub fn may_say(&self, call: SettleCall) -> Option<u64> {
        let (now, mut state) = (Instant::now(), self.state());
        let said = state.said.entry(call).or_default();
        said.failures += 1;
        if said.at.is_some_and(|at| now.duration_since(at) < SAY_EVERY) {
            return None;
        }
        said.at = Some(now);
        Some(std::mem::take(&mut said.failures))
    }

    /// A call that settles jobs was answered. Costs nothing while none is denied or fails.
    pub fn settle_answered(&self, call: SettleCall) {
        if self.settles_fail.load(Ordering::Relaxed) {
            let mut state = self.state();
            state.settles.remove(&call);
            state.failing.remove(&call);
            let fail = !state.settles.is_empty() || !state.failing.is_empty();
            self.settles_fail.store(fail, Ordering::Relaxed);
        }
    }

    /// The worker is ending.
    pub fn draining(&self) {
        self.state().draining = true;
    }

    /// Whether it is.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.state().draining
    }

    /// Whether the poll loop turns and the lanes get on.
    ///
    /// # Errors
    /// What stands still, and for how long.
    pub fn live(&self) -> Result<(), String> {
        let now = Instant::now();
        let silent = self.state().turned.map_or(Duration::ZERO, |turned| now.duration_since(turned));
        if silent > self.patience {
            return Err(format!("the poll loop has stood still for {} s", silent.as_secs()));
        }
        let due = self.lanes.due.lock().unwrap_or_else(PoisonError::into_inner);
        let late = due.values().filter(|due| now.duration_since(**due) > LATE).count();
        if late > 0 {
            return Err(format!(
                "{late} of {} lanes have stood still for more than {} s",
                due.len(),
                LATE.as_secs()
            ));
        }
        Ok(())
    }

    /// Whether jobs can be received and settled.
    ///
    /// # Errors
    /// All reasons why not.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let state = self.state();
        let draining = state.draining.then(|| "draining".to_owned());
        let (now, failed_for) = (Instant::now(), self.failed_for);
        let denied = state.settles.values().filter(|(_, at)| now.duration_since(*at) <= failed_for);
        let denied = denied.map(|(why, _)| why.clone());
        let failing = state.failing.iter().filter(|(call, failing)| {
            failing.lasts()
                && now.duration_since(failing.last) <= failed_for
                && !state.settles.contains_key(call)
        });
        let failing = failing.map(|(call, failing)| format!("{} fails: {}", call.permission(), failing.why));
        let settles = denied.chain(failing);
        let reasons: Vec<String> = draining.into_iter().chain(state.queue.clone()).chain(settles).collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The lane begins its next step, which takes no longer than this.
    pub fn goes_on(&self, at_most: Duration) {
        let due = Instant::now() + at_most;
        self.lanes.due.lock().unwrap_or_else(PoisonError::into_inner).insert(self.lane, due);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.lanes.due.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn health() -> Health {
        Health::new(Duration::from_secs(30))
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_is_down_for_an_hour_makes_it_unready_but_not_dead() {
        let health = health();
        health.received();
        assert_eq!(health.ready(), Ok(()));
        health.receive_failed(&ReceiveError::NoResponse("connection refused".into()));
        for _ in 0..360 {
            advance(Duration::from_secs(10)).await;
            health.turned();
            assert_eq!(health.live(), Ok(()));
            assert!(health.ready().is_err());
        }
        health.received();
        assert_eq!(health.ready(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_turn_is_dead_and_one_that_has_not_begun_is_not() {
        let health = health();
        advance(Duration::from_secs(600)).await;
        assert_eq!(health.live(), Ok(()), "it waits for the queue at start");
        health.turned();
        advance(Duration::from_secs(30)).await;
        assert_eq!(health.live(), Ok(()));
        advance(Duration::from_secs(1)).await;
        assert_eq!(health.live(), Err("the poll loop has stood still for 31 s".to_owned()));
        health.turned();
        assert_eq!(health.live(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_destination_is_no_death_but_a_lane_that_outlives_its_time_is() {
        let health = Health::new(Duration::from_secs(3600));
        health.turned();
        let watch = health.watch(Duration::from_secs(90));
        advance(Duration::from_secs(90)).await;
        assert_eq!(health.live(), Ok(()));
        watch.goes_on(Duration::from_secs(90));
        advance(Duration::from_secs(121)).await;
        assert!(health.live().is_err_and(|why| why.starts_with("1 of 1 lanes")));
        drop(watch);
        assert_eq!(health.live(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_denied_permission_is_named_until_the_call_is_answered() {
        let health = health();
        health.received();
        health.settle_denied(SettleCall::ChangeVisibility, "AccessDenied: m (kms:Decrypt)");
        health.settle_denied(SettleCall::Delete, "m");
        health.settle_answered(SettleCall::Delete);
        health.received();
        let reasons = health.ready().unwrap_err();
        assert_eq!(reasons, ["sqs:ChangeMessageVisibility is denied: AccessDenied: m (kms:Decrypt)"]);
        health.settle_answered(SettleCall::ChangeVisibility);
        assert_eq!(health.ready(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_denied_call_counts_while_it_is_denied_again_and_not_for_ever() {
        let health = health().with_backoffs_of(Duration::from_secs(60));
        health.received();
        for _ in 0..10 {
            health.settle_denied(SettleCall::DeadLetter, "m");
            advance(Duration::from_secs(700)).await;
            assert!(health.ready().is_err());
        }
        // Another replica took the job over, and found that the call is allowed now.
        advance(Duration::from_secs(21)).await;
        assert_eq!(health.ready(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_said_once_a_minute_with_how_many_they_were() {
        let health = health();
        assert_eq!(health.may_say(SettleCall::Delete), Some(1));
        for _ in 0..7 {
            assert_eq!(health.may_say(SettleCall::Delete), None);
        }
        assert_eq!(health.may_say(SettleCall::DeadLetter), Some(1));
        advance(SAY_EVERY).await;
        assert_eq!(health.may_say(SettleCall::Delete), Some(8));
    }
}
