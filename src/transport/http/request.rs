//! A delivery as an HTTP request, for whichever version the connection speaks.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Uri};
use percent_encoding::percent_decode_str;
use url::{Host, Position, Url};

use crate::plan::{ATTEMPT_HEADER, Delivery};
use crate::policy::Reason;

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

/// What a connection goes to: a scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub https: bool,
    pub host: Host<String>,
    pub port: u16,
}

/// A request that can be built again for another connection.
pub(super) struct Post {
    pub origin: Origin,
    path: PathAndQuery,
    headers: HeaderMap,
    body: Bytes,
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

impl Post {
    /// Checks that the delivery can be sent at all.
    pub(super) fn new(url: &str, delivery: &Delivery, number: u32) -> Result<Self, Reason> {
        let url = parse(url)?;
        let origin = Origin::of(&url)?;
        let path = &url[Position::BeforePath..Position::AfterQuery];
        let path = PathAndQuery::try_from(path).map_err(|error| Reason::Url(error.to_string()))?;
        let mut headers = headers(delivery)?;
        if let Some(basic) = basic(url.username(), url.password()) {
            headers.entry(AUTHORIZATION).or_insert(basic);
        }
        headers.insert(HeaderName::from_static("x-hookferry-attempt"), HeaderValue::from(number));
        debug_assert!(ATTEMPT_HEADER.eq_ignore_ascii_case("x-hookferry-attempt"));
        Ok(Self { origin, path, headers, body: delivery.body.clone() })
    }

    /// The request itself.
    ///
    /// # Errors
    /// The host cannot be written into a request.
    pub(super) fn request(&self, form: Form<'_>) -> Result<Request<Full<Bytes>>, Reason> {
        let authority = self.origin.to_string();
        let mut headers = self.headers.clone();
        let unfit = |error: hyper::http::Error| Reason::Url(error.to_string());
        if !matches!(form, Form::Http2) {
            headers.insert(HOST, HeaderValue::try_from(&authority).map_err(|error| unfit(error.into()))?);
        }
        if let Form::Absolute(Some(credentials)) = form {
            headers.insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        let uri = match form {
            Form::Origin => Uri::from(self.path.clone()),
            Form::Absolute(_) | Form::Http2 => Uri::builder()
                .scheme(if self.origin.https { Scheme::HTTPS } else { Scheme::HTTP })
                .authority(Authority::try_from(authority).map_err(|error| unfit(error.into()))?)
                .path_and_query(self.path.clone())
                .build()
                .map_err(unfit)?,
        };
        let mut request = Request::new(Full::new(self.body.clone()));
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
    let mut map = HeaderMap::with_capacity(delivery.headers.len() + 3);
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

    fn post(url: &str, headers: &[(&str, &str)]) -> Result<Post, Reason> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let delivery =
            Delivery { webhook: 0, target: Target::Missing, body: Bytes::from_static(b"{}"), headers };
        Post::new(url, &delivery, 3)
    }

    #[test]
    fn a_url_that_cannot_be_requested_is_named_without_its_secrets() {
        for url in
            ["", "nonsense", "ftp://u:hush@h/", "http://", "http://h:hush/", "http://hush@/", "data:hush"]
        {
            let reason = post(url, &[]).err().unwrap().to_string();
            assert!(!reason.contains("hush"), "{reason}");
        }
    }

    #[test]
    fn the_request_line_and_host_follow_the_form() {
        let post = post("https://u:p%40@Exämple.com:444/a b?c={d}|e^#f", &[]).unwrap();
        let plain = post.request(Form::Origin).unwrap();
        assert_eq!(plain.uri().to_string(), "/a%20b?c={d}|e^");
        assert_eq!(plain.headers()[HOST], "xn--exmple-cua.com:444");
        assert_eq!(plain.headers()[AUTHORIZATION], "Basic dTpwQA==");
        assert_eq!(plain.headers()["x-hookferry-attempt"], "3");
        let absolute = post.request(Form::Absolute(Some(&HeaderValue::from_static("hush")))).unwrap();
        assert_eq!(absolute.uri().to_string(), "https://xn--exmple-cua.com:444/a%20b?c={d}|e^");
        assert_eq!(absolute.headers()[PROXY_AUTHORIZATION], "hush");
        let http2 = post.request(Form::Http2).unwrap();
        assert!(http2.headers().get(HOST).is_none());
    }

    #[test]
    fn ipv6_and_default_ports_are_written_as_a_host_header_wants_them() {
        let host = |url| post(url, &[]).unwrap().request(Form::Origin).unwrap().headers()[HOST].clone();
        assert_eq!(host("http://[2001:4860::1]:8080/"), "[2001:4860::1]:8080");
        assert_eq!(host("http://[::1]:80/"), "[::1]");
        assert_eq!(host("https://h:80/"), "h:80");
        assert_eq!(host("https://h:443"), "h");
    }

    #[test]
    fn the_connections_own_headers_are_not_the_webhooks_to_set() {
        let headers = [("Expect", "100-continue"), ("TE", "trailers"), ("Upgrade", "h2c"), ("X-Own", "é")];
        let request = post("http://h/", &headers).unwrap().request(Form::Origin).unwrap();
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-own", "x-hookferry-attempt", "host"]);
        assert_eq!(request.headers()["x-own"].as_bytes(), "é".as_bytes());
        assert!(matches!(post("http://h/", &[("a b", "")]), Err(Reason::Header(name)) if name == "a b"));
        assert!(matches!(post("http://h/", &[("a", "b\r\nc: d")]), Err(Reason::Header(_))));
    }
}
