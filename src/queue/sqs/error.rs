//! What the SDK's errors mean to the worker.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::aws::words;
use crate::queue::ReceiveError;

/// Codes that only an operator can do something about.
const DENIED: [&str; 12] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "KmsAccessDenied",
];

const THROTTLED: [&str; 7] = [
    "OverLimit",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "KmsThrottled",
];

const MISSING: [&str; 3] =
    ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "NonExistentQueue"];

/// Sorts an error; its text is for people.
pub(super) fn classify<E>(failure: &SdkError<E>) -> ReceiveError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match failure {
        SdkError::ServiceError(context) => {
            let code = context.err().code().unwrap_or("unknown");
            let message = context.err().message().unwrap_or("no message");
            let text = format!("{code}: {message}");
            let status = context.raw().status().as_u16();
            if MISSING.contains(&code) {
                ReceiveError::Missing(text)
            } else if DENIED.contains(&code) || matches!(status, 401 | 403) {
                ReceiveError::Denied(text)
            } else if THROTTLED.contains(&code) || status == 429 {
                ReceiveError::Throttled(text)
            } else {
                ReceiveError::Service(format!("{text} (status {status})"))
            }
        }
        // Before anything was sent: the credentials, above all.
        SdkError::ConstructionFailure(_) => ReceiveError::Denied(words(failure)),
        SdkError::DispatchFailure(dispatch) if dispatch.is_other() || dispatch.is_user() => {
            ReceiveError::Denied(words(failure))
        }
        // A response that broke off counts as none: messages may have been handed over in it.
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ResponseError(_) => {
            ReceiveError::NoResponse(words(failure))
        }
        other => ReceiveError::Service(words(other)),
    }
}
