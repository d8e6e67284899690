//! Any bytes as a message body: what decodes is what JavaScript would read, its payload is a slice of
//! the body, its signature holds for those bytes alone; and no error quotes the body.
#![no_main]

#[path = "../../properties/oracle.rs"]
#[allow(dead_code, reason = "shared with another target and with the tests")]
mod oracle;
mod words;

use bytes::Bytes;
use hookferry::job::{Job, sign};
use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;
use serde::de::IgnoredAny;

fuzz_target!(|input: &[u8]| {
    let body = Bytes::copy_from_slice(input);
    let valid = serde_json::from_slice::<IgnoredAny>(input).is_ok();
    let text = std::str::from_utf8(input).ok().filter(|_| valid);
    match Job::decode(&body) {
        Err(error) => {
            words::assert_plain(&error.to_string(), "the body is not a webhook job: ", &hints());
            assert!(text.and_then(members).is_none(), "a job to JavaScript");
        }
        Ok(job) => {
            // serde_json lets a raw control character pass in a key; everywhere else it looks for them.
            assert!(valid || input.iter().any(|byte| *byte < b' '));
            let place = job.payload.as_ptr() as usize - body.as_ptr() as usize;
            assert_eq!(body.slice(place..place + job.payload.len()), job.payload, "a slice of the body");
            if let Some(text) = text {
                let (key, payload, signature) = members(text).expect("no job to JavaScript");
                assert_eq!(
                    (&job.app_key, &*job.payload, &job.signature),
                    (&key, payload.as_bytes(), &signature)
                );
            }
            verify(&job);
            // soketi's form of it has no place for the secret that sockudo's envelope holds.
            let job = Job { sender_secret: None, ..job };
            assert_eq!(Job::decode(&Bytes::from(job.encode())).unwrap(), job);
        }
    }
});

/// What people are told of bodies that are no jobs, in whole: no word of these is the body's.
fn hints() -> Vec<String> {
    let mut hints: Vec<String> = [
        "it is no UTF-8",
        "it is an SNS notification: turn on raw message delivery for the subscription (RawMessageDelivery=true)",
        "it is an EventBridge event: let the rule's target send the job alone (InputPath $.detail)",
        "it is an AWS event with Records: send each record's body as a message of its own",
        "it is a whole SendMessage request: the message's body has to be the job alone",
        "it is a job of a Laravel queue: it needs a queue of its own",
        "it is a CloudEvent: send its data alone",
        "it is S3's test event: the bucket's notifications need a queue of their own",
        "it is a Celery task: it needs a queue of its own",
        "it is a request of API Gateway or a function's URL: send its body alone",
        "it is a Lambda function's answer: send its body alone",
        "it has a member body: send that alone",
        "it begins with a byte order mark: send it without",
        "it is gzip in base64: send the JSON itself",
        "it is a list: send each job as a message of its own",
        "it is a string, and no object",
        "it is a number, and no object",
        "it is null, and no object",
        "it is true or false, and no object",
        "it is JSON within a JSON string: it was encoded twice; send it as it is",
        "it is JSON within a JSON string: it was encoded three times; send it as it is",
        "it is JSON within a JSON string: it was encoded four times; send it as it is",
        "it is JSON within a JSON string: it was encoded five times; send it as it is",
        "it is base64: send the JSON itself",
        "the job is in S3, where SQS' extended client puts large messages, and here is a pointer to it: send the job itself (a message takes 1 MiB)",
        "it is a received message: send its Body alone",
        "it is a received message: send its body alone",
        "it begins with a character that is not seen, such as a zero-width space: send it without",
        "it is a string of base64: send the JSON itself",
        "it is no JSON but JavaScript's word for an object: send what JSON.stringify makes of it",
        "it is XML or HTML, and no JSON",
        "it is no JSON: its quotation marks are HTML's entities; send it unescaped",
        "it is percent-encoded, as a form's field is: send the JSON itself",
        "it is no JSON: its quotation marks are single ones, as Python prints them; send what json.dumps makes of it",
        "it is several JSON objects: send each job as a message of its own",
        "it is JSON in hex: send the JSON itself",
        "its payload is a string of base64: embed the JSON itself, in the bytes that were signed",
        "its payload is a string: it was encoded twice; embed the JSON itself, in the bytes that were signed",
    ]
    .map(str::to_owned)
    .into();
    let inner = [
        "data", "message", "Message", "body", "Body", "job", "Job", "payload", "content", "value", "event",
        "msg", "detail", "default",
    ];
    hints.extend(inner.map(|name| format!("the job is in its member {name}: send that alone")));
    let names = ["appKey", "payload", "originalPusherSignature"];
    hints.extend(names.map(|name| format!("its {name} is no string")));
    for some in 1..1 << names.len() {
        let missing = names.iter().enumerate().filter(|(n, _)| some & (1 << n) != 0).map(|(_, name)| *name);
        hints.push(format!("it has no {}", missing.collect::<Vec<_>>().join(", no ")));
    }
    hints
}

/// Key, payload and signature as JavaScript reads them, if they are there and Unicode.
fn members(text: &str) -> Option<(String, &str, String)> {
    let members = oracle::members(text.trim_matches([' ', '\t', '\n', '\r']))?;
    let last = |names: [&str; 2]| {
        let named = |key: &[u16]| names.iter().any(|name| name.encode_utf16().eq(key.iter().copied()));
        let values = members.iter().filter(|(key, _)| named(key)).map(|(_, value)| *value);
        values.collect::<Vec<_>>()
    };
    let text = |value: &str| String::from_utf16(&oracle::string(value)?).ok();
    // A key may be a number, and is what stands there.
    let number = |value: &str| value.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let key = |value: &str| if number(value) { Some(value.to_owned()) } else { text(value) };
    // Every one of them has to be Unicode: one that a later one replaces is not passed over.
    let read = |names, how: &dyn Fn(&str) -> Option<String>| {
        last(names).into_iter().map(how).collect::<Option<Vec<_>>>()?.pop()
    };
    Some((
        read(["appKey", "app_key"], &key)?,
        last(["payload", "payload"]).pop().filter(|payload| !payload.starts_with('"'))?,
        read(["originalPusherSignature", "original_signature"], &text)?,
    ))
}

fn verify(job: &Job) {
    // The signature alone: the secret that an envelope may hold would vouch for any payload.
    let job = &Job { sender_secret: None, ..job.clone() };
    let secret = SecretString::from("app-secret");
    let genuine = sign(&secret, [&*job.payload]);
    assert_eq!(job.verify(&secret).is_ok(), job.signature.eq_ignore_ascii_case(&genuine));
    let signed = Job { signature: genuine, ..job.clone() };
    assert!(signed.verify(&secret).is_ok());
    assert!(signed.verify(&SecretString::from("app-secreT")).is_err());
    let mut other = job.payload.to_vec();
    other[job.signature.len() % job.payload.len()] ^= 1;
    assert!(Job { payload: other.into(), ..signed }.verify(&secret).is_err());
}
