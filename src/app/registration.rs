//! Webhooks and their parts in every shape in which soketi takes them.
//!
//! soketi never checks a shape: it does what JavaScript does with whatever is there. So what works
//! with it by design or by chance is read here, and means the same; what it would ignore in silence
//! is an error, so that no event is lost for it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::webhook_id::number;
use super::{Filter, Lambda, Target, Webhook, WebhookId};
use crate::job::QueueType;
use crate::json::scalar_text;

/// Webhooks as JSON text: a list, nothing, or such text once more as a JSON string, which is what a
/// JSON column holds that was written by a program that encodes for itself.
///
/// # Errors
/// The JSON error where the text is not a list of webhooks.
pub fn parse_webhooks(text: &str) -> Result<Vec<Webhook>, serde_json::Error> {
    let value =
        |text: &str| if text.trim().is_empty() { Ok(Value::Null) } else { serde_json::from_str(text) };
    let mut text = Cow::Borrowed(text);
    let mut parsed = value(&text)?;
    if let Value::String(inner) = parsed {
        parsed = value(&inner)?;
        text = Cow::Owned(inner);
    }
    // By way of a value, because of two members of one name JavaScript takes the last. Only an error
    // from the text knows its line and column.
    let webhooks: Result<Option<_>, _> = serde_json::from_value(parsed);
    Ok(numbered(webhooks.or_else(|_| serde_json::from_str(&text))?))
}

/// Webhooks as a database or a file holds them: a list, JSON text, or nothing.
///
/// # Errors
/// The JSON error where it is none of these.
pub fn webhooks(stored: Value) -> Result<Vec<Webhook>, serde_json::Error> {
    match stored {
        Value::String(text) => parse_webhooks(&text),
        other => Ok(numbered(serde_json::from_value(other)?)),
    }
}

fn numbered(webhooks: Option<Vec<Webhook>>) -> Vec<Webhook> {
    let mut webhooks = webhooks.unwrap_or_default();
    number(&mut webhooks);
    webhooks
}

#[derive(Deserialize)]
pub(super) struct Registration {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    lambda_function: Option<String>,
    #[serde(default)]
    lambda: Option<LambdaOptions>,
    #[serde(default)]
    headers: Option<Headers>,
    #[serde(default)]
    event_types: Option<EventTypes>,
    #[serde(default)]
    filter: Option<Filter>,
}

/// Headers by name. PHP writes an empty object as an empty list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Headers {
    Named(BTreeMap<String, Value>),
    Empty([(); 0]),
}

/// Names of events; soketi finds them in a text as well as in a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum EventTypes {
    List(Vec<Value>),
    Text(String),
}

#[derive(Default, Deserialize)]
struct LambdaOptions {
    #[serde(default, rename = "async", deserialize_with = "truthy")]
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
            id: WebhookId::of(&target),
            target,
            headers: match registration.headers {
                Some(Headers::Named(headers)) => headers
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, scalar_text(value)?)))
                    .collect(),
                Some(Headers::Empty([])) | None => Vec::new(),
            },
            event_types: registration.event_types.map(|types| match types {
                EventTypes::List(list) => list.into_iter().filter_map(scalar_text).collect(),
                EventTypes::Text(text) => QueueType::ALL
                    .into_iter()
                    .map(QueueType::event_name)
                    .filter(|name| text.contains(name))
                    .map(str::to_owned)
                    .collect(),
            }),
            filter: registration.filter.unwrap_or_default(),
        }
    }
}

/// What JavaScript takes for true, as soketi does: every text but the empty one, too.
fn truthy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Null => false,
        Value::Bool(value) => value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_come_in_every_shape_that_soketi_takes() {
        let one = r#"[{"url":"http://a/","headers":[],"filter":[],"lambda":[],"event_types":["client_event",null]}]"#;
        let encoded = serde_json::to_string(one).unwrap();
        for text in [one, &encoded] {
            let webhook = parse_webhooks(text).unwrap().remove(0);
            assert_eq!(webhook.target, Target::Http("http://a/".into()));
            assert_eq!((webhook.headers.len(), webhook.filter), (0, Filter::default()));
            assert_eq!(webhook.event_types.unwrap(), ["client_event"]);
        }
        let text = r#"[{"url":"u","url":"v","event_types":"member_added,cache_miss"}]"#;
        let webhook = parse_webhooks(text).unwrap().remove(0);
        assert_eq!(webhook.event_types.unwrap(), ["member_added", "cache_miss"]);
        assert_eq!(webhook.target, Target::Http("v".into()), "as in JavaScript, the last one");
        for nothing in ["", " ", "null", "[]", r#""""#, r#""[]""#, r#""null""#] {
            assert_eq!(parse_webhooks(nothing).unwrap(), [], "{nothing:?}");
        }
        for wrong in ["{", "{}", "7", r#""{}""#, r#"["u"]"#, r#"[{"headers":"x"}]"#] {
            assert!(parse_webhooks(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn async_is_what_javascript_takes_for_true() {
        for (written, means) in [
            ("true", true),
            ("1", true),
            ("\"1\"", true),
            ("1.0", true),
            ("\"yes\"", true),
            ("false", false),
            ("0", false),
            ("0.0", false),
            ("null", false),
            ("\"\"", false),
        ] {
            let text = format!(r#"{{"lambda_function":"f","lambda":{{"async":{written}}}}}"#);
            let Target::Lambda(lambda) = serde_json::from_str::<Webhook>(&text).unwrap().target else {
                panic!("{text}")
            };
            assert_eq!(lambda.asynchronous, means, "{written}");
        }
    }
}
