//! Any environment (lines of `NAME=value`, up to an empty line) and any `APPS_FILE` (the rest): it is
//! read or refused, each error names its variable, and no secret is shown.
//!
//! A secret is what holds `hush` where one may stand; no message of ours has that word.
#![no_main]

use hookferry::apps::array;
use hookferry::config::{Config, Errors, LogConfig, VARIABLES};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const MARK: &str = "hush";

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let (lines, file) = text.split_once("\n\n").unwrap_or((&text, ""));
    let environment: Vec<(String, String)> = lines
        .lines()
        .filter_map(|line| line.split_once('='))
        // No file of this machine is read.
        .filter(|(name, _)| !name.ends_with("_FILE"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(!LogConfig::from_env(environment.clone()).level.is_empty());
    let secret = !environment.iter().any(|(name, value)| shown(name, value));
    let told = match Config::from_env(environment) {
        Ok(config) => {
            assert!(config.queue.url.contains(".fifo"));
            assert!((1..=10).contains(&config.queue.batch));
            assert!(config.retry.base <= config.retry.cap);
            assert!(config.queue.visibility.is_none_or(|visibility| config.timeout < visibility));
            assert!(config.queue.wait < config.grace);
            config.warnings
        }
        Err(Errors(errors)) => {
            assert!(!errors.is_empty());
            for error in &errors {
                let name = error.split([':', ' ']).next().unwrap();
                assert!(VARIABLES.iter().any(|(known, _)| *known == name), "{error}");
            }
            errors
        }
    };
    for line in told {
        assert!(!line.contains(['\n', '\r']), "{line:?} is not one line");
        assert!(!secret || !line.contains(MARK), "{line}");
    }
    if let Err(error) = array::parse(file, &array::Variables::default()) {
        let error = error.to_string();
        assert!(shows(file) || !error.contains(MARK), "{error}");
    }
});

/// Whether the mark stands where the value may be shown.
fn shown(name: &str, value: &str) -> bool {
    match name.strip_prefix("SOKETI_").unwrap_or(name) {
        "DEFAULT_APP_SECRET" | "DB_POSTGRES_PASSWORD" | "WEBHOOKS_PROXY_URL" => false,
        "DEFAULT_APP_WEBHOOKS" | "QUEUE_SQS_CLIENT_OPTIONS" => shows(value),
        // User-info or a query makes a URL a secret.
        "LAMBDA_ENDPOINT"
        | "QUEUE_SQS_URL"
        | "QUEUE_SQS_ENDPOINT"
        | "QUEUE_SQS_DLQ_URL"
        | "APP_MANAGER_DYNAMODB_ENDPOINT" => value.contains(MARK) && !value.contains(['@', '?', '#']),
        _ => name.contains(MARK) || value.contains(MARK),
    }
}

/// Whether JSON holds the mark in a key, an app's id, or an address without user-info or query.
fn shows(text: &str) -> bool {
    fn look(value: &Value) -> bool {
        match value {
            Value::Object(members) => members.iter().any(|(name, member)| {
                let open = match name.as_str() {
                    "id" | "region" | "lambda_function" | "function_name" => {
                        member.to_string().contains(MARK)
                    }
                    "endpoint" => {
                        let member = member.to_string();
                        member.contains(MARK) && !member.contains(['@', '?', '#'])
                    }
                    _ => false,
                };
                open || name.contains(MARK) || look(member)
            }),
            Value::Array(items) => items.iter().any(look),
            // Webhooks may be JSON within JSON.
            Value::String(text) => serde_json::from_str(text).is_ok_and(|inner: Value| look(&inner)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    serde_json::from_str(text).is_ok_and(|value: Value| look(&value))
}
