//! Who may talk to a local endpoint: programs on this machine, and no web page in a browser on it.
//!
//! A page reaches a local port in two ways: it sends a request across origins, which browsers mark with
//! `Origin` or `Sec-Fetch-Site` (neither at a GET to a private address without TLS, so that is to change nothing); or its
//! own name is made to lead to this machine (DNS rebinding), and then that name is in `Host`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, Uri, header};

/// Which hosts an endpoint answers to.
#[derive(Clone, Debug, Default)]
pub struct Visitors {
    listening: Option<IpAddr>,
    named: Arc<[String]>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// The name in `Host`.
    #[error(
        "this endpoint answers to loopback names and the address that it listens on; the local queue to those named with --allow-host too"
    )]
    Host,
    /// A page in a browser.
    #[error("this endpoint answers no web page")]
    Page,
}

impl Visitors {
    /// Of an endpoint that listens there; `named` are other hosts under which it is known.
    #[must_use]
    pub fn new(listening: SocketAddr, named: &[String]) -> Self {
        Self {
            listening: Some(listening.ip()),
            named: named.iter().map(|name| name.to_ascii_lowercase()).collect(),
        }
    }

    /// Judges a request by what it is addressed to, and by its headers.
    ///
    /// # Errors
    /// It came by another host, or from a web page.
    pub fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
        self.judge_host(uri, headers)?;
        Self::judge_page(uri, headers)
    }

    /// Judges by the host alone.
    ///
    /// # Errors
    /// It came by another host.
    pub fn judge_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
        let hosts = hosts(uri, headers)?;
        if hosts.iter().all(|host| self.is_ours(name_of(host))) { Ok(()) } else { Err(Foreign::Host) }
    }

    /// Judges what an endpoint answers that is known under any name.
    ///
    /// # Errors
    /// It came from a web page.
    pub fn judge_page(uri: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
        let hosts = hosts(uri, headers)?;
        let own = |origin: &str| {
            let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            rest.is_some_and(|rest| hosts.iter().any(|host| rest == host))
        };
        if one(headers, &header::ORIGIN, Foreign::Page)?.is_some_and(|origin| !own(&origin)) {
            return Err(Foreign::Page);
        }
        match one(headers, &HeaderName::from_static("sec-fetch-site"), Foreign::Page)?.as_deref() {
            None | Some("none" | "same-origin") => Ok(()),
            Some(_) => Err(Foreign::Page),
        }
    }

    fn is_ours(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.');
        if name == "localhost" || name.ends_with(".localhost") || self.named.iter().any(|named| named == name)
        {
            return true;
        }
        let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else {
            return false;
        };
        let address = address.to_canonical();
        // A name cannot be made to lead to a literal address: listening on all, each of the machine's is ours.
        address.is_loopback()
            || self.listening.is_none_or(|own| own.to_canonical() == address || own.is_unspecified())
    }
}

/// What a request is addressed to: `Host`, and what stands in its first line if a whole URL does. Each is judged, for
/// whoever looks at one of them alone may take the other for granted.
fn hosts(uri: &Uri, headers: &HeaderMap) -> Result<Vec<String>, Foreign> {
    let line = uri.authority().map(|authority| authority.as_str().to_ascii_lowercase());
    Ok(line.into_iter().chain(one(headers, &header::HOST, Foreign::Host)?).collect())
}

/// A header, if it is there; no browser or SDK sends one of these twice.
fn one(headers: &HeaderMap, name: &HeaderName, twice: Foreign) -> Result<Option<String>, Foreign> {
    let mut values = headers.get_all(name).iter();
    let value =
        values.next().map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase());
    if values.next().is_some() { Err(twice) } else { Ok(value) }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    if let Some(end) = host.strip_prefix('[').and(host.find(']')) {
        let (name, rest) = host.split_at(end + 1);
        return if rest.is_empty() || rest.starts_with(':') { name } else { host };
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn judged(listening: &str, headers: &[(&str, &str)]) -> Result<(), Foreign> {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let visitors = Visitors::new(listening.parse().unwrap(), &["Queue".to_owned()]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        visitors.judge(&Uri::from_static("/"), &map)
    }

    #[test]
    fn what_is_said_twice_is_refused_and_a_whole_url_is_judged_too() {
        let (host, other) = (("host", "localhost"), ("host", "rebound.example"));
        let (typed, page) = (("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site"));
        let (own, foreign) = (("origin", "http://localhost"), ("origin", "https://page.example"));
        for (headers, refused) in [
            (vec![host, other], Foreign::Host),
            (vec![other, host], Foreign::Host),
            (vec![host, host], Foreign::Host),
            (vec![host, typed, page], Foreign::Page),
            (vec![host, own, foreign], Foreign::Page),
        ] {
            assert_eq!(judged("127.0.0.1:9324", &headers), Err(refused), "{headers:?}");
        }
        let visitors = Visitors::new("127.0.0.1:9324".parse().unwrap(), &[]);
        let judge = |uri: &'static str, host: &'static str| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            visitors.judge(&Uri::from_static(uri), &headers)
        };
        assert_eq!(judge("http://localhost:9324/", "localhost:9324"), Ok(()));
        assert_eq!(judge("http://rebound.example/", "localhost:9324"), Err(Foreign::Host));
        assert_eq!(judge("http://localhost:9324/", "rebound.example"), Err(Foreign::Host));
        assert_eq!(judge("http://user@localhost:9324/", "localhost:9324"), Err(Foreign::Host));
    }

    #[test]
    fn loopback_names_the_listening_address_and_named_hosts_are_answered() {
        for host in [
            "127.0.0.1:9324",
            "127.1.2.3",
            "localhost:9324",
            "LOCALHOST",
            "localhost.:1",
            "queue.localhost:9324",
            "[::1]:9324",
            "10.1.2.3:9324",
            "queue:9324",
            "QUEUE",
        ] {
            assert_eq!(judged("10.1.2.3:9324", &[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(judged("10.1.2.3:9324", &[]), Ok(()), "HTTP/1.0");
        assert_eq!(judged("0.0.0.0:9324", &[("host", "192.168.1.9:9324")]), Ok(()));
    }

    #[test]
    fn foreign_names_are_refused_wherever_they_lead() {
        for host in [
            "rebound.example:9324",
            "127.0.0.1.example",
            "localhost.example",
            "xlocalhost",
            "10.1.2.4:9324",
            "queue.example",
            "",
            "127.0.0.1@example",
            "[::1].example",
        ] {
            assert_eq!(judged("10.1.2.3:9324", &[("host", host)]), Err(Foreign::Host), "{host}");
        }
        assert_eq!(judged("0.0.0.0:9324", &[("host", "rebound.example")]), Err(Foreign::Host));
    }

    #[test]
    fn web_pages_are_refused_and_what_is_typed_or_of_the_endpoint_itself_is_answered() {
        let host = ("host", "localhost:9324");
        for page in [
            ("origin", "https://page.example"),
            ("origin", "http://localhost:3000"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("Sec-Fetch-Site", "Cross-Site"),
        ] {
            assert_eq!(judged("127.0.0.1:9324", &[host, page]), Err(Foreign::Page), "{page:?}");
        }
        for own in [
            ("origin", "http://localhost:9324"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "same-origin"),
        ] {
            assert_eq!(judged("127.0.0.1:9324", &[host, own]), Ok(()), "{own:?}");
        }
    }
}
