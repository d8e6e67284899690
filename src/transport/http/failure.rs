//! Errors of connections as reasons, in words that hold nothing of the request or of the URL.

use std::error::Error;
use std::io;

use crate::policy::Reason;

/// A connection that came about broke off, or what came over it made no sense.
pub(super) fn exchange(error: &hyper::Error) -> Reason {
    let cause = innermost(error);
    let words = match error {
        _ if cause.is::<h2::Error>() || cause.is::<io::Error>() => cause.to_string(),
        _ if error.is_incomplete_message() => "it was closed before the response was complete".to_owned(),
        _ if error.is_parse_too_large() => "the response's headers are too large".to_owned(),
        _ if error.is_parse() => format!("the response is not HTTP ({cause})"),
        _ => cause.to_string(),
    };
    Reason::Broken(words)
}

/// The TCP connection did not come about.
pub(super) fn connect(error: &io::Error) -> Reason {
    Reason::Connect(error.to_string())
}

/// The TLS handshake failed.
pub(super) fn handshake(error: &io::Error) -> Reason {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Reason::Tls(super::tls::words(tls)),
        None => Reason::Tls(format!("the handshake broke off: {error}")),
    }
}

/// The cause of causes: the outer errors only say that something failed. An I/O error hides the one
/// that it wraps.
pub(super) fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    loop {
        let wrapped = innermost.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| innermost.source()) {
            Some(cause) => innermost = cause,
            None => return innermost,
        }
    }
}
