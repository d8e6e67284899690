//! Apps in DynamoDB, as soketi's `dynamodb` driver reads them, by the index `AppKeyIndex` on `AppKey`, and
//! sockudo's, by `KeyIndex` on `key`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::{QueryError, QueryOutput};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value};

use super::reading::Reading;
use super::settings::DynamoDb as Settings;
use super::{Apps, DATABASE_LAG, LookUpError};
use crate::app::{self, App, Origin};
use crate::aws;
use crate::aws::error_code::ErrorKind;
use crate::shown::cut;

/// The index of each server's table and its key: soketi's, and sockudo's.
const INDEXES: [(&str, &str); 2] = [("AppKeyIndex", "AppKey"), ("KeyIndex", "key")];
/// The longest key of an index, in bytes; to ask for a longer one is an error.
const MAX_KEY: usize = 2048;
/// What to check where the table or its index is not there.
const TABLE_HINT: &str = "check APP_MANAGER_DYNAMODB_TABLE and _REGION; the table needs the index AppKeyIndex on AppKey (or, with sockudo, KeyIndex on key)";
/// Characters of the service's own words that are shown.
const MAX_WORDS: usize = 150;

/// Apps in a DynamoDB table.
#[derive(Debug)]
pub struct DynamoDb {
    client: Client,
    settings: Settings,
    /// Which of the indexes was the last that is there.
    index: AtomicUsize,
    reading: Reading,
}

impl DynamoDb {
    /// Loads the default chain of credentials; a look-up takes no longer than `deadline`.
    pub async fn load(settings: Settings, deadline: Duration) -> Self {
        let sdk = aws::load(settings.region.clone(), settings.endpoint.clone(), deadline).await;
        // Once more for a connection that was closed while idle; a job's own retry costs it a second.
        let retry =
            RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(50));
        let config = aws_sdk_dynamodb::config::Builder::from(&sdk).retry_config(retry).build();
        Self {
            client: Client::from_conf(config),
            settings,
            index: AtomicUsize::new(0),
            reading: Reading::default(),
        }
    }

    async fn query(&self, index: usize, key: &str) -> Result<QueryOutput, SdkError<QueryError>> {
        let (index, attribute) = INDEXES.get(index).copied().unwrap_or(INDEXES[0]);
        self.client
            .query()
            .table_name(&self.settings.table)
            .index_name(index)
            .scan_index_forward(false)
            .limit(1)
            // By a placeholder: `key` is a reserved word.
            .key_condition_expression("#app_key = :app_key")
            .expression_attribute_names("#app_key", attribute)
            .expression_attribute_values(":app_key", AttributeValue::S(key.to_owned()))
            .send()
            .await
    }

    /// The keys of some apps, for people to see. A worker needs no right to scan: without it this fails.
    ///
    /// # Errors
    /// The service's.
    pub async fn keys(&self, most: usize) -> Result<Vec<String>, LookUpError> {
        let scan = self
            .client
            .scan()
            .table_name(&self.settings.table)
            .limit(i32::try_from(most).unwrap_or(i32::MAX));
        let answer = scan.send().await.map_err(|failure| {
            let code = failure.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
            LookUpError::Unreachable(code.unwrap_or_else(|| aws::error_chain(&failure)))
        })?;
        let key = |mut item: HashMap<String, AttributeValue>| {
            INDEXES.iter().find_map(|(_, attribute)| match item.remove(*attribute) {
                Some(AttributeValue::S(key) | AttributeValue::N(key)) => Some(key),
                _ => None,
            })
        };
        Ok(answer.items.unwrap_or_default().into_iter().filter_map(key).collect())
    }

    fn unreachable(&self, failure: &SdkError<QueryError>) -> LookUpError {
        let (words, operator_hint) = match failure {
            SdkError::ServiceError(context) => {
                let error = context.err();
                let code = error.code().unwrap_or("unknown");
                let operator_hint = match aws::error_code::kind(code) {
                    ErrorKind::NoRight => "allow dynamodb:Query on the table's index to the worker's role",
                    ErrorKind::Missing => TABLE_HINT,
                    // An index that the table does not have.
                    ErrorKind::Other if code == "ValidationException" => TABLE_HINT,
                    ErrorKind::Throttled => "raise the table's capacity or APP_MANAGER_CACHE_TTL",
                    ErrorKind::Credentials
                    | ErrorKind::Expired
                    | ErrorKind::Clock
                    | ErrorKind::Key(_)
                    | ErrorKind::Other => "check the worker's credentials and APP_MANAGER_DYNAMODB_*",
                };
                (format!("{code}: {}", error.message().unwrap_or("no message")), operator_hint)
            }
            other => (
                aws::error_chain(other),
                "check the worker's credentials, APP_MANAGER_DYNAMODB_REGION and _ENDPOINT",
            ),
        };
        let words = cut(&words, MAX_WORDS);
        let Settings { table, region, .. } = &self.settings;
        LookUpError::Unreachable(format!("DynamoDB table {table:?} in {region}: {words} ({operator_hint})"))
    }
}

impl Apps for DynamoDb {
    fn lag(&self) -> Duration {
        DATABASE_LAG
    }

    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Ok(None);
        }
        let first = self.index.load(Ordering::Relaxed);
        let answer = match self.query(first, key).await {
            // The other server's table, if it is one.
            Err(failure) if is_no_index(&failure) => {
                let other = (first + 1) % INDEXES.len();
                let answer = self.query(other, key).await.map_err(|_| self.unreachable(&failure))?;
                self.index.store(other, Ordering::Relaxed);
                answer
            }
            answer => answer.map_err(|failure| self.unreachable(&failure))?,
        };
        let Some(item) = answer.items.unwrap_or_default().into_iter().next() else { return Ok(None) };
        let read = self.reading.apart(move || app::read(object(item).into(), Origin::Row)).await;
        read.map(|app| Some(Arc::new(app))).map_err(|error| {
            let key = app::shown(key);
            LookUpError::Unusable(format!(
                "DynamoDB: the app with the key {key} cannot be read: {} (the index has to project all attributes)",
                error.why
            ))
        })
    }
}

/// Whether the table may be there without the index.
fn is_no_index(failure: &SdkError<QueryError>) -> bool {
    failure.as_service_error().and_then(ProvideErrorMetadata::code) == Some("ValidationException")
}

fn object(item: HashMap<String, AttributeValue>) -> Map<String, Value> {
    item.into_iter().map(|(name, attribute)| (name, value(attribute))).collect()
}

fn value(attribute: AttributeValue) -> Value {
    match attribute {
        AttributeValue::S(text) => text.into(),
        // DynamoDB's numbers are texts; what JSON has no number for stays one.
        AttributeValue::N(text) => match text.parse::<Number>() {
            Ok(number) => number.into(),
            Err(_) => text.into(),
        },
        AttributeValue::Bool(value) => value.into(),
        AttributeValue::M(item) => object(item).into(),
        AttributeValue::L(list) => list.into_iter().map(value).collect::<Vec<_>>().into(),
        AttributeValue::Ss(texts) => texts.into(),
        AttributeValue::B(bytes) => String::from_utf8(bytes.into_inner()).map_or(Value::Null, Value::from),
        // Null, sets that no column of soketi's is, and what the service may add.
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;

    use super::*;
    use crate::app::Target;

    fn read(attributes: Vec<(&str, AttributeValue)>) -> Result<App, app::Unusable> {
        let item = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        app::read(object(item).into(), Origin::Row)
    }

    #[test]
    fn every_type_of_attribute_that_soketi_takes_is_read() {
        let text = |text: &str| AttributeValue::S(text.into());
        let map = |members: Vec<(&str, AttributeValue)>| {
            AttributeValue::M(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        let hook = map(vec![
            ("lambda_function", text("f")),
            ("lambda", map(vec![("async", AttributeValue::N("1".into()))])),
            ("event_types", AttributeValue::Ss(vec!["client_event".into()])),
            (
                "headers",
                map(vec![("X-N", AttributeValue::N("1.50".into())), ("X-B", AttributeValue::Bool(true))]),
            ),
            ("filter", AttributeValue::Null(true)),
        ]);
        let app = read(vec![
            ("AppId", AttributeValue::N("7".into())),
            ("AppKey", text("k")),
            ("AppSecret", AttributeValue::B(Blob::new("s"))),
            ("MaxConnections", AttributeValue::N("-1".into())),
            ("Webhooks", AttributeValue::L(vec![hook])),
        ])
        .unwrap();
        assert_eq!((app.id.as_str(), app.key.as_str()), ("7", "k"));
        let webhook = &app.webhooks[0];
        assert!(matches!(&webhook.target, Target::Lambda(lambda) if lambda.asynchronous));
        assert_eq!(webhook.event_types.as_deref().unwrap(), ["client_event"]);
        assert_eq!(webhook.headers, [("X-B".into(), "true".into()), ("X-N".into(), "1.5".into())]);
    }
}
