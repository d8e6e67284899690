//! What can go wrong between a job and its queue.

use std::time::Duration;

use crate::queue::NewMessage;

/// How long after its first send a job is sent again. With the deadline of a call this ends 50 s before SQS
/// forgets a deduplication id, five minutes after it took the message.
pub(super) const RETRY_WINDOW: Duration = Duration::from_secs(240);

/// For texts.
const RETRY_SECONDS: u64 = RETRY_WINDOW.as_secs();

/// Why a job is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is larger than any message can be; it was not sent.
    #[error("the job has {size} bytes with its attributes, more than a message's {limit}")]
    TooLarge {
        /// Bytes of the body and the attributes.
        size: usize,
        /// The most that SQS takes.
        limit: usize,
    },
    /// SQS takes no such message; it is not on the queue. The text says why.
    #[error("the queue does not take the job: {0}")]
    Refused(String),
    /// SQS throttled every attempt inside the deduplication interval; the job is not on the queue.
    #[error("the queue throttled the job for {RETRY_SECONDS} s: {0}")]
    Throttled(String),
    /// The credentials are missing, wrong or do not suffice; the job is not on the queue.
    #[error("access to the queue is denied: {0}")]
    Denied(String),
    /// There is no such queue.
    #[error("the queue does not exist: {0}")]
    Missing(String),
    /// SQS failed at every attempt inside the deduplication interval.
    #[error("the queue failed for {RETRY_SECONDS} s: {0}")]
    Unavailable(String),
    /// No answer came inside the deduplication interval: the job **may be** on the queue.
    #[error("no answer from the queue for {RETRY_SECONDS} s, the job may be on it: {0}")]
    NoResponse(String),
    /// The buffer has no place: only from [`super::Producer::try_enqueue`].
    #[error("the producer's buffer is full")]
    Full,
    /// The producer ended before the queue answered; the job **may be** on the queue.
    #[error("the producer ended before the queue confirmed the job; it may be on the queue")]
    Dropped,
}

impl Error {
    /// What the queue said at the last attempt, where another may be made.
    pub(super) fn cause(&self) -> Option<&str> {
        match self {
            Self::Throttled(why) | Self::Unavailable(why) | Self::NoResponse(why) => Some(why),
            Self::TooLarge { .. }
            | Self::Refused(_)
            | Self::Denied(_)
            | Self::Missing(_)
            | Self::Full
            | Self::Dropped => None,
        }
    }
}

/// A job that was not taken over, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Full {
    /// The job, unchanged.
    pub job: NewMessage,
    /// Why.
    pub error: Error,
}

/// Jobs failed since the last flush.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failed} jobs were not sent; the first: {first}")]
pub struct FlushError {
    /// How many.
    pub failed: u64,
    /// Why the first of them failed.
    pub first: Error,
}

/// Why a send failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Too many requests: nothing was sent.
    #[error("throttled: {0}")]
    Throttled(String),
    /// The credentials are missing, wrong or do not suffice: nothing was sent.
    #[error("denied: {0}")]
    Denied(String),
    /// There is no such queue.
    #[error("no such queue: {0}")]
    Missing(String),
    /// The service understood the request and will not have it: something in it can never be sent.
    #[error("refused: {0}")]
    Refused(String),
    /// The service failed.
    #[error("failed: {0}")]
    Service(String),
    /// No answer came: all of it may have been sent.
    #[error("no response: {0}")]
    NoResponse(String),
}
