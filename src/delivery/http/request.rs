//! A delivery as an HTTP request.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use percent_encoding::percent_decode_str;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request};
use rustls::pki_types::ServerName;
use std::sync::atomic::{AtomicBool, Ordering};
use url::{Host, Url};

use crate::app::CONNECTION_HEADERS;
use crate::outcome::Reason;
use crate::plan::{ATTEMPT_HEADER, Delivery};
use crate::shown::cut;

/// At most this many characters of a header's name are shown.
const MAX_SHOWN: usize = 80;

/// Headers that a request gets beside its delivery's: attempt, credentials, and what hyper adds (host,
/// content-length).
const OWN_HEADERS: usize = 4;

/// What a connection goes to: a scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub https: bool,
    pub host: Host<String>,
    pub port: u16,
}

/// What a webhook's URL comes to.
#[derive(Debug)]
pub(crate) struct RequestTarget {
    pub origin: Origin,
    /// Without credentials and fragment.
    url: Url,
    /// The URL's own credentials.
    authorization: Option<HeaderValue>,
    /// Its receiver has refused HTTP/1.1.
    refused_http1: AtomicBool,
}

impl RequestTarget {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// Why it cannot be requested, without the URL: it may hold a password or token.
    pub(crate) fn parse(url: &str) -> Result<Self, Reason> {
        let mut url = Url::parse(url.trim()).map_err(|error| Reason::Url(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Reason::Url("its scheme is neither http nor https".to_owned()));
        }
        let origin = Origin::of(&url)?;
        let authorization = basic(url.username(), url.password());
        // Neither fails for a URL that has a host.
        url.set_username("").ok();
        url.set_password(None).ok();
        url.set_fragment(None);
        // The same conversion as reqwest's, whose error would come with every attempt.
        url.as_str().parse::<Uri>().map_err(|error| Reason::Url(error.to_string()))?;
        Ok(Self { origin, url, authorization, refused_http1: AtomicBool::new(false) })
    }

    /// Whether its receiver has refused HTTP/1.1, and so is to be offered HTTP/2.
    pub(super) fn has_refused_http1(&self) -> bool {
        self.refused_http1.load(Ordering::Relaxed)
    }

    /// Its receiver refuses HTTP/1.1.
    pub(super) fn refuses_http1(&self) {
        self.refused_http1.store(true, Ordering::Relaxed);
    }

    /// The memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let host = match &self.origin.host {
            Host::Domain(name) => name.len(),
            Host::Ipv4(_) | Host::Ipv6(_) => 0,
        };
        let authorization = self.authorization.as_ref().map_or(0, HeaderValue::len);
        size_of::<Self>() + self.url.as_str().len() + host + authorization
    }

    /// The request of one attempt at a delivery.
    ///
    /// # Errors
    /// A header that cannot be written into a request.
    pub(super) fn post(&self, delivery: &Delivery, number: u32) -> Result<Request, Reason> {
        let mut headers = headers(delivery)?;
        if let Some(basic) = &self.authorization {
            headers.entry(AUTHORIZATION).or_insert_with(|| basic.clone());
        }
        headers.insert(HeaderName::from_static("x-hookferry-attempt"), HeaderValue::from(number));
        debug_assert!(ATTEMPT_HEADER.eq_ignore_ascii_case("x-hookferry-attempt"));
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(delivery.body.clone().into());
        Ok(request)
    }
}

impl Origin {
    fn of(url: &Url) -> Result<Self, Reason> {
        let host = url.host().ok_or_else(|| Reason::Url("it has no host".to_owned()))?.to_owned();
        let https = url.scheme() == "https";
        // A name that no certificate can be for is known before anything is dialled.
        if https && let Host::Domain(name) = &host {
            let name = name.strip_suffix('.').unwrap_or(name);
            ServerName::try_from(name).map_err(|_| Reason::Url("its host is no DNS name".to_owned()))?;
        }
        Ok(Self { https, host, port: url.port_or_known_default().unwrap_or_default() })
    }
}

fn headers(delivery: &Delivery) -> Result<HeaderMap, Reason> {
    let mut map = HeaderMap::with_capacity(delivery.headers.len() + OWN_HEADERS);
    for (name, value) in &delivery.headers {
        let cannot = || Reason::Header(cut(name, MAX_SHOWN));
        let header = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| cannot())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| cannot())?;
        // `plan` keeps the others of the kind.
        if !CONNECTION_HEADERS.contains(&header.as_str()) {
            map.insert(header, value);
        }
    }
    Ok(map)
}

/// Credentials out of a URL, for `Authorization` and its like.
pub(super) fn basic(user: &str, password: Option<&str>) -> Option<HeaderValue> {
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_decode_str(user).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password.unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
