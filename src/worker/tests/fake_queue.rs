//! The port to the queue for tests under paused time: the local queue's state machine, some way away, with faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::fifo::{self, Broker, Outgoing, Receive, Received};
use crate::queue::{
    AttemptId, BatchEntryResult, DeadLetter, Error, Message, Queue, Receipt, ReceiveError, Redriven,
};

const JOBS: &str = "jobs.fifo";
const DEAD: &str = "dead.fifo";

/// The error of a receive, by its number from 1 on.
pub(crate) type ReceiveFault = dyn Fn(u32) -> Option<ReceiveError> + Send + Sync;

/// A change of visibility that was asked for, in seconds, with what became of it.
type Change = Vec<(u64, BatchEntryResult)>;

/// A queue, and all that was asked of it. Its clones are the same queue.
#[derive(Clone)]
pub(crate) struct FakeQueue {
    broker: Arc<Mutex<Broker>>,
    start: Instant,
    /// For how long a settling call is under way before it takes effect.
    pub(crate) way: Duration,
    /// What a redrive said of every message.
    pub(crate) redriven: Option<Redriven>,
    pub(crate) receive_fault: Arc<ReceiveFault>,
    pub(crate) dead_letters_down_for: Duration,
    /// The longest body that the dead-letter queue takes.
    pub(crate) letter_bytes: usize,
    pub(crate) deletes_fail_for: Duration,
    /// The role may not change visibilities.
    pub(crate) changes_denied: bool,
    letters: Arc<Mutex<Vec<DeadLetter>>>,
    letter_calls: Arc<Mutex<Vec<Duration>>>,
    attempt_ids: Arc<Mutex<Vec<String>>>,
    changes: Arc<Mutex<Vec<Change>>>,
    deletes: Arc<Mutex<Vec<BatchEntryResult>>>,
}

impl FakeQueue {
    pub(crate) fn new(visibility: Duration) -> Self {
        let queue = Self {
            broker: Arc::new(Mutex::new(Broker::new(1, "us-east-1", "000000000000"))),
            start: Instant::now(),
            way: Duration::ZERO,
            redriven: None,
            receive_fault: Arc::new(|_| None),
            dead_letters_down_for: Duration::ZERO,
            letter_bytes: usize::MAX,
            deletes_fail_for: Duration::ZERO,
            changes_denied: false,
            letters: Arc::default(),
            letter_calls: Arc::default(),
            attempt_ids: Arc::default(),
            changes: Arc::default(),
            deletes: Arc::default(),
        };
        let attributes = BTreeMap::from([
            ("FifoQueue".to_owned(), "true".to_owned()),
            ("VisibilityTimeout".to_owned(), visibility.as_secs().to_string()),
        ]);
        queue.broker().create_queue(queue.now(), JOBS, &attributes).unwrap();
        queue
    }

    /// Virtual time since the Unix epoch; the broker takes no other.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_secs(1_000_000) + self.start.elapsed()
    }

    fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().unwrap()
    }

    pub(crate) fn set_retention(&self, retention: Duration) {
        let seconds = retention.as_secs().to_string();
        let attributes = BTreeMap::from([("MessageRetentionPeriod".to_owned(), seconds)]);
        self.broker().set_attributes(self.now(), JOBS, &attributes).unwrap();
    }

    /// From now on the queue itself moves what was received so often.
    pub(crate) fn set_max_receive_count(&self, most: u32) {
        let fifo = BTreeMap::from([("FifoQueue".to_owned(), "true".to_owned())]);
        self.broker().create_queue(self.now(), DEAD, &fifo).unwrap();
        let target = self.broker().attributes(self.now(), DEAD).unwrap().remove("QueueArn").unwrap();
        let policy = serde_json::json!({"deadLetterTargetArn": target, "maxReceiveCount": most}).to_string();
        let attributes = BTreeMap::from([("RedrivePolicy".to_owned(), policy)]);
        self.broker().set_attributes(self.now(), JOBS, &attributes).unwrap();
    }

    /// How many messages the queue itself has moved.
    pub(crate) fn moved(&self) -> String {
        self.broker().attributes(self.now(), DEAD).unwrap().remove("ApproximateNumberOfMessages").unwrap()
    }

    pub(crate) fn send(&self, group: &str, body: String) {
        let dedup = Some(crate::job::deduplication_id(body.as_bytes()));
        let message = Outgoing { group: group.into(), dedup, body: body.into(), ..Outgoing::default() };
        self.broker().send(self.now(), JOBS, message).unwrap();
    }

    pub(crate) fn is_empty(&self) -> bool {
        let left = self.broker().attributes(self.now(), JOBS).unwrap();
        ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            .iter()
            .all(|n| left[*n] == "0")
    }

    /// What can be received now, hidden for so long or for the queue's own timeout.
    pub(crate) fn take(&self, visibility: Option<Duration>) -> Vec<Message> {
        let request = Receive { max: 10, visibility, attempt_id: None };
        let received = self.broker().receive(self.now(), JOBS, &request).unwrap();
        received.into_iter().map(|received| self.message(received)).collect()
    }

    /// Deletes a message at once.
    pub(crate) fn remove(&self, message: &Message) {
        self.broker().delete(self.now(), JOBS, message.receipt.handle()).unwrap();
    }

    pub(crate) fn letters(&self) -> Vec<DeadLetter> {
        self.letters.lock().unwrap().clone()
    }

    /// When letters were to be sent.
    pub(crate) fn letter_calls(&self) -> Vec<Duration> {
        self.letter_calls.lock().unwrap().clone()
    }

    pub(crate) fn attempt_ids(&self) -> Vec<String> {
        self.attempt_ids.lock().unwrap().clone()
    }

    pub(crate) fn deletes(&self) -> Vec<BatchEntryResult> {
        self.deletes.lock().unwrap().clone()
    }

    /// Every change of visibility, in seconds; none was refused.
    pub(crate) fn changes(&self) -> Vec<Vec<u64>> {
        let changes = self.changes.lock().unwrap();
        assert!(changes.iter().flatten().all(|(_, entry)| *entry == BatchEntryResult::Ok), "{changes:?}");
        changes.iter().map(|change| change.iter().map(|(seconds, _)| *seconds).collect()).collect()
    }

    fn message(&self, received: Received) -> Message {
        let now = self.now();
        Message {
            id: received.message_id,
            receipt: Receipt::new(received.receipt_handle),
            group: received.group,
            body: received.body,
            receive_count: received.receive_count,
            sent: Some(SystemTime::UNIX_EPOCH + received.sent),
            age: now.saturating_sub(received.sent),
            since_first_receive: now.saturating_sub(received.first_received),
            redriven: self.redriven.clone(),
            trace: None,
        }
    }

    fn lasts(&self, fault: Duration) -> bool {
        self.start.elapsed() < fault
    }
}

fn entry(result: &Result<(), fifo::Error>) -> BatchEntryResult {
    if result.is_ok() { BatchEntryResult::Ok } else { BatchEntryResult::ReceiptExpired }
}

impl Queue for FakeQueue {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        attempt: &AttemptId,
    ) -> Result<Vec<Message>, ReceiveError> {
        let fault = {
            let mut ids = self.attempt_ids.lock().unwrap();
            ids.push(attempt.0.clone());
            (self.receive_fault)(u32::try_from(ids.len()).unwrap())
        };
        if let Some(refused @ ReceiveError::Throttled(_)) = fault {
            return Err(refused);
        }
        let deadline = Instant::now() + wait;
        loop {
            let request = Receive { max, visibility: None, attempt_id: Some(attempt.0.clone()) };
            let received = self.broker().receive(self.now(), JOBS, &request).unwrap();
            if let Some(fault) = &fault {
                // A lost response: the messages are handed over, and nobody has them.
                return Err(fault.clone());
            }
            if !received.is_empty() || Instant::now() >= deadline {
                return Ok(received.into_iter().map(|received| self.message(received)).collect());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn delete(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        sleep(self.way).await;
        if self.lasts(self.deletes_fail_for) {
            return Err(Error::Call("cut off".into()));
        }
        let (now, mut broker) = (self.now(), self.broker());
        let entries: Vec<_> = receipts.iter().map(|r| entry(&broker.delete(now, JOBS, r.handle()))).collect();
        self.deletes.lock().unwrap().extend(entries.iter().cloned());
        Ok(entries)
    }

    async fn change_visibility(
        &self,
        changes: &[(&Receipt, Duration)],
    ) -> Result<Vec<BatchEntryResult>, Error> {
        assert!((1..=10).contains(&changes.len()), "SQS refuses any other batch");
        sleep(self.way).await;
        if self.changes_denied {
            return Err(Error::Call("denied".into()));
        }
        let (now, mut broker) = (self.now(), self.broker());
        let entries: Vec<_> = changes
            .iter()
            .map(|(r, timeout)| entry(&broker.change_visibility(now, JOBS, r.handle(), *timeout)))
            .collect();
        let seconds = changes.iter().map(|(_, timeout)| timeout.as_secs());
        self.changes.lock().unwrap().push(seconds.zip(entries.iter().cloned()).collect());
        Ok(entries)
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), Error> {
        sleep(self.way).await;
        self.letter_calls.lock().unwrap().push(self.now());
        if self.lasts(self.dead_letters_down_for) {
            return Err(Error::Call("down".into()));
        }
        if letter.body.len() > self.letter_bytes {
            let bytes = letter.body.len();
            return Err(Error::LetterRefused { bytes, too_long: true, why: "too long".into() });
        }
        self.letters.lock().unwrap().push(letter.clone());
        Ok(())
    }
}
