//! What the SDK's errors mean to a job: each with what to do about it first, then Lambda's own words.

use std::io;
use std::time::Duration;

use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::InvokeError;

use super::custom_endpoint::refusal;
use super::options::Options;
use super::{NOT_LAMBDA, shown};
use crate::aws::error_chain;
use crate::aws::error_code::{self, ErrorKind};
use crate::delivery::retry_after_seconds;
use crate::descriptors;
use crate::egress::checked::NoAddress;
use crate::error_chain::causes;
use crate::outcome::{Outcome, Reason};

/// At most this many characters of Lambda's own words are shown.
const MAX_WORDS: usize = 160;
/// At most this many bytes of an answer are shown that is none of Lambda's.
const MAX_BEGINNING: usize = 40;

/// Whose credentials an invocation was signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// The worker's own.
    Workers,
    /// The ones in the webhook's `client_options`.
    Webhooks,
}

impl Credentials {
    /// Whose credentials an invocation with these options is signed with.
    pub(super) fn of(options: &Options) -> Self {
        if options.credentials.is_some() { Self::Webhooks } else { Self::Workers }
    }

    fn denied(self, text: &str) -> String {
        match self {
            Self::Workers => format!("allow lambda:InvokeFunction on it to the worker's role: {text}"),
            Self::Webhooks => {
                format!(
                    "check the credentials in lambda.client_options, the app's own, and their rights: {text}"
                )
            }
        }
    }
}

/// Whether nothing could be dialled for want of a descriptor; a look-up that fails does not tell.
pub(super) fn lacks_descriptor(failure: &SdkError<InvokeError>) -> bool {
    causes(failure).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(descriptors::is_lack)
            || cause.is::<NoAddress>() && refusal(failure).is_none() && descriptors::are_lacking()
    })
}

/// Sorts an error. None but a refused address is permanent: a function, a permission or a key may come back.
pub(super) fn outcome(failure: &SdkError<InvokeError>, timeout: Duration, whose: Credentials) -> Outcome {
    if let Some(refused) = refusal(failure) {
        return Outcome::Permanent(Reason::Refused(refused.to_string()));
    }
    if lacks_descriptor(failure) {
        return Outcome::Deferred(Reason::NoDescriptor);
    }
    let text = || shown(&error_chain(failure), MAX_WORDS);
    match failure {
        SdkError::ServiceError(context) => {
            let error = context.err();
            let code = error.code().unwrap_or("unknown");
            let status = context.raw().status().as_u16();
            let body = context.raw().body().bytes().unwrap_or_default();
            if is_html(body) {
                let text = format!("{NOT_LAMBDA}: status {status}, {}", beginning(body));
                return Outcome::transient(Reason::FunctionService(text));
            }
            let text = shown(&format!("{code}: {}", error.message().unwrap_or("no message")), MAX_WORDS);
            // Lambda gives seconds.
            let retry_after = context.raw().headers().get("retry-after").and_then(retry_after_seconds);
            Outcome::Transient { reason: reason(code, status, text, whose), retry_after }
        }
        SdkError::TimeoutError(_) => Outcome::transient(Reason::Timeout(timeout)),
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() || dispatch.is_io() => {
            Outcome::transient(Reason::Connect(text()))
        }
        // Before anything was sent: the worker's own credentials, above all.
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
            Outcome::transient(Reason::FunctionDenied(whose.denied(&text())))
        }
        SdkError::ResponseError(_) => Outcome::transient(Reason::Broken(text())),
        _ => Outcome::transient(Reason::FunctionService(text())),
    }
}

/// Whether an answer is a page for people, as Lambda's never is.
fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// How the body of an answer begins that is none of Lambda's.
pub(super) fn beginning(body: &[u8]) -> String {
    if body.is_empty() {
        return "and no body".to_owned();
    }
    let text = String::from_utf8_lossy(body.get(..MAX_BEGINNING).unwrap_or(body));
    format!("its body begins {:?}", shown(&text, MAX_BEGINNING))
}

fn reason(code: &str, status: u16, text: String, whose: Credentials) -> Reason {
    match error_code::kind(code) {
        ErrorKind::Throttled => Reason::FunctionThrottled(text),
        ErrorKind::Missing => Reason::FunctionMissing(text),
        ErrorKind::Key(_) => Reason::FunctionKey(text),
        ErrorKind::NoRight | ErrorKind::Credentials | ErrorKind::Expired | ErrorKind::Clock => {
            Reason::FunctionDenied(whose.denied(&text))
        }
        ErrorKind::Other => match status {
            401 | 403 => Reason::FunctionDenied(whose.denied(&text)),
            404 => Reason::FunctionMissing(text),
            429 => Reason::FunctionThrottled(text),
            _ => Reason::FunctionService(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;

    #[test]
    fn denied_access_says_whose_credentials_were_denied() {
        let told = |whose| reason("AccessDeniedException", 403, "m".to_owned(), whose).to_string();
        assert!(told(Credentials::Workers).contains("worker's role"));
        let own = told(Credentials::Webhooks);
        assert!(own.contains("lambda.client_options") && !own.contains("worker's"), "{own}");
    }

    #[test]
    fn expired_credentials_are_a_denial_whatever_the_status() {
        for code in ["ExpiredToken", "ExpiredTokenException", "SignatureDoesNotMatch", "RequestExpired"] {
            let reason = reason(code, 400, "m".to_owned(), Credentials::Workers);
            assert!(matches!(reason, Reason::FunctionDenied(_)), "{code}: {reason:?}");
        }
    }

    #[test]
    fn what_could_not_be_dialled_for_want_of_a_descriptor_was_not_tried() {
        let failed = |error: io::Error| {
            let failure = SdkError::dispatch_failure(ConnectorError::io(Box::new(error)));
            outcome(&failure, Duration::from_secs(1), Credentials::Workers)
        };
        let lack = io::Error::from(rustix::io::Errno::MFILE);
        assert_eq!(failed(io::Error::other(lack)), Outcome::Deferred(Reason::NoDescriptor));
        let refused = failed(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(matches!(refused, Outcome::Transient { reason: Reason::Connect(_), .. }), "{refused:?}");
    }
}
