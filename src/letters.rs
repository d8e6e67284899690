//! Dead letters, over a port: what they say of themselves, a walk over all of them, and the redrive.
//!
//! Invariants:
//! - a walk takes what was there when it began, each letter once, and ends though new ones keep coming;
//! - what a walk does not take it gives back when it ends, in the order of its groups;
//! - a letter is deleted only when the queue has confirmed the job;
//! - of a group a letter is sent only when the one before it has been confirmed;
//! - no letter of another queue is put on ours, deleted or handed out as ours.
//!
//! A letter that is held hides what lies behind the first ten of its group: SQS hands over nothing of a
//! group of which a message is in flight. Only taking letters away makes those behind them visible.

pub mod redrive;
pub mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::job::app_of_group;
use crate::queue::{AttemptId, BatchEntryResult, Error, Message, NewMessage, Receipt, ReceiveError, Unsent};
use redrive::Left;

/// The reason of a letter that has none: SQS moved it.
pub const MOVED_BY_SQS: &str = "received_too_often";

/// One dead letter.
#[derive(Debug)]
pub struct Letter {
    /// The message. Its own attributes say what it was redriven for, if it was.
    pub message: Message,
    /// Its attributes by name, text alone.
    pub attributes: BTreeMap<String, String>,
    /// Which queue it comes from.
    pub origin: Origin,
}

/// Which queue a letter comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// This one, by what the letter says.
    Ours,
    /// The one of that name.
    Other(Arc<str>),
    /// It does not say.
    Unmarked,
}

impl Letter {
    /// An attribute, if the letter has it.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Why it was given up: the worker's word, or that SQS moved it.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.attribute("reason").unwrap_or(MOVED_BY_SQS)
    }

    /// Why it is left to others, if it is: several queues may share a dead-letter queue. `unmarked` says whether
    /// a letter that names no queue is ours.
    #[must_use]
    pub fn of_others(&self, unmarked: bool) -> Option<Left> {
        match &self.origin {
            Origin::Other(_) => Some(Left::OtherQueue),
            Origin::Unmarked if !unmarked => Some(Left::Unmarked),
            Origin::Ours | Origin::Unmarked => None,
        }
    }

    /// The app that it is of, as far as the letter or its group says: soketi's groups begin with the id.
    #[must_use]
    pub fn app_id(&self) -> &str {
        self.attribute("app_id").unwrap_or_else(|| app_of_group(&self.message.group))
    }
}

/// A dead-letter queue.
pub trait Letters: Send + Sync {
    /// Receives up to `max` letters, hidden from others for as long as a walk needs them.
    fn receive_letters(
        &self,
        max: usize,
        attempt: &AttemptId,
    ) -> impl Future<Output = Result<Vec<Letter>, ReceiveError>> + Send;

    /// Deletes up to ten.
    fn delete_letters(
        &self,
        receipts: &[&Receipt],
    ) -> impl Future<Output = Result<Vec<BatchEntryResult>, Error>> + Send;

    /// Gives back up to ten.
    fn give_back(
        &self,
        receipts: &[&Receipt],
    ) -> impl Future<Output = Result<Vec<BatchEntryResult>, Error>> + Send;
}

/// The queue that letters are put back on.
pub trait Source: Send + Sync {
    /// Sends jobs in order, in as few calls as SQS' bounds allow; answers for each one, in order.
    fn send_jobs(&self, jobs: &[NewMessage]) -> impl Future<Output = Result<Vec<Sent>, Error>> + Send;
}

/// What became of one job that was sent: its message id, or why SQS did not take it.
pub type Sent = Result<String, Unsent>;
