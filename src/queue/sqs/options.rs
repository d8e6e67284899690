//! How the SDK's client is set up: what of the JavaScript SDK's options has an equivalent here.

use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_sdk_sqs::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_sqs::config::{
    ConfigBag, Credentials, Intercept, RuntimeComponents, SharedHttpClient, SharedInterceptor,
};
use aws_sdk_sqs::error::BoxError;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use secrecy::{ExposeSecret, SecretString};

/// How long a connect may take; the same for every client, since the shared HTTP client keeps a pool
/// for each setting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Retries of a settling call, and the first one's longest wait.
const RETRIES: u32 = 2;
const RETRY_BASE: Duration = Duration::from_millis(50);

/// The SDK's settings. Those that are absent are hookferry's own.
#[derive(Clone, Default)]
pub struct Options {
    /// Other credentials than the default chain's.
    pub credentials: Option<AccessKey>,
    /// Retries of settling calls; receives are never retried by the SDK.
    pub retries: Option<u32>,
    /// The longest wait before the first of them, doubled with each.
    pub retry_base: Option<Duration>,
    /// The longest that one try of a settling call may take.
    pub timeout: Option<Duration>,
    /// The longest that a connect may take.
    pub connect_timeout: Option<Duration>,
    /// The proxy to SQS. May hold a password.
    pub proxy: Option<Proxy>,
    /// Whether to use the region's endpoint for IPv4 and IPv6.
    pub dual_stack: bool,
    /// Whether to use the region's FIPS endpoint.
    pub fips: bool,
    /// What is appended to the SDK's `User-Agent`.
    pub user_agent: Option<String>,
}

/// Credentials that were given, and not for the SDK to find.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// The key's id.
    pub id: String,
    /// What requests are signed with.
    pub secret: SecretString,
    /// A session's token, if they are temporary.
    pub session_token: Option<SecretString>,
}

impl AccessKey {
    pub(super) fn credentials(&self) -> Credentials {
        let token = self.session_token.as_ref().map(|token| token.expose_secret().to_owned());
        Credentials::new(&self.id, self.secret.expose_secret(), token, None, "given")
    }
}

/// An HTTP proxy on the way to SQS. May hold a password.
#[derive(Clone)]
pub struct Proxy(ProxyConfig);

impl Proxy {
    /// `None` if it is no `http` or `https` URL.
    #[must_use]
    pub fn new(url: &str) -> Option<Self> {
        let is_http = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        ProxyConfig::all(url).ok().filter(|_| is_http).map(Self)
    }
}

impl Options {
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout.unwrap_or(CONNECT_TIMEOUT)
    }

    pub(super) fn settle_retries(&self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(self.retries.unwrap_or(RETRIES).saturating_add(1))
            .with_initial_backoff(self.retry_base.unwrap_or(RETRY_BASE))
    }

    /// Given once, or every service client would make a pool of connections of its own.
    pub(super) fn http_client(&self) -> SharedHttpClient {
        let tls = Provider::Rustls(CryptoMode::AwsLc);
        let Some(Proxy(proxy)) = self.proxy.clone() else {
            return Builder::new().tls_provider(tls).build_https();
        };
        Builder::new().build_with_connector_fn(move |settings, components| {
            let mut connector = Connector::builder().proxy_config(proxy.clone());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
            connector.tls_provider(tls.clone()).build()
        })
    }

    pub(super) fn interceptors(&self) -> impl Iterator<Item = SharedInterceptor> {
        self.user_agent.clone().into_iter().map(|agent| SharedInterceptor::new(UserAgent(agent)))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("credentials", &self.credentials)
            .field("retries", &self.retries)
            .field("retry_base", &self.retry_base)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("proxy", &self.proxy.is_some())
            .field("dual_stack", &self.dual_stack)
            .field("fips", &self.fips)
            .field("user_agent", &self.user_agent)
            .finish()
    }
}

/// Appends to `User-Agent`, as the JavaScript SDK does; the Rust SDK would take single words only.
#[derive(Debug)]
struct UserAgent(String);

impl Intercept for UserAgent {
    fn name(&self) -> &'static str {
        "customUserAgent"
    }

    // After signing, which leaves this header out.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        let own = headers.get("user-agent").unwrap_or_default().to_owned();
        headers.try_insert("user-agent", format!("{own} {}", self.0).trim().to_owned())?;
        Ok(())
    }
}
