//! A delivery as an HTTP request, for whichever version the connection speaks.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Uri};
use percent_encoding::percent_decode_str;
use url::{Host, Position, Url};

use crate::outcome::Reason;
use crate::plan::{ATTEMPT_HEADER, Delivery};

/// Headers that are a connection's and not the webhook's to set; `plan` keeps the others of the kind.
/// With `Expect` the receiver would be asked for leave before every body.
const CONNECTIONS: [&str; 8] = [
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
];

/// Headers that a request gets beside its delivery's: attempt, host and two for credentials.
const OWN_HEADERS: usize = 4;

/// What a connection goes to: a scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub https: bool,
    pub host: Host<String>,
    pub port: u16,
}

/// What a webhook's URL comes to.
#[derive(Debug)]
pub(super) struct Place {
    pub origin: Arc<Origin>,
    path: PathAndQuery,
    /// As in `Host`.
    authority: Authority,
    /// The URL's own credentials.
    authorization: Option<HeaderValue>,
}

/// A request that can be built again for another connection.
pub(super) struct Post<'a> {
    pub place: Arc<Place>,
    delivery: &'a Delivery,
    number: u32,
    /// The delivery's own, until a request takes them.
    headers: Option<HeaderMap>,
}

/// How the request line names its target.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    /// HTTP/1, to the receiver itself: the path alone.
    Origin,
    /// HTTP/1, to a proxy that passes it on: the whole URL, and the proxy's credentials.
    Absolute(Option<&'a HeaderValue>),
    /// HTTP/2: the whole URL, and no `Host`.
    Http2,
}

impl Place {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// Why it cannot be requested, without the URL: it may hold a password or token.
    pub(super) fn of(url: &str) -> Result<Self, Reason> {
        let url = parse(url)?;
        let unfit = |error: hyper::http::Error| Reason::Url(error.to_string());
        let origin = Origin::of(&url)?;
        let path = &url[Position::BeforePath..Position::AfterQuery];
        let path = PathAndQuery::try_from(path).map_err(|error| unfit(error.into()))?;
        let authority = Authority::try_from(origin.to_string()).map_err(|error| unfit(error.into()))?;
        let authorization = basic(url.username(), url.password());
        Ok(Self { origin: Arc::new(origin), path, authority, authorization })
    }
}

impl<'a> Post<'a> {
    /// A delivery on its way to where its URL leads.
    ///
    /// # Errors
    /// A header that cannot be written into a request.
    pub(super) fn new(place: Arc<Place>, delivery: &'a Delivery, number: u32) -> Result<Self, Reason> {
        let headers = Some(headers(delivery)?);
        Ok(Self { place, delivery, number, headers })
    }

    /// The request itself; again, if an earlier one did not reach anyone.
    ///
    /// # Errors
    /// The host cannot be written into a request.
    pub(super) fn request(&mut self, form: Form<'_>) -> Result<Request<Bytes>, Reason> {
        let Place { origin, path, authority, authorization } = &*self.place;
        let mut headers = match self.headers.take() {
            Some(headers) => headers,
            None => headers(self.delivery)?,
        };
        if let Some(basic) = authorization {
            headers.entry(AUTHORIZATION).or_insert_with(|| basic.clone());
        }
        headers.insert(HeaderName::from_static("x-hookferry-attempt"), HeaderValue::from(self.number));
        debug_assert!(ATTEMPT_HEADER.eq_ignore_ascii_case("x-hookferry-attempt"));
        let unfit = |error: hyper::http::Error| Reason::Url(error.to_string());
        if !matches!(form, Form::Http2) {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|error| unfit(error.into()))?;
            headers.insert(HOST, host);
        }
        if let Form::Absolute(Some(credentials)) = form {
            headers.insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        let uri = match form {
            Form::Origin => Uri::from(path.clone()),
            Form::Absolute(_) | Form::Http2 => Uri::builder()
                .scheme(if origin.https { Scheme::HTTPS } else { Scheme::HTTP })
                .authority(authority.clone())
                .path_and_query(path.clone())
                .build()
                .map_err(unfit)?,
        };
        let mut request = Request::new(self.delivery.body.clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl Origin {
    fn of(url: &Url) -> Result<Self, Reason> {
        let host = url.host().ok_or_else(|| Reason::Url("it has no host".to_owned()))?.to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        Ok(Self { https: url.scheme() == "https", host, port })
    }
}

/// As in `Host`: without the scheme's own port.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = if self.https { 443 } else { 80 };
        if self.port == own { self.host.fmt(f) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// Checks that a webhook's URL can be requested at all.
///
/// # Errors
/// The reason, without the URL: it may hold a password or token.
fn parse(url: &str) -> Result<Url, Reason> {
    let url = Url::parse(url.trim()).map_err(|error| Reason::Url(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(Reason::Url("its scheme is neither http nor https".to_owned())),
    }
}

fn headers(delivery: &Delivery) -> Result<HeaderMap, Reason> {
    let mut map = HeaderMap::with_capacity(delivery.headers.len() + OWN_HEADERS);
    for (name, value) in &delivery.headers {
        let cannot = || Reason::Header(name.clone());
        let header = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| cannot())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| cannot())?;
        if !CONNECTIONS.contains(&header.as_str()) {
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
mod tests {
    use super::*;
    use crate::app::Target;

    fn request(url: &str, headers: &[(&str, &str)], form: Form<'_>) -> Result<Request<Bytes>, Reason> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let delivery = Delivery {
            webhook: "0".into(),
            target: Target::Missing,
            body: Bytes::from_static(b"{}"),
            headers,
        };
        Post::new(Arc::new(Place::of(url)?), &delivery, 3)?.request(form)
    }

    #[test]
    fn a_url_that_cannot_be_requested_is_named_without_its_secrets() {
        for url in
            ["", "nonsense", "ftp://u:hush@h/", "http://", "http://h:hush/", "http://hush@/", "data:hush"]
        {
            let reason = Place::of(url).err().unwrap().to_string();
            assert!(!reason.contains("hush"), "{reason}");
        }
    }

    #[test]
    fn the_request_line_and_host_follow_the_form() {
        let hush = HeaderValue::from_static("hush");
        let as_form = |form| request("https://u:p%40@Exämple.com:444/a b?c={d}|e^#f", &[], form).unwrap();
        let plain = as_form(Form::Origin);
        assert_eq!(plain.uri().to_string(), "/a%20b?c={d}|e^");
        assert_eq!(plain.headers()[HOST], "xn--exmple-cua.com:444");
        assert_eq!(plain.headers()[AUTHORIZATION], "Basic dTpwQA==");
        assert_eq!(plain.headers()["x-hookferry-attempt"], "3");
        let absolute = as_form(Form::Absolute(Some(&hush)));
        assert_eq!(absolute.uri().to_string(), "https://xn--exmple-cua.com:444/a%20b?c={d}|e^");
        assert_eq!(absolute.headers()[PROXY_AUTHORIZATION], "hush");
        let http2 = as_form(Form::Http2);
        assert!(http2.headers().get(HOST).is_none());
    }

    #[test]
    fn ipv6_and_default_ports_are_written_as_a_host_header_wants_them() {
        let host = |url| request(url, &[], Form::Origin).unwrap().headers()[HOST].clone();
        assert_eq!(host("http://[2001:4860::1]:8080/"), "[2001:4860::1]:8080");
        assert_eq!(host("http://[::1]:80/"), "[::1]");
        assert_eq!(host("https://h:80/"), "h:80");
        assert_eq!(host("https://h:443"), "h");
    }

    #[test]
    fn the_connections_own_headers_are_not_the_webhooks_to_set() {
        let headers = [("Expect", "100-continue"), ("TE", "trailers"), ("Upgrade", "h2c"), ("X-Own", "é")];
        let sent = request("http://h/", &headers, Form::Origin).unwrap();
        let names: Vec<_> = sent.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-own", "x-hookferry-attempt", "host"]);
        assert_eq!(sent.headers()["x-own"].as_bytes(), "é".as_bytes());
        let refused = |name, value| request("http://h/", &[(name, value)], Form::Origin).err().unwrap();
        assert!(matches!(refused("a b", ""), Reason::Header(name) if name == "a b"));
        assert!(matches!(refused("a", "b\r\nc: d"), Reason::Header(_)));
    }
}
