//! The port to the queue: what the worker asks of an SQS FIFO queue, and what it may rely on.
//!
//! The contract of an implementation:
//! - [`Queue::receive`] hands over messages of one group in order, and none of a group of which an
//!   earlier message is hidden. A call is never cancelled by the worker outside a forced exit.
//! - [`Queue::delete`] and [`Queue::change_visibility`] take at most ten entries and answer for each
//!   one, in order. An entry whose receipt has expired is [`BatchEntryResult::ReceiptExpired`], never `Ok`.
//! - [`Queue::dead_letter`] returns `Ok` only when the dead-letter queue has confirmed the message.
//! - Every call ends by itself within a deadline of the implementation's own.

#[cfg(feature = "producer")]
pub(crate) mod entry;
#[cfg(feature = "producer")]
pub(crate) mod failure;
#[cfg(feature = "worker")]
pub mod sqs;
pub mod trace;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::job::{WebhookId, deduplication_id};
use trace::TraceContext;

/// The most entries that SQS takes or gives in one call.
pub const MAX_BATCH: usize = 10;

/// The most bytes of one message, and of a whole batch, bodies and attributes together: 1 MiB.
pub const MAX_BATCH_BYTES: usize = 1_048_576;

/// An SQS message id; the same on every redelivery.
pub type MessageId = Arc<str>;

/// The right to settle one received message. Not `Clone`, and never printed.
pub struct Receipt(String);

impl Receipt {
    /// Wraps a receipt handle.
    #[must_use]
    pub fn new(handle: String) -> Self {
        Self(handle)
    }

    /// The handle, for the queue's own calls only.
    #[must_use]
    pub fn handle(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt(…)")
    }
}

/// One received message.
#[derive(Debug)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The right to settle it.
    pub receipt: Receipt,
    /// Its message group.
    pub group: Arc<str>,
    /// Its body, UTF-8.
    pub body: Bytes,
    /// How often it has been received, this time included.
    pub receive_count: u32,
    /// When it was sent, by the queue's clock, if it says so.
    pub sent: Option<SystemTime>,
    /// How long before this receive it was sent, by the queue's own clock.
    pub age: Duration,
    /// How long before this receive it was received for the first time, by the queue's own clock: zero
    /// if this is the first.
    pub since_first_receive: Duration,
    /// Where a redrive put it back: what of it is left to do.
    pub redriven: Option<Redriven>,
    /// The span that sent it, where the queue is asked for that and it says so.
    pub trace: Option<Box<TraceContext>>,
}

/// What `hookferry dlq redrive` says of a message that it put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redriven {
    /// The id under which receivers know the job.
    pub source: MessageId,
    /// The webhooks that have it.
    pub delivered: Vec<WebhookId>,
    /// The webhook that its letter was for.
    pub webhook: Option<WebhookId>,
}

impl Redriven {
    /// By what a message or a dead letter says of itself: webhooks' identities with commas between them. One from
    /// before webhooks had identities says nothing of them: it goes to all.
    #[must_use]
    pub fn of(source: &str, delivered: Option<&str>, webhook: Option<&str>) -> Self {
        let ids = delivered.unwrap_or_default().split(',').map(str::trim);
        let delivered = ids.filter(|id| !id.is_empty() && *id != NO_WEBHOOK).map(WebhookId::from).collect();
        let webhook = webhook.map(str::trim).filter(|id| !id.is_empty()).map(WebhookId::from);
        Self { source: Arc::from(source), delivered, webhook }
    }
}

/// A job that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The source message's id: what the letter is deduplicated by.
    pub id: MessageId,
    /// The id under which receivers know the job: the same, unless it had been put back before.
    pub source: MessageId,
    /// Its group.
    pub group: Arc<str>,
    /// Its body, unchanged.
    pub body: Bytes,
    /// A short stable word.
    pub reason: &'static str,
    /// At most 256 characters, nothing secret.
    pub detail: String,
    /// Attempts that are known of.
    pub attempts: u32,
    /// The webhooks that have it.
    pub delivered: Vec<WebhookId>,
    /// The app that the job claims to be of, escaped and cut; empty if it claims none.
    pub app_id: String,
    /// The webhook that it is given up for, if it came to one.
    pub webhook: Option<WebhookId>,
    /// The host or the function that it is given up for, escaped and cut; empty if it came to none.
    pub destination: String,
    /// When it was first sent, by the queue's clock.
    pub first_sent: Option<SystemTime>,
    /// When it was given up, by the queue's clock.
    pub given_up: Option<SystemTime>,
}

/// What became of one entry of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchEntryResult {
    /// SQS did it.
    Ok,
    /// The receipt is no longer valid: the message is someone else's by now, or will be.
    ReceiptExpired,
    /// SQS did not do it, for a reason that is none of the message's: a missing right, an error of its own.
    Failed(Error),
    /// The answer says nothing of it.
    NotMentioned,
}

/// What is told of an entry that an answer leaves out.
const NOT_MENTIONED: &str = "the answer does not mention every entry of the batch: what answers is not SQS, or an emulator that \
    leaves this call out (see that QUEUE_SQS_ENDPOINT and QUEUE_SQS_URL name the queue's endpoint, update the emulator)";

impl BatchEntryResult {
    /// Why it was not done, unless its receipt alone was over: that is late, and no fault of the call.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        match self {
            Self::Ok | Self::ReceiptExpired => None,
            Self::Failed(error) => Some(error.clone()),
            Self::NotMentioned => Some(Error::Call(NOT_MENTIONED.to_owned())),
        }
    }
}

/// One message to put on the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// The body.
    pub body: String,
    /// The message group.
    pub group: String,
    /// The deduplication id.
    pub deduplication: String,
    /// Set where a dead letter is put back, or a copy of it is sent.
    pub redriven: Option<Redriven>,
}

impl NewMessage {
    /// A message with soketi's deduplication id.
    #[must_use]
    pub fn new(group: String, body: String) -> Self {
        Self { deduplication: deduplication_id(body.as_bytes()), group, body, redriven: None }
    }

    /// What it is sent with beside the body, all of it text. SQS counts it as part of the message's size.
    #[must_use]
    pub fn attributes(&self) -> Vec<(&'static str, String)> {
        let Some(redriven) = &self.redriven else { return Vec::new() };
        let webhook = redriven.webhook.as_ref().map(|webhook| ("webhook", webhook.to_string()));
        let ids = [
            ("source_message_id", redriven.source.to_string()),
            ("delivered", identities(&redriven.delivered)),
        ];
        ids.into_iter().chain(webhook).collect()
    }

    /// What counts against SQS' bounds.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len()
            + attributes_size(self.attributes().iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// This message with as much of what a redrive says of it as any queue takes, and whether that is all.
    #[must_use]
    pub fn fitting(self) -> (Self, bool) {
        self.fitting_in(MAX_BATCH_BYTES)
    }

    /// As [`Self::fitting`], for a queue that takes messages up to `most` bytes.
    #[must_use]
    pub fn fitting_in(mut self, most: usize) -> (Self, bool) {
        let mut whole = true;
        while self.size() > most && self.redriven.is_some() {
            self = self.with_less();
            whole = false;
        }
        (self, whole)
    }

    /// This message with less of what a redrive says of it: first it goes without who has it, then without its
    /// first id.
    #[must_use]
    pub fn with_less(mut self) -> Self {
        match &mut self.redriven {
            Some(redriven) if !redriven.delivered.is_empty() => redriven.delivered.clear(),
            Some(_) | None => self.redriven = None,
        }
        self
    }
}

/// Why one message of a batch was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// The queue's own words.
    pub why: String,
    /// What it is of.
    pub cause: Cause,
}

/// What a message was not sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An error of the queue's own, or too many requests: it may be taken when it is sent again.
    Passing,
    /// The message: the queue does not take it as it is.
    Message,
    /// Something else: a missing right, or what answers is not SQS.
    Other,
}

/// The attribute of no webhook: SQS takes no empty one.
pub(crate) const NO_WEBHOOK: &str = "-";

/// Webhooks as an attribute.
pub(crate) fn identities(webhooks: &[WebhookId]) -> String {
    if webhooks.is_empty() {
        return NO_WEBHOOK.to_owned();
    }
    webhooks.iter().map(WebhookId::as_str).collect::<Vec<_>>().join(",")
}

/// The bytes of text attributes: names, types and values.
pub fn attributes_size<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> usize {
    attributes.into_iter().map(|(name, value)| name.len() + "String".len() + value.len()).sum()
}

/// Cuts messages into batches that SQS takes: ten each at the most, and no more bytes than it allows.
pub fn batches(messages: &[NewMessage]) -> impl Iterator<Item = &[NewMessage]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |message: &&NewMessage| {
            bytes = bytes.saturating_add(message.size());
            bytes <= MAX_BATCH_BYTES
        };
        // One that is too large alone is for SQS to refuse.
        let count = rest.iter().take(MAX_BATCH).take_while(fits).count().max(1).min(rest.len());
        let (batch, left) = rest.split_at_checked(count)?;
        rest = left;
        (!batch.is_empty()).then_some(batch)
    })
}

/// How a denial begins to name the right that the role lacks, where that is what is denied.
#[cfg(any(feature = "worker", feature = "producer"))]
pub(crate) const ROLE_NEEDS: &str = "the role needs ";

/// Whether a denial is for the lack of a right of the role's that begins so. Else it is for the queue's key, another policy,
/// the credentials, a clock or a proxy: no right helps, and the denial itself says what does.
#[cfg(feature = "worker")]
#[must_use]
pub fn lacks_right(why: &str, right: &str) -> bool {
    why.split(ROLE_NEEDS).skip(1).any(|needed| needed.starts_with(right))
}

/// Names one logical receive, so that a lost response can be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptId(pub String);

/// Why a receive failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// No HTTP response came back: messages may have been handed over.
    #[error("no response from the queue: {0}")]
    NoResponse(String),
    /// Too many requests.
    #[error("the queue throttles: {0}")]
    Throttled(String),
    /// The credentials are missing, wrong or do not suffice.
    #[error("access to the queue is denied: {0}")]
    Denied(String),
    /// There is no such queue.
    #[error("the queue does not exist: {0}")]
    Missing(String),
    /// Any other answer of the service.
    #[error("the queue answered with an error: {0}")]
    Service(String),
}

/// Why a call that settles messages failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No dead-letter queue is known.
    #[error("there is no dead-letter queue")]
    NoDeadLetterQueue,
    /// The role may not do it; the text names the permission.
    #[error("{0}")]
    Denied(String),
    /// The dead-letter queue refuses a letter that has no attributes: for its body, whenever it is sent.
    #[error(
        "the dead-letter queue does not take the letter of {bytes} bytes, even without attributes: {why}"
    )]
    LetterRefused {
        /// How long the body is.
        bytes: usize,
        /// Whether that is why, by what the dead-letter queue says.
        too_long: bool,
        /// What the dead-letter queue says.
        why: String,
    },
    /// The call failed; it may have taken effect all the same.
    #[error("{0}")]
    Call(String),
}

/// An SQS FIFO queue.
pub trait Queue: Send + Sync + 'static {
    /// Receives up to `max` messages (1 to 10), waiting up to `wait` for the first, in whole seconds.
    fn receive(
        &self,
        max: usize,
        wait: Duration,
        attempt: &AttemptId,
    ) -> impl Future<Output = Result<Vec<Message>, ReceiveError>> + Send;

    /// Deletes up to ten messages.
    fn delete(
        &self,
        receipts: &[&Receipt],
    ) -> impl Future<Output = Result<Vec<BatchEntryResult>, Error>> + Send;

    /// Sets how long up to ten messages stay hidden from now, in whole seconds; 0 releases.
    fn change_visibility(
        &self,
        changes: &[(&Receipt, Duration)],
    ) -> impl Future<Output = Result<Vec<BatchEntryResult>, Error>> + Send;

    /// Sends one message to the dead-letter queue.
    fn dead_letter(&self, letter: &DeadLetter) -> impl Future<Output = Result<(), Error>> + Send;
}

#[cfg(test)]
mod tests;
