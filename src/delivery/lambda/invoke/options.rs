//! Whose Lambda a webhook means: region, endpoint and credentials.

use aws_sdk_lambda::config::Credentials;
use serde_json::{Map, Value};
use url::Url;

use super::REGION;
use crate::app::Lambda as Webhook;
use crate::aws::region::is_region;
use crate::delivery::lambda::function_name::Function;

/// Where a function is invoked, and by whom.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// The region that is signed for and, without an endpoint, talked to.
    pub region: String,
    /// An endpoint of the app's. Never without credentials.
    pub endpoint: Option<Url>,
    /// Credentials of the app's; the worker's own if absent.
    pub credentials: Option<Credentials>,
}

/// Why a webhook's options cannot be used. Nothing of them is quoted: they may hold credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OptionsError {
    #[error("lambda.client_options is no object")]
    Shape,
    #[error("{0} is no text")]
    Text(&'static str),
    #[error("the region is no AWS region")]
    Region,
    #[error("the endpoint is no http or https URL of a host alone")]
    Endpoint,
    #[error("accessKeyId and secretAccessKey go together")]
    HalfCredentials,
    #[error(
        "an endpoint has to come with its own credentials (accessKeyId and secretAccessKey): the worker's own role \
         signs for no endpoint of an app's; the operator's is LAMBDA_ENDPOINT"
    )]
    EndpointAlone,
}

impl Options {
    /// Reads a webhook's `region` and `client_options`. The latter's region wins, as with soketi; where
    /// neither names one the function's own ARN does.
    pub(super) fn parse(webhook: &Webhook, function: &Function) -> Result<Self, OptionsError> {
        let mut given = match webhook.client_options.as_deref().map(serde_json::from_str) {
            None | Some(Ok(Value::Null)) => Map::new(),
            Some(Ok(Value::Object(given))) => given,
            // PHP writes an empty object as an empty list.
            Some(Ok(Value::Array(list))) if list.is_empty() => Map::new(),
            Some(Ok(_) | Err(_)) => return Err(OptionsError::Shape),
        };
        let region = text(&mut given, "region")?.or_else(|| webhook.region.clone());
        let region = region.unwrap_or_else(|| function.region().unwrap_or(REGION).to_owned());
        if !is_region(&region) {
            return Err(OptionsError::Region);
        }
        let endpoint = text(&mut given, "endpoint")?.map(|text| parse_endpoint(&text)).transpose()?;
        let credentials = credentials(&mut given)?;
        if endpoint.is_some() && credentials.is_none() {
            return Err(OptionsError::EndpointAlone);
        }
        Ok(Self { region, endpoint, credentials })
    }
}

/// The JavaScript SDK takes a host alone, too.
fn parse_endpoint(text: &str) -> Result<Url, OptionsError> {
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&text).map_err(|_| OptionsError::Endpoint)?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.path() == "/";
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !plain {
        return Err(OptionsError::Endpoint);
    }
    Ok(url)
}

fn credentials(given: &mut Map<String, Value>) -> Result<Option<Credentials>, OptionsError> {
    let mut nested = match given.remove("credentials") {
        Some(Value::Object(nested)) => nested,
        None | Some(_) => Map::new(),
    };
    let mut part = |name| match text(&mut nested, name) {
        Ok(None) => text(given, name),
        found => found,
    };
    match (part("accessKeyId")?, part("secretAccessKey")?, part("sessionToken")?) {
        (Some(id), Some(secret), token) => {
            Ok(Some(Credentials::new(id, secret, token, None, "client_options")))
        }
        (None, None, _) => Ok(None),
        (Some(_), None, _) | (None, Some(_), _) => Err(OptionsError::HalfCredentials),
    }
}

/// A text that is not empty.
fn text(given: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, OptionsError> {
    match given.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some(_) => Err(OptionsError::Text(name)),
    }
}
