//! One message group's jobs from one receive, worked strictly in order under one lease.
//!
//! Invariants:
//! - no job is attempted while an earlier one of the lane is not done, but for jobs that go out in one
//!   request: their events, in order;
//! - no attempt starts unless it and the settling after it fit into what is left of the lease;
//! - at the first job that is not done the lane ends, with one change of visibility for all that is
//!   left of it;
//! - a job is acknowledged only when every webhook has it or the dead-letter queue does.
//!
//! A lane never waits to retry and never receives. It knows the ports and no adapter.

mod attempt;
mod own_rules;
mod run;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::apps::Apps;
use crate::delivery::Transport;
use crate::lease::{Lease, MIN_EXTENSION, SETTLE_MARGIN};
use crate::outcome::Reason;
use crate::plan::Limits;
use crate::policy::{Disposition, Retry, whole_seconds};
use crate::queue::{BatchEntryResult, DeadLetter, Error, Message, Queue, Receipt};
use crate::random::Random;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::{Metrics, SettleCall};
use crate::worker::breaker::Breaker;
use crate::worker::delete_batcher::{DeleteBatcher, Deletion};
use crate::worker::ledger::{Claim, Ledger};
use crate::worker::permits::Permit;
use crate::worker::report::{Failed, Wait, settle_call};
use run::Planned;

/// The longest that a release waits for the polls under way to end.
const RELEASE_WAIT: Duration = Duration::from_secs(1);

/// What the calls to the queue in one step of a lane may take together.
const CALLS: Duration = Duration::from_secs(30);

/// A queue that dead-letters by itself after fewer receives than this needs its counts spared: the
/// default window of 300 s has room for some fifteen attempts, and each can cost what waits behind
/// it a receive.
pub const AMPLE_RECEIVES: u32 = 100;

/// How time and retries are dealt with; checked when it was configured.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The queue's visibility timeout, as receives use it.
    pub visibility: Duration,
    /// The longest that one attempt may take, all of it.
    pub attempt_timeout: Duration,
    /// Backoff and window.
    pub retry: Retry,
    /// The queue's own `maxReceiveCount`, if it has one.
    pub max_receive_count: Option<u32>,
    /// Whether jobs of a lane go out together, and how much of them at the most.
    pub coalesce: Option<Limits>,
}

/// What every lane of a worker shares.
#[derive(Debug)]
pub struct Shared<Q, T, A> {
    /// The queue.
    pub queue: Q,
    /// The destinations.
    pub transport: T,
    /// The app source.
    pub apps: A,
    /// Time and retries.
    pub rules: Rules,
    /// What is known of messages that may come back.
    pub ledger: Arc<Ledger>,
    /// Which destinations are failing.
    pub breaker: Breaker,
    /// Where jitter comes from.
    pub random: Random,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether lanes get on, and may settle.
    pub health: Arc<Health>,
    /// Cancelled once no further job may be started.
    pub shutdown: CancellationToken,
    /// Cancelled once this process will receive nothing more.
    pub received_last: CancellationToken,
}

/// A received message with its place in memory and its record.
#[derive(Debug)]
pub struct InFlight {
    pub(crate) message: Message,
    pub(crate) claim: Claim,
    pub(crate) _permit: Permit,
}

/// When a receive's messages came.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When the response arrived.
    pub received_at: Instant,
    /// From when on the lease is counted: earlier where the response took longer than it could.
    pub lease_start: Instant,
}

/// The jobs of one group from one receive.
#[derive(Debug)]
pub struct Lane<Q, T, A> {
    shared: Arc<Shared<Q, T, A>>,
    acknowledgements: DeleteBatcher,
    jobs: VecDeque<InFlight>,
    /// The head, if it was planned when it was to go out with those before it, and did not fit.
    ahead: Option<Planned>,
    arrived: Instant,
    lease: Lease,
}

impl<Q: Queue, T: Transport, A: Apps> Lane<Q, T, A> {
    /// A lane of messages that came at these times, all of one group, in order.
    pub fn new(
        shared: Arc<Shared<Q, T, A>>,
        acknowledgements: DeleteBatcher,
        jobs: VecDeque<InFlight>,
        times: Times,
    ) -> Self {
        let lease = Lease::new(times.lease_start, shared.rules.visibility);
        Self { shared, acknowledgements, jobs, ahead: None, arrived: times.received_at, lease }
    }

    /// Works the lane to its end.
    pub async fn run(mut self) {
        // A look-up, an attempt, and the calls around them.
        let step = self.shared.rules.attempt_timeout * 2 + CALLS;
        let watch = self.shared.health.watch(step);
        loop {
            if self.jobs.is_empty() {
                return;
            }
            watch.goes_on(step);
            if self.shared.shutdown.is_cancelled() {
                return self.release().await;
            }
            let Some(attempted) = self.attempt().await else { return };
            for n in 0..attempted.jobs() {
                let Some(disposition) = self.disposition(&attempted) else { return };
                let settled = match disposition {
                    Disposition::Done => Ok(()),
                    // The margin behind the attempt was for one such call.
                    Disposition::DeadLetter(_) if n > 0 && !self.ensure_lease(SETTLE_MARGIN).await => return,
                    Disposition::DeadLetter(reason) => self.dead_letter(attempted.failed(&reason)).await,
                    Disposition::Retry { backoff, reason } => Err((backoff, reason)),
                };
                match settled {
                    Ok(()) => self.acknowledge().await,
                    Err((backoff, reason)) => {
                        return self.retry(backoff, attempted.failed(&reason)).await;
                    }
                }
            }
        }
    }

    /// Makes sure that `needed` fits into the lease, extending it for the whole rest if it must.
    /// `false` means that the lane has to be abandoned: SQS redelivers it.
    async fn ensure_lease(&mut self, needed: Duration) -> bool {
        let now = Instant::now();
        if self.lease.fits(now, needed) {
            return true;
        }
        let extension = self.shared.rules.visibility.max(MIN_EXTENSION).min(self.lease.longest(now));
        let extended = self.lease.extended(now, extension);
        if self.lease.is_over(now) || !extended.fits(now, needed) {
            self.abandoned("the lease has run out");
            return false;
        }
        let changes: Vec<_> = self.receipts().map(|receipt| (receipt, extension)).collect();
        let answer = timeout_at(self.lease.until(), self.shared.queue.change_visibility(&changes)).await;
        if let Ok(answer) = &answer {
            settle_call(&self.shared.metrics, &self.shared.health, SettleCall::ChangeVisibility, answer);
        }
        let granted = match answer {
            Ok(Ok(entries)) => entries.iter().all(|entry| *entry == BatchEntryResult::Ok),
            Ok(Err(_)) | Err(_) => false,
        };
        if !granted {
            self.abandoned("the lease could not be extended");
            return false;
        }
        self.shared.metrics.lease_extensions.inc();
        self.lease = extended;
        self.lease.fits(Instant::now(), needed)
    }

    /// Dead-letters the head. If the dead-letter queue does not confirm it, the job stays.
    async fn dead_letter(&mut self, failed: Failed<'_>) -> Result<(), (Duration, Reason)> {
        let Some(head) = self.jobs.front() else { return Ok(()) };
        let letter = dead_letter(head, failed.reason, self.age(head));
        let shared = &self.shared;
        let answer = shared.queue.dead_letter(&letter).await;
        settle_call(&shared.metrics, &shared.health, SettleCall::DeadLetter, &answer);
        match answer {
            Ok(()) => {
                warn!(message_id = %letter.id, group = %letter.group, attempts = letter.attempts,
                    reason = letter.reason, detail = letter.detail, "job dead-lettered");
            }
            Err(Error::NoDeadLetterQueue) => {
                error!(message_id = %letter.id, group = %letter.group, attempts = letter.attempts,
                    reason = letter.reason, detail = letter.detail,
                    "job given up and deleted: there is no dead-letter queue (set QUEUE_SQS_DLQ_URL)");
            }
            Err(Error::Call(why) | Error::Denied(why)) => {
                let reason = Reason::DeadLetterQueue(why);
                let attempts = letter.attempts.max(1);
                let backoff = crate::policy::backoff(
                    attempts,
                    Duration::ZERO,
                    &shared.rules.retry,
                    shared.random.fraction(),
                );
                shared.metrics.dead_letter_failures.inc();
                error!(message_id = %letter.id, group = %letter.group, detail = %reason,
                    next_retry_s = backoff.as_secs(), "dead-lettering failed; the job stays");
                return Err((backoff, reason));
            }
        }
        shared.given_up(&letter, failed);
        Ok(())
    }

    /// The head is done: on the ledger first, so that a copy that comes back before the delete is
    /// confirmed is only deleted again.
    async fn acknowledge(&mut self) {
        let Some(mut head) = self.jobs.pop_front() else { return };
        head.claim.record_mut().done = true;
        self.shared.metrics.board.unblocked(&head.message.group);
        let last = self.jobs.is_empty();
        self.acknowledgements.send(Deletion { held: head, last }).await;
    }

    /// Hides the failed head and the rest, in one call.
    async fn retry(self, backoff: Duration, failed: Failed<'_>) {
        let rules = &self.shared.rules;
        // While the head is hidden or in flight the rest cannot be received: hidden for longer, it
        // does not climb towards the queue's own dead-lettering with the head's retries.
        let spare = rules.max_receive_count.is_some_and(|most| most < AMPLE_RECEIVES);
        let rest = if spare {
            whole_seconds(backoff + rules.attempt_timeout + Duration::from_secs(1))
        } else {
            backoff
        };
        self.shared.metrics.retried(failed.reason);
        if let Some(head) = self.jobs.front() {
            let wait = Wait { backoff, age: self.age(head), behind: self.jobs.len() - 1 };
            self.shared.blocked(head, failed, wait);
        }
        self.settle_visibility(backoff, rest).await;
    }

    /// Gives back what has not been started, in one call so that order holds.
    async fn release(self) {
        // A poll of this process that is still parked would be the first to get it again. When it is
        // idle a poll can stay parked for as long as another process is waiting for these jobs.
        let last = self.shared.received_last.cancelled();
        if timeout(RELEASE_WAIT, last).await.is_err() {
            debug!("released while a poll is parked");
        }
        self.shared.metrics.released.inc_by(self.jobs.len() as u64);
        self.settle_visibility(Duration::ZERO, Duration::ZERO).await;
    }

    async fn settle_visibility(self, head: Duration, rest: Duration) {
        let most = self.lease.longest(Instant::now());
        let changes: Vec<_> = self
            .receipts()
            .enumerate()
            .map(|(n, receipt)| (receipt, if n == 0 { head } else { rest }.min(most)))
            .collect();
        let answer = self.shared.queue.change_visibility(&changes).await;
        settle_call(&self.shared.metrics, &self.shared.health, SettleCall::ChangeVisibility, &answer);
        let failed = match answer {
            Ok(entries) => entries.iter().filter(|entry| **entry != BatchEntryResult::Ok).count(),
            Err(_) => changes.len(),
        };
        if failed > 0 {
            // Nothing is lost: they come back when their visibility timeout ends.
            self.shared.metrics.late_settlements.inc_by(failed as u64);
        }
    }

    fn abandoned(&self, why: &'static str) {
        self.shared.metrics.abandoned.inc_by(self.jobs.len() as u64);
        if let Some(head) = self.jobs.front() {
            warn!(message_id = %head.message.id, group = %head.message.group, jobs = self.jobs.len(),
                "lane abandoned, SQS will redeliver it: {why}");
        }
    }

    fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.jobs.iter().map(|held| &held.message.receipt)
    }
}

fn dead_letter(head: &InFlight, reason: &Reason, now: Duration) -> DeadLetter {
    let (record, message) = (head.claim.record(), &head.message);
    let mut delivered =
        message.redriven.as_ref().map(|redriven| redriven.delivered.clone()).unwrap_or_default();
    delivered.extend(record.settled.iter().filter(|s| s.failed.is_none()).map(|s| s.webhook.clone()));
    let failed = record.settled.iter().find(|settled| settled.failed.as_ref() == Some(reason));
    DeadLetter {
        id: Arc::clone(&message.id),
        source: Arc::clone(message.redriven.as_ref().map_or(&message.id, |redriven| &redriven.source)),
        group: Arc::clone(&message.group),
        body: message.body.clone(),
        reason: reason.code(),
        detail: reason.to_string().chars().take(256).collect(),
        attempts: record.attempts,
        delivered,
        app_id: String::new(),
        webhook: failed.map(|settled| settled.webhook.clone()),
        destination: String::new(),
        first_sent: message.sent,
        given_up: message.sent.and_then(|sent| sent.checked_add(now)),
    }
}

#[cfg(test)]
mod tests;
