//! A row of a table, or an item: soketi's columns in each spelling, and what is wrong with them.

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::app::{App, webhooks};
use crate::json::{describe_json_error, scalar_text};

/// The columns of each part. Of several that have a value the first counts, as with soketi; the last
/// two spellings are not soketi's.
const ID: [&str; 4] = ["AppId", "id", "app_id", "appId"];
const KEY: [&str; 4] = ["AppKey", "key", "app_key", "appKey"];
const SECRET: [&str; 4] = ["AppSecret", "secret", "app_secret", "appSecret"];
const WEBHOOKS: [&str; 2] = ["Webhooks", "webhooks"];

/// Whether a column is one that [`app`] looks at.
#[cfg(feature = "mysql")]
pub fn wanted(column: &str) -> bool {
    [&ID[..], &KEY, &SECRET, &WEBHOOKS].concat().contains(&column)
}

/// Reads an app.
///
/// # Errors
/// What is wrong with which column; nothing of its value.
pub fn app(mut record: Map<String, Value>) -> Result<App, String> {
    let id = take(&mut record, &ID).and_then(scalar_text);
    let key = take(&mut record, &KEY).and_then(scalar_text);
    let secret = take(&mut record, &SECRET).and_then(scalar_text);
    let stored = take(&mut record, &WEBHOOKS).unwrap_or_default();
    let missing = |names: &[&str; 4]| format!("it has no {} (nor {})", names[1], names[0]);
    Ok(App {
        id: id.ok_or_else(|| missing(&ID))?,
        key: key.ok_or_else(|| missing(&KEY))?,
        secret: SecretString::from(secret.ok_or_else(|| missing(&SECRET))?),
        webhooks: webhooks(stored).map_err(|error| {
            format!("its webhooks are no JSON list of webhooks: {}", describe_json_error(&error))
        })?,
    })
}

fn take(record: &mut Map<String, Value>, names: &[&str]) -> Option<Value> {
    let empty = |value: &Value| value.is_null() || value.as_str().is_some_and(str::is_empty);
    names.iter().find_map(|name| record.remove(*name).filter(|value| !empty(value)))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::*;
    use crate::app::Target;

    fn read(record: Value) -> Result<App, String> {
        let Value::Object(record) = record else { panic!("an object") };
        app(record)
    }

    #[test]
    fn every_spelling_of_the_columns_is_read() {
        let hooks = json!([{"url": "http://h/"}]);
        for record in [
            json!({"id": "a", "key": "k", "secret": "s", "webhooks": hooks, "maxConnections": "100.0"}),
            json!({"id": "a", "key": "k", "secret": "s", "webhooks": hooks.to_string(), "max_connections": null}),
            json!({"AppId": "a", "AppKey": "k", "AppSecret": "s", "Webhooks": hooks, "Enabled": "1"}),
            json!({"app_id": "a", "app_key": "k", "app_secret": "s", "webhooks": hooks}),
            json!({"id": 1, "AppId": "a", "key": "", "AppKey": "k", "secret": "s", "AppSecret": null,
                "webhooks": hooks, "Webhooks": ""}),
        ] {
            let app = read(record.clone()).unwrap();
            assert_eq!((app.id.as_str(), app.key.as_str()), ("a", "k"), "{record}");
            assert_eq!(app.secret.expose_secret(), "s", "{record}");
            assert_eq!(app.webhooks[0].target, Target::Http("http://h/".into()), "{record}");
        }
    }

    #[test]
    fn numbers_are_text_and_no_webhooks_are_none() {
        for none in [json!(null), json!(""), json!("null"), json!([]), json!("[]")] {
            let app = read(json!({"id": 7, "key": 4711, "secret": 12, "webhooks": none})).unwrap();
            assert_eq!((app.id.as_str(), app.key.as_str()), ("7", "4711"));
            assert_eq!((app.secret.expose_secret(), app.webhooks.len()), ("12", 0));
        }
        assert!(read(json!({"id": "a", "key": "k", "secret": "s"})).unwrap().webhooks.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named_and_not_quoted() {
        for (record, says) in [
            (json!({"id": "a", "key": "k", "secret": ""}), "no secret (nor AppSecret)"),
            (json!({"id": "a", "secret": "hush"}), "no key"),
            (json!({"key": "k", "secret": "hush"}), "no id"),
            (
                json!({"id": "a", "key": "k", "secret": "hush", "webhooks": "[{hush"}),
                "its webhooks are no JSON list of webhooks: it is no JSON (line 1",
            ),
            (json!({"id": "a", "key": "k", "secret": "hush", "webhooks": {"url": "hush"}}), "wrong type"),
        ] {
            let error = read(record).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
