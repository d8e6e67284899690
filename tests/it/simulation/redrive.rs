//! An operator who puts dead letters back on the queue, beside the workers, and is sometimes interrupted: the
//! real redrive, over ports to the state machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use hookferry::fifo::{Outgoing, Receive};
use hookferry::letters::redrive::{Plan, Wanted, redrive as redrive_letters};
use hookferry::letters::{Letter, Letters, Origin, Sent, Source};
use hookferry::queue::{AttemptId, BatchEntryResult, Error, Message, NewMessage, Receipt, ReceiveError};
use hookferry::random::Random;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::book::Event;
use super::outside::{GIVEN_UP, Outside};

/// For how long a letter that was received is hidden.
const VISIBILITY: Duration = Duration::from_secs(30);

/// Takes every letter for wanted: the worker that gets it knows.
struct AlwaysWanted;

impl Wanted for AlwaysWanted {
    async fn is_wanted(&self, _: &Letter) -> bool {
        true
    }
}

/// One redrive of what is there when it begins; after so many calls the operator is gone, without a word.
pub async fn redrive(outside: Arc<Outside>, calls: u64) {
    let random = Random::from_seed(outside.dice().number(0..u64::MAX));
    let operator = Operator { outside, calls: AtomicU64::new(calls), gone: CancellationToken::new() };
    let plan = Plan {
        chosen: &|_| true,
        unmarked: true,
        most: usize::MAX,
        rate: None,
        dry_run: false,
        most_bytes: usize::MAX,
    };
    let ports = (&operator, &operator, &AlwaysWanted);
    let all = redrive_letters(ports, &plan, &random, CancellationToken::new(), |_| {});
    operator.gone.run_until_cancelled(all).await;
}

struct Operator {
    outside: Arc<Outside>,
    calls: AtomicU64,
    gone: CancellationToken,
}

impl Operator {
    /// The way of a request or of its response.
    async fn travel(&self) {
        let takes = self.outside.dice().millis(1..50);
        sleep(takes).await;
        if self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
        {
            self.gone.cancel();
            std::future::pending::<()>().await;
        }
    }

    /// Whether a call is lost before it takes effect, and whether after that.
    fn lost(&self) -> (bool, bool) {
        let rates = self.outside.plan.rates;
        (
            self.outside.strikes(rates.lost_before, "redrive: lost on the way there"),
            self.outside.strikes(rates.lost_after, "redrive: lost on the way back"),
        )
    }
}

fn lost() -> Error {
    Error::Call("reset".to_owned())
}

impl Letters for Operator {
    async fn receive_letters(&self, max: usize, attempt: &AttemptId) -> Result<Vec<Letter>, ReceiveError> {
        self.travel().await;
        let (before, after) = self.lost();
        if before {
            return Err(ReceiveError::NoResponse(String::new()));
        }
        let now = self.outside.now();
        let request = Receive { max, visibility: Some(VISIBILITY), attempt_id: Some(attempt.0.clone()) };
        let received = self.outside.broker.lock().unwrap().receive(now, GIVEN_UP, &request).unwrap();
        self.travel().await;
        if after {
            return Err(ReceiveError::NoResponse(String::new()));
        }
        let letter = |received: hookferry::fifo::Received| Letter {
            message: Message {
                receipt: Receipt::new(format!("{} {}", received.message_id, received.receipt_handle)),
                group: received.group,
                body: received.body,
                receive_count: received.receive_count,
                sent: Some(SystemTime::UNIX_EPOCH + received.sent),
                age: now.saturating_sub(received.sent),
                since_first_receive: now.saturating_sub(received.first_received),
                redriven: Some(self.outside.letter(&received.message_id).redriven),
                id: received.message_id,
                trace: None,
            },
            attributes: BTreeMap::new(),
            origin: Origin::Ours,
        };
        Ok(received.into_iter().map(letter).collect())
    }

    async fn delete_letters(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        self.travel().await;
        let (before, after) = self.lost();
        if before {
            return Err(lost());
        }
        let delete = |receipt: &&Receipt| {
            let (id, handle) = receipt.handle().split_once(' ').unwrap();
            let deleted =
                self.outside.broker.lock().unwrap().delete(self.outside.now(), GIVEN_UP, handle).is_ok();
            if deleted {
                let message = self.outside.letter(&id.into()).message;
                self.outside.write(Event::LetterDeleted { message });
            }
            if deleted { BatchEntryResult::Ok } else { BatchEntryResult::ReceiptExpired }
        };
        let entries = receipts.iter().map(delete).collect();
        self.travel().await;
        if after { Err(lost()) } else { Ok(entries) }
    }

    async fn give_back(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        self.travel().await;
        let give_back = |receipt: &&Receipt| {
            let (_, handle) = receipt.handle().split_once(' ').unwrap();
            let (mut broker, now) = (self.outside.broker.lock().unwrap(), self.outside.now());
            let given = broker.change_visibility(now, GIVEN_UP, handle, Duration::ZERO);
            if given.is_ok() { BatchEntryResult::Ok } else { BatchEntryResult::ReceiptExpired }
        };
        Ok(receipts.iter().map(give_back).collect())
    }
}

impl Source for Operator {
    async fn send_jobs(&self, jobs: &[NewMessage]) -> Result<Vec<Sent>, Error> {
        self.travel().await;
        let (before, after) = self.lost();
        if before {
            return Err(lost());
        }
        let put_back = |job: &NewMessage| {
            let letter = job.deduplication.strip_prefix("redrive-").unwrap();
            let message = Outgoing {
                group: job.group.clone(),
                dedup: Some(job.deduplication.clone()),
                body: job.body.clone().into(),
                ..Outgoing::default()
            };
            self.outside.put_back(message, &self.outside.letter(&letter.into()), job.redriven.as_ref());
            Ok(String::new())
        };
        let sent = jobs.iter().map(put_back).collect();
        self.travel().await;
        if after { Err(lost()) } else { Ok(sent) }
    }
}
