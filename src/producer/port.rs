//! The port to the queue: what the producer asks of it, and what it may rely on.

use super::error::CallError;
use crate::queue::{MessageId, NewMessage};

/// What became of one entry of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryResult {
    /// It is on the queue, now or since an earlier send with the same deduplication id.
    Sent(MessageId),
    /// It can never be sent: a fault of the sender.
    Refused(String),
    /// It was throttled, and is not on the queue.
    Throttled(String),
    /// The sender may not send it, and it is not on the queue.
    Denied(String),
    /// The credentials have expired, or the clock is off; it is not on the queue. The next attempt may do.
    Expired(String),
    /// Nothing is known of it: it may be on the queue.
    Unknown(String),
    /// The queue could not do it.
    Failed(String),
}

/// A way to send messages to one SQS FIFO queue.
pub trait SendBatch: Send + Sync + 'static {
    /// Sends one to ten messages, of at most 1 MiB together, in their order; answers for each one, in order.
    ///
    /// A message whose deduplication id was sent within the last five minutes is not sent again, and is
    /// answered with the first one's id. A call that takes longer than ten seconds is
    /// cut off and counts as [`CallError::NoResponse`].
    fn send_batch(
        &self,
        batch: &[&NewMessage],
    ) -> impl Future<Output = Result<Vec<EntryResult>, CallError>> + Send;
}
