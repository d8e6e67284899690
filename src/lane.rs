//! One message group's jobs from one receive, worked strictly in order under one lease.
//!
//! Data runs one way: prepare (decode, find, verify, plan) → attempt → decide → settle.
//!
//! Invariants:
//! - no job is attempted while an earlier one of the lane is not done, but for jobs that go out in one
//!   request: their events, in order;
//! - no attempt starts unless it and the settling after it fit into what is left of the lease;
//! - at the first job that is not done the lane ends, with one change of visibility for all that is
//!   left of it;
//! - a job is acknowledged only when every webhook has it or the dead-letter queue does;
//! - no job that SQS would not hand over again, for its receives or its age, is given back.
//!
//! A lane never receives. Only where SQS would not hand over one of its jobs again does it wait, up to `LONGEST_WAIT`:
//! for capacity at a destination, or for a newer answer about its app. It knows the ports and no adapter.

mod attempt;
mod prepare;
pub(crate) mod settle;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::app::Webhook;
use crate::apps::{Apps, Fresh};
use crate::delete_batcher::DeleteBatcher;
use crate::delivery::Transport;
use crate::flow::absences::Absences;
use crate::flow::breaker::Breaker;
use crate::flow::permits::Permits;
use crate::flow::shares::Share;
use crate::flow::throttle::Throttle;
use crate::in_flight::{InFlight, Times};
use crate::lease::{Lease, MIN_EXTENSION, SETTLE_MARGIN};
use crate::ledger::Ledger;
use crate::policy::rules::Rules;
use crate::policy::{Disposition, own_rules};
use crate::queue::{BatchEntryResult, MessageId, Queue, Receipt};
use crate::random::Random;
use crate::telemetry::failures::Failures;
use crate::telemetry::health::{Health, Watch};
use crate::telemetry::metrics::{Metrics, SettleCall};
use crate::telemetry::settling::report_batch;
use crate::telemetry::traces::Traces;
use attempt::{Attempted, attempt};
use prepare::{Planned, look_up, prepare};
use settle::{PutBack, Return};

/// Below this `maxReceiveCount` the jobs behind a failing head are hidden for longer than the head, so that they are
/// not received, and counted, with each of its attempts: there can be nine jobs before one that fail for a window each.
/// What a webhook's own backoffs, shorter than the worker's, cost is not known beforehand: there receives are spared
/// whatever the count is. SQS' greatest count is 1000.
pub const AMPLE_RECEIVES: u32 = 1000;

/// Upper bound of what all calls to the queue between two progress reports of a lane take.
const CALLS: Duration = Duration::from_secs(30);

/// The longest that a job which SQS would not hand over again waits in its lane for a place at its destination, or for a
/// newer answer about its app: many times what requests under way or a lagging source may take. Ten such jobs can be
/// hidden for twelve hours together.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The pause before a refused extension of a lease is asked for again: the jobs of a last chance would spend what is left
/// of it on that.
const REFUSED_AGAIN: Duration = Duration::from_secs(1);
const NOT_EXTENDED: &str = "the lease could not be extended";

/// The pause before a waiting lane tries its head again.
const PAUSE: Duration = Duration::from_millis(250);

/// What every lane of a worker shares.
#[derive(Debug)]
pub struct Shared<Q, T, A> {
    /// The queue.
    pub queue: Arc<Q>,
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
    /// For which groups there has been nothing to send: their app cannot be used, or has no webhook for them.
    pub undeliverable: Breaker,
    /// When nothing could be attempted.
    pub absences: Absences,
    /// Which destinations have asked for fewer requests at a time.
    pub throttle: Throttle,
    /// Which failures have a line of the log.
    pub failures: Failures,
    /// How much may be in memory.
    pub permits: Permits,
    /// Where jitter comes from.
    pub random: Random,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What becomes of each job, as spans.
    pub traces: Traces,
    /// The watchdog's record: each lane reports its progress to it.
    pub health: Arc<Health>,
    /// Cancelled once no further job may be started.
    pub shutdown: CancellationToken,
    /// Cancelled once this process will receive nothing more.
    pub received_last: CancellationToken,
    /// Cancelled a little before the drain ends: from then on lanes only settle.
    pub closing: CancellationToken,
    /// The longest poll that another worker of this queue may have open.
    pub longest_poll: Duration,
}

impl<Q, T, A> Shared<Q, T, A> {
    /// From `began` to `ended` nothing could be attempted.
    pub(super) fn was_absent(&self, began: Instant, ended: Instant) {
        if let Some(lasted) = self.absences.add(began, ended) {
            self.breaker.was_absent(lasted, ended);
            self.undeliverable.was_absent(lasted, ended);
        }
    }
}

/// The jobs of one group from one receive.
#[derive(Debug)]
pub struct Lane<Q, T, A> {
    shared: Arc<Shared<Q, T, A>>,
    deletes: DeleteBatcher,
    jobs: VecDeque<InFlight>,
    /// How many they were at first.
    count: usize,
    /// The plan of the job that did not fit into the last request, so that it is not planned twice.
    ahead: Option<Planned>,
    /// How many jobs from the head on are sent one by one, because a request with all of them failed.
    going_alone: usize,
    /// The head that was planned once more before it was to be given up.
    planned_anew: Option<MessageId>,
    /// Since when it has waited for a place at the head's destinations, or for a newer answer about its app.
    waits_since: Option<Instant>,
    /// It was received after this process was told to end.
    came_late: bool,
    times: Times,
    lease: Lease,
    /// When it could not be extended last.
    refused_at: Option<Instant>,
    watch: Watch,
}

impl<Q, T, A> Lane<Q, T, A> {
    /// The plan was made for when the jobs before it are done; they are not, so that it is made again.
    fn forget_plan(&mut self) {
        self.ahead = None;
    }
}

impl<Q: Queue, T: Transport, A: Apps> Lane<Q, T, A> {
    /// A lane of messages that came at these times, all of one group, in order.
    pub fn new(
        shared: Arc<Shared<Q, T, A>>,
        deletes: DeleteBatcher,
        jobs: VecDeque<InFlight>,
        times: Times,
    ) -> Self {
        let lease = Lease::new(times.lease_start, shared.rules.visibility);
        let watch = shared.health.watch(shared.rules.visibility);
        let count = jobs.len();
        let came_late = shared.shutdown.is_cancelled();
        Self {
            shared,
            deletes,
            jobs,
            count,
            ahead: None,
            going_alone: 0,
            planned_anew: None,
            waits_since: None,
            came_late,
            times,
            lease,
            refused_at: None,
            watch,
        }
    }

    /// Works the lane to its end.
    pub async fn run(mut self) {
        'heads: for n in 0_usize.. {
            if self.jobs.is_empty() {
                return;
            }
            let is_last = self.holds_a_last_chance();
            if self.shared.shutdown.is_cancelled() && !is_last {
                return settle::release(self).await;
            }
            if n > 0 && self.gives_way() {
                return settle::put_back(self, PutBack::OverShare).await;
            }
            self.report_progress();
            settle::give_up_expiring(&mut self).await;
            let attempted = if is_last {
                let closing = self.shared.closing.clone();
                if closing.is_cancelled() {
                    return settle::close(self).await;
                }
                tokio::select! {
                    biased;
                    // First: where both are ready, the attempt that has ended is to be on record before the lane is closed.
                    attempted = self.try_head_of_the_last_chance() => attempted,
                    // Cancelled here, SQS would move or delete the job with no letter and no log line.
                    () = closing.cancelled() => return settle::close(self).await,
                }
            } else {
                self.try_head().await
            };
            let Some(attempted) = attempted else { return };
            if attempted.cut_off {
                return settle::close(self).await;
            }
            if self.waits_here(&attempted) {
                self.forget_plan();
                timeout(PAUSE, self.shared.closing.cancelled()).await.ok();
                continue;
            }
            if settle::goes_on_alone(&mut self, &attempted) {
                continue;
            }
            for _ in 0..attempted.jobs {
                let Some(head) = self.jobs.front() else { return };
                let random = self.shared.random.fraction();
                let disposition = settle::decide(&self.shared, head, &attempted, self.times, random);
                if matches!(disposition, Disposition::DeadLetter(_)) && self.plans_anew(&attempted).await {
                    continue 'heads;
                }
                settle::record(&mut self, &attempted, &disposition);
                let given_up = matches!(disposition, Disposition::DeadLetter(_));
                let settled = match disposition {
                    Disposition::Done => Ok(()),
                    // Of one job alone: the margin behind the attempt is for this call.
                    Disposition::DeadLetter(reason) => {
                        settle::dead_letter(&mut self, 0, &reason, &attempted, Return::Backoff).await
                    }
                    Disposition::Retry { backoff, reason } => Err((backoff, reason)),
                };
                match settled {
                    Ok(()) => settle::acknowledge(&mut self, given_up).await,
                    Err((backoff, reason)) => {
                        return settle::retry(self, backoff, &reason, &attempted).await;
                    }
                }
            }
        }
    }

    /// Prepares the head and what goes out with it, and attempts it; `None` if the lane had to be abandoned.
    async fn try_head(&mut self) -> Option<Attempted> {
        let prepared = prepare(self).await;
        attempt(self, prepared).await
    }

    /// As [`Self::try_head`], where SQS would not hand over one of the lane's jobs again: first extends the lease by what two
    /// look-ups of the app may take, so that time is left for a letter. Where it cannot, the head is tried all the same.
    async fn try_head_of_the_last_chance(&mut self) -> Option<Attempted> {
        let look_ups = self.shared.rules.attempt_timeout * 2;
        self.extend_lease(look_ups + SETTLE_MARGIN).await.ok();
        self.try_head().await
    }

    /// Whether the head, which is about to be given up for a webhook, is planned once more: the source knows other webhooks
    /// of its app than those that are remembered. Its owner may have corrected the one that failed.
    async fn plans_anew(&mut self, attempted: &Attempted) -> bool {
        let Some(app) = attempted.app.as_ref().filter(|_| attempted.jobs == 1) else { return false };
        let Some(head) = self.jobs.front().map(|head| Arc::clone(&head.message.id)) else { return false };
        // Whoever changes them all the time does not keep it for ever.
        if self.planned_anew.as_ref() == Some(&head) || !self.may_wait() {
            return false;
        }
        let longest = self.shared.rules.attempt_timeout;
        if self.extend_lease(longest + SETTLE_MARGIN).await.is_err() {
            return false;
        }
        let fresh = look_up(&self.shared, self.shared.apps.find_fresh(&app.key));
        let fresh = self.shared.closing.run_until_cancelled(fresh).await;
        let Some(Ok(Fresh { app: Some(fresh), .. })) = fresh else { return false };
        if fresh.webhooks == app.webhooks {
            return false;
        }
        self.planned_anew = Some(head);
        if let Some(head) = self.jobs.front_mut() {
            let is_another = |webhook: &&Webhook| {
                app.webhooks.iter().any(|known| known.id == webhook.id && known.target != webhook.target)
            };
            for webhook in fresh.webhooks.iter().filter(is_another) {
                head.claim.record_mut().may_take_it_now(webhook);
            }
        }
        self.forget_plan();
        true
    }

    /// Hides all of it, untried, for a backoff: its app has no room.
    pub async fn defer(self) {
        settle::put_back(self, PutBack::NoRoom).await;
    }

    /// Puts it back, untried: it is what waits behind a head for which alone its app has room.
    pub async fn give_back(self) {
        settle::put_back(self, PutBack::BehindHead).await;
    }

    /// Makes sure that `needed` fits into the lease, extending it for the whole rest if it must.
    /// `false` means that the lane has been abandoned: SQS redelivers it.
    async fn ensure_lease(&mut self, needed: Duration) -> bool {
        match self.extend_lease(needed).await {
            Ok(()) => true,
            Err(why) => {
                self.abandon(why).await;
                false
            }
        }
    }

    /// Extends the lease for the whole rest of the lane if `needed` does not fit; the error says why it still does not.
    async fn extend_lease(&mut self, needed: Duration) -> Result<(), &'static str> {
        let now = Instant::now();
        if self.lease.fits(now, needed) {
            return Ok(());
        }
        let extension = self.shared.rules.visibility.max(MIN_EXTENSION).min(self.lease.longest(now));
        let extended = self.lease.extended(now, extension);
        if self.lease.is_over(now) || !extended.fits(now, needed) {
            return Err("the lease has run out");
        }
        let was_refused = |at: Instant| now.duration_since(at) < REFUSED_AGAIN;
        if self.refused_at.is_some_and(was_refused) {
            return Err(NOT_EXTENDED);
        }
        let changes: Vec<_> = self.receipts().map(|receipt| (receipt, extension)).collect();
        let answer = timeout_at(self.lease.until(), self.shared.queue.change_visibility(&changes)).await;
        if let Ok(answer) = &answer {
            report_batch(&self.shared.metrics, &self.shared.health, SettleCall::ChangeVisibility, answer);
        }
        let granted = match answer {
            Ok(Ok(entries)) => entries.iter().all(|entry| *entry == BatchEntryResult::Ok),
            Ok(Err(_)) | Err(_) => false,
        };
        if !granted {
            self.refused_at = Some(Instant::now());
            return Err(NOT_EXTENDED);
        }
        self.shared.metrics.lease_extensions.inc();
        self.lease = extended;
        self.report_progress();
        if self.lease.fits(Instant::now(), needed) { Ok(()) } else { Err("the lease has run out") }
    }

    /// Reports to the watchdog that the next step begins: it ends within the lease, a look-up and an attempt, and the calls
    /// around them.
    fn report_progress(&self) {
        let left = self.lease.until().saturating_duration_since(Instant::now());
        self.watch.goes_on(left + self.shared.rules.attempt_timeout * 2 + CALLS);
    }

    fn holds_a_last_chance(&self) -> bool {
        let last = |held: &InFlight| held.last_chance(&self.shared.rules, self.times, Duration::ZERO);
        self.jobs.iter().any(|held| last(held).is_some())
    }

    /// Whether what was put off for a little waits here: put back, it or one behind it would not be handed over again,
    /// and would be given up untried.
    fn waits_here(&mut self, attempted: &Attempted) -> bool {
        let (now, rules) = (Instant::now(), self.shared.rules.clone());
        // About the longest that a retry hides for.
        let hidden = rules.retry.cap + rules.attempt_timeout + Duration::from_secs(2);
        let is_last = |held: &InFlight| held.last_chance(&rules, self.times, hidden).is_some();
        if !attempted.may_go_on_soon() || !self.jobs.iter().any(is_last) || !self.may_wait() {
            self.waits_since = None;
            return false;
        }
        let waits = now.duration_since(*self.waits_since.get_or_insert(now)) < LONGEST_WAIT;
        if !waits {
            // The next one has a wait of its own.
            self.waits_since = None;
        }
        waits
    }

    /// Whether SQS keeps all of its jobs for longer than two look-ups and an attempt take.
    fn may_wait(&self) -> bool {
        self.jobs.iter().all(|held| self.shared.rules.may_wait(held.age(self.times)))
    }

    /// Whether its app holds more places than it may, and what is left of the lane can wait.
    fn gives_way(&self) -> bool {
        self.jobs.front().and_then(|head| head.share.as_ref()).is_some_and(Share::gives_way)
            && self.may_be_deferred()
    }

    /// Whether every job of it may be put back untried.
    fn may_be_deferred(&self) -> bool {
        self.jobs.iter().all(|held| held.may_be_deferred(&self.shared.rules))
    }

    /// Leaves what is not done to SQS, but for what SQS would not hand over again.
    async fn abandon(&mut self, why: &'static str) {
        settle::give_up_without_another_chance(self, why).await;
        self.shared.metrics.abandoned.inc_by(self.jobs.len() as u64);
        if let Some(head) = self.jobs.front() {
            warn!(message_id = %head.message.id, group = settle::shown(&head.message.group),
                jobs = self.jobs.len(), "lane abandoned, SQS will redeliver it: {why}");
        }
    }

    fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.jobs.iter().map(|held| &held.message.receipt)
    }
}

#[cfg(test)]
mod tests;
