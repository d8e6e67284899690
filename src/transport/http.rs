//! HTTP delivery: one POST, the whole response read and thrown away, no redirects, no cookies.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};

use crate::plan::{ATTEMPT_HEADER, Delivery};
use crate::policy::{Outcome, Reason};

/// As much of a response body is read, so that the connection can be used again; past it the
/// connection is dropped instead. Receivers of webhooks answer with a line at most.
const MAX_RESPONSE_BODY: usize = 64 * 1024;

/// An idle connection is kept as long as common load balancers keep theirs (60 s), less a margin.
const IDLE: Duration = Duration::from_secs(50);

/// Idle connections kept to one host.
const IDLE_PER_HOST: usize = 64;

/// The HTTP transport.
#[derive(Debug)]
pub struct Http {
    client: Client,
}

/// The client could not be made: TLS has no usable trust store, for instance.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be set up: {0}")]
pub struct SetUpError(#[source] reqwest::Error);

impl Http {
    /// Sets the client up.
    pub fn new() -> Result<Self, SetUpError> {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .tcp_nodelay(true)
            .dns_resolver(SystemResolver)
            .build()
            .map_err(SetUpError)?;
        Ok(Self { client })
    }

    /// Makes one attempt at `url`. Has no deadline of its own.
    pub async fn attempt(&self, url: &str, delivery: &Delivery, number: u32) -> Outcome {
        let url = match parse(url) {
            Ok(url) => url,
            Err(reason) => return Outcome::Permanent(reason),
        };
        let headers = match headers(delivery, number) {
            Ok(headers) => headers,
            Err(reason) => return Outcome::Permanent(reason),
        };
        let request = self.client.post(url).headers(headers).body(delivery.body.clone());
        match request.send().await {
            Ok(response) => judge(response).await,
            Err(error) => failed(error),
        }
    }
}

/// Checks that a webhook's URL can be requested at all.
///
/// # Errors
/// The reason, without the URL: it may hold a password or token.
pub fn parse(url: &str) -> Result<Url, Reason> {
    let url = Url::parse(url.trim()).map_err(|error| Reason::Url(error.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(Reason::Url(format!("its scheme is {scheme:?}, not http or https"))),
    }
}

fn headers(delivery: &Delivery, number: u32) -> Result<HeaderMap, Reason> {
    let mut map = HeaderMap::with_capacity(delivery.headers.len() + 1);
    for (name, value) in &delivery.headers {
        let cannot = || Reason::Header(name.clone());
        let header = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| cannot())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| cannot())?;
        map.insert(header, value);
    }
    map.insert(HeaderName::from_static("x-hookferry-attempt"), HeaderValue::from(number));
    debug_assert!(ATTEMPT_HEADER.eq_ignore_ascii_case("x-hookferry-attempt"));
    Ok(map)
}

async fn judge(mut response: Response) -> Outcome {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| {
        // The wall clock: a date is what the receiver wrote.
        retry_after(value.to_str().ok()?, SystemTime::now())
    });
    let mut read = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            // A success is one only when its body came through; a failure stays the failure it is.
            Err(error) if status.is_success() => return failed(error),
            Ok(None) | Err(_) => break,
        }
        if read > MAX_RESPONSE_BODY {
            break;
        }
    }
    if status.is_success() {
        Outcome::Delivered
    } else if status == StatusCode::GONE {
        Outcome::Permanent(Reason::Gone)
    } else {
        Outcome::Transient { reason: Reason::Status(status.as_u16()), retry_after }
    }
}

/// A `Retry-After` in either form: seconds, or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn failed(error: reqwest::Error) -> Outcome {
    let error = error.without_url();
    if error.is_builder() {
        return Outcome::Permanent(Reason::Url(cause(&error)));
    }
    let cause = cause(&error);
    let reason = if error.is_connect() {
        if in_chain::<Unresolved>(&error) {
            Reason::Resolve
        } else if in_chain::<rustls::Error>(&error) {
            Reason::Tls(cause)
        } else {
            Reason::Connect(cause)
        }
    } else {
        Reason::Broken(cause)
    };
    Outcome::transient(reason)
}

/// The innermost error's words: the outer ones only say "error sending request".
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Whether an error of this type is the cause, or the cause of a cause. An I/O error hides the error
/// that it wraps from `source`.
fn in_chain<E: std::error::Error + 'static>(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<E>()
            || wrapped.is_some_and(
                <dyn std::error::Error + std::marker::Send + std::marker::Sync + 'static>::is::<E>,
            )
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// The host's name has no address.
#[derive(Debug, thiserror::Error)]
#[error("the host name could not be resolved")]
struct Unresolved;

/// The system's resolver, with an error that can be told from a failed connect.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Vec<_> = found.map_err(|_| Unresolved)?.collect();
            if found.is_empty() {
                return Err(Unresolved.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:48:37 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999999999999999999", now), Some(Duration::from_secs(u64::MAX)));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_requested_is_named_without_its_secrets() {
        for url in ["", "nonsense", "ftp://u:hush@h/", "http://", "http://h:hush/"] {
            let reason = parse(url).unwrap_err().to_string();
            assert!(!reason.contains("hush"), "{reason}");
        }
    }
}
