//! The forward proxy of `WEBHOOKS_PROXY_URL`.
//!
//! Its rules: every HTTP delivery goes through it, `https` ones by CONNECT, `http` ones by their absolute
//! URL. Its own address is the operator's choice and is not judged. A literal address in a webhook's
//! URL is judged here as ever; a name is not looked up here but passed on, so that what it may lead to
//! is the proxy's to decide, except `localhost`, which would be the proxy itself. No other proxy
//! variable (`HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, …) has any effect.

use std::io;

use hyper::header::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::{Host, Url};

use super::request::{Origin, basic};
use crate::outcome::Reason;

/// A proxy's whole answer to CONNECT; a longer one is no proxy's.
const MAX_HEAD: usize = 8 * 1024;

/// A forward proxy. Printed without its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    pub(super) credentials: Option<HeaderValue>,
}

impl Proxy {
    /// Reads `http://[user:password@]host:port`.
    ///
    /// # Errors
    /// What is wrong with it, without its text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "is not of the form http://[user:password@]host:port";
        let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let (Some(host), true) = (url.host(), url.scheme() == "http" && bare) else {
            return Err(expected.to_owned());
        };
        let credentials = basic(url.username(), url.password());
        Ok(Self { host: host.to_owned(), port: url.port_or_known_default().unwrap_or(80), credentials })
    }

    /// Asks the proxy for a tunnel to `origin`.
    pub(super) async fn tunnel(&self, stream: &mut TcpStream, origin: &Origin) -> Result<(), Reason> {
        let broken = |error: io::Error| refused(&format!("it broke off: {error}"));
        let target = format!("{}:{}", origin.host, origin.port);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(credentials) = &self.credentials {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(credentials.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.map_err(broken)?;
        let mut head = Vec::with_capacity(512);
        loop {
            if let Some(status) = status(&head)? {
                return match status {
                    200..=299 => Ok(()),
                    407 => Err(refused("status 407: it wants other credentials in WEBHOOKS_PROXY_URL")),
                    status => Err(refused(&format!("status {status}"))),
                };
            }
            if head.len() > MAX_HEAD || stream.read_buf(&mut head).await.map_err(broken)? == 0 {
                return Err(refused("it did not answer in HTTP"));
            }
        }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

/// The status in an answer's head, once all of it is there.
fn status(head: &[u8]) -> Result<Option<u16>, Reason> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(parsed) => Ok(parsed.is_complete().then_some(response.code).flatten()),
        Err(_) => Err(refused("it did not answer in HTTP")),
    }
}

fn refused(why: &str) -> Reason {
    Reason::Connect(format!("the proxy made no tunnel: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_url_and_never_shows_its_password() {
        let proxy = Proxy::parse("http://user:hush%21@proxy.internal:3128").unwrap();
        assert_eq!(format!("{proxy:?}"), "Proxy(proxy.internal:3128)");
        assert_eq!(proxy.credentials.unwrap(), "Basic dXNlcjpodXNoIQ==");
        assert_eq!(Proxy::parse("http://10.0.0.1").unwrap().port, 80);
        for text in [
            "hush",
            "socks5://hush:1",
            "https://hush",
            "http://",
            "http://h/hush",
            "http://h?hush",
            "hush:3128",
        ] {
            let error = Proxy::parse(text).unwrap_err();
            assert!(error.contains("http://[user:password@]host:port") && !error.contains("hush"), "{error}");
        }
    }
}
