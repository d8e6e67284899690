//! What an attempt came to, and why it failed.

mod reason;

use std::time::Duration;

pub use reason::Reason;

/// What one attempt at one webhook came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination took it.
    Delivered,
    /// It may work later.
    Transient {
        /// What went wrong.
        reason: Reason,
        /// How long the destination asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// It was not tried, and is worth trying soon.
    Deferred(Reason),
    /// It will never work.
    Permanent(Reason),
}

impl Outcome {
    /// A failure that may pass, with no wish of the destination's about when.
    #[must_use]
    pub fn transient(reason: Reason) -> Self {
        Self::Transient { reason, retry_after: None }
    }

    /// Whether it failed and is a sign of life: the destination is there, and has too much to do.
    #[must_use]
    pub fn asks_for_fewer(&self) -> bool {
        match self {
            Self::Transient { reason: Reason::Status(503), retry_after } => retry_after.is_some(),
            Self::Transient { reason: Reason::Status(429) | Reason::FunctionThrottled(_), .. } => true,
            Self::Delivered | Self::Transient { .. } | Self::Deferred(_) | Self::Permanent(_) => false,
        }
    }

    /// Whether it may work later, and does not now.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }

    /// Whether an attempt was made: not where it was put off, nor where the webhook cannot be used.
    #[must_use]
    pub fn was_made(&self) -> bool {
        match self {
            Self::Delivered => true,
            Self::Deferred(_) => false,
            Self::Transient { reason, .. } | Self::Permanent(reason) => {
                !matches!(reason, Reason::WebhookUnusable(_))
            }
        }
    }
}
