//! Between what the protocols say and what the queue takes.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::ACCOUNT;
use crate::fifo::{Attribute, AttributeValue, Attributes, MAX_BATCH, Outgoing, Received};
use crate::local::protocol::types::{Request, Send, attributes, show};
use crate::local::protocol::{WireError, md5};

/// What an action comes to.
pub(super) type Answer = Result<Value, WireError>;

/// Whoever sends to the local queue, as `SenderId`.
const SENDER: &str = "AIDALOCALQUEUE";

pub(super) fn outgoing(send: Send) -> Result<Outgoing, WireError> {
    if let Some(delay) = send.delay_seconds.filter(|delay| *delay != 0) {
        return Err(WireError::new(
            "InvalidParameterValue",
            format!(
                "Value {delay} for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type."
            ),
        ));
    }
    let body = needed(send.message_body, "MessageBody")?;
    let trace = attributes(send.message_system_attributes)?.remove("AWSTraceHeader");
    let trace_header = trace.and_then(|attribute| match attribute.value {
        AttributeValue::Text(text) => Some(text),
        AttributeValue::Binary(_) => None,
    });
    Ok(Outgoing {
        group: needed(send.message_group_id, "MessageGroupId")?,
        dedup: send.message_deduplication_id,
        body: body.into(),
        attributes: attributes(send.message_attributes)?,
        trace_header,
    })
}

pub(super) fn outcomes<T>(
    entries: impl IntoIterator<Item = (String, T)>,
    mut act: impl FnMut(T) -> Answer,
) -> Value {
    let mut successful = Vec::new();
    let mut failed = Vec::new();
    for (id, entry) in entries {
        match act(entry) {
            Ok(mut done) => {
                if let Value::Object(done) = &mut done {
                    done.insert("Id".into(), id.into());
                }
                successful.push(done);
            }
            Err(error) => {
                let (code, message) = (error.code(), error.message);
                failed.push(json!({"Id": id, "SenderFault": true, "Code": code, "Message": message}));
            }
        }
    }
    if failed.is_empty() {
        return json!({"Successful": successful});
    }
    json!({"Successful": successful, "Failed": failed})
}

pub(super) fn shown(message: &Received, names: &[&str], request: &Request) -> Value {
    let all = names.contains(&"All");
    let mut system = Map::new();
    let mut put = |name: &str, value: &dyn Fn() -> Option<String>| {
        if (all || names.contains(&name))
            && let Some(value) = value()
        {
            system.insert(name.to_owned(), value.into());
        }
    };
    put("ApproximateReceiveCount", &|| Some(message.receive_count.to_string()));
    put("ApproximateFirstReceiveTimestamp", &|| Some(message.first_received.as_millis().to_string()));
    put("SentTimestamp", &|| Some(message.sent.as_millis().to_string()));
    put("MessageGroupId", &|| Some(message.group.to_string()));
    put("MessageDeduplicationId", &|| Some(message.dedup.to_string()));
    put("SequenceNumber", &|| Some(message.sequence_number.clone()));
    put("SenderId", &|| Some(SENDER.to_owned()));
    put("AWSTraceHeader", &|| message.trace_header.as_deref().map(str::to_owned));
    put("DeadLetterQueueSourceArn", &|| message.dead_letter_source.as_deref().map(str::to_owned));
    let mut shown = Map::new();
    shown.insert("MessageId".into(), (*message.message_id).into());
    shown.insert("ReceiptHandle".into(), message.receipt_handle.as_str().into());
    shown.insert("MD5OfBody".into(), md5::of_body(&message.body).into());
    shown.insert("Body".into(), String::from_utf8_lossy(&message.body).into());
    if !system.is_empty() {
        shown.insert("Attributes".into(), system.into());
    }
    let asked = named(&message.attributes, &request.message_attribute_names);
    if let Some(md5) = md5::of_attributes(asked.iter().copied()) {
        let map: Map<String, Value> = asked.iter().map(|(name, a)| ((*name).clone(), show(a))).collect();
        shown.insert("MD5OfMessageAttributes".into(), md5.into());
        shown.insert("MessageAttributes".into(), map.into());
    }
    shown.into()
}

/// The attributes that `names` ask for: by name, by prefix (`a.*`), or all.
pub(super) fn named<'a>(attributes: &'a Attributes, names: &[String]) -> Vec<(&'a String, &'a Attribute)> {
    let asked = |attribute: &String| {
        names.iter().any(|name| match name.strip_suffix(".*") {
            Some(prefix) => attribute.starts_with(prefix),
            None => name == "All" || name == attribute,
        })
    };
    attributes.iter().filter(|(name, _)| asked(name)).collect()
}

pub(super) fn check_batch<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), WireError> {
    let ids: Vec<&str> = ids.collect();
    if ids.is_empty() {
        return Err(WireError::new(
            "EmptyBatchRequest",
            "There should be at least one entry in the request.",
        ));
    }
    if ids.len() > MAX_BATCH {
        return Err(WireError::new(
            "TooManyEntriesInBatchRequest",
            format!("Maximum number of entries per request are {MAX_BATCH}. You have sent {}.", ids.len()),
        ));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if ids.iter().any(|id| id.is_empty() || id.len() > 80 || !id.bytes().all(plain)) {
        return Err(WireError::new(
            "InvalidBatchEntryId",
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.",
        ));
    }
    let distinct: HashSet<&&str> = ids.iter().collect();
    if distinct.len() < ids.len() {
        return Err(WireError::new(
            "BatchEntryIdsNotDistinct",
            "Two or more batch entries have the same id.",
        ));
    }
    Ok(())
}

pub(super) fn queue_name(queue_url: Option<&str>, path: &str) -> Result<String, WireError> {
    let name = queue_url.unwrap_or(path).rsplit('/').next().unwrap_or_default();
    if name.is_empty() {
        return Err(WireError::new("MissingParameter", "The request must contain the parameter QueueUrl."));
    }
    Ok(name.to_owned())
}

pub(super) fn url(host: &str, name: &str) -> String {
    format!("http://{host}/{ACCOUNT}/{name}")
}

pub(super) fn needed<T>(value: Option<T>, name: &str) -> Result<T, WireError> {
    value.ok_or_else(|| {
        WireError::new("MissingParameter", format!("The request must contain the parameter {name}."))
    })
}

pub(super) fn seconds(name: &str, value: i64) -> Result<Duration, WireError> {
    u64::try_from(value).map(Duration::from_secs).map_err(|_| {
        WireError::new("InvalidParameterValue", format!("Value {value} for parameter {name} is invalid."))
    })
}
