//! A walk over the letters that are there when it begins.

use std::collections::{HashMap, HashSet};

use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Letter, Letters};
use crate::backoff::Exponential;
use crate::queue::{AttemptId, BatchEntryResult, Error, MAX_BATCH, MessageId, Receipt, ReceiveError};
use crate::random::Random;

/// The most letters that a walk holds at once: SQS lets 120,000 messages of a FIFO queue be in flight.
const MAX_HELD: usize = 100_000;

/// Letters in a row that are not new to a walk before it takes the rest for hidden, besides those that it holds
/// itself: their timeouts end while it goes on, and SQS may hand over each of them again before anything else.
const IDLE_LETTERS: usize = 3 * MAX_BATCH;

/// How often a call is repeated that failed for a passing reason.
pub(super) const MAX_REPEATS: u32 = 4;

/// How long is waited before the next repetition, after so many.
pub(super) fn repeat_wait(repeats: u32) -> Duration {
    let backoff = Exponential { base: Duration::from_millis(250), cap: Duration::from_secs(4) };
    backoff.ceiling(repeats.saturating_add(1))
}

/// A walk over letters. What it hands out has to be settled by the caller, or given to [`Walk::hold`].
#[derive(Debug)]
pub struct Walk<'a, L> {
    letters: &'a L,
    random: &'a Random,
    stop: CancellationToken,
    began: Instant,
    /// What is held until the end, in the order in which it came.
    held: Vec<(MessageId, Receipt)>,
    places: HashMap<MessageId, usize>,
    /// What was settled: it may come again where that failed.
    settled: HashSet<MessageId>,
    /// Letters since the last one that was new, and how much was held with that one. Letters are counted and not
    /// receives, which bring as many as was asked for.
    idle: usize,
    held_before: usize,
    newer: usize,
}

/// What a receive of a walk brought.
#[derive(Debug)]
pub enum Step {
    /// Letters that are new to the walk, in the order of their groups.
    Letters(Vec<Letter>),
    /// There are no more, or none that can be received now.
    End,
    /// It was told to stop.
    Stopped,
}

/// What came of deleting letters.
#[derive(Debug, Default)]
pub struct Deletion {
    /// How many are gone.
    pub deleted: usize,
    /// How many are not.
    pub left: usize,
    /// Why, if the call failed as a whole.
    pub error: Option<Error>,
}

/// What came of giving letters back.
#[derive(Debug, Default)]
pub struct GivenBack {
    /// How many come back only when their timeout ends.
    pub late: usize,
    /// Why, if the call failed as a whole.
    pub error: Option<Error>,
}

impl GivenBack {
    /// In words, if there is something to say.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let why = self.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        let late = self.late;
        (late > 0).then(|| {
            format!("{late} letters could not be given back{why}: they are hidden for up to two minutes")
        })
    }
}

impl<'a, L: Letters> Walk<'a, L> {
    /// Begins now: what is sent later is none of its business.
    pub fn new(letters: &'a L, random: &'a Random, stop: CancellationToken) -> Self {
        Self {
            letters,
            random,
            stop,
            began: Instant::now(),
            held: Vec::new(),
            places: HashMap::new(),
            settled: HashSet::new(),
            idle: 0,
            held_before: 0,
            newer: 0,
        }
    }

    /// The next letters, `max` at the most.
    pub async fn next(&mut self, max: usize) -> Result<Step, ReceiveError> {
        loop {
            if self.stop.is_cancelled() {
                return Ok(Step::Stopped);
            }
            if self.held.len() >= MAX_HELD || self.idle > IDLE_LETTERS + self.held_before {
                return Ok(Step::End);
            }
            let received = self.receive(max).await?;
            if received.is_empty() {
                return Ok(Step::End);
            }
            // By the queue's clock it was sent, by ours the walk began: both are spans up to now. What does not say
            // when it was sent counts as there: it would never be looked at.
            let running = self.began.elapsed();
            let mut fresh = Vec::new();
            self.idle += received.len();
            for letter in received {
                let id = &letter.message.id;
                if let Some((_, receipt)) = self.places.get(id).and_then(|place| self.held.get_mut(*place)) {
                    *receipt = letter.message.receipt;
                } else if self.settled.contains(id) {
                    self.hold(letter);
                } else if letter.message.sent.is_some() && letter.message.age < running {
                    self.newer += 1;
                    self.hold(letter);
                } else {
                    fresh.push(letter);
                }
            }
            if fresh.is_empty() {
                continue;
            }
            self.idle = 0;
            self.held_before = self.held.len() + fresh.len();
            return Ok(Step::Letters(fresh));
        }
    }

    /// What is throttled, or fails within the queue, is repeated, as sends and deletes are: the SDK repeats no receive,
    /// and a walk that ends has to begin at its first letter again. Told to stop, it does not wait.
    async fn receive(&self, max: usize) -> Result<Vec<Letter>, ReceiveError> {
        let mut repeats = 0;
        loop {
            match self.ask(max).await {
                Err(ReceiveError::Throttled(_) | ReceiveError::Service(_))
                    if repeats < MAX_REPEATS && !self.stop.is_cancelled() =>
                {
                    self.stop.run_until_cancelled(sleep(repeat_wait(repeats))).await;
                    repeats += 1;
                }
                other => return other,
            }
        }
    }

    /// A lost response is asked for once more: its letters would be hidden and unseen until their
    /// timeout ends.
    async fn ask(&self, max: usize) -> Result<Vec<Letter>, ReceiveError> {
        let attempt = AttemptId(self.random.uuid().to_string());
        match self.letters.receive_letters(max.clamp(1, MAX_BATCH), &attempt).await {
            Err(ReceiveError::NoResponse(_)) => {
                self.letters.receive_letters(max.clamp(1, MAX_BATCH), &attempt).await
            }
            other => other,
        }
    }

    /// Keeps a letter until the end.
    pub fn hold(&mut self, letter: Letter) {
        let id = letter.message.id;
        self.places.insert(id.clone(), self.held.len());
        self.held.push((id, letter.message.receipt));
    }

    /// Keeps several letters until the end.
    pub fn hold_all(&mut self, letters: impl IntoIterator<Item = Letter>) {
        for letter in letters {
            self.hold(letter);
        }
    }

    /// Deletes letters. What could not be deleted is given back at the end, and after a call that failed twice no
    /// other is made.
    pub async fn delete(&mut self, letters: Vec<Letter>) -> Deletion {
        let mut done = Deletion::default();
        let mut letters = letters.into_iter().peekable();
        while letters.peek().is_some() && done.error.is_none() {
            let batch: Vec<Letter> = letters.by_ref().take(MAX_BATCH).collect();
            self.settled.extend(batch.iter().map(|letter| letter.message.id.clone()));
            let first = self.try_delete(&batch).await;
            let (gone, again): (Vec<_>, Vec<_>) =
                batch.into_iter().zip(first).partition(|(_, entry)| *entry == BatchEntryResult::Ok);
            done.deleted += gone.len();
            if again.is_empty() {
                continue;
            }
            let again: Vec<Letter> = again.into_iter().map(|(letter, _)| letter).collect();
            let second = self.try_delete(&again).await;
            for (letter, entry) in again.into_iter().zip(second) {
                match entry {
                    BatchEntryResult::Ok => done.deleted += 1,
                    // Its receipt holds no longer: there is nothing to give back.
                    BatchEntryResult::ReceiptExpired => done.left += 1,
                    BatchEntryResult::Failed(_) | BatchEntryResult::NotMentioned => {
                        done.left += 1;
                        self.hold(letter);
                        done.error = done.error.or_else(|| entry.failure());
                    }
                }
            }
        }
        for letter in letters {
            done.left += 1;
            self.hold(letter);
        }
        done
    }

    async fn try_delete(&self, letters: &[Letter]) -> Vec<BatchEntryResult> {
        let receipts: Vec<&Receipt> = letters.iter().map(|letter| &letter.message.receipt).collect();
        let answer = self.letters.delete_letters(&receipts).await;
        answer.unwrap_or_else(|error| vec![BatchEntryResult::Failed(error); receipts.len()])
    }

    /// Letters that were sent while it ran.
    #[must_use]
    pub fn newer(&self) -> usize {
        self.newer
    }

    /// Gives everything back, in order.
    pub async fn end(self) -> GivenBack {
        let mut back = GivenBack::default();
        for batch in self.held.chunks(MAX_BATCH) {
            let receipts: Vec<&Receipt> = batch.iter().map(|(_, receipt)| receipt).collect();
            match self.letters.give_back(&receipts).await {
                // One whose receipt holds no longer is not hidden by this walk.
                Ok(entries) => {
                    for error in entries.iter().filter_map(BatchEntryResult::failure) {
                        back.late += 1;
                        back.error.get_or_insert(error);
                    }
                }
                Err(error) => {
                    back.late += receipts.len();
                    back.error.get_or_insert(error);
                }
            }
        }
        back
    }
}
