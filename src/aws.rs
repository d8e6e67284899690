//! What the adapters to AWS' services share: how a service is reached, and errors in words.

#[cfg(any(feature = "dynamodb", feature = "lambda"))]
mod access {
    use std::time::Duration;

    use aws_config::retry::RetryConfig;
    use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
    use aws_config::timeout::TimeoutConfig;
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_sdk_sqs::config::SharedHttpClient;
    use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

    /// How long a connect may take; the same for every client, since the HTTP client keeps a pool for
    /// each setting.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

    /// The default chain of credentials, one HTTP client for all clients that are made of it, no retries,
    /// and `timeout` for a whole operation. An absent endpoint is the region's own, unless the SDK's
    /// variables name another.
    pub async fn load(region: String, endpoint: Option<String>, timeout: Duration) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .operation_timeout(timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client())
            .region(Region::new(region))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        loader.load().await
    }

    /// An HTTP client with a pool of connections of its own. Given once to all clients that are to share it,
    /// or every one would make its own.
    pub fn http_client() -> SharedHttpClient {
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https()
    }
}

#[cfg(all(test, feature = "lambda"))]
pub use access::http_client;
#[cfg(any(feature = "dynamodb", feature = "lambda"))]
pub use access::load;

/// The chain of causes, each in its own words; the SDK's `Debug` would dump requests and responses.
pub fn error_chain(failure: &(dyn std::error::Error + 'static)) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
