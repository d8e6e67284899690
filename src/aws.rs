//! What the adapters to AWS' services share: how a service is reached, credentials that can be sent, and
//! errors in words.

#[cfg(feature = "worker")]
mod client;
#[cfg(feature = "worker")]
pub(crate) mod endpoint;
#[cfg(feature = "worker")]
pub mod region;

#[cfg(feature = "worker")]
pub use client::*;

use crate::error_chain::causes;
use crate::shown::cut;

/// As much of a chain is told: a `credential_process` is quoted with all that it wrote.
const MAX_CHAIN: usize = 1024;

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
