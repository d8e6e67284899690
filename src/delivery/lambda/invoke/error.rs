//! What the SDK's errors mean to a job: each with what to do about it first, then Lambda's own words.

use std::time::Duration;

use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::InvokeError;

use super::custom_endpoint::refusal;
use super::shown;
use crate::aws::error_chain;
use crate::outcome::{Outcome, Reason};

/// As much of Lambda's own words is shown.
const MAX_WORDS: usize = 160;

/// Sorts an error. None but a refused address is permanent: a function, a permission or a key may come back.
pub(super) fn outcome(failure: &SdkError<InvokeError>, timeout: Duration) -> Outcome {
    if let Some(refused) = refusal(failure) {
        return Outcome::Permanent(Reason::Refused(refused.to_string()));
    }
    let text = || shown(&error_chain(failure), MAX_WORDS);
    match failure {
        SdkError::ServiceError(context) => {
            let error = context.err();
            let code = error.code().unwrap_or("unknown");
            let status = context.raw().status().as_u16();
            let text = shown(&format!("{code}: {}", error.message().unwrap_or("no message")), MAX_WORDS);
            let retry_after = context.raw().headers().get("retry-after").and_then(|value| {
                // Lambda gives seconds.
                value.trim().parse().ok().map(Duration::from_secs)
            });
            Outcome::Transient { reason: reason(code, status, text), retry_after }
        }
        SdkError::TimeoutError(_) => Outcome::transient(Reason::Timeout(timeout)),
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() || dispatch.is_io() => {
            Outcome::transient(Reason::Connect(text()))
        }
        // Before anything was sent: the worker's own credentials, above all.
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
            Outcome::transient(Reason::FunctionDenied(text()))
        }
        SdkError::ResponseError(_) => Outcome::transient(Reason::Broken(text())),
        _ => Outcome::transient(Reason::FunctionService(text())),
    }
}

fn reason(code: &str, status: u16, text: String) -> Reason {
    match code {
        "TooManyRequestsException"
        | "EC2ThrottledException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded" => Reason::FunctionThrottled(text),
        "ResourceNotFoundException" => Reason::FunctionMissing(text),
        _ if code.starts_with("KMS") => Reason::FunctionKey(text),
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException"
        | "NotAuthorized" => Reason::FunctionDenied(text),
        _ => match status {
            401 | 403 => Reason::FunctionDenied(text),
            404 => Reason::FunctionMissing(text),
            429 => Reason::FunctionThrottled(text),
            _ => Reason::FunctionService(text),
        },
    }
}
