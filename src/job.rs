//! The envelope: what a webhook job looks like on the wire, and whether it is genuine.
//!
//! Two producers are understood: soketi (camel case) and sockudo (snake case). The payload is kept
//! as the bytes it arrived in, because its signature covers those bytes and no others:
//! re-serialising JSON reorders keys, rewrites numbers and rejects the lone surrogates that
//! JavaScript emits. Knows nothing of queues, apps' webhooks or HTTP.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// One webhook job, decoded but not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The key of the app that the events belong to.
    pub app_key: String,
    /// The id of that app as the producer wrote it; empty if it wrote none. For logs only.
    pub app_id: String,
    /// The payload's own bytes, exactly as the producer signed them.
    pub payload: Bytes,
    /// Hex HMAC-SHA256 of `payload` under the app's secret, as the producer wrote it.
    pub signature: String,
}

/// Why a body is no job.
#[derive(Debug, thiserror::Error)]
#[error("the body is not a webhook job: {}", shape(.0))]
pub struct DecodeError(#[from] serde_json::Error);

/// What is wrong with some JSON, and where, without quoting any of it: it may hold secrets.
#[must_use]
pub fn shape(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Syntax => "it is no JSON",
        Category::Eof => "it ends too early",
        Category::Data => "a member is missing or of the wrong type",
        Category::Io => "it cannot be read",
    };
    match error.line() {
        // From a value that was parsed before, no place is known.
        0 => what.to_owned(),
        line => format!("{what} (line {line}, column {})", error.column()),
    }
}

/// The signature does not match the payload under the app's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match the payload under the app's secret")]
pub struct SignatureError;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "appKey", alias = "app_key")]
    app_key: Name<'a>,
    #[serde(borrow, default, rename = "appId", alias = "app_id")]
    app_id: Option<Name<'a>>,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow, rename = "originalPusherSignature", alias = "original_signature")]
    signature: Cow<'a, str>,
}

/// An app's id or key: a string, or a number where an operator's database stores one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Number(i64),
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Job {
    /// Decodes a message body; the payload stays a slice of it, nothing is copied.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let envelope: Envelope<'_> = serde_json::from_slice(body)?;
        Ok(Self {
            app_key: envelope.app_key.to_string(),
            app_id: envelope.app_id.map(|id| id.to_string()).unwrap_or_default(),
            payload: body.slice_ref(envelope.payload.get().as_bytes()),
            signature: envelope.signature.into_owned(),
        })
    }

    /// Checks the signature over the payload's own bytes, in constant time.
    pub fn verify(&self, secret: &SecretString) -> Result<(), SignatureError> {
        let claimed = hex::decode(&self.signature).map_err(|_| SignatureError)?;
        mac(secret, [self.payload.as_ref()]).verify_slice(&claimed).map_err(|_| SignatureError)
    }

    /// The body that soketi would enqueue for this job.
    ///
    /// `payload` has to be JSON text; it is embedded as it stands.
    #[must_use]
    pub fn encode(&self) -> String {
        let text = |value: &str| serde_json::Value::from(value).to_string();
        format!(
            r#"{{"appKey":{},"appId":{},"payload":{},"originalPusherSignature":{}}}"#,
            text(&self.app_key),
            text(&self.app_id),
            String::from_utf8_lossy(&self.payload),
            text(&self.signature),
        )
    }
}

/// The kinds of queue that soketi spreads an app's events over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueType {
    /// A client sent an event on a private or presence channel.
    ClientEvent,
    /// Someone joined a presence channel.
    MemberAdded,
    /// Someone left a presence channel.
    MemberRemoved,
    /// The last subscriber left a channel.
    ChannelVacated,
    /// The first subscriber came to a channel.
    ChannelOccupied,
    /// A cache channel had nothing to give a new subscriber.
    CacheMiss,
}

impl QueueType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ClientEvent,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::ChannelVacated,
        Self::ChannelOccupied,
        Self::CacheMiss,
    ];

    /// The name of the event it carries, as in a webhook's `event_types`.
    #[must_use]
    pub fn event_name(self) -> &'static str {
        match self {
            Self::ClientEvent => "client_event",
            Self::MemberAdded => "member_added",
            Self::MemberRemoved => "member_removed",
            Self::ChannelVacated => "channel_vacated",
            Self::ChannelOccupied => "channel_occupied",
            Self::CacheMiss => "cache_miss",
        }
    }

    /// soketi's own queue name, the second half of a message group id.
    #[must_use]
    pub fn queue_name(self) -> &'static str {
        match self {
            Self::ClientEvent => "client_event_webhooks",
            Self::MemberAdded => "member_added_webhooks",
            Self::MemberRemoved => "member_removed_webhooks",
            Self::ChannelVacated => "channel_vacated_webhooks",
            Self::ChannelOccupied => "channel_occupied_webhooks",
            Self::CacheMiss => "cache_miss_webhooks",
        }
    }

    /// The kind that carries events of that name, if any.
    #[must_use]
    pub fn of_event(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.event_name() == name)
    }
}

/// The message group id of an app's events of one kind.
#[must_use]
pub fn group_id(app_id: &str, kind: QueueType) -> String {
    format!("{app_id}_{}", kind.queue_name())
}

/// The deduplication id of a body: lower-case hex SHA-256.
#[must_use]
pub fn deduplication_id(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// Signs a payload given in pieces: lower-case hex HMAC-SHA256.
#[must_use]
pub fn sign<'a>(secret: &SecretString, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    hex::encode(mac(secret, pieces).finalize().into_bytes())
}

fn mac<'a>(secret: &SecretString, pieces: impl IntoIterator<Item = &'a [u8]>) -> Hmac<Sha256> {
    // HMAC pads or hashes a key of any length, so this cannot fail.
    #[allow(clippy::expect_used, reason = "an HMAC key may have any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("an HMAC key may have any length");
    for piece in pieces {
        mac.update(piece);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"appKey":"app-key","appId":"app-id","payload":{"time_ms":1795476014275,"events":[{"name":"member_added","channel":"presence-lobby","user_id":"1"}]},"originalPusherSignature":"dffd2a18e36707e5c10e1043c99ca337cc153ba6bd05c76b88f6f9f67e17e5eb"}"#;

    fn decode(text: &str) -> Result<Job, DecodeError> {
        Job::decode(&Bytes::copy_from_slice(text.as_bytes()))
    }

    fn secret() -> SecretString {
        SecretString::from("app-secret")
    }

    #[test]
    fn every_job_captured_from_soketi_verifies_and_has_its_group_and_dedup_id() {
        let lines = include_str!("../tests/fixtures/soketi-1.6.1-jobs.jsonl");
        let mut seen = 0;
        for line in lines.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let body = line["body"].as_str().unwrap();
            let job = decode(body).unwrap();
            job.verify(&secret()).unwrap();
            assert_eq!(line["dedup"], deduplication_id(body.as_bytes()));
            assert!(QueueType::ALL.into_iter().any(|kind| line["group"] == group_id(&job.app_id, kind)));
            assert_eq!(job.encode(), body);
            seen += 1;
        }
        assert_eq!(seen, 24);
    }

    #[test]
    fn the_payload_keeps_its_own_bytes() {
        let payload = r#"{ "events" : [{"b":1.50e+3,"a":"\ud800"}], "time_ms":1 }"#;
        let job =
            decode(&format!(r#"{{"payload":{payload},"appKey":"k","x":[1],"originalPusherSignature":""}}"#))
                .unwrap();
        assert_eq!(job.payload, payload.as_bytes());
        assert_eq!(job.app_id, "");
    }

    #[test]
    fn a_changed_payload_or_signature_is_refused() {
        let changed = decode(&BODY.replace("lobby", "hobby")).unwrap();
        assert_eq!(changed.verify(&secret()), Err(SignatureError));
        for signature in ["", "zz", "dffd", &"0".repeat(64)] {
            let mut job = decode(BODY).unwrap();
            job.signature = signature.to_owned();
            assert_eq!(job.verify(&secret()), Err(SignatureError));
        }
        assert_eq!(decode(BODY).unwrap().verify(&SecretString::from("other")), Err(SignatureError));
    }

    #[test]
    fn sockudos_envelope_decodes_and_its_secret_is_not_kept() {
        let job = decode(
            r#"{"app_key":"k","app_id":"i","app_secret":"hush","payload":{"time_ms":1,"events":[]},"original_signature":"ab","job_id":"7"}"#,
        )
        .unwrap();
        assert_eq!((job.app_key.as_str(), job.app_id.as_str()), ("k", "i"));
        assert!(!format!("{job:?}").contains("hush"));
    }

    #[test]
    fn an_id_or_key_that_a_database_stores_as_a_number_is_taken_as_text() {
        let job = decode(r#"{"appKey":4711,"appId":7,"payload":{},"originalPusherSignature":""}"#).unwrap();
        assert_eq!((job.app_key.as_str(), job.app_id.as_str()), ("4711", "7"));
    }

    #[test]
    fn what_is_no_job_is_refused() {
        for body in ["", "nonsense", "[]", "{}", r#"{"appKey":"k","payload":{}}"#] {
            assert!(decode(body).is_err(), "{body}");
        }
        for body in [r#""hush""#, r#"{"appKey":["hush"]}"#, "hush"] {
            assert!(!decode(body).unwrap_err().to_string().contains("hush"), "{body} is not quoted");
        }
    }
}
