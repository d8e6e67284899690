//! The worker: pollers that receive, the lanes that it starts for what they bring, and the drain.
//!
//! Invariants:
//! - a poll asks only for what there is room for, so memory is bounded by configuration;
//! - a receive in progress is never cancelled (SQS may already have handed messages over), unless
//!   the grace of a shutdown runs out;
//! - every task is owned here: none outlives [`Worker::run`], and none dies silently.

mod poll;
mod refused;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::apps::Apps;
use crate::delete_batcher::{self, DeleteBatcher};
use crate::delivery::Transport;
use crate::flow::absences::Absences;
use crate::flow::breaker::Breaker;
use crate::flow::permits::{Permit, Permits, Reserved};
use crate::flow::scaler::PollScaler;
use crate::flow::shares::Shares;
use crate::flow::throttle::Throttle;
use crate::in_flight::{InFlight, Times, bounded};
use crate::job::{app_named_by, app_of_group, claimed_app_id};
use crate::lane::{Lane, Shared, settle};
use crate::ledger::{Claim, Ledger};
use crate::policy::rules::{LONGEST_SPARING, Rules};
use crate::policy::whole_milliseconds;
use crate::queue::{Message, Queue, ReceiveError, lacks_right};
use crate::random::Random;
use crate::telemetry::failures::Failures;
use crate::telemetry::health::{BEAT, Health};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{JobSpan, Traces};
use poll::{Poll, Polled};

/// How long the last deletes may take after the drain.
const LAST_DELETES: Duration = Duration::from_secs(2);

/// What of the grace is left after them, for the last spans and the last metrics line.
const LAST_TELEMETRY: Duration = Duration::from_secs(2);

/// How long before the drain is cut off the lanes are told so: each can still dead-letter the at most ten jobs that
/// SQS would not hand over again.
const CLOSING: Duration = Duration::from_secs(2);

/// A message that no other copy of is worked here, with its place.
type Claimed = (Message, Claim, Permit);

/// A message of which another copy is worked here, or which is behind one of those in its group; with its place.
type Refused = (Message, Permit);

/// Bounds of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Messages in memory at once.
    pub max_in_flight: usize,
    /// Bytes of message bodies in memory, beyond which no poll starts.
    pub max_bytes: usize,
    /// Messages a receive asks for, 1 to 10.
    pub batch: usize,
    /// A pause before every poll.
    pub pause: Duration,
    /// How long the queue lets a receive wait for the first message.
    pub wait: Duration,
    /// The time from the shutdown signal to the end.
    pub grace: Duration,
}

/// What a worker is made of.
#[derive(Debug)]
pub struct Parts<Q, T, A> {
    /// The queue.
    pub queue: Q,
    /// The destinations.
    pub transport: T,
    /// The app source.
    pub apps: A,
    /// Chance.
    pub random: Random,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What the health endpoints tell.
    pub health: Arc<Health>,
    /// What becomes of each job, as spans.
    pub traces: Traces,
}

/// A worker on one queue.
#[derive(Debug)]
pub struct Worker<Q, T, A> {
    shared: Arc<Shared<Q, T, A>>,
    permits: Permits,
    shares: Arc<Shares>,
    bounds: Bounds,
    health: Arc<Health>,
}

impl<Q: Queue, T: Transport, A: Apps> Worker<Q, T, A> {
    /// A worker that runs until `shutdown` is cancelled.
    pub fn new(parts: Parts<Q, T, A>, rules: Rules, bounds: Bounds, shutdown: CancellationToken) -> Self {
        let permits = Permits::new(bounds.max_in_flight, bounds.max_bytes);
        let shared = Shared {
            queue: Arc::new(parts.queue),
            transport: parts.transport,
            apps: parts.apps,
            // The longest backoff, of whichever webhook or while the app source is down, and a lease.
            ledger: Arc::new(Ledger::new(rules.retry.cap.max(LONGEST_SPARING) + rules.visibility)),
            breaker: Breaker::new(rules.retry.window, rules.attempt_timeout),
            failures: Failures::default(),
            undeliverable: Breaker::new(rules.retry.window, rules.attempt_timeout),
            absences: Absences::default(),
            throttle: Throttle::default(),
            permits: permits.clone(),
            random: parts.random,
            metrics: parts.metrics,
            traces: parts.traces,
            health: Arc::clone(&parts.health),
            shutdown,
            received_last: CancellationToken::new(),
            closing: CancellationToken::new(),
            longest_poll: bounds.wait,
            rules,
        };
        Self {
            shared: Arc::new(shared),
            permits,
            shares: Arc::new(Shares::new(bounds.max_in_flight, bounds.max_bytes)),
            bounds,
            health: parts.health,
        }
    }

    /// Receives and delivers until shutdown, then drains within the grace.
    pub async fn run(self) {
        let (deletes, serve) = delete_batcher::start(
            Arc::clone(&self.shared.queue),
            Arc::clone(&self.shared.metrics),
            Arc::clone(&self.health),
            self.bounds.max_in_flight,
        );
        // In a set of its own: it ends with this future, should that be dropped.
        let mut deleting = JoinSet::new();
        deleting.spawn(serve);
        self.receive_and_deliver(deletes).await;
        // Every sender is gone with the lanes: what remains is flushed and answered.
        match timeout(LAST_DELETES, deleting.join_next()).await {
            Ok(Some(Err(failure))) => error!(%failure, "the delete task failed"),
            Ok(Some(Ok(())) | None) => info!("drained"),
            Err(_) => error!("the last deletes were not answered in time; those jobs will come back"),
        }
    }

    async fn receive_and_deliver(&self, deletes: DeleteBatcher) {
        let shutdown = self.shared.shutdown.clone();
        let mut pollers = PollScaler::new(self.bounds.batch);
        let mut polls: JoinSet<Polled> = JoinSet::new();
        let mut lanes: JoinSet<()> = JoinSet::new();
        let mut end: Option<Instant> = None;
        // Whether there is a poll that the queue may let wait.
        let mut long = false;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if end.is_none() {
                while polls.len() < pollers.target() {
                    let wait = if long { Duration::ZERO } else { self.bounds.wait };
                    let poll = Poll::fresh(self.bounds.pause.max(pollers.pause()), wait);
                    long |= poll.is_long();
                    polls.spawn(self.poll(poll));
                }
            } else if polls.is_empty() {
                self.shared.received_last.cancel();
                if lanes.is_empty() {
                    return;
                }
            }
            // In this order, so that a seed of the simulation repeats itself, and so that what is
            // done is taken off before there is more.
            self.shared.metrics.pollers.set(i64::try_from(polls.len()).unwrap_or(i64::MAX));
            self.shared.metrics.lanes.set(i64::try_from(lanes.len()).unwrap_or(i64::MAX));
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if end.is_none() => {
                    info!(lanes = lanes.len(), "draining");
                    self.health.draining();
                    end = Some(Instant::now() + self.bounds.grace.saturating_sub(LAST_DELETES + LAST_TELEMETRY));
                }
                () = sleep_until(end.map_or_else(Instant::now, closes_at)),
                    if end.is_some() && !self.shared.closing.is_cancelled() => self.shared.closing.cancel(),
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => {
                    error!(lanes = lanes.len(), polls = polls.len(),
                        "the grace has run out; what is unfinished will come back (raise SHUTDOWN_GRACE_SECONDS)");
                    polls.shutdown().await;
                    lanes.shutdown().await;
                    return;
                }
                // Polled before lanes and receives, which may always be ready: without a beat the watchdog ends the process.
                _ = beat.tick() => {
                    self.health.turned();
                    self.measure();
                }
                Some(ended) = lanes.join_next(), if !lanes.is_empty() => Self::lane_ended(ended),
                Some(polled) = polls.join_next(), if !polls.is_empty() => {
                    if polled.as_ref().is_ok_and(Polled::was_long) {
                        long = false;
                    }
                    if let Some(again) = self.polled(polled, &mut pollers, &mut lanes, &deletes)
                        && end.is_none()
                        && (again.repeats() || polls.len() < pollers.target())
                    {
                        long |= again.is_long();
                        polls.spawn(self.poll(again));
                    }
                }
            }
        }
    }

    /// Takes one poll's result; gives the poll to be made in its stead where the same has to go on.
    fn polled(
        &self,
        polled: Result<Polled, JoinError>,
        pollers: &mut PollScaler,
        lanes: &mut JoinSet<()>,
        deletes: &DeleteBatcher,
    ) -> Option<Poll> {
        match polled {
            Ok(Polled::Stopped) => None,
            Ok(Polled::Received { messages, reserved, times, hasty, .. }) => {
                self.health.received();
                self.shared.metrics.received(messages.len());
                let absent = pollers.received(messages.len(), reserved.count(), hasty, times.received_at);
                if let Some(since) = times.received_at.checked_sub(absent) {
                    self.shared.was_absent(since, times.received_at);
                }
                let (groups, refused) = self.groups(messages, reserved);
                for group in groups {
                    self.start(group, times, deletes, lanes);
                }
                for group in refused {
                    self.refuse(group, times, deletes, lanes);
                }
                None
            }
            Ok(Polled::Failed { error, reserved, attempt, wait: long }) => {
                self.health.receive_failed(&error);
                self.shared.metrics.receive_failed(&error);
                let wait = pollers.failed(&error, self.shared.random.fraction(), Instant::now());
                error!(%error, retry_in_ms = whole_milliseconds(wait), "{}", operator_hint(&error));
                Some(Poll::after(wait, long, &error, attempt, reserved))
            }
            Err(failure) => {
                error!(%failure, "a poller failed; another takes its place");
                None
            }
        }
    }

    /// Sorts messages by group, in the order in which they came; the second are those that are refused.
    fn groups(
        &self,
        messages: Vec<Message>,
        mut reserved: Reserved,
    ) -> (Vec<Vec<Claimed>>, Vec<Vec<Refused>>) {
        let mut groups: Vec<Vec<Claimed>> = Vec::new();
        let mut refused: Vec<Vec<Refused>> = Vec::new();
        for message in messages {
            let permit = self.permits.take(&mut reserved, message.body.len());
            // Another copy is being worked under a lost lease. This one has to wait, and what follows
            // it in its group too.
            let before = refused
                .iter_mut()
                .find(|group| group.first().is_some_and(|(first, _)| first.group == message.group));
            // What is behind it was held here all the same, untried: the ledger remembers that.
            let claim = self.shared.ledger.claim(&message.id).filter(|_| before.is_none());
            let Some(claim) = claim else {
                match before {
                    Some(group) => group.push((message, permit)),
                    None => refused.push(vec![(message, permit)]),
                }
                continue;
            };
            let same = |group: &&mut Vec<Claimed>| {
                group.first().is_some_and(|(first, ..)| first.group == message.group)
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.push((message, claim, permit)),
                None => groups.push(vec![(message, claim, permit)]),
            }
        }
        (groups, refused)
    }

    /// Leaves what is refused of a group to its visibility timeout, unless SQS would not hand all of it over again.
    fn refuse(&self, group: Vec<Refused>, times: Times, deletes: &DeleteBatcher, lanes: &mut JoinSet<()>) {
        let shared = Arc::clone(&self.shared);
        let last = |message: &Message| {
            shared.rules.last_chance(message.receive_count, message.age, shared.rules.visibility)
        };
        if group.iter().any(|(message, _)| last(message).is_some()) {
            let app_shares = Arc::clone(&self.shares);
            lanes.spawn(refused::wait(shared, app_shares, deletes.clone(), group, times));
            return;
        }
        self.shared.metrics.abandoned.inc_by(group.len() as u64);
        // This process is ending: it releases them, so that another worker gets them.
        if shared.shutdown.is_cancelled() {
            let messages = group.into_iter().map(|(message, _)| message).collect();
            lanes.spawn(give_back(shared, messages));
        }
    }

    /// Starts the lane of one group's messages. What its app has no room for goes back: behind a head that is
    /// attempted at once, as the queue hands it over only when the head is done; else for a backoff.
    fn start(&self, group: Vec<Claimed>, times: Times, deletes: &DeleteBatcher, lanes: &mut JoinSet<()>) {
        let Some((first, ..)) = group.first() else { return };
        let claimant = Claimant::of(first);
        let sizes: Vec<usize> = group.iter().map(|(message, ..)| message.body.len()).collect();
        let deferrable = group
            .iter()
            .all(|(message, ..)| self.shared.rules.may_be_deferred(message.receive_count, message.age));
        let count = if deferrable && !self.shared.shutdown.is_cancelled() {
            self.shares.admits(&claimant.app, &sizes)
        } else {
            group.len()
        };
        let shares = |n| Some(&self.shares).filter(|_| n < count);
        let in_flight = |(n, claimed)| claimant.in_flight(claimed, shares(n));
        let mut jobs: VecDeque<InFlight> = group.into_iter().enumerate().map(in_flight).collect();
        let rest = jobs.split_off(count);
        let lane = |jobs| Lane::new(Arc::clone(&self.shared), deletes.clone(), jobs, times);
        if !rest.is_empty() {
            let rest = lane(rest);
            if jobs.is_empty() {
                lanes.spawn(rest.defer())
            } else {
                lanes.spawn(rest.give_back())
            };
        }
        if !jobs.is_empty() {
            lanes.spawn(lane(jobs).run());
        }
    }

    fn lane_ended(ended: Result<(), JoinError>) {
        if let Err(failure) = ended
            && failure.is_panic()
        {
            error!(%failure, "a lane failed; its jobs will come back");
        }
    }

    fn measure(&self) {
        let metrics = &self.shared.metrics;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.in_flight.set(number(self.permits.taken()));
        metrics.bytes_in_flight.set(number(self.permits.bytes()));
        metrics.breakers_open.set(number(self.shared.breaker.down(Instant::now())));
    }

    fn poll(&self, poll: Poll) -> impl Future<Output = Polled> + Send + use<Q, T, A> {
        let (shared, bounds) = (Arc::clone(&self.shared), self.bounds);
        let (permits, app_shares) = (self.permits.clone(), Arc::clone(&self.shares));
        async move { poll.run(&shared, &permits, &app_shares, &bounds).await }
    }
}

/// The app that the jobs of a group claim to be of.
struct Claimant {
    /// Its id, as it is filed; empty where they name none.
    app_id: Arc<str>,
    /// By whose share they are held.
    app: String,
}

impl Claimant {
    fn of(first: &Message) -> Self {
        let claimed = claimed_app_id(&first.body);
        // A group that names no app says which jobs share a place, and no more.
        let named = claimed.as_deref().or_else(|| app_named_by(&first.group)).unwrap_or_default();
        let app_id = bounded(named).into();
        Self { app_id, app: claimed.unwrap_or_else(|| app_of_group(&first.group).to_owned()) }
    }

    /// One of its jobs; without `shares` it only goes back.
    fn in_flight(&self, (message, claim, permit): Claimed, shares: Option<&Arc<Shares>>) -> InFlight {
        let share = shares.map(|shares| shares.take(&self.app, message.body.len()));
        let (app_id, span) = (Arc::clone(&self.app_id), JobSpan::default());
        InFlight { message, claim, app_id, _permit: permit, share, span }
    }
}

/// When lanes have to give up what has no other chance, if they are cut off at `end`.
fn closes_at(end: Instant) -> Instant {
    end.checked_sub(CLOSING).unwrap_or(end)
}

/// Gives messages back that were not put into a lane, by a process that is ending.
async fn give_back<Q: Queue, T, A>(shared: Arc<Shared<Q, T, A>>, messages: Vec<Message>) {
    // A poll of this process that is parked would be the first to get them again.
    if timeout(shared.rules.visibility, shared.received_last.cancelled()).await.is_err() {
        return;
    }
    let hidden = settle::hidden_at_shutdown(&shared, true);
    let changes: Vec<_> = messages.iter().map(|message| (&message.receipt, hidden)).collect();
    if let Err(error) = shared.queue.change_visibility(&changes).await {
        debug!(%error, "not released; they come back when their visibility timeout ends");
    }
}

/// What an operator can do about a failing receive.
#[must_use]
pub fn operator_hint(error: &ReceiveError) -> &'static str {
    match error {
        ReceiveError::NoResponse(_) => {
            "cannot reach the queue; still trying (check QUEUE_SQS_ENDPOINT, QUEUE_SQS_REGION and the network)"
        }
        ReceiveError::Throttled(_) => "the queue throttles; polling less",
        ReceiveError::Denied(why) if lacks_right(why, "sqs:") => {
            "no access to the queue; still trying (the worker's role needs sqs:ReceiveMessage, sqs:DeleteMessage, \
             sqs:ChangeMessageVisibility and sqs:GetQueueAttributes on it)"
        }
        ReceiveError::Denied(_) => {
            "no access to the queue; still trying (the error says why; where there are no credentials, set some or a task role)"
        }
        ReceiveError::Missing(_) => "no such queue; still trying (check QUEUE_SQS_URL and QUEUE_SQS_REGION)",
        ReceiveError::Service(_) => "the queue answered with an error; still trying",
    }
}

#[cfg(test)]
pub(crate) mod tests;
