//! Errors of reqwest as outcomes, in words that hold nothing of the request or of the URL.
//!
//! reqwest's own texts name the URL and are never used. What counts is what an error comes from: the
//! chain of its causes ends at hyper, rustls, the operating system or a refusal of our own.

use std::error::Error;
use std::io;

use hyper_util::client::legacy;

use crate::descriptors;
use crate::egress::checked::NoAddress;
use crate::egress::resolver::Unresolved;
use crate::error_chain::{causes, innermost};
use crate::outcome::{Outcome, Reason};

type Cause<'a> = &'a (dyn Error + 'static);

/// What a request that was not answered comes to; `proxied`: what is dialled is the proxy.
pub(super) fn outcome(error: &reqwest::Error, proxied: bool) -> Outcome {
    if error.is_builder() {
        return Outcome::Permanent(Reason::Url(innermost(error).to_string()));
    }
    if lacks_descriptor(error) {
        return Outcome::Deferred(Reason::NoDescriptor);
    }
    if let Some(refused) = causes(error).find_map(|cause| cause.downcast_ref::<NoAddress>()) {
        return match refused {
            NoAddress::Refused(refused) => Outcome::Permanent(Reason::Refused(refused.to_string())),
            // A look-up needs a socket too, and does not say that there was none.
            NoAddress::Unresolved(_) if descriptors::are_lacking() => Outcome::Deferred(Reason::NoDescriptor),
            NoAddress::Unresolved(_) => Outcome::transient(Reason::Resolve),
        };
    }
    if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return Outcome::transient(Reason::Tls(crate::tls::words(tls)));
    }
    if !error.is_connect() {
        return Outcome::transient(broken(error));
    }
    let why = innermost(error);
    Outcome::transient(match connector(error) {
        _ if proxied && why.is::<Unresolved>() => no_proxy("its name has no address"),
        _ if proxied => no_proxy(&why.to_string()),
        // The connector wraps what becomes of the TCP connection; what comes bare is of the handshake.
        Some(cause) if cause.is::<io::Error>() => Reason::Tls(format!("the handshake broke off: {why}")),
        Some(_) | None => Reason::Connect(why.to_string()),
    })
}

/// Whether the receiver speaks HTTP/2 alone: it refused HTTP/1.1 by ALPN, or answered it with what is none.
pub(super) fn speaks_no_http1(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        matches!(
            cause.downcast_ref(),
            Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol))
        ) || cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(|error| error.is_parse() && !error.is_parse_too_large())
    })
}

/// Whether nothing could be dialled for want of a descriptor.
fn lacks_descriptor(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(descriptors::is_lack)
}

/// A connection that came about broke off, or what came over it made no sense.
pub(super) fn broken(error: &reqwest::Error) -> Reason {
    let hyper = causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>());
    Reason::Broken(match hyper {
        Some(error) if error.is_parse_too_large() => "the response's headers are too large".to_owned(),
        Some(error) if error.is_incomplete_message() => {
            "it was closed before the response was complete".to_owned()
        }
        Some(error) if error.is_parse() => format!("the response is not HTTP ({})", innermost(error)),
        Some(_) | None => innermost(error).to_string(),
    })
}

/// Whether the connection ended, which is all that is wrong, before there was a response.
pub(super) fn ended(error: &reqwest::Error) -> bool {
    let is_end = |kind| {
        matches!(
            kind,
            io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::NotConnected
                | io::ErrorKind::UnexpectedEof
        )
    };
    !error.is_connect()
        && causes(error).any(|cause| {
            cause.downcast_ref::<hyper::Error>().is_some_and(|error| {
                error.is_incomplete_message() || error.is_closed() || error.is_canceled()
            }) || cause.downcast_ref::<io::Error>().is_some_and(|error| is_end(error.kind()))
        })
}

/// Whether a body ended without TLS' goodbye, which many servers leave out.
pub(super) fn without_goodbye(error: &reqwest::Error) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}

/// What the connector said, by which the kinds of failed connections differ.
fn connector(error: &reqwest::Error) -> Option<Cause<'_>> {
    causes(error).find(|cause| cause.is::<legacy::Error>()).and_then(Error::source)
}

fn no_proxy(why: &str) -> Reason {
    Reason::Connect(format!("the proxy of WEBHOOKS_PROXY_URL, check its address and credentials: {why}"))
}
