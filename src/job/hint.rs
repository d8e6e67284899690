//! What a body is that is no job: which member is missing, and what people send by mistake.
//!
//! Looked at only when a body was refused. One hint each, and nothing of the body in it.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use serde_json::value::RawValue;

use crate::json::describe_json_error;

/// What a job has to have, in soketi's spelling and in sockudo's.
const NEEDED: [[&str; 2]; 3] =
    [["appKey", "app_key"], ["payload", "payload"], ["originalPusherSignature", "original_signature"]];

/// Members in which others put what they send.
const INNER: [&str; 14] = [
    "data", "message", "Message", "body", "Body", "job", "Job", "payload", "content", "value", "event",
    "msg", "detail", "default",
];

/// Of SQS' extended client, and of libraries like it.
const IN_S3: &str = "the job is in S3, where SQS' extended client puts large messages, and here is a pointer to it: send the job itself (a \
    message takes 1 MiB)";

/// Services that wrap what they pass on, by members of theirs that no job has, and how to do without.
const WRAPPERS: [(&[&str], &str); 17] = [
    (
        &["TopicArn", "Message"],
        "it is an SNS notification: turn on raw message delivery for the subscription (RawMessageDelivery=true)",
    ),
    (
        &["detail-type", "detail"],
        "it is an EventBridge event: let the rule's target send the job alone (InputPath $.detail)",
    ),
    (&["Records"], "it is an AWS event with Records: send each record's body as a message of its own"),
    (
        &["Messages"],
        "it is what aws sqs receive-message prints: send each message's Body alone, as a message of its own",
    ),
    (&["Entries"], "it is a whole SendMessageBatch request: each entry's body has to be a job alone"),
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
    (&["s3BucketName", "s3Key"], IN_S3),
    (&["ReceiptHandle", "Body"], "it is a received message: send its Body alone"),
    (&["receiptHandle", "body"], "it is a received message: send its body alone"),
    (&["statusCode", "body"], "it is a Lambda function's answer: send its body alone"),
];

/// What is wrong with a body that is no job.
pub(super) fn why(body: &[u8], error: &serde_json::Error) -> String {
    let Ok(text) = std::str::from_utf8(body) else { return "it is no UTF-8".to_owned() };
    if text.starts_with('\u{feff}') {
        return "it begins with a byte order mark: send it without".to_owned();
    }
    if text.starts_with(['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{a0}']) {
        return "it begins with a character that is not seen, such as a zero-width space: send it without"
            .to_owned();
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
        Some("a list") if is_pointer(text) => IN_S3.to_owned(),
        Some("a list") if is_of_messages(text) => {
            "it is a list of messages: send each one's body alone, as a message of its own".to_owned()
        }
        Some("a list") => "it is a list: send each job as a message of its own".to_owned(),
        Some("a string")
            if serde_json::from_str::<String>(text).is_ok_and(|inner| is_base64_of_json(&inner)) =>
        {
            "it is a string of base64: send the JSON itself".to_owned()
        }
        Some(kind) => format!("it is {kind}, and no object"),
        None => match serde_json::from_slice::<&RawValue>(body) {
            Err(no_json) => of_no_json(text).map_or_else(|| describe_json_error(&no_json), str::to_owned),
            Ok(_) => describe_json_error(error),
        },
    }
}

/// What a text is that is no JSON.
fn of_no_json(text: &str) -> Option<&'static str> {
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let is_hex = || text.len().is_multiple_of(2) && hex::decode(text).is_ok_and(|plain| is_object(&plain));
    let hint = if text.contains("[object Object]") {
        "it is no JSON but JavaScript's word for an object: send what JSON.stringify makes of it"
    } else if begins("<") {
        "it is XML or HTML, and no JSON"
    } else if text.contains("&quot;") || text.contains("&#34;") {
        "it is no JSON: its quotation marks are HTML's entities; send it unescaped"
    } else if begins("%7b") || text.split_once('=').is_some_and(|(_, value)| value.starts_with('%')) {
        "it is percent-encoded, as a form's field is: send the JSON itself"
    } else if begins("{'") || begins("['") || begins("[{'") {
        "it is no JSON: its quotation marks are single ones, as Python prints them; send what json.dumps makes of it"
    } else if is_several(text) {
        "it is several JSON objects: send each job as a message of its own"
    } else if is_hex() {
        "it is JSON in hex: send the JSON itself"
    } else {
        return None;
    };
    Some(hint)
}

/// Whether one object follows another.
fn is_several(text: &str) -> bool {
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let first = objects.next();
    let rest = text.get(objects.byte_offset()..).unwrap_or_default();
    first.is_some_and(|first| first.is_ok_and(|first| is_object(first.get().as_bytes())))
        && is_object(rest.as_bytes())
}

/// Whether a list is a pointer of SQS' extended client: the name of its class, and where the message is.
fn is_pointer(list: &str) -> bool {
    let values: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
    matches!(values.as_slice(), [class, _] if class.get().ends_with("S3Pointer\""))
}

/// Whether a list is of messages as they are received, or of a batch's entries.
fn is_of_messages(list: &str) -> bool {
    let first = serde_json::from_str::<Vec<&RawValue>>(list).ok().and_then(|list| list.first().copied());
    let first = first.and_then(|first| serde_json::from_str::<HashMap<String, &RawValue>>(first.get()).ok());
    first
        .is_some_and(|members| ["Body", "body", "MessageBody"].iter().any(|name| members.contains_key(*name)))
}

/// The member in which a whole job is, as an object or as text.
fn inner_job(members: &HashMap<String, &RawValue>) -> Option<&'static str> {
    let is_job = |text: &str| {
        serde_json::from_str::<HashMap<String, &RawValue>>(text)
            .is_ok_and(|members| missing(&members).is_empty())
    };
    INNER.into_iter().find(|name| {
        members.get(*name).is_some_and(|value| {
            is_job(value.get()) || serde_json::from_str::<String>(value.get()).is_ok_and(|text| is_job(&text))
        })
    })
}

/// What members lack of a job, in soketi's spelling, with what is there in another.
fn missing(members: &HashMap<String, &RawValue>) -> Vec<(&'static str, &'static str)> {
    NEEDED
        .iter()
        .filter(|spellings| !spellings.iter().any(|name| members.contains_key(*name)))
        .map(|spellings| (spellings[0], spelled_otherwise(members, spellings)))
        .collect()
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

fn of_members(members: &HashMap<String, &RawValue>, error: &serde_json::Error) -> String {
    for (wrapper, hint) in WRAPPERS {
        if wrapper.iter().all(|name| members.contains_key(*name)) {
            return hint.to_owned();
        }
    }
    let missing = missing(members);
    if !missing.is_empty()
        && let Some(name) = inner_job(members)
    {
        return format!("the job is in its member {name}: send that alone");
    }
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::job::Job;

    fn refused(body: &str) -> String {
        Job::decode(&Bytes::copy_from_slice(body.as_bytes())).unwrap_err().to_string()
    }

    fn assert_says(body: &str, says: &str) {
        let error = refused(body);
        assert!(error.contains(says), "{body}: {error}");
        assert!(!error.contains("hush") && !error.contains('\n'), "{error}");
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
            (r#"{"Messages":[{"MessageId":"m","Body":"hush"}]}"#, "send each message's Body alone"),
            (r#"{"Entries":[{"Id":"1","MessageBody":"hush"}]}"#, "each entry's body"),
            (r#"[{"MessageId":"m","Body":"hush"}]"#, "a list of messages"),
            (r#"[{"Id":"1","MessageBody":"hush"}]"#, "a list of messages"),
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
            assert_says(body, says);
        }
    }

    #[test]
    fn other_encodings_and_jobs_inside_of_something_else_are_recognised() {
        let job = r#"{"appKey":"k","appId":"i","payload":{"time_ms":1,"events":[]},"originalPusherSignature":"00"}"#;
        let twice = serde_json::to_string(job).unwrap();
        for (body, says) in [
            ("2026-01-01T00:00:00Z", "it is no JSON"),
            ("-", "it is no JSON"),
            ("[object Object]", "JSON.stringify"),
            ("['hush']", "single ones"),
            ("{'appKey': 'hush'}", "single ones"),
            ("<hush/>", "XML"),
            (&job.replace('"', "&quot;"), "HTML's entities"),
            (&format!("payload={}", job.replace('{', "%7B").replace('"', "%22")), "percent-encoded"),
            (&job.replace('{', "%7b").replace('"', "%22"), "percent-encoded"),
            (&hex::encode(job), "in hex"),
            (&format!("{job}\n{job}"), "several JSON objects"),
            (&format!("\u{200b}{job}"), "zero-width space"),
            (&format!("\"{}\"", BASE64_STANDARD.encode(job)), "a string of base64"),
            (
                r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"hush","s3Key":"hush"}]"#,
                "in S3",
            ),
            (
                r#"["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"hush","s3Key":"k"}]"#,
                "in S3",
            ),
            (r#"{"s3BucketName":"hush","s3Key":"hush"}"#, "in S3"),
            (&format!(r#"{{"data":{job}}}"#), "in its member data: send that alone"),
            (&format!(r#"{{"name":"hush","data":{job},"opts":{{}}}}"#), "in its member data"),
            (&format!(r#"{{"message":{twice}}}"#), "in its member message"),
            (&format!(r#"{{"Message":{twice},"Subject":"hush"}}"#), "in its member Message"),
            (&format!(r#"{{"payload":{job}}}"#), "in its member payload"),
            (
                &format!(r#"{{"MessageId":"m","ReceiptHandle":"hush","Body":{twice}}}"#),
                "a received message: send its Body",
            ),
        ] {
            assert_says(body, says);
        }
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
}
