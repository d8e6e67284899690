//! Why something failed, in words that may be shown to anyone.

use std::time::Duration;

use crate::job::SignatureError;

/// Why an attempt, or a job, failed. Its text holds nothing secret: no URL, header or body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The body is no webhook job.
    #[error("{0}")]
    Malformed(String),
    /// No app has this key.
    #[error("no app has the key {0:?}")]
    UnknownApp(String),
    /// The signature is wrong.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The webhook names no destination.
    #[error("the webhook has neither url nor lambda_function")]
    NoTarget,
    /// The URL cannot be requested.
    #[error("the webhook's URL cannot be requested: {0}")]
    Url(String),
    /// A header cannot be sent.
    #[error("the webhook's header {0:?} cannot be sent")]
    Header(String),
    /// The address may not be dialled.
    #[error("address refused: {0}")]
    Refused(String),
    /// As many requests to the destination as may be are under way.
    #[error("not attempted: {0} requests to the destination are under way (WEBHOOKS_MAX_PER_HOST)")]
    Busy(usize),
    /// 410: the receiver says that it is gone for good.
    #[error("status 410, gone for good")]
    Gone,
    /// Any other status that is no success.
    #[error("status {0}")]
    Status(u16),
    /// The whole exchange took too long.
    #[error("no complete answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The name did not resolve.
    #[error("the host name could not be resolved")]
    Resolve,
    /// No connection came about.
    #[error("could not connect: {0}")]
    Connect(String),
    /// TLS failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The connection broke off in mid-exchange.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// The app's webhooks could not be looked up.
    #[error("the app source is unreachable: {0}")]
    Apps(String),
    /// This build cannot deliver to that kind of destination.
    #[error("{0} destinations are not supported by this version")]
    Unsupported(&'static str),
    /// The job is past its window and its destination has been down for longer: not attempted.
    #[error("not attempted: the destination has been failing for longer than the retry window")]
    DestinationDown,
    /// The dead-letter queue did not take it.
    #[error("the dead-letter queue did not take it: {0}")]
    DeadLetterQueue(String),
}

impl Reason {
    /// A short, stable word for metrics and dead letters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::UnknownApp(_) => "unknown_app",
            Self::Signature(_) => "signature",
            Self::NoTarget => "no_target",
            Self::Url(_) => "url",
            Self::Header(_) => "header",
            Self::Refused(_) => "address_refused",
            Self::Busy(_) => "busy",
            Self::Gone => "gone",
            Self::Status(_) => "status",
            Self::Timeout(_) => "timeout",
            Self::Resolve => "resolve",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Broken(_) => "broken",
            Self::Apps(_) => "app_source",
            Self::Unsupported(_) => "unsupported",
            Self::DestinationDown => "destination_down",
            Self::DeadLetterQueue(_) => "dead_letter_queue",
        }
    }
}
