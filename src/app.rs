//! An app and the webhooks it registered, as soketi's app drivers describe them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One app: who signs the jobs, and where its events go.
#[derive(Clone, Debug, Deserialize)]
pub struct App {
    /// Its id, the first half of its message group ids.
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// Its public key, by which jobs name it.
    #[serde(deserialize_with = "text")]
    pub key: String,
    /// The secret under which its payloads are signed.
    #[serde(deserialize_with = "secret")]
    pub secret: SecretString,
    /// Where its events go, in the order it registered them.
    #[serde(default, deserialize_with = "webhooks")]
    pub webhooks: Vec<Webhook>,
}

/// One registered webhook.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Registration")]
pub struct Webhook {
    /// Where it goes.
    pub target: Target,
    /// Its own headers, in order of name.
    pub headers: Vec<(String, String)>,
    /// The event names it wants; `None` where it names none, which means all of them.
    pub event_types: Option<Vec<String>>,
    /// The channels it wants.
    pub filter: Filter,
}

/// Where a webhook goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An HTTP POST to this URL, as it was registered (it may not even parse).
    Http(String),
    /// An invocation of this AWS Lambda function.
    Lambda(Lambda),
    /// Neither was registered: nothing can ever be delivered.
    Missing,
}

impl Target {
    /// A value that tells targets apart within one process.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// The Lambda function of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lambda {
    /// Name, partial or full ARN, with an optional version or alias.
    pub function: String,
    /// Whether to invoke it asynchronously (`Event`) or to wait for its answer.
    pub asynchronous: bool,
    /// Its region; us-east-1 where none is given.
    pub region: Option<String>,
    /// soketi's `client_options`, as JSON text. May hold credentials: never print it.
    pub client_options: Option<String>,
}

/// Which channels a webhook wants. An absent part lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Filter {
    /// The channel's name has to begin so.
    #[serde(default)]
    pub channel_name_starts_with: Option<String>,
    /// The channel's name has to end so.
    #[serde(default)]
    pub channel_name_ends_with: Option<String>,
}

/// Webhooks as they are stored: a list, the list as JSON text, or nothing.
///
/// # Errors
/// The JSON error where the text is not a list of webhooks.
pub fn parse_webhooks(text: &str) -> Result<Vec<Webhook>, serde_json::Error> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    Ok(serde_json::from_str::<Option<Vec<Webhook>>>(text)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Registration {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    lambda_function: Option<String>,
    #[serde(default)]
    lambda: Option<LambdaOptions>,
    #[serde(default)]
    headers: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    event_types: Option<Vec<String>>,
    #[serde(default)]
    filter: Option<Filter>,
}

#[derive(Default, Deserialize)]
struct LambdaOptions {
    #[serde(default, rename = "async")]
    asynchronous: bool,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    client_options: Option<Value>,
}

impl From<Registration> for Webhook {
    fn from(registration: Registration) -> Self {
        let named = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let options = registration.lambda.unwrap_or_default();
        // soketi looks at `url` first.
        let target = match (named(registration.url), named(registration.lambda_function)) {
            (Some(url), _) => Target::Http(url),
            (None, Some(function)) => Target::Lambda(Lambda {
                function,
                asynchronous: options.asynchronous,
                region: named(options.region),
                client_options: options.client_options.map(|options| options.to_string()),
            }),
            (None, None) => Target::Missing,
        };
        Self {
            target,
            headers: registration
                .headers
                .unwrap_or_default()
                .into_iter()
                .filter_map(|(name, value)| Some((name, plain(value)?)))
                .collect(),
            event_types: registration.event_types,
            filter: registration.filter.unwrap_or_default(),
        }
    }
}

/// A scalar as text: operators write numbers and booleans where soketi took them.
fn plain(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string()),
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    plain(Value::deserialize(deserializer)?)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| serde::de::Error::custom("must not be empty"))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    text(deserializer).map(SecretString::from)
}

fn webhooks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Webhook>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Text(String),
        List(Vec<Value>),
        Nothing(()),
    }
    let list = |value| serde_json::from_value(value).map_err(serde::de::Error::custom);
    match Stored::deserialize(deserializer)? {
        Stored::Text(text) => parse_webhooks(&text).map_err(serde::de::Error::custom),
        Stored::List(values) => values.into_iter().map(list).collect(),
        Stored::Nothing(()) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_come_as_a_list_as_text_or_as_null() {
        for webhooks in [
            r#"[{"url":"http://a/","event_types":["client_event"]}]"#,
            r#""[{\"url\":\"http://a/\",\"event_types\":[\"client_event\"]}]""#,
        ] {
            let app: App = serde_json::from_str(&format!(
                r#"{{"id":7,"key":"k","secret":"s","enabled":true,"webhooks":{webhooks}}}"#
            ))
            .unwrap();
            assert_eq!(app.id, "7");
            assert_eq!(app.webhooks[0].target, Target::Http("http://a/".into()));
        }
        let none: App = serde_json::from_str(r#"{"id":"a","key":"k","secret":"s","webhooks":null}"#).unwrap();
        assert!(none.webhooks.is_empty());
    }

    #[test]
    fn a_url_wins_over_a_function_and_neither_is_missing() {
        let parse = |text: &str| serde_json::from_str::<Webhook>(text).unwrap().target;
        assert_eq!(parse(r#"{"url":"u","lambda_function":"f"}"#), Target::Http("u".into()));
        assert!(matches!(
            parse(r#"{"lambda_function":"f","lambda":{"async":true}}"#),
            Target::Lambda(Lambda { asynchronous: true, .. })
        ));
        assert_eq!(parse("{}"), Target::Missing);
    }

    #[test]
    fn the_secret_is_not_printed() {
        let app: App = serde_json::from_str(r#"{"id":"a","key":"k","secret":"hush"}"#).unwrap();
        assert!(!format!("{app:?}").contains("hush"));
    }
}
