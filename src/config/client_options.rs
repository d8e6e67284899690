//! `QUEUE_SQS_CLIENT_OPTIONS`: the JavaScript SDK's options, as soketi passes them.

use aws_sdk_sqs::config::Credentials;
use serde_json::{Map, Value};

use super::queue::http_url;
use super::variables::Reader;

/// What of the options has an equivalent here.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// `region`.
    pub region: Option<String>,
    /// `endpoint`.
    pub endpoint: Option<String>,
    /// `credentials`, or `accessKeyId` and its companions. Printed redacted.
    pub credentials: Option<Credentials>,
}

pub(super) fn read(text: Option<&str>, reader: &mut Reader) -> ClientOptions {
    const NAME: &str = "QUEUE_SQS_CLIENT_OPTIONS";
    let Some(text) = text else { return ClientOptions::default() };
    let Ok(mut options) = serde_json::from_str::<Map<String, Value>>(text) else {
        reader.error(format!("{NAME}: is not a JSON object of the JavaScript SDK's options"));
        return ClientOptions::default();
    };
    let mut nested = match options.remove("credentials").unwrap_or_default() {
        Value::Object(nested) => nested,
        Value::Null => Map::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            reader.error(format!("{NAME}: credentials is not an object"));
            Map::new()
        }
    };
    let mut text = |options: &mut Map<String, Value>, name: &str| match options.remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(_) => {
            reader.error(format!("{NAME}: {name} is not a string"));
            None
        }
        None => None,
    };
    let region = text(&mut options, "region");
    let endpoint = text(&mut options, "endpoint");
    let mut part = |name| text(&mut nested, name).or_else(|| text(&mut options, name));
    let parts = (part("accessKeyId"), part("secretAccessKey"), part("sessionToken"));
    let credentials = match parts {
        (Some(id), Some(secret), token) => {
            Some(Credentials::new(id, secret, token, None, "QUEUE_SQS_CLIENT_OPTIONS"))
        }
        (None, None, _) => None,
        (Some(_), None, _) | (None, Some(_), _) => {
            reader.error(format!("{NAME}: accessKeyId and secretAccessKey go together"));
            None
        }
    };
    if let Some(endpoint) = &endpoint {
        reader.result(NAME, http_url(endpoint).map_err(|error| format!("endpoint {error}")));
    }
    // apiVersion is fixed: there has been one since 2012.
    options.remove("apiVersion");
    if !options.is_empty() {
        let names: Vec<&String> = options.keys().collect();
        reader.warn(format!("{NAME}: without an equivalent here and ignored: {names:?}"));
    }
    ClientOptions { region, endpoint, credentials }
}
