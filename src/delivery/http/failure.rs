//! Errors of connections as reasons, in words that hold nothing of the request or of the URL.

use std::error::Error;
use std::io;

use crate::outcome::Reason;

/// A connection that came about broke off, or what came over it made no sense.
pub(super) fn broken(error: &(dyn Error + 'static)) -> Reason {
    Reason::Broken(innermost(error).to_string())
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
