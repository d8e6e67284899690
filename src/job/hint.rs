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
const WRAPPERS: [(&[&str], &str); 12] = [
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
    (&["specversion", "type"], "it is a CloudEvent: send its data alone"),
    (
        &["Service", "Event", "Bucket"],
        "it is S3's test event: the bucket's notifications need a queue of their own",
    ),
    (&["content-type", "properties"], "it is a Celery task: it needs a queue of its own"),
    (&["body", "headers", "properties"], "it is a Celery task: it needs a queue of its own"),
    (&["requestContext", "body"], "it is a request of API Gateway or a function's URL: send its body alone"),
    (&["httpMethod", "body"], "it is a request of API Gateway or a function's URL: send its body alone"),
    (&["statusCode", "body"], "it is a Lambda function's answer: send its body alone"),
];

/// What is wrong with a body that is no job.
pub(super) fn why(body: &[u8], error: &serde_json::Error) -> String {
    let Ok(text) = std::str::from_utf8(body) else { return "it is no UTF-8".to_owned() };
    if text.starts_with('\u{feff}') {
        return "it begins with a byte order mark: send it without".to_owned();
    }
    let text = text.trim();
    if let Ok(members) = serde_json::from_str::<HashMap<String, &RawValue>>(text) {
        return of_members(&members, error);
    }
    if let Some(times) = times_encoded(text) {
        return format!("it is JSON within a JSON string: it was encoded {times}; send it as it is");
    }
    if is_base64_of_json(text) {
        return "it is base64: send the JSON itself".to_owned();
    }
    if is_base64_of_gzip(text) {
        return "it is gzip in base64: send the JSON itself".to_owned();
    }
    match kind_of(text) {
        Some("a list") => "it is a list: send each job as a message of its own".to_owned(),
        Some(kind) => format!("it is {kind}, and no object"),
        None => describe_json_error(error),
    }
}

/// What a JSON text is that is no object; `None` for an object, and for what is no JSON.
fn kind_of(text: &str) -> Option<&'static str> {
    serde_json::from_str::<&RawValue>(text).ok()?;
    Some(match text.bytes().next()? {
        b'[' => "a list",
        b'"' => "a string",
        b'n' => "null",
        b't' | b'f' => "true or false",
        b'{' => return None,
        _ => "a number",
    })
}

/// How often a text was encoded that is an object within JSON strings. Each time more doubles its escapes, so that
/// few times are all there can be.
fn times_encoded(text: &str) -> Option<&'static str> {
    let mut inner = serde_json::from_str::<String>(text).ok()?;
    for times in ["twice", "three times", "four times", "five times"] {
        if is_object(inner.as_bytes()) {
            return Some(times);
        }
        inner = serde_json::from_str(&inner).ok()?;
    }
    None
}

/// Why a payload, which is none that holds events, is none.
#[cfg(feature = "worker")]
pub(crate) fn why_without_events(payload: &[u8], error: &serde_json::Error) -> String {
    let Ok(text) = std::str::from_utf8(payload) else { return "it is no UTF-8".to_owned() };
    let text = text.trim();
    if let Some(kind) = kind_of(text) {
        return format!("it is {kind}, and no object with a member events");
    }
    let Ok(members) = serde_json::from_str::<HashMap<String, &RawValue>>(text) else {
        return describe_json_error(error);
    };
    let Some(events) = members.get("events") else {
        return format!("it has no member events{}", spelled_otherwise(&members, &["events"]));
    };
    match kind_of(events.get()) {
        None => "its events are an object, and no list".to_owned(),
        Some("a list") => {
            let events: Vec<&RawValue> = serde_json::from_str(events.get()).unwrap_or_default();
            let wrong = events.iter().position(|event| kind_of(event.get()).is_some());
            match wrong {
                Some(place) => format!("its events[{place}] is no object"),
                None => format!("in its events, {}", describe_json_error(error)),
            }
        }
        Some(kind) => format!("its events are {kind}, and no list"),
    }
}

/// That a member is there but for case, underscores and hyphens, as the end of a sentence.
fn spelled_otherwise(members: &HashMap<String, &RawValue>, spellings: &[&str]) -> &'static str {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let alike = |name: &String| spellings.iter().any(|wanted| plain(name) == plain(wanted));
    if members.keys().any(alike) {
        " (one is there in another spelling: case and underscores count)"
    } else {
        ""
    }
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
    if let Some(hex) = job.signature.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("sha256"))
        && (Job { signature: hex.1.to_owned(), ..job.clone() }).verify(secret).is_ok()
    {
        return SignatureError::Prefixed;
    }
    let engines = [&BASE64_STANDARD, &BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE, &BASE64_URL_SAFE_NO_PAD];
    let in_hex = engines.iter().find_map(|engine| engine.decode(&job.signature).ok()).map(hex::encode);
    if in_hex.is_some_and(|signature| (Job { signature, ..job.clone() }).verify(secret).is_ok()) {
        return SignatureError::Base64;
    }
    let signs = |other: Vec<u8>| {
        other != job.payload && (Job { payload: other.into(), ..job.clone() }).verify(secret).is_ok()
    };
    let plain = with_slashes(&job.payload, false);
    if ["", " "].iter().any(|space| signs(respaced(&job.payload, space))) {
        SignatureError::Respaced
    } else if [
        with_slashes(&plain, true),
        respaced(&with_slashes(&plain, true), ""),
        respaced(&plain, ""),
        plain,
    ]
    .into_iter()
    .any(signs)
    {
        SignatureError::Escaped
    } else if sorted(&job.payload).is_some_and(signs) {
        SignatureError::Sorted
    } else {
        SignatureError::Mismatch
    }
}

/// JSON text with its slashes escaped, as PHP writes them, or none of them.
fn with_slashes(json: &[u8], escaped: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut bytes = json.iter().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(b'/')) => {}
            (b'\\', Some(_)) => {
                out.push(*byte);
                out.extend(bytes.next());
            }
            (b'/', _) if escaped => out.extend(b"\\/"),
            _ => out.push(*byte),
        }
    }
    out
}

/// The same JSON with every object's members in the order of their names.
fn sorted(json: &[u8]) -> Option<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    serde_json::to_vec(&value).ok()
}

fn of_members(members: &HashMap<String, &RawValue>, error: &serde_json::Error) -> String {
    for (wrapper, hint) in WRAPPERS {
        if wrapper.iter().all(|name| members.contains_key(*name)) {
            return hint.to_owned();
        }
    }
    let missing: Vec<(&str, &str)> = NEEDED
        .iter()
        .filter(|spellings| !spellings.iter().any(|name| members.contains_key(*name)))
        .map(|spellings| (spellings[0], spelled_otherwise(members, spellings)))
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
    if missing.len() == NEEDED.len() && members.contains_key("body") {
        return "it has a member body: send that alone".to_owned();
    }
    let missing: Vec<String> = missing.iter().map(|(name, spelled)| format!("{name}{spelled}")).collect();
    format!("it has no {}", missing.join(", no "))
}

fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{")
}

fn is_base64_of_json(text: &str) -> bool {
    is_base64_of(text, is_object)
}

fn is_base64_of_gzip(text: &str) -> bool {
    is_base64_of(text, |plain| plain.starts_with(&[0x1f, 0x8b]))
}

fn is_base64_of(text: &str, what: fn(&[u8]) -> bool) -> bool {
    let text: String = text.split_ascii_whitespace().collect();
    let engines = [&BASE64_STANDARD, &BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE, &BASE64_URL_SAFE_NO_PAD];
    !text.is_empty() && engines.iter().any(|engine| engine.decode(&text).is_ok_and(|plain| what(&plain)))
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
            (&serde_json::to_string(&twice).unwrap(), "encoded three times"),
            (&BASE64_STANDARD.encode([0x1f, 0x8b, 8, 0, 0]), "gzip in base64"),
            (&format!("\u{feff}{job}"), "byte order mark"),
            ("null", "it is null, and no object"),
            ("42", "it is a number, and no object"),
            ("\"hush\"", "it is a string, and no object"),
            ("[]", "it is a list: send each job"),
            (&format!("[{job},{job}]"), "it is a list: send each job"),
            (
                r#"{"specversion":"1.0","type":"t","source":"s","id":"1","data":{"appKey":"hush"}}"#,
                "CloudEvent",
            ),
            (r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"hush"}"#, "S3's test event"),
            (
                r#"{"body":"aHVzaA==","content-type":"application/json","properties":{},"headers":{}}"#,
                "Celery",
            ),
            (r#"{"body":"{\"appKey\":\"hush\"}"}"#, "it has a member body"),
            (r#"{"requestContext":{},"headers":{},"body":"hush"}"#, "API Gateway"),
            (
                r#"{"appkey":"k","payload":{},"originalPusherSignature":"00"}"#,
                "no appKey (one is there in another",
            ),
            (
                r#"{"AppKey":"k","Payload":{},"originalPusherSignature":"00"}"#,
                "no payload (one is there in another",
            ),
            ("{\"appKey\":", "it ends too early"),
            ("hush", "it is no JSON"),
        ] {
            let error = refused(body);
            assert!(error.contains(says), "{body}: {error}");
            assert!(!error.contains("hush") && !error.contains('\n'), "{error}");
        }
    }

    fn unsigned(payload: &str, signature: String) -> SignatureError {
        let job = Job {
            app_key: "k".into(),
            app_id: "i".into(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            signature,
            sender_secret: None,
        };
        why_unsigned(&job, &SecretString::from("s"))
    }

    #[test]
    fn a_right_signature_in_a_wrong_form_is_recognised() {
        let payload = r#"{"time_ms":1,"events":[{"name":"a/b \\/","channel":"é"}]}"#;
        let of = |text: &str| sign(&SecretString::from("s"), [text.as_bytes()]);
        assert_eq!(unsigned(payload, format!("sha256={}", of(payload))), SignatureError::Prefixed);
        let bytes = hex::decode(of(payload)).unwrap();
        assert_eq!(unsigned(payload, BASE64_STANDARD.encode(&bytes)), SignatureError::Base64);
        assert_eq!(unsigned(payload, BASE64_URL_SAFE_NO_PAD.encode(&bytes)), SignatureError::Base64);
        let php = payload.replace("a/b", r"a\/b").replace(r"\\/", r"\\\/");
        assert_eq!(unsigned(payload, of(&php)), SignatureError::Escaped);
        assert_eq!(unsigned(&php, of(payload)), SignatureError::Escaped);
        let by_name = r#"{"events":[{"channel":"é","name":"a/b \\/"}],"time_ms":1}"#;
        assert_eq!(unsigned(payload, of(by_name)), SignatureError::Sorted);
        assert_eq!(unsigned(payload, "sha256=00".to_owned()), SignatureError::Mismatch);
        assert_eq!(unsigned(payload, String::new()), SignatureError::Mismatch);
    }

    #[cfg(feature = "worker")]
    #[test]
    fn a_payload_without_events_says_what_is_wrong() {
        let error = serde_json::from_str::<u8>("x").unwrap_err();
        for (payload, says) in [
            (r#"{"time_ms":1}"#, "it has no member events"),
            (r#"{"Events":[]}"#, "another spelling"),
            (r#"{"events":{"name":"hush"}}"#, "its events are an object, and no list"),
            (r#"{"events":null}"#, "its events are null"),
            (r#"{"events":"hush"}"#, "its events are a string"),
            (r#"{"events":[{},"hush"]}"#, "its events[1] is no object"),
            ("null", "it is null"),
            ("[1]", "it is a list"),
        ] {
            let why = why_without_events(payload.as_bytes(), &error);
            assert!(why.contains(says) && !why.contains("hush"), "{payload}: {why}");
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
