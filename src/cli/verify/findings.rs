//! What there is to say of a job or a webhook. Quotes no secret and nothing of a body but short names.

use std::time::SystemTime;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};

use super::lines::Findings;
use super::standard::{self, Standard};
use crate::job::{Job, QueueType, SignatureError, deduplication_id, group_id};
use crate::plan::Outline;
use crate::producer;
use crate::queue::NewMessage;
use crate::shown::{escaped, quoted};

/// Characters shown of a name out of a body.
const MAX_NAME: usize = 64;

/// From 2000 to 2100, in milliseconds since 1970.
const THIS_CENTURY: std::ops::Range<u64> = 946_684_800_000..4_102_444_800_000;

/// A webhook as it was received.
pub(super) struct Webhook {
    pub(super) body: Bytes,
    pub(super) signature: Option<String>,
    pub(super) standard: Option<Standard>,
    /// Of its app.
    pub(super) key: String,
}

pub(super) fn job(
    body: &Bytes,
    job: &Job,
    group: Option<&str>,
    dedup: Option<&str>,
    secrets: &[SecretString],
) -> Findings {
    let mut found = Findings::none();
    found.say(true, format!("a job of the app key {}", quoted(&job.app_key, MAX_NAME)));
    match secrets.iter().position(|secret| job.verify(secret).is_ok()) {
        Some(_) if job.sender_secret.is_some() => {
            found.say(true, "it holds the app's own secret, as sockudo's jobs do; deliveries are signed anew");
        }
        Some(0) => found.say(true, "the signature is that of the payload's own bytes"),
        Some(_) => found.say(
            true,
            "the signature is that of the payload's own bytes under an older secret of the app's; deliveries are signed under the newest",
        ),
        None if job.sender_secret.is_some() => found.say(
            false,
            "the secret in the job, which stands for a signature in sockudo's, is not the app's: its app record and the one here differ",
        ),
        None => found.say(false, why_not(job, secrets)),
    }
    events(&mut found, job, group);
    if let Some(dedup) = dedup {
        let own = deduplication_id(body);
        if dedup == own {
            found.say(true, "the deduplication id is the body's SHA-256");
        } else {
            found.say(
                true,
                format!("the deduplication id is not the body's SHA-256, as soketi's is ({own}); any that is unique within five minutes does"),
            );
        }
    }
    match String::from_utf8(body.to_vec()) {
        // Ids that are not given are the producer's to choose.
        Ok(body) => {
            let mut message = NewMessage::new(group.unwrap_or("group").to_owned(), body);
            if let Some(dedup) = dedup {
                dedup.clone_into(&mut message.deduplication);
            }
            if let Err(error) = producer::size(&message) {
                found.say(false, error.to_string());
            }
        }
        Err(_) => found.say(false, "the body is no UTF-8"),
    }
    found
}

fn events(found: &mut Findings, job: &Job, group: Option<&str>) {
    // As the worker reads it: what only JavaScript reads is no fault, and is delivered as it stands.
    let outline = match Outline::read(job) {
        Ok(outline) => outline,
        Err(error) => return found.say(false, format!("{error}; a worker dead-letters it as malformed")),
    };
    match outline.time_ms() {
        None => found.say(false, "the payload has no time_ms, milliseconds since 1970 as a number"),
        Some(time) => {
            if let Some((delivered, what)) = of_time(time) {
                found.say(delivered, what);
            }
        }
    }
    let names: Vec<_> = outline.names().map(String::from_utf8_lossy).collect();
    if names.is_empty() || names.iter().any(|name| name.is_empty()) {
        found.say(false, "it has no events, or one without a name");
    }
    let kind = names.first().and_then(|name| QueueType::of_event(name));
    let listed = names.iter().map(|name| escaped(name, MAX_NAME)).collect::<Vec<_>>().join(", ");
    found.say(true, format!("events: {listed}"));
    let Some(group) = group else { return };
    match kind {
        Some(kind) if group == group_id(&job.app_id, kind) => {
            found.say(true, "the message group is that of the app and the event's type");
        }
        Some(kind) => found.say(
            true,
            format!(
                "the message group is not soketi's ({}): it is ordered with what else is in it, and with nothing else",
                escaped(&group_id(&job.app_id, kind), MAX_NAME)
            ),
        ),
        None => found.say(true, "the message group is one of the producer's own"),
    }
}

/// What there is to say of a `time_ms`, and whether it is one at all. A worker delivers any as it stands.
fn of_time(time: &str) -> Option<(bool, String)> {
    let expected = "a whole number of milliseconds since 1970 is expected, and a receiver may refuse it";
    let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    if !is_number(time) {
        let inner = serde_json::from_str::<String>(time).is_ok_and(|inner| is_number(&inner));
        return Some(if inner {
            (true, format!("its time_ms is a string: {expected}"))
        } else {
            (false, "its time_ms is no number: milliseconds since 1970 are expected".to_owned())
        });
    }
    if time.starts_with('-') {
        return Some((true, format!("its time_ms is negative: {expected}")));
    }
    if time.contains(['.', 'e', 'E']) {
        return Some((true, format!("its time_ms is written as a fraction or with an exponent: {expected}")));
    }
    let ms: u64 = time.parse().unwrap_or(u64::MAX);
    if THIS_CENTURY.contains(&ms) {
        return None;
    }
    let unit = if ms < THIS_CENTURY.start {
        "seconds"
    } else if ms / 1_000_000 < THIS_CENTURY.start {
        "microseconds"
    } else {
        "nanoseconds"
    };
    let time = escaped(time, MAX_NAME);
    let what = format!(
        "a receiver may refuse its time_ms: {time} ms since 1970 is no time of this century; is it in {unit}?"
    );
    Some((true, what))
}

pub(super) fn webhook(webhook: &Webhook, secrets: &[SecretString], now: SystemTime) -> Findings {
    let mut found = Findings::none();
    if let Some(signature) = &webhook.signature {
        let claimed = Job {
            app_key: webhook.key.clone(),
            app_id: String::new(),
            payload: webhook.body.clone(),
            signature: signature.trim().to_owned(),
            sender_secret: None,
        };
        match secrets.iter().position(|secret| claimed.verify(secret).is_ok()) {
            Some(0) => found.say(true, "X-Pusher-Signature is that of the body"),
            Some(_) => {
                found.say(true, "X-Pusher-Signature is that of the body under an older secret of the app's");
            }
            None => {
                let why = not_as_sent(&webhook.body).map(str::to_owned);
                found.say(false, why.unwrap_or_else(|| why_not(&claimed, secrets)));
            }
        }
    }
    if let Some(claimed) = &webhook.standard {
        standard::judge(&mut found, claimed, &webhook.body, secrets, now);
    }
    found
}

/// What is wrong with a body that cannot be the one that was sent.
fn not_as_sent(body: &[u8]) -> Option<&'static str> {
    if body.is_empty() {
        Some("the body is empty: something has read it before, or the file was not written")
    } else if body.starts_with(&[0x1f, 0x8b]) {
        Some(
            "the body is compressed with gzip: the signature is of the body as it was before, and hookferry sends none so",
        )
    } else if body.starts_with("\u{feff}".as_bytes()) {
        Some(
            "the body begins with a byte order mark, which an editor or PowerShell adds: keep the bytes as they came",
        )
    } else {
        None
    }
}

/// Why a signature is not that of a payload, as far as it can be told, under the newest secret.
fn why_not(claimed: &Job, secrets: &[SecretString]) -> String {
    let Some(secret) = secrets.first() else { return "no secret is known".to_owned() };
    let why = claimed.why_unverified(secret);
    if why != SignatureError::Mismatch {
        return why.to_string();
    }
    if secret.expose_secret().trim() != secret.expose_secret() {
        return format!("{why}: the secret has white space at its ends");
    }
    match hex::decode(&claimed.signature) {
        Ok(digest) if digest.len() == 32 => format!("{why}: another secret, or the bytes were changed"),
        Ok(digest) => format!("{why}: it has {} bytes, and HMAC-SHA256 has 32", digest.len()),
        Err(_) => format!("{why}: it is not in hex"),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use serde_json::Value;

    use super::*;
    use crate::job::sign;

    fn secret() -> SecretString {
        "app-secret".into()
    }

    fn received(body: &str, signature: String) -> Findings {
        let body = Bytes::copy_from_slice(body.as_bytes());
        webhook(
            &Webhook { body, signature: Some(signature), standard: None, key: "app-key".to_owned() },
            &[secret()],
            SystemTime::UNIX_EPOCH,
        )
    }

    #[test]
    fn a_wrong_signature_says_what_it_is_the_signature_of() {
        let own = |text: &str| sign(&secret(), [text.as_bytes()]);
        assert!(received("{ }", own("{ }")).valid());
        let base64 = BASE64_STANDARD.encode(hex::decode(own("{ }")).unwrap());
        for (body, signature, why) in [
            ("{ }\n", own("{ }"), "white space at its ends"),
            ("{ }", own("{ }\n"), "line break"),
            ("{ }", own("{}"), "other spaces"),
            (r#""{}""#, own("{}"), "encoded twice"),
            ("{ }", base64, "base64"),
            ("{ }", own("other"), "another secret"),
            ("{ }", "ab".to_owned(), "1 bytes"),
            ("{ }", "xyz".to_owned(), "not in hex"),
            ("{ }", sign(&"app-key".into(), [&b"{ }"[..]]), "the app's key in the place of its secret"),
            ("{ }", "00".repeat(20), "HMAC-SHA1"),
            ("", own("{ }"), "the body is empty"),
            ("\u{feff}{ }", own("{ }"), "byte order mark"),
        ] {
            let found = received(body, signature);
            assert!(!found.valid() && found.to_string().contains(why), "{why}: {found}");
        }
    }

    fn of_payload(payload: &str) -> Findings {
        let signature = sign(&secret(), [payload.as_bytes()]);
        let body = format!(
            r#"{{"appKey":"k","appId":"a","payload":{payload},"originalPusherSignature":"{signature}"}}"#
        );
        let body = Bytes::from(body);
        super::job(&body, &Job::decode(&body).unwrap(), None, None, &[secret()])
    }

    #[test]
    fn a_payload_is_judged_as_the_worker_reads_it() {
        for bad in [
            r#"{"time_ms":1,"x":"\ud800"}"#,
            r#"["\ud800"]"#,
            r#"{"time_ms":1,"events":[5,1e400]}"#,
            r#"{"time_ms":1,"events":[]}"#,
            r#"{"time_ms":1,"events":[{"x":"\ud800"}]}"#,
            r#"{"time_ms":"\ud800","events":[{"name":"a"}]}"#,
            "{\"time_ms\":1,\"events\":[{\"name\":\"a\",\"x\":\"\u{ffff}\"}]}",
        ] {
            let found = of_payload(bad);
            assert!(!found.valid(), "{bad}: {found}");
        }
        for good in ["\"\\ud800\"".to_owned(), "1e400".to_owned(), "[".repeat(200) + &"]".repeat(200)] {
            let found = of_payload(&format!(r#"{{"time_ms":1,"events":[{{"name":"a","x":{good}}}]}}"#));
            assert!(found.valid(), "{good}: {found}");
        }
    }

    #[test]
    fn a_time_that_a_worker_delivers_is_valid_and_said_to_be_odd() {
        for (time, says) in [
            ("1732800000000.123", "written as a fraction"),
            ("1.7e12", "with an exponent"),
            ("\"1732800000000\"", "is a string"),
            ("-5", "is negative"),
            ("1732800000", "is it in seconds?"),
            ("1732800000000000", "is it in microseconds?"),
            ("1732800000000000000", "is it in nanoseconds?"),
            ("99999999999999999999999", "no time of this century"),
        ] {
            let found = of_payload(&format!(r#"{{"time_ms":{time},"events":[{{"name":"a"}}]}}"#));
            assert!(found.valid() && found.to_string().contains(says), "{time}: {found}");
        }
        for time in ["null", "\"today\"", "{}"] {
            let found = of_payload(&format!(r#"{{"time_ms":{time},"events":[{{"name":"a"}}]}}"#));
            assert!(!found.valid() && found.to_string().contains("is no number"), "{time}: {found}");
        }
        let found = of_payload(r#"{"time_ms":1732800000000,"events":[{"name":"a"}]}"#);
        assert!(found.valid() && !found.to_string().contains("time_ms"), "{found}");
    }

    #[test]
    fn a_job_of_sockudo_with_another_secret_says_so() {
        let body = Bytes::from_static(
            br#"{"app_key":"k","app_id":"a","app_secret":"other","payload":{"time_ms":1,"events":[{"name":"a"}]},"original_signature":"sig"}"#,
        );
        let decoded = Job::decode(&body).unwrap();
        let found = super::job(&body, &decoded, None, None, &[secret()]);
        assert!(!found.valid() && found.to_string().contains("the secret in the job"), "{found}");
    }

    #[test]
    fn a_job_is_told_by_its_parts() {
        let line = include_str!("../../../tests/fixtures/soketi-1.6.1-jobs.jsonl").lines().next().unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        let body = Bytes::copy_from_slice(line["body"].as_str().unwrap().as_bytes());
        let decoded = Job::decode(&body).unwrap();
        let (group, dedup) = (line["group"].as_str(), line["dedup"].as_str());
        let found = super::job(&body, &decoded, group, dedup, &[secret()]);
        assert!(found.valid() && found.to_string().contains("member_added"), "{found}");
        assert!(!super::job(&body, &decoded, group, dedup, &["other".into()]).valid());
        for (group, dedup) in [(Some("a b"), dedup), (Some(""), dedup), (group, Some(&"d".repeat(200)[..]))] {
            let refused = super::job(&body, &decoded, group, dedup, &[secret()]);
            assert!(!refused.valid() && refused.to_string().contains("is not 1 to 128"), "{refused}");
        }
        let rotated = super::job(&body, &decoded, group, dedup, &["new".into(), secret()]);
        assert!(rotated.valid() && rotated.to_string().contains("older secret"), "{rotated}");
        assert!(!found.to_string().contains("app-secret"));
    }
}
