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
    /// No webhook of the app is left for it.
    #[error("the app has no webhook that wants the job and does not have it")]
    NoWebhook,
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
    #[error(
        "not attempted: {0} requests to the destination may be under way (WEBHOOKS_MAX_PER_HOST; fewer until it answers), \
         and apps share them"
    )]
    Busy(usize),
    /// As many requests to destinations that have not answered lately as may be are under way.
    #[error(
        "not attempted: {0} requests to destinations without an answer in the last minute (over HTTP/2: without several \
         quick ones) may be under way, and apps share them"
    )]
    UnprovenBusy(usize),
    /// As many invocations at endpoints that apps name as may be are under way.
    #[error(
        "not attempted: {0} invocations at endpoints that apps name (lambda.client_options) are under way; there are 16 at \
         one and 64 at all of them, whatever is configured"
    )]
    EndpointBusy(usize),
    /// As many invocations of functions as may be are under way.
    #[error(
        "not attempted: {0} invocations of functions may be under way (WEBHOOKS_MAX_INVOCATIONS), and apps share them"
    )]
    InvocationsBusy(usize),
    /// No file descriptor is free.
    #[error("not attempted: no file descriptor is free (raise the limit of open files, ulimit -n or nofile)")]
    NoDescriptor,
    /// The app holds as much memory as it may.
    #[error(
        "not attempted: there is no room for a body of {0} bytes (QUEUE_SQS_MAX_IN_FLIGHT_BYTES, which apps share)"
    )]
    NoRoom(usize),
    /// The destination asked for fewer at a time, and so many are under way.
    #[error("not attempted: the destination asked for fewer requests at a time; {0} are under way")]
    Throttled(usize),
    /// The worker's own code failed at it.
    #[error("the worker failed at it: a panic, which is a fault to be reported")]
    Panicked,
    /// What has to be sent could not be worked out within the attempt timeout.
    #[error("what has to be sent could not be worked out within {} ms", .0.as_millis())]
    Unplannable(Duration),
    /// SQS would move it to the dead-letter queue instead of handing it over once more.
    #[error("received {most} times, the queue's maxReceiveCount: {why}")]
    LastReceive {
        /// The queue's `maxReceiveCount`.
        most: u32,
        /// Why it is not done.
        why: String,
    },
    /// SQS would delete it for its age before it could be tried again.
    #[error("the queue keeps messages for {} s, its MessageRetentionPeriod, which will be over before the next attempt: {why}", .retention.as_secs())]
    Retention {
        /// The queue's `MessageRetentionPeriod`.
        retention: Duration,
        /// Why it is not done.
        why: String,
    },
    /// 410: the receiver says that it is gone for good.
    #[error("status 410, gone for good")]
    Gone,
    /// Any other status that is no success.
    #[error("status {0}")]
    Status(u16),
    /// Any other status that is no success, with an explanation, such as where a redirect leads.
    #[error("status {0}, {1}")]
    StatusNoted(u16, String),
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
    /// The app's record cannot be used, or exceeds a limit: its owner's to mend.
    #[error("the app cannot be used: {0}")]
    AppUnusable(String),
    /// The webhook cannot be used, or exceeds a limit: its owner's to mend.
    #[error("the webhook cannot be used: {0}")]
    WebhookUnusable(String),
    /// What the webhook names is no Lambda function.
    #[error("the webhook's lambda_function cannot be invoked: {0}")]
    FunctionName(String),
    /// How the webhook wants its function invoked cannot be done.
    #[error("the webhook's lambda options cannot be used: {0}")]
    FunctionOptions(String),
    /// Apps may not name the function.
    #[error("function {0:?} refused: WEBHOOKS_ALLOWED_FUNCTIONS does not let apps name it")]
    FunctionRefused(String),
    /// The function ran and failed.
    #[error("the function failed: {0}")]
    FunctionFailed(String),
    /// Lambda takes no more invocations of it for now.
    #[error("Lambda throttles, raise the function's or the account's concurrency: {0}")]
    FunctionThrottled(String),
    /// There is no such function.
    #[error("Lambda has no such function, version or alias, check lambda_function and lambda.region: {0}")]
    FunctionMissing(String),
    /// The function may not be invoked.
    #[error("Lambda denies access, {0}")]
    FunctionDenied(String),
    /// The function's environment cannot be decrypted.
    #[error("Lambda cannot use the function's KMS key, check the key and its grants: {0}")]
    FunctionKey(String),
    /// Lambda failed in any other way.
    #[error("Lambda could not invoke the function: {0}")]
    FunctionService(String),
    /// The destination has been failing for longer than the window, and the job does not wait for it. What its last
    /// failure was.
    #[error("the destination has been failing for longer than the retry window, at last with: {0}")]
    DestinationDown(String),
    /// The dead-letter queue did not take it.
    #[error("the dead-letter queue did not take it: {0}")]
    DeadLetterQueue(String),
}

impl Reason {
    /// Every [`Reason::code`] that there is: the series of each exist from the start.
    pub const CODES: [&str; 38] = [
        "malformed",
        "unknown_app",
        "signature",
        "no_target",
        "url",
        "header",
        "address_refused",
        "busy",
        "endpoint_busy",
        "no_descriptor",
        "no_room",
        "gone",
        "status",
        "timeout",
        "resolve",
        "connect",
        "tls",
        "broken",
        "app_source",
        "function_name",
        "function_options",
        "function_refused",
        "function_error",
        "function_throttled",
        "function_missing",
        "function_denied",
        "function_key",
        "function_service",
        "destination_down",
        "dead_letter_queue",
        "no_webhook",
        "throttled",
        "panicked",
        "unplannable",
        "last_receive",
        "retention",
        "app_unusable",
        "webhook_unusable",
    ];

    /// Whether a job may be given up for it once it is past its window. Not for what is the operator's
    /// own to mend and would take every app's jobs with it: an app source that is down.
    #[must_use]
    pub fn gives_up(&self) -> bool {
        !matches!(self, Self::Apps(_))
    }

    /// Whether all that lacked was a place: nothing was learnt of the destination.
    #[must_use]
    pub fn is_for_want_of_a_place(&self) -> bool {
        matches!(
            self,
            Self::Busy(_)
                | Self::UnprovenBusy(_)
                | Self::EndpointBusy(_)
                | Self::InvocationsBusy(_)
                | Self::NoDescriptor
                | Self::NoRoom(_)
                | Self::Throttled(_)
        )
    }

    /// A short, stable word for metrics and dead letters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::UnknownApp(_) => "unknown_app",
            Self::Signature(_) => "signature",
            Self::NoWebhook => "no_webhook",
            Self::NoTarget => "no_target",
            Self::Url(_) => "url",
            Self::Header(_) => "header",
            Self::Refused(_) => "address_refused",
            Self::Busy(_) | Self::UnprovenBusy(_) | Self::InvocationsBusy(_) => "busy",
            Self::EndpointBusy(_) => "endpoint_busy",
            Self::NoDescriptor => "no_descriptor",
            Self::NoRoom(_) => "no_room",
            Self::Throttled(_) => "throttled",
            Self::Panicked => "panicked",
            Self::Unplannable(_) => "unplannable",
            Self::LastReceive { .. } => "last_receive",
            Self::Retention { .. } => "retention",
            Self::Gone => "gone",
            Self::Status(_) | Self::StatusNoted(..) => "status",
            Self::Timeout(_) => "timeout",
            Self::Resolve => "resolve",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Broken(_) => "broken",
            Self::Apps(_) => "app_source",
            Self::AppUnusable(_) => "app_unusable",
            Self::WebhookUnusable(_) => "webhook_unusable",
            Self::FunctionName(_) => "function_name",
            Self::FunctionOptions(_) => "function_options",
            Self::FunctionRefused(_) => "function_refused",
            Self::FunctionFailed(_) => "function_error",
            Self::FunctionThrottled(_) => "function_throttled",
            Self::FunctionMissing(_) => "function_missing",
            Self::FunctionDenied(_) => "function_denied",
            Self::FunctionKey(_) => "function_key",
            Self::FunctionService(_) => "function_service",
            Self::DestinationDown(_) => "destination_down",
            Self::DeadLetterQueue(_) => "dead_letter_queue",
        }
    }
}
