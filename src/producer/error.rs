//! What can go wrong between a job and its queue.

use std::time::Duration;

use crate::queue::NewMessage;

/// How long after its first send a job is sent again. With the deadline of a call this ends 50 s before SQS
/// forgets a deduplication id, five minutes after it took the message.
pub(super) const RETRY_WINDOW: Duration = Duration::from_secs(240);

/// Why a job is not confirmed. Where the text is the queue's, it ends with how often and for how long it was tried.
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
    /// SQS throttled it until it was given up; the job is not on the queue.
    #[error("the queue throttled the job: {0}")]
    Throttled(String),
    /// The credentials are missing, wrong, expired or do not suffice, or could not be fetched until the job was given up;
    /// the job is not on the queue.
    #[error("access to the queue is denied: {0}")]
    Denied(String),
    /// There is no such queue.
    #[error("the queue does not exist: {0}")]
    Missing(String),
    /// SQS failed until the job was given up. Whether it is on the queue is not known.
    #[error("the queue failed: {0}")]
    Unavailable(String),
    /// No connection came about until the job was given up; it is not on the queue.
    #[error("the queue cannot be reached, the job was not sent: {0}")]
    Unreachable(String),
    /// No answer came until the job was given up: it **may be** on the queue.
    #[error("no answer from the queue, the job may be on it: {0}")]
    NoResponse(String),
    /// An attempt got no answer or failed at the queue, so that the job **may be** on the queue; the last one ended with
    /// this.
    #[error("the job may be on the queue, since an attempt got no answer or failed there; the last one: {0}")]
    Unconfirmed(Box<Error>),
    /// It is not on the queue, because a job ahead of it in its group was given up for this reason, which is not that
    /// job's own: nothing goes before a job that its sender may send anew. What waited for a place in the buffer then is
    /// behind it too.
    #[error("the job was not sent, because one ahead of it in its group was given up: {0}")]
    Behind(Box<Error>),
    /// The buffer has no place: only from [`super::Producer::try_enqueue`].
    #[error("the producer's buffer is full")]
    Full,
    /// The producer ended before the queue answered; the job **may be** on the queue.
    #[error("the producer ended before the queue confirmed the job; it may be on the queue")]
    Dropped,
}

impl Error {
    /// Whether the job may be on the queue all the same: sent anew under another deduplication id, or later than
    /// five minutes, it may be there twice.
    #[must_use]
    pub fn may_be_on_the_queue(&self) -> bool {
        match self {
            Self::NoResponse(_) | Self::Unconfirmed(_) | Self::Dropped | Self::Unavailable(_) => true,
            Self::TooLarge { .. }
            | Self::Refused(_)
            | Self::Throttled(_)
            | Self::Denied(_)
            | Self::Missing(_)
            | Self::Unreachable(_)
            | Self::Behind(_)
            | Self::Full => false,
        }
    }

    /// Whether the job itself is why it is given up, so that what is behind it in its group may go on.
    pub(super) fn is_the_jobs_own(&self) -> bool {
        match self {
            Self::Refused(_) | Self::TooLarge { .. } => true,
            Self::Unconfirmed(last) => last.is_the_jobs_own(),
            Self::Throttled(_)
            | Self::Denied(_)
            | Self::Missing(_)
            | Self::Unavailable(_)
            | Self::Unreachable(_)
            | Self::NoResponse(_)
            | Self::Behind(_)
            | Self::Full
            | Self::Dropped => false,
        }
    }

    /// What ends with a group that this ended.
    pub(super) fn behind(self) -> Self {
        match self {
            behind @ Self::Behind(_) => behind,
            ahead => Self::Behind(Box::new(ahead)),
        }
    }

    /// This error with the number of attempts, and the time since the first.
    pub(super) fn after(self, attempts: u32, tried: Duration) -> Self {
        let seconds = tried.as_secs_f64();
        let plural = if attempts == 1 { "" } else { "s" };
        let with = |why: String| format!("{why} ({attempts} attempt{plural} in {seconds:.1} s)");
        match self {
            Self::Throttled(why) => Self::Throttled(with(why)),
            Self::Denied(why) => Self::Denied(with(why)),
            Self::Unavailable(why) => Self::Unavailable(with(why)),
            Self::Unreachable(why) => Self::Unreachable(with(why)),
            Self::NoResponse(why) => Self::NoResponse(with(why)),
            other => other,
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

/// Jobs failed since the handle's last flush.
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
    /// The credentials have expired or could not be fetched, or the clock is off: nothing was sent. Those of the next
    /// attempt may do.
    #[error("expired: {0}")]
    Expired(String),
    /// No connection came about: nothing was sent.
    #[error("unreachable: {0}")]
    Unreachable(String),
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
