//! An app and the webhooks it registered, as soketi's app drivers describe them.

mod registration;
mod webhook_id;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::json::scalar_text;
use registration::Registration;
pub use registration::{parse_webhooks, webhooks};
pub use webhook_id::WebhookId;

/// One app: who signs the jobs, and where its events go.
#[derive(Clone, Debug, Deserialize)]
pub struct App {
    /// Its id, the first half of its message group ids.
    #[serde(deserialize_with = "id")]
    pub id: String,
    /// Its public key, by which jobs name it.
    #[serde(deserialize_with = "id")]
    pub key: String,
    /// The secret under which its payloads are signed.
    #[serde(deserialize_with = "secret")]
    pub secret: SecretString,
    /// Where its events go, in the order it registered them.
    #[serde(default, deserialize_with = "listed")]
    pub webhooks: Vec<Webhook>,
}

/// One registered webhook.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Registration")]
pub struct Webhook {
    /// What tells it apart from the app's others, wherever it stands among them.
    pub id: WebhookId,
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
    /// What was registered cannot be used: each attempt fails, until the app's owner mends it or the job
    /// is given up. The other webhooks of the app know nothing of it.
    Unusable {
        /// Where it was to go: it stays the same webhook once it is mended.
        registered: Box<Target>,
        /// What is wrong with it.
        why: String,
    },
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

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = scalar_text(Value::deserialize(deserializer)?).filter(|text| !text.is_empty());
    text.ok_or_else(|| serde::de::Error::custom("must not be empty"))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    id(deserializer).map(SecretString::from)
}

fn listed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Webhook>, D::Error> {
    webhooks(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
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
