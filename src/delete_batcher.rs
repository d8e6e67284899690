//! Coalesced deletes of jobs that are done.
//!
//! Deletes go out ten at a time where they can. A lane's last delete unblocks its message group, and takes along
//! whatever else is waiting: that of a lane of several jobs goes at once, since there may be more behind them, that of a
//! job that came alone waits for company for `SHORT_LINGER` (8 ms). No delete waits longer than `LINGER` (50 ms). While
//! `BUSY` (8) calls are under way, last deletes wait for company too.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, warn};

use crate::in_flight::InFlight;
use crate::lease::{Lease, SETTLE_MARGIN};
use crate::queue::{BatchEntryResult, MAX_BATCH, Queue, Receipt};
use crate::shown::Label;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::{Metrics, SettleCall};
use crate::telemetry::settling::report_batch;

/// The longest that a delivered job waits for its delete.
const LINGER: Duration = Duration::from_millis(50);

/// The longest that the delete of a job that came alone keeps its group waiting.
const SHORT_LINGER: Duration = Duration::from_millis(8);

/// So often the delete of a job that SQS does not hand over again is tried, as long as its lease lasts, and so long apart.
/// A shutdown waits for it.
const LAST_TRIES: u32 = 5;
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// With so many delete calls under way, a lane's last delete waits for company.
const BUSY: usize = 8;

/// One job that is done.
#[derive(Debug)]
pub struct Deletion {
    /// The job.
    pub held: InFlight,
    /// Until when no other copy of it can be handed out.
    pub lease: Lease,
    /// What its group waits for.
    pub urgency: Urgency,
    /// SQS does not hand it over again to be deleted: it would move it to its dead-letter queue.
    pub is_last: bool,
}

/// How soon a delete has to go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Others of its lane are not done: its group waits for them.
    Later,
    /// It is all of its lane.
    Soon,
    /// It is the last of a lane of several jobs.
    Now,
}

/// Where lanes send the jobs that are done.
#[derive(Clone, Debug)]
pub struct DeleteBatcher(mpsc::Sender<Deletion>);

impl DeleteBatcher {
    /// Hands a job over to be deleted.
    pub async fn send(&self, done: Deletion) {
        if self.0.send(done).await.is_err() {
            // Only after a forced end. The job is on the ledger and comes back.
            warn!("a finished job could not be deleted: the worker is ending");
        }
    }
}

/// A queue of deletes for at most `bound` jobs, and the task's future that serves it until
/// every sender is gone and every delete has been answered.
pub fn start<Q: Queue>(
    queue: Arc<Q>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    bound: usize,
) -> (DeleteBatcher, impl Future<Output = ()> + Send) {
    let (sender, receiver) = mpsc::channel(bound.max(1));
    (DeleteBatcher(sender), serve(queue, metrics, health, receiver))
}

async fn serve<Q: Queue>(
    queue: Arc<Q>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    mut receiver: mpsc::Receiver<Deletion>,
) {
    let mut waiting: Vec<Deletion> = Vec::with_capacity(MAX_BATCH);
    let mut urgent = false;
    let mut due_at = Instant::now();
    let mut calls = JoinSet::new();
    loop {
        let linger = sleep_until(due_at);
        let open = tokio::select! {
            biased;
            Some(_) = calls.join_next(), if !calls.is_empty() => true,
            done = receiver.recv() => match done {
                Some(done) => {
                    if waiting.is_empty() {
                        due_at = Instant::now() + LINGER;
                    }
                    take(done, &mut waiting, &mut urgent, &mut due_at);
                    true
                }
                None => false,
            },
            () = linger, if !waiting.is_empty() => true,
        };
        while waiting.len() < MAX_BATCH
            && let Ok(done) = receiver.try_recv()
        {
            take(done, &mut waiting, &mut urgent, &mut due_at);
        }
        let due = !open || Instant::now() >= due_at || waiting.len() >= MAX_BATCH;
        if !waiting.is_empty() && (due || (urgent && calls.len() < BUSY)) {
            let batch = std::mem::replace(&mut waiting, Vec::with_capacity(MAX_BATCH));
            urgent = false;
            calls.spawn(delete(Arc::clone(&queue), Arc::clone(&metrics), Arc::clone(&health), batch));
        }
        if !open && waiting.is_empty() {
            break;
        }
    }
    while calls.join_next().await.is_some() {}
}

fn take(done: Deletion, waiting: &mut Vec<Deletion>, urgent: &mut bool, due_at: &mut Instant) {
    match done.urgency {
        Urgency::Now => *urgent = true,
        Urgency::Soon => *due_at = (*due_at).min(Instant::now() + SHORT_LINGER),
        Urgency::Later => {}
    }
    waiting.push(done);
}

async fn delete<Q: Queue>(
    queue: Arc<Q>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    mut batch: Vec<Deletion>,
) {
    for tries in 1.. {
        let receipts: Vec<&Receipt> = batch.iter().map(|done| &done.held.message.receipt).collect();
        metrics.delete_calls.inc();
        let answer = queue.delete(&receipts).await;
        report_batch(&metrics, &health, SettleCall::Delete, &answer);
        let entries = answer.unwrap_or_else(|error| vec![BatchEntryResult::Failed(error); batch.len()]);
        let (now, mut again) = (Instant::now(), Vec::new());
        for (done, entry) in batch.into_iter().zip(entries) {
            let in_time = done.lease.fits(now, LAST_PAUSE + SETTLE_MARGIN);
            match entry {
                BatchEntryResult::Ok => {
                    metrics.acknowledged.inc();
                    done.held.claim.deleted(!done.lease.is_over(now));
                }
                BatchEntryResult::Failed(_) | BatchEntryResult::NotMentioned
                    if done.is_last && in_time && tries < LAST_TRIES =>
                {
                    again.push(done);
                }
                // Dropping the claim leaves it on the ledger as done: it is only deleted again.
                BatchEntryResult::ReceiptExpired
                | BatchEntryResult::Failed(_)
                | BatchEntryResult::NotMentioned => {
                    metrics.late_settlements.inc();
                    tell(&done, &entry);
                }
            }
        }
        if again.is_empty() {
            return;
        }
        sleep(LAST_PAUSE).await;
        batch = again;
    }
}

/// Says that a job which is done was not deleted, and what becomes of it.
fn tell(done: &Deletion, entry: &BatchEntryResult) {
    let (id, group) = (&done.held.message.id, Label::new(&done.held.message.group));
    let app_id = done.held.shown_app();
    if done.is_last && done.held.claim.record().given_up.is_some() {
        error!(message_id = %id, app_id = app_id.as_str(), %group,
            "the job is given up and has its letter, but could not be deleted at its last receive: SQS moves it to its dead-letter \
             queue too (a redrive of both puts it back once)");
    } else if done.is_last {
        error!(message_id = %id, app_id = app_id.as_str(), %group,
            "the job is done, but could not be deleted at its last receive: SQS moves it to its dead-letter queue without a letter \
             of ours (remedy: do not redrive it; hookferry dlq purge takes it away)");
    } else if *entry == BatchEntryResult::ReceiptExpired {
        warn!(message_id = %id, %group,
            "late delete: the job is done, but its receipt had expired; it is deleted when it comes back");
    } else {
        // Said once a minute, for the call.
        debug!(message_id = %id, %group, ?entry,
            "the job is done, its delete failed: it is deleted when it comes back");
    }
}
