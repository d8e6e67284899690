//! What the adapters to AWS' services share: how a service is reached, credentials that can be sent, and
//! errors in words.

#[cfg(feature = "worker")]
mod client;
#[cfg(feature = "worker")]
pub(crate) mod endpoint;
pub(crate) mod error_code;
#[cfg(feature = "worker")]
pub mod region;

#[cfg(feature = "worker")]
pub use client::*;

use aws_credential_types::provider::error::CredentialsError;

use crate::error_chain::causes;
use crate::shown::cut;

/// Characters of a chain that are told: a `credential_process` is quoted with all that it wrote.
const MAX_CHAIN: usize = 1024;

/// What the SDK says where its cache of credentials waits no longer for them: that error has no type of its own.
const NONE_IN_TIME: &str = "identity resolver timed out";

/// Whether a request was not sent because its credentials could not be fetched, for a reason that may pass: STS, the
/// container's endpoint or the metadata service did not answer, or failed. A configuration without any, or with one
/// that is wrong, stays so.
pub fn credentials_may_come(failure: &(dyn std::error::Error + 'static)) -> bool {
    let mut may = false;
    for cause in causes(failure) {
        match cause.downcast_ref() {
            Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)) => {
                return false;
            }
            Some(_) => may = true,
            None => may |= cause.to_string().starts_with(NONE_IN_TIME),
        }
    }
    may
}

/// The chain of causes, each in its own words, on one line and cut; the SDK's `Debug` would dump requests and responses.
pub fn error_chain(failure: &(dyn std::error::Error + 'static)) -> String {
    let mut text = failure.to_string();
    for cause in causes(failure).skip(1) {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
    }
    cut(&text.replace(['\r', '\n'], " "), MAX_CHAIN)
}
