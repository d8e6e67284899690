//! What the actions are asked with.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::WireError;
use crate::fifo::{Attribute, AttributeValue, Attributes};

/// A request's parameters, as one of the protocols brought them.
#[derive(Debug)]
pub enum Parameters<'a> {
    /// JSON text.
    Json(&'a [u8]),
    /// Folded parameters of the query protocol, every scalar a string.
    Query(Value),
}

impl Parameters<'_> {
    /// Reads them as what an action takes.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, WireError> {
        let read = match self {
            Self::Json(b"") => serde_json::from_slice(b"{}"),
            Self::Json(text) => serde_json::from_slice(text),
            Self::Query(value) => serde_json::from_value(value),
        };
        read.map_err(|error| WireError::new("InvalidParameterValue", error.to_string()))
    }
}

/// The parameters of every action but the batches and the list of queues; each uses what it knows.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Request {
    /// The queue.
    pub queue_url: Option<String>,
    /// A queue to be made or found.
    pub queue_name: Option<String>,
    /// Queue attributes to set.
    pub attributes: BTreeMap<String, String>,
    /// Tags, of `CreateQueue` in one spelling and of `TagQueue` in the other.
    #[serde(alias = "tags")]
    pub tags: BTreeMap<String, String>,
    /// Tags to take away.
    pub tag_keys: Vec<String>,
    /// Attributes wanted, of a queue or of messages.
    pub attribute_names: Vec<String>,
    /// The newer name of the latter.
    pub message_system_attribute_names: Vec<String>,
    /// Message attributes wanted.
    pub message_attribute_names: Vec<String>,
    /// How many messages.
    #[serde(deserialize_with = "number")]
    pub max_number_of_messages: Option<i64>,
    /// Seconds.
    #[serde(deserialize_with = "number")]
    pub visibility_timeout: Option<i64>,
    /// Seconds.
    #[serde(deserialize_with = "number")]
    pub wait_time_seconds: Option<i64>,
    /// Names a logical receive.
    pub receive_request_attempt_id: Option<String>,
    /// The right to settle a message.
    pub receipt_handle: Option<String>,
    /// Where queue names begin so.
    pub queue_name_prefix: Option<String>,
    /// The most queues to list.
    #[serde(deserialize_with = "number")]
    pub max_results: Option<i64>,
    /// Where an earlier list left off.
    pub next_token: Option<String>,
}

/// A message to be sent, alone or in a batch.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Send {
    /// Its id within the batch.
    pub id: String,
    /// The queue, outside a batch.
    pub queue_url: Option<String>,
    /// The body.
    pub message_body: Option<String>,
    /// Not for FIFO queues, unless 0.
    #[serde(deserialize_with = "number")]
    pub delay_seconds: Option<i64>,
    /// The group.
    pub message_group_id: Option<String>,
    /// The deduplication id.
    pub message_deduplication_id: Option<String>,
    /// The attributes.
    pub message_attributes: BTreeMap<String, WireAttribute>,
    /// `AWSTraceHeader`.
    pub message_system_attributes: BTreeMap<String, WireAttribute>,
}

/// An entry of the other batches.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Settle {
    /// Its id within the batch.
    pub id: String,
    /// The right to settle a message.
    pub receipt_handle: String,
    /// Seconds.
    #[serde(deserialize_with = "number")]
    pub visibility_timeout: Option<i64>,
}

/// A batch of any kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", bound = "T: DeserializeOwned")]
pub struct Batch<T> {
    /// The queue.
    #[serde(default)]
    pub queue_url: Option<String>,
    /// The entries.
    #[serde(default = "Vec::new")]
    pub entries: Vec<T>,
}

/// A message attribute on the wire.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WireAttribute {
    data_type: String,
    string_value: Option<String>,
    binary_value: Option<String>,
}

/// Message attributes as the queue keeps them.
pub fn attributes(wire: BTreeMap<String, WireAttribute>) -> Result<Attributes, WireError> {
    wire.into_iter()
        .map(|(name, attribute)| {
            let invalid = |why: &str| {
                let message = format!("The message attribute '{name}' {why}.");
                WireError::new("InvalidParameterValue", message)
            };
            let value = match (attribute.string_value, attribute.binary_value) {
                (Some(text), None) => AttributeValue::Text(text),
                (None, Some(base64)) => {
                    let bytes = STANDARD.decode(base64).map_err(|_| invalid("holds no base64"))?;
                    AttributeValue::Binary(Bytes::from(bytes))
                }
                (None, None) | (Some(_), Some(_)) => return Err(invalid("must have one value")),
            };
            Ok((name, Attribute { data_type: attribute.data_type, value }))
        })
        .collect()
}

/// A message attribute as JSON shows it.
#[must_use]
pub fn show(attribute: &Attribute) -> Value {
    match &attribute.value {
        AttributeValue::Text(text) => {
            serde_json::json!({"DataType": attribute.data_type, "StringValue": text})
        }
        AttributeValue::Binary(bytes) => {
            serde_json::json!({"DataType": attribute.data_type, "BinaryValue": STANDARD.encode(bytes)})
        }
    }
}

/// A number, or a number as text: the query protocol knows no other.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) => number.as_i64().map(Some).ok_or_else(|| wrong(&number)),
        Value::String(text) => text.trim().parse().map(Some).map_err(|_| wrong(&text)),
        other => Err(wrong(&other)),
    }
}

fn wrong<E: serde::de::Error>(value: &impl std::fmt::Display) -> E {
    E::custom(format!("{value} is not a whole number"))
}
