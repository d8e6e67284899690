//! What a body is that is no job: which member is missing, and what people send by mistake.
//!
//! Looked at only when a body was refused. One hint each, and nothing of the body in it.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;
use serde_json::value::RawValue;

use super::{Job, SignatureError};
use crate::json::describe_json_error;

/// What a job has to have, in soketi's spelling and in sockudo's.
const NEEDED: [[&str; 2]; 3] =
    [["appKey", "app_key"], ["payload", "payload"], ["originalPusherSignature", "original_signature"]];

/// Services that wrap what they pass on, by members of theirs that no job has, and how to do without.
const WRAPPERS: [(&[&str], &str); 5] = [
    (
        &["TopicArn", "Message"],
        "it is an SNS notification: turn on raw message delivery for the subscription (RawMessageDelivery=true)",
    ),
    (
        &["detail-type", "detail"],
        "it is an EventBridge event: let the rule's target send the job alone (InputPath $.detail)",
    ),
    (&["Records"], "it is an AWS event with Records: send each record's body as a message of its own"),
    (&["MessageBody"], "it is a whole SendMessage request: the message's body has to be the job alone"),
    (&["job", "data"], "it is a job of a Laravel queue: it needs a queue of its own"),
];

/// What is wrong with a body that is no job.
pub(super) fn why(body: &[u8], error: &serde_json::Error) -> String {
    let Ok(text) = std::str::from_utf8(body) else { return "it is no UTF-8".to_owned() };
    let text = text.trim();
    if let Ok(members) = serde_json::from_str::<HashMap<String, &RawValue>>(text) {
        return of_members(&members, error);
    }
    if serde_json::from_str::<String>(text).is_ok_and(|inner| is_object(inner.as_bytes())) {
        return "it is JSON within a JSON string: it was encoded twice; send it as it is".to_owned();
    }
    if is_base64_of_json(text) {
        return "it is base64: send the JSON itself".to_owned();
    }
    describe_json_error(error)
}

/// Why a payload that is a string is none.
pub(super) fn why_text(payload: &RawValue) -> &'static str {
    match serde_json::from_str::<String>(payload.get()) {
        Ok(inner) if is_base64_of_json(&inner) => {
            "its payload is a string of base64: embed the JSON itself, in the bytes that were signed"
        }
        _ => {
            "its payload is a string: it was encoded twice; embed the JSON itself, in the bytes that were signed"
        }
    }
}

/// Why a signature does not match.
pub(super) fn why_unsigned(job: &Job, secret: &SecretString) -> SignatureError {
    let respaced = ["", " "].iter().any(|space| {
        let other = Job { payload: respaced(&job.payload, space).into(), ..job.clone() };
        other.payload != job.payload && other.verify(secret).is_ok()
    });
    if respaced { SignatureError::Respaced } else { SignatureError::Mismatch }
}

fn of_members(members: &HashMap<String, &RawValue>, error: &serde_json::Error) -> String {
    for (wrapper, hint) in WRAPPERS {
        if wrapper.iter().all(|name| members.contains_key(*name)) {
            return hint.to_owned();
        }
    }
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|spellings| !spellings.iter().any(|name| members.contains_key(*name)))
        .map(|[name, _]| *name)
        .collect();
    if missing.is_empty() {
        // All of it is there, so one is of the wrong type: the error names it.
        let text = |[first, second]: &[&str; 2]| {
            let value = members.get(*first).or_else(|| members.get(*second))?;
            let right = match *first {
                "payload" => true,
                "appKey" => super::key_of::<serde_json::Error>(value).is_ok(),
                _ => serde_json::from_str::<String>(value.get()).is_ok(),
            };
            (!right).then(|| format!("its {first} is no string"))
        };
        return NEEDED.iter().find_map(text).unwrap_or_else(|| describe_json_error(error));
    }
    format!("it has no {}", missing.join(", no "))
}

fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

fn is_base64_of_json(text: &str) -> bool {
    let text: String = text.split_ascii_whitespace().collect();
    let engines = [&BASE64_STANDARD, &BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE, &BASE64_URL_SAFE_NO_PAD];
    !text.is_empty() && engines.iter().any(|engine| engine.decode(&text).is_ok_and(|plain| is_object(&plain)))
}

/// JSON text with so much space behind each comma and colon and none elsewhere, its strings untouched: as
/// JavaScript writes it (none), and as Python does (one).
fn respaced(json: &[u8], space: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        if in_string {
            out.push(*byte);
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else if !matches!(*byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push(*byte);
            in_string = *byte == b'"';
            if matches!(*byte, b',' | b':') {
                out.extend_from_slice(space.as_bytes());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::job::sign;

    fn refused(body: &str) -> String {
        Job::decode(&Bytes::copy_from_slice(body.as_bytes())).unwrap_err().to_string()
    }

    #[test]
    fn what_people_send_by_mistake_is_recognised_and_what_is_missing_is_named() {
        let job = r#"{"appKey":"k","appId":"i","payload":{"time_ms":1,"events":[]},"originalPusherSignature":"00"}"#;
        let twice = serde_json::to_string(job).unwrap();
        for (body, says) in [
            (r#"{"appId":"i","payload":{},"originalPusherSignature":"00"}"#, "it has no appKey"),
            (r#"{"appKey":"k","originalPusherSignature":"00"}"#, "it has no payload"),
            (r#"{"app_key":"k","payload":{}}"#, "it has no originalPusherSignature"),
            ("{}", "it has no appKey, no payload, no originalPusherSignature"),
            (r#"{"appKey":["hush"],"payload":{},"originalPusherSignature":"00"}"#, "its appKey is no string"),
            (
                r#"{"appKey":"k","payload":{},"originalPusherSignature":7}"#,
                "its originalPusherSignature is no string",
            ),
            (
                r#"{"appKey":7,"payload":{},"originalPusherSignature":7}"#,
                "its originalPusherSignature is no string",
            ),
            (
                r#"{"appKey":"k","payload":"{\"events\":[\"hush\"]}","originalPusherSignature":"00"}"#,
                "its payload is a string: it was encoded twice",
            ),
            (
                r#"{"appKey":"k","payload":"eyJldmVudHMiOltdfQ==","originalPusherSignature":"00"}"#,
                "a string of base64",
            ),
            (
                r#"{"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:eu-west-1:1:t.fifo","Message":"hush"}"#,
                "SNS notification: turn on raw message delivery",
            ),
            (
                r#"{"version":"0","detail-type":"x","source":"s","detail":{"appKey":"hush"}}"#,
                "EventBridge event",
            ),
            (r#"{"Records":[{"body":"hush"}]}"#, "Records"),
            (&twice, "encoded twice"),
            (&BASE64_STANDARD.encode(job), "it is base64"),
            (&BASE64_URL_SAFE_NO_PAD.encode(job), "it is base64"),
            ("{\"appKey\":", "it ends too early"),
            ("hush", "it is no JSON"),
        ] {
            let error = refused(body);
            assert!(error.contains(says), "{body}: {error}");
            assert!(!error.contains("hush") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn spaces_added_or_removed_after_signing_are_recognised() {
        let secret = SecretString::from("s");
        let compact = r#"{"time_ms":1,"events":[{"name":"a, b: \"c ","channel":"x"}]}"#;
        let python = r#"{"time_ms": 1, "events": [{"name": "a, b: \"c ", "channel": "x"}]}"#;
        let pretty = compact.replace("[{", "[\n  {");
        for (signed, sent) in [(compact, python), (python, compact), (compact, &pretty), (python, &pretty)] {
            let job = Job {
                app_key: "k".into(),
                app_id: "i".into(),
                payload: Bytes::copy_from_slice(sent.as_bytes()),
                signature: sign(&secret, [signed.as_bytes()]),
                sender_secret: None,
            };
            assert_eq!(why_unsigned(&job, &secret), SignatureError::Respaced, "{sent}");
            assert_eq!(why_unsigned(&job, &SecretString::from("x")), SignatureError::Mismatch);
        }
    }
}
