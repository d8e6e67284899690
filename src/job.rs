//! The envelope: what a webhook job looks like on the wire, and whether it is genuine.
//!
//! Two producers are understood: soketi (camel case) and sockudo (snake case). The payload is kept
//! as the bytes it arrived in, because its signature covers those bytes and no others:
//! re-serialising JSON reorders keys, rewrites numbers and rejects the lone surrogates that
//! JavaScript emits. Knows nothing of SQS, of what an app registers, or of HTTP.
//!
//! sockudo signs when it delivers, not when it enqueues: what its envelope calls a signature is a label,
//! and the app's secret stands beside it. Such a job is genuine if that secret is the app's own: whoever
//! knows it could sign as well. The embedded secret signs nothing, and is kept as a digest alone.

#[cfg(feature = "worker")]
pub(crate) use hint::why_without_events;

mod forms;
mod hint;
mod webhook_id;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::json::StringBytes;
pub use webhook_id::WebhookId;

/// One webhook job, decoded but not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The key of the app that the events belong to.
    pub app_key: String,
    /// The id of that app as the producer wrote it; empty if it wrote none. Nothing authenticates it: it says under whose
    /// share and counters the job falls until its app is found, and never which app that is.
    pub app_id: String,
    /// The payload's own bytes, exactly as the producer signed them.
    pub payload: Bytes,
    /// Hex HMAC-SHA256 of `payload` under the app's secret, as the producer wrote it.
    pub signature: String,
    /// SHA-256 of the secret in sockudo's envelope, in which `signature` is no signature.
    pub sender_secret: Option<[u8; 32]>,
}

/// Why a body is no job: what it lacks, or what it is instead. Nothing of the body is in it.
#[derive(Debug, thiserror::Error)]
#[error("the body is not a webhook job: {0}")]
pub struct DecodeError(String);

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is not that of the payload's bytes.
    #[error(
        "the signature does not match the payload under the app's secret: where the secret was changed since, give the app the old one as \
         previous_secret (DEFAULT_APP_PREVIOUS_SECRET) until the queue is empty"
    )]
    Mismatch,
    /// It is that of the same JSON with other spaces.
    #[error(
        "the signature is of the same payload with other spaces: sign the very bytes that are sent, or send the bytes that were signed"
    )]
    Respaced,
    /// It is the right one behind `sha256=`.
    #[error("the signature begins with sha256=: send the hex digits alone")]
    Prefixed,
    /// It is the right one with something around its digits.
    #[error(
        "there is more in the signature than its hex digits, such as 0x, v1,, quotes, b'…' or colons: send the digits alone"
    )]
    Decorated,
    /// It is the right one's hex digits in base64.
    #[error("the signature is base64 of the hex digits: send the digits themselves")]
    Base64OfHex,
    /// It is as long as the HMAC by another hash.
    #[error("the signature is as long as one by HMAC-{0}: make it by HMAC-SHA256")]
    OtherHash(&'static str),
    /// It is made with payload and secret in each other's place.
    #[error("the signature is made with the payload as the key: swap the arguments, the secret is the key")]
    Swapped,
    /// It is made with the app's key or id as the secret.
    #[error("the signature is made with the app's {0} in the place of its secret")]
    WithoutSecret(&'static str),
    /// It is a hash and no HMAC.
    #[error("the signature is a plain SHA-256 of {0}: make it by HMAC-SHA256, with the secret as the key")]
    Hash(&'static str),
    /// It is that of something else in the job than its payload.
    #[error("the signature is of {0}: sign the payload alone, in the bytes in which it stands in the job")]
    OtherPart(&'static str),
    /// It is that of the same JSON with characters of HTML escaped otherwise.
    #[error(
        "the signature is of the same payload with <, > and & escaped otherwise, as Go, Rails and PHP do (SetEscapeHTML, escape_html_entities_in_json, JSON_HEX_TAG): send the bytes that were signed"
    )]
    Html,
    /// It is the right one in base64.
    #[error("the signature is in base64: send it in lower-case hex")]
    Base64,
    /// It is that of the same JSON with slashes escaped otherwise.
    #[error(
        "the signature is of the same payload with slashes escaped otherwise, as PHP does (JSON_UNESCAPED_SLASHES): send the bytes that were signed"
    )]
    Escaped,
    /// It is that of the same JSON with its members sorted.
    #[error(
        "the signature is of the same payload with its members in the order of their names: send the bytes that were signed"
    )]
    Sorted,
    /// It is that of the same JSON with characters beyond ASCII escaped otherwise.
    #[error(
        "the signature is of the same payload with characters beyond ASCII escaped otherwise, as Python and PHP do (ensure_ascii, JSON_UNESCAPED_UNICODE): send the bytes that were signed"
    )]
    Unicode,
    /// It is that of the same JSON with other spaces and escapes.
    #[error(
        "the signature is of the same payload serialised again, with other spaces or escapes: sign the very bytes that are sent"
    )]
    Reserialised,
    /// It is that of the payload with a line break at its end.
    #[error(
        "the signature is of the payload with a line break at its end, as echo adds one: sign the payload alone (printf %s)"
    )]
    WithLineBreak,
    /// It is that of the payload without what stands around it.
    #[error("the signature is of the payload without the white space at its ends, which something added")]
    Padded,
    /// It is that of the text within a JSON string.
    #[error("the signature is of the text inside, which was encoded twice: send the JSON itself")]
    EncodedTwice,
    /// It is made with the secret and a line break.
    #[error(
        "the signature is made with the secret and a line break at its end, as a file of it has: trim the secret before signing"
    )]
    SecretWithLineBreak,
    /// It is made with the secret in quotes.
    #[error("the signature is made with quotes around the secret: sign with the secret alone")]
    SecretQuoted,
    /// It is made with the secret without the quotes around it.
    #[error("the app's secret has quotes around it, and the signature is made without: take them away")]
    SecretInQuotes,
    /// It is made with the secret without the white space at its ends.
    #[error("the app's secret has white space at its ends, and the signature is made without")]
    SecretPadded,
}

/// The envelope's outline. Of a member that comes twice the last counts, as in JavaScript.
struct Envelope<'a> {
    app_key: String,
    app_id: String,
    payload: &'a RawValue,
    signature: String,
    sender_secret: Option<[u8; 32]>,
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a webhook job")
    }

    // By hand, because a derived one refuses a repeated member, and a key with a lone surrogate even
    // where it is to be ignored.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let (mut app_key, mut app_id, mut payload, mut signature) = (None, None, None, None);
        let mut sender_secret = None;
        while let Some(StringBytes(key)) = map.next_key()? {
            match &*key {
                b"appKey" | b"app_key" => app_key = Some(key_of(map.next_value()?)?),
                b"appId" | b"app_id" => app_id = Some(map.next_value()?),
                b"payload" => payload = Some(map.next_value()?),
                b"originalPusherSignature" | b"original_signature" => signature = Some(map.next_value()?),
                b"app_secret" => sender_secret = secret_digest(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Envelope {
            app_key: app_key.ok_or_else(|| Error::missing_field("appKey"))?,
            app_id: app_id.map(shown_id).unwrap_or_default(),
            payload: payload.ok_or_else(|| Error::missing_field("payload"))?,
            signature: signature.ok_or_else(|| Error::missing_field("originalPusherSignature"))?,
            sender_secret,
        })
    }
}

/// The app id that a body claims, read no further than there: soketi puts it before the payload. `None` if there is none.
#[must_use]
pub fn claimed_app_id(body: &[u8]) -> Option<String> {
    struct Claim<'c>(&'c mut Option<String>);
    impl<'de> Visitor<'de> for Claim<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a webhook job")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(StringBytes(key)) = map.next_key()? {
                if matches!(&*key, b"appId" | b"app_id") {
                    *self.0 = Some(shown_id(map.next_value()?)).filter(|id| !id.is_empty());
                    return Ok(());
                }
                map.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }
    let mut claimed = None;
    // What follows the id is not read, and so is no error here; a body that is no job has claimed nothing.
    drop(serde_json::Deserializer::from_slice(body).deserialize_map(Claim(&mut claimed)));
    claimed
}

/// An app key: a string, or a number where an operator's database stores one.
fn key_of<E: Error>(key: &RawValue) -> Result<String, E> {
    let text = key.get();
    if matches!(text.bytes().next(), Some(b'-' | b'0'..=b'9')) {
        return Ok(text.to_owned());
    }
    serde_json::from_str(text).map_err(|_| E::custom("appKey is no string"))
}

/// An app id: a string, or a number where an operator's database stores one. The key finds the app, so
/// anything else is no reason to refuse the job.
fn shown_id(id: &RawValue) -> String {
    let id = id.get();
    match id.bytes().next() {
        Some(b'"') => serde_json::from_str(id).unwrap_or_default(),
        Some(b'-' | b'0'..=b'9') => id.to_owned(),
        _ => String::new(),
    }
}

/// The digest of the secret in an envelope, if it is text; anything else vouches for nothing.
fn secret_digest(secret: &RawValue) -> Option<[u8; 32]> {
    let secret: SecretString = serde_json::from_str::<String>(secret.get()).ok()?.into();
    Some(Sha256::digest(secret.expose_secret()).into())
}

impl Job {
    /// Decodes a message body; the payload stays a slice of it, nothing is copied.
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        let envelope: Envelope<'_> =
            serde_json::from_slice(body).map_err(|error| DecodeError(hint::why(body, &error)))?;
        if envelope.payload.get().starts_with('"') {
            return Err(DecodeError(hint::why_text(envelope.payload).to_owned()));
        }
        Ok(Self {
            app_key: envelope.app_key,
            app_id: envelope.app_id,
            payload: body.slice_ref(envelope.payload.get().as_bytes()),
            signature: envelope.signature,
            sender_secret: envelope.sender_secret,
        })
    }

    /// Checks the signature over the payload's own bytes, or the secret that stands for one, in constant
    /// time.
    pub fn verify(&self, secret: &SecretString) -> Result<(), SignatureError> {
        let signed = hex::decode(&self.signature)
            .is_ok_and(|claimed| mac(secret, [self.payload.as_ref()]).verify_slice(&claimed).is_ok());
        let vouched = self.sender_secret.is_some_and(|digest| {
            let own: [u8; 32] = Sha256::digest(secret.expose_secret()).into();
            digest.iter().zip(own).fold(0, |differs, (theirs, own)| differs | (theirs ^ own)) == 0
        });
        if signed || vouched { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    /// Why the signature, which does not match, does not.
    #[must_use]
    pub fn why_unverified(&self, secret: &SecretString) -> SignatureError {
        forms::why_unsigned(self, secret)
    }

    /// The signature of the whole payload, of a job that was verified under `secret`.
    #[must_use]
    pub fn signature_under(&self, secret: &SecretString) -> String {
        match self.sender_secret {
            Some(_) => sign(secret, [self.payload.as_ref()]),
            // Receivers compare text, and Pusher's is lower case.
            None => self.signature.to_ascii_lowercase(),
        }
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

/// The app that a message group belongs to: what is before the queue type; all of it, if it ends with none.
#[must_use]
pub fn app_of_group(group: &str) -> &str {
    app_named_by(group).unwrap_or(group)
}

/// The app that a message group names, if it is one of soketi's.
#[must_use]
pub fn app_named_by(group: &str) -> Option<&str> {
    let app = |kind: QueueType| group.strip_suffix(kind.queue_name())?.strip_suffix('_');
    QueueType::ALL.into_iter().find_map(app)
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

/// HMAC-SHA256 of pieces under a key that is bytes.
#[cfg(feature = "worker")]
pub(crate) fn sign_raw<'a>(key: &[u8], pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    mac_by(key, pieces).finalize().into_bytes().into()
}

fn mac<'a>(secret: &SecretString, pieces: impl IntoIterator<Item = &'a [u8]>) -> Hmac<Sha256> {
    mac_by(secret.expose_secret().as_bytes(), pieces)
}

fn mac_by<'a>(key: &[u8], pieces: impl IntoIterator<Item = &'a [u8]>) -> Hmac<Sha256> {
    // HMAC pads or hashes a key of any length, so this cannot fail.
    #[allow(clippy::expect_used, reason = "an HMAC key may have any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC key may have any length");
    for piece in pieces {
        mac.update(piece);
    }
    mac
}

#[cfg(test)]
mod tests;
