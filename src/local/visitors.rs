//! Who may talk to a local endpoint: programs on this machine, and no web page in a browser on it.
//!
//! A page reaches a local port in two ways: it sends a request across origins, which browsers mark with
//! `Origin` and `Sec-Fetch-Site`; or its own name is made to lead to this machine (DNS rebinding), and
//! then that name is in `Host`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, header};

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
        "this endpoint answers to loopback names and the address that it listens on; name others with --allow-host"
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

    /// Judges a request by its headers.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Result<(), Foreign> {
        let host = text(headers, &header::HOST);
        if let Some(host) = &host
            && !self.is_ours(name_of(host))
        {
            return Err(Foreign::Host);
        }
        Self::judge_page(headers)
    }

    /// The same of an endpoint that is known under any name.
    pub(super) fn judge_page(headers: &HeaderMap) -> Result<(), Foreign> {
        let host = text(headers, &header::HOST).unwrap_or_default();
        let own = |origin: &str| {
            let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            rest.is_some_and(|rest| rest == host)
        };
        if text(headers, &header::ORIGIN).is_some_and(|origin| !own(&origin)) {
            return Err(Foreign::Page);
        }
        let site = headers.get("sec-fetch-site").map(|site| site.as_bytes().to_ascii_lowercase());
        match site.as_deref() {
            None | Some(b"none" | b"same-origin") => Ok(()),
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

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase())
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
    use axum::http::{HeaderName, HeaderValue};

    fn judged(listening: &str, headers: &[(&str, &str)]) -> Result<(), Foreign> {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        let visitors = Visitors::new(listening.parse().unwrap(), &["Queue".to_owned()]);
        visitors.judge(&headers.collect::<HeaderMap>())
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
