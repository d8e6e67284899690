//! The semantics of SQS FIFO queues as one pure state machine: `now` is an argument, there is no
//! clock, no I/O and no chance beyond a seed.
//!
//! The rule from which everything follows: a message is received only if it is visible and every
//! earlier message of its group is taken by the same receive. So a message in flight blocks all
//! later ones of its group, for everyone, and nothing ever overtakes a hidden head.

mod broker;
mod queue;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use broker::Broker;

/// The most messages that one receive hands out and one batch holds.
pub const MAX_BATCH: usize = 10;
/// The most messages of a queue in flight at once (the FIFO quota of SQS).
pub const MAX_IN_FLIGHT: usize = 120_000;
/// The largest message, attributes included, and the largest batch: 1 MiB.
pub const MAX_MESSAGE_SIZE: usize = 1_048_576;
/// The longest visibility timeout, counted from the receive.
pub const MAX_VISIBILITY: Duration = Duration::from_secs(43_200);
/// How long a deduplication id, or a receive attempt id, is remembered.
pub const DEDUPLICATION_INTERVAL: Duration = Duration::from_secs(300);
/// The most attributes of a message.
const MAX_ATTRIBUTES: usize = 10;

/// Message attributes by name.
pub type Attributes = BTreeMap<String, Attribute>;

/// One message attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// `String`, `Number` or `Binary`, with an optional `.label`.
    pub data_type: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of a message attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// Of a string or a number.
    Text(String),
    /// Of a binary.
    Binary(Bytes),
}

/// A message to be sent.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// Its message group.
    pub group: String,
    /// Its deduplication id; without one the body's SHA-256 serves, where the queue allows that.
    pub dedup: Option<String>,
    /// Its body, UTF-8.
    pub body: Bytes,
    /// Its attributes.
    pub attributes: Attributes,
    /// The system attribute `AWSTraceHeader`.
    pub trace_header: Option<String>,
}

/// A message that was sent, or whose earlier twin was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub message_id: Arc<str>,
    /// Its place in the queue, 20 digits.
    pub sequence_number: String,
}

/// A request to receive.
#[derive(Clone, Debug)]
pub struct Receive {
    /// How many, 1 to 10.
    pub max: usize,
    /// How long they are hidden; the queue's own timeout if absent.
    pub visibility: Option<Duration>,
    /// Names a receive that may be repeated.
    pub attempt_id: Option<String>,
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its id.
    pub message_id: Arc<str>,
    /// The right to settle it, until its timeout or its next receive.
    pub receipt_handle: String,
    /// Its body.
    pub body: Bytes,
    /// Its attributes.
    pub attributes: Arc<Attributes>,
    /// Its group.
    pub group: Arc<str>,
    /// Its deduplication id.
    pub dedup: Arc<str>,
    /// Its place in the queue, 20 digits.
    pub sequence_number: String,
    /// When it was sent, since the Unix epoch.
    pub sent: Duration,
    /// When it was first received, since the Unix epoch.
    pub first_received: Duration,
    /// How often it has been received.
    pub receive_count: u32,
    /// `AWSTraceHeader`.
    pub trace_header: Option<Arc<str>>,
    /// The ARN of the queue from which SQS dead-lettered it.
    pub dead_letter_source: Option<Arc<str>>,
}

/// Why the queue refuses something. The names are those of SQS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such queue.
    #[error("The specified queue does not exist.")]
    QueueDoesNotExist,
    /// A queue of that name has other attributes.
    #[error("A queue of this name exists already, with different attributes.")]
    QueueNameExists,
    /// A parameter is absent.
    #[error("The request must contain the parameter {0}.")]
    MissingParameter(&'static str),
    /// A parameter's value cannot be.
    #[error("{0}")]
    InvalidParameterValue(String),
    /// A receipt handle is over: expired, or of a message that is not in flight any more.
    #[error("Value for parameter ReceiptHandle is invalid. Reason: {0}.")]
    ReceiptUnavailable(&'static str),
    /// No such queue attribute.
    #[error("Unknown Attribute {0}.")]
    InvalidAttributeName(String),
    /// A queue attribute's value cannot be.
    #[error("Invalid value for the parameter {0}.")]
    InvalidAttributeValue(String),
    /// This was never a receipt handle of the queue.
    #[error("The input receipt handle is invalid.")]
    ReceiptHandleIsInvalid,
    /// The body holds characters that SQS does not take.
    #[error("Invalid characters found in the message body.")]
    InvalidMessageContents,
    /// Too many messages in flight.
    #[error("Too many messages are in flight: the limit is {MAX_IN_FLIGHT}.")]
    OverLimit,
    /// Purged less than a minute ago.
    #[error("Only one PurgeQueue operation is allowed every 60 seconds.")]
    PurgeQueueInProgress,
}

impl Error {
    /// The name of the error's shape in SQS' model.
    #[must_use]
    pub fn shape(&self) -> &'static str {
        match self {
            Self::QueueDoesNotExist => "QueueDoesNotExist",
            Self::QueueNameExists => "QueueNameExists",
            Self::MissingParameter(_) => "MissingParameter",
            // One by itself has no shape of its own; in a batch its entry has the code of an invalid one.
            Self::ReceiptUnavailable(_) | Self::InvalidParameterValue(_) => "InvalidParameterValue",
            Self::InvalidAttributeName(_) => "InvalidAttributeName",
            Self::InvalidAttributeValue(_) => "InvalidAttributeValue",
            Self::ReceiptHandleIsInvalid => "ReceiptHandleIsInvalid",
            Self::InvalidMessageContents => "InvalidMessageContents",
            Self::OverLimit => "OverLimit",
            Self::PurgeQueueInProgress => "PurgeQueueInProgress",
        }
    }
}

/// Checks a message against everything but a queue's own settings.
fn check(message: &Outgoing) -> Result<(), Error> {
    let invalid = |text: String| Err(Error::InvalidParameterValue(text));
    if message.group.is_empty() {
        return Err(Error::MissingParameter("MessageGroupId"));
    }
    for (name, id) in
        [("MessageGroupId", Some(&message.group)), ("MessageDeduplicationId", message.dedup.as_ref())]
    {
        if id.is_some_and(|id| !is_id(id)) {
            return invalid(format!(
                "Value for parameter {name} is invalid. Reason: {name} can only include \
                 alphanumeric and punctuation characters. 1 to 128 in length."
            ));
        }
    }
    if message.body.is_empty() {
        return Err(Error::MissingParameter("MessageBody"));
    }
    let text = std::str::from_utf8(&message.body).map_err(|_| Error::InvalidMessageContents)?;
    if !text.chars().all(is_xml_char) {
        return Err(Error::InvalidMessageContents);
    }
    if message.attributes.len() > MAX_ATTRIBUTES {
        return invalid("The number of message attributes exceeds the limit of 10.".to_owned());
    }
    match message.attributes.iter().find(|(name, attribute)| !is_attribute(name, attribute)) {
        Some((name, _)) => {
            invalid(format!("The message attribute {name:?} has no valid name, type or value."))
        }
        None => Ok(()),
    }
}

/// The size that counts against the limits: body and attributes.
#[must_use]
pub fn size(message: &Outgoing) -> usize {
    let attributes = message.attributes.iter().map(|(name, attribute)| {
        let value = match &attribute.value {
            AttributeValue::Text(text) => text.len(),
            AttributeValue::Binary(bytes) => bytes.len(),
        };
        name.len() + attribute.data_type.len() + value
    });
    message.body.len() + attributes.sum::<usize>()
}

/// By the rules of the developer guide, "Message metadata for Amazon SQS".
fn is_attribute(name: &str, attribute: &Attribute) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // No empty part: so no period at an end, and no two in a row.
    let is_name =
        name.len() <= 256 && name.bytes().all(plain) && name.split('.').all(|part| !part.is_empty());
    let first = name.split_once('.').map(|(first, _)| first.to_ascii_lowercase());
    let reserved = first.is_some_and(|first| first == "aws" || first == "amazon");
    let fits = match (attribute.data_type.split('.').next(), &attribute.value) {
        (Some("String"), AttributeValue::Text(text)) => !text.is_empty() && text.chars().all(is_xml_char),
        (Some("Number"), AttributeValue::Text(text)) => is_number(text),
        (Some("Binary"), AttributeValue::Binary(bytes)) => !bytes.is_empty(),
        (_, AttributeValue::Text(_) | AttributeValue::Binary(_)) => false,
    };
    let label = &attribute.data_type;
    is_name && !reserved && label.len() <= 256 && label.chars().all(is_xml_char) && fits
}

fn is_number(text: &str) -> bool {
    // The standard library also reads infinities and the like.
    text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) && text.parse::<f64>().is_ok()
}

fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The characters that XML 1.0 has, and so the only ones that SQS takes.
pub(super) fn is_xml_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}
