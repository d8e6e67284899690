//! How a service is reached, and credentials that can be sent.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use futures_util::FutureExt;

use super::error_chain;
use crate::quotes::within_quotes;
use crate::wall;

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
        super::with_clean_credentials(&loader.load().await)
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

/// A configuration whose credentials are trimmed and unquoted, and refused where they hold what no header can:
/// the SDK's signer panics there. A variable that was filled from a file ends with that file's newline.
pub fn with_clean_credentials(sdk: &SdkConfig) -> SdkConfig {
    let Some(source) = sdk.credentials_provider() else { return sdk.clone() };
    let clean = Clean { source, first_failure: Mutex::default() };
    sdk.to_builder().credentials_provider(SharedCredentialsProvider::new(clean)).build()
}

#[derive(Debug)]
struct Clean {
    source: SharedCredentialsProvider,
    /// Why there were none for the first time.
    first_failure: Mutex<Option<String>>,
}

/// What the SDK's profiles say once their first error has been told: it names no cause.
const ALREADY_TOLD: &str = "initialization error already taken";

/// What credentials come to with which the SDK cannot even sign its own request for a role.
const UNSIGNABLE: &str = "the credentials that a role is assumed with hold what no header can: a newline, another control \
    character or one beyond ASCII (see the source_profile of the profile, and what its credential_process writes)";

/// An error that was told before, in its words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Again(String);

impl Clean {
    /// A failure with the cause of the first one, where it names none of its own.
    fn told(&self, failure: CredentialsError) -> CredentialsError {
        let text = error_chain(failure.source().unwrap_or(&failure));
        let mut first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
        if !text.contains(ALREADY_TOLD) {
            first.get_or_insert(text);
            return failure;
        }
        match &*first {
            Some(first) => CredentialsError::invalid_configuration(Again(format!(
                "{first} (as at first; it is not looked at again before a restart)"
            ))),
            None => failure,
        }
    }
}

impl ProvideCredentials for Clean {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            // A role that is assumed with other credentials is asked for within the source, by a request that it signs with
            // those as they came: the signer panics at what no header can hold.
            let given = AssertUnwindSafe(self.source.provide_credentials()).catch_unwind().await;
            let given = given.unwrap_or_else(|_| Err(CredentialsError::invalid_configuration(UNSIGNABLE)));
            let given = given.map_err(|failure| self.told(failure))?;
            clean(given).map_err(|part| {
                CredentialsError::invalid_configuration(format!(
                    "the {part} holds a blank, a control character or one beyond ASCII"
                ))
            })
        })
    }
}

/// # Errors
/// The part that cannot be sent.
fn clean(given: Credentials) -> Result<Credentials, &'static str> {
    let (id, secret, token) = (given.access_key_id(), given.secret_access_key(), given.session_token());
    for (part, text) in [
        ("access key id (AWS_ACCESS_KEY_ID)", id),
        ("secret access key (AWS_SECRET_ACCESS_KEY)", secret),
        ("session token (AWS_SESSION_TOKEN)", token.unwrap_or_default()),
    ] {
        if !can_be_sent(bare(text)) {
            return Err(part);
        }
    }
    if [id, secret, token.unwrap_or_default()].iter().all(|text| bare(text) == *text) {
        return Ok(given);
    }
    let mut cleaned = Credentials::builder()
        .access_key_id(bare(id))
        .secret_access_key(bare(secret))
        .provider_name("trimmed");
    cleaned.set_session_token(token.map(|token| bare(token).to_owned()));
    cleaned.set_expiry(given.expiry());
    cleaned.set_account_id(given.account_id().cloned());
    let mut cleaned = cleaned.build();
    // Where they come from.
    if let Some(features) = given.get_property::<Vec<AwsCredentialFeature>>() {
        cleaned.set_property(features.clone());
    }
    Ok(cleaned)
}

/// A part of credentials without the blanks around it, and without the quotes that a file given to
/// `docker run --env-file` keeps, single ones too: no part holds any of its own.
fn bare(text: &str) -> &str {
    within_quotes(text).trim()
}

/// Whether a part of credentials, trimmed, can stand in a header.
pub fn can_be_sent(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Where the credentials come from, and for how long they hold.
///
/// # Errors
/// Why there are none.
pub async fn credentials_source(sdk: &SdkConfig, timeout: Duration) -> Result<String, String> {
    let Some(provider) = sdk.credentials_provider() else { return Err("none are configured".to_owned()) };
    let given = tokio::time::timeout(timeout, provider.provide_credentials())
        .await
        .map_err(|_| format!("none within {} s", timeout.as_secs()))?
        .map_err(|failure| error_chain(&failure))?;
    let features = given.get_property::<Vec<AwsCredentialFeature>>().map_or(&[][..], Vec::as_slice);
    // What was resolved in several steps names them from the first to the last.
    let steps: Vec<&str> = features.iter().filter_map(step).collect();
    let source = if steps.is_empty() { "QUEUE_SQS_CLIENT_OPTIONS".to_owned() } else { steps.join(", then ") };
    let left = given.expiry().and_then(|expiry| expiry.duration_since(wall::now()).ok());
    Ok(left
        .map_or_else(|| source.clone(), |left| format!("{source}; for another {} min", left.as_secs() / 60)))
}

/// In words that name where an operator changes it.
fn step(feature: &AwsCredentialFeature) -> Option<&'static str> {
    use AwsCredentialFeature as From;
    Some(match feature {
        From::CredentialsEnvVars => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        From::CredentialsEnvVarsStsWebIdToken | From::CredentialsProfileStsWebIdToken => {
            "AWS_WEB_IDENTITY_TOKEN_FILE (a service account's token)"
        }
        From::CredentialsStsAssumeRole | From::CredentialsStsAssumeRoleWebId => {
            "STS, as a role that is assumed"
        }
        From::CredentialsProfile | From::CredentialsProfileSourceProfile => {
            "a profile (AWS_PROFILE or default)"
        }
        From::CredentialsProfileNamedProvider => "a profile's credential_source",
        From::CredentialsProfileSso | From::CredentialsSso => "a profile with SSO (aws sso login)",
        From::CredentialsProfileLogin | From::CredentialsLogin => "a login session (aws login)",
        From::CredentialsProfileProcess | From::CredentialsProcess => "a profile's credential_process",
        From::CredentialsHttp => "the container's endpoint (an ECS task's role, or EKS Pod Identity)",
        From::CredentialsImds => "the instance's metadata service (an EC2 instance's role)",
        _ => return None,
    })
}

/// The ARN of whoever these credentials are of, as STS says it.
///
/// # Errors
/// Why it does not.
pub async fn caller(sdk: &SdkConfig, timeout: Duration) -> Result<String, String> {
    // STS is not where the queue is.
    let mut builder = sdk.to_builder();
    builder.set_endpoint_url(None);
    let timeouts = TimeoutConfig::builder().operation_timeout(timeout).build();
    let sdk = builder.retry_config(RetryConfig::disabled()).timeout_config(timeouts).build();
    let call = aws_sdk_sts::Client::new(&sdk).get_caller_identity().send();
    let answer = Box::pin(call).await.map_err(|failure| error_chain(&failure))?;
    Ok(answer.arn.unwrap_or_else(|| "unnamed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str, secret: &str, token: Option<&str>) -> Result<Credentials, &'static str> {
        clean(Credentials::new(id, secret, token.map(str::to_owned), None, "test"))
    }

    #[test]
    fn credentials_are_trimmed_like_every_other_variable() {
        let clean = of("AKIAX\n", " s/+= \r\n", Some("\ttoken\n")).unwrap();
        assert_eq!(
            (clean.access_key_id(), clean.secret_access_key(), clean.session_token()),
            ("AKIAX", "s/+=", Some("token"))
        );
    }

    #[test]
    fn quotes_around_credentials_do_not_count() {
        for quote in ['"', '\''] {
            let [id, secret, token] = ["AKIAX", "s/+=", "token"].map(|part| format!("{quote}{part}{quote}"));
            let clean = of(&id, &format!(" {secret}\n"), Some(&token)).unwrap();
            assert_eq!(
                (clean.access_key_id(), clean.secret_access_key(), clean.session_token()),
                ("AKIAX", "s/+=", Some("token"))
            );
        }
    }

    #[test]
    fn where_trimmed_credentials_come_from_is_still_known() {
        let mut given = Credentials::new("AKIAX\n", "s", None, None, "test");
        given.set_property(vec![AwsCredentialFeature::CredentialsEnvVars]);
        let features = clean(given).unwrap().get_property::<Vec<AwsCredentialFeature>>().cloned();
        assert_eq!(features.as_deref(), Some(&[AwsCredentialFeature::CredentialsEnvVars][..]));
    }

    /// Credentials that fail, each time in other words.
    #[derive(Debug)]
    struct Failing(Mutex<Vec<&'static str>>);

    impl ProvideCredentials for Failing {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let words = self.0.lock().unwrap().remove(0);
            future::ProvideCredentials::ready(Err(CredentialsError::provider_error(words)))
        }
    }

    /// As the SDK's signer does at an inner request.
    #[derive(Debug)]
    struct Panicking;

    impl ProvideCredentials for Panicking {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async { panic!("failed to parse header value") })
        }
    }

    #[tokio::test]
    async fn a_source_that_panics_has_no_credentials() {
        let clean =
            Clean { source: SharedCredentialsProvider::new(Panicking), first_failure: Mutex::default() };
        let text = error_chain(&clean.provide_credentials().await.unwrap_err());
        assert!(text.contains("hold what no header can"), "{text}");
    }

    #[tokio::test]
    async fn a_failure_names_its_cause_every_time_and_on_one_line() {
        let taken = "profile file credentials provider initialization error already taken";
        let words = vec!["exit 3: line 1\n2026-01-01 ERROR forged \u{1b}[31m", taken, taken, "another"];
        let source = SharedCredentialsProvider::new(Failing(Mutex::new(words)));
        let clean = Clean { source, first_failure: Mutex::default() };
        for cause in ["exit 3: line 1", "exit 3: line 1", "exit 3: line 1", "another"] {
            let text = error_chain(&clean.provide_credentials().await.unwrap_err());
            assert!(text.contains(cause) && !text.contains(['\n', '\u{1b}']), "{text:?}");
        }
    }

    #[test]
    fn what_no_header_can_hold_is_refused_by_its_part_and_not_shown() {
        for (id, secret, token, part) in [
            ("AK\nIA", "s", None, "AWS_ACCESS_KEY_ID"),
            ("AK", "hu\0sh", None, "AWS_SECRET_ACCESS_KEY"),
            ("AK", "s", Some("to\u{7f}ken"), "AWS_SESSION_TOKEN"),
            ("AK", "s", Some("tökèn"), "AWS_SESSION_TOKEN"),
            ("A K", "s", None, "AWS_ACCESS_KEY_ID"),
        ] {
            assert!(of(id, secret, token).unwrap_err().contains(part));
        }
    }
}
