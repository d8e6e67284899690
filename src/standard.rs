//! Standard Webhooks: headers that receivers verify with the libraries they already have.
//!
//! The specification (standard-webhooks/standard-webhooks) signs `{id}.{timestamp}.{body}` by HMAC-SHA256, in
//! base64, behind `v1,`; several signatures stand with spaces between while a secret is changed. Its secrets
//! are written `whsec_` and base64; an app's secret that is not written so is the key by its own bytes.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use crate::job::sign_raw;

/// How the specification writes a secret.
const PREFIX: &str = "whsec_";

/// The header of the id, which is the same on every attempt.
pub const ID_HEADER: &str = "webhook-id";
/// The header of the attempt's time, in seconds since the Unix epoch.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header of the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// All of them: where they are sent, a webhook's own of these names are not.
pub const HEADERS: [&str; 3] = [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER];

/// The keys that an app signs with, the newest first. Its clones share them.
#[derive(Clone)]
pub struct Keys(Arc<[SecretSlice<u8>]>);

/// What the attempts at a delivery are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// Whether the webhook asked for these headers; if not, the worker's own setting decides.
    pub asked: bool,
    /// The app's keys.
    pub keys: Keys,
}

impl Keys {
    /// The keys of some secrets, in their order.
    #[must_use]
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Self {
        Self(secrets.into_iter().map(key).collect())
    }

    /// The value of `webhook-signature`: one signature a key. A receiver that still knows the older of two
    /// secrets finds its own among them.
    #[must_use]
    pub fn signatures(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let signature = |key: &SecretSlice<u8>| {
            let pieces = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
            format!("v1,{}", BASE64_STANDARD.encode(sign_raw(key.expose_secret(), pieces)))
        };
        self.0.iter().map(signature).collect::<Vec<_>>().join(" ")
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |keys: &Self| keys.0.iter().map(|key| key.expose_secret().to_vec()).collect::<Vec<_>>();
        bytes(self) == bytes(other)
    }
}

impl Eq for Keys {}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

fn key(secret: &SecretString) -> SecretSlice<u8> {
    let written = secret.expose_secret();
    let decoded = written.strip_prefix(PREFIX).and_then(|key| BASE64_STANDARD.decode(key).ok());
    // Anyone can sign with an empty key.
    decoded.filter(|key| !key.is_empty()).unwrap_or_else(|| written.as_bytes().to_vec()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
        Keys::of([&secret.into()]).signatures(id, timestamp, body)
    }

    #[test]
    fn the_signature_is_that_of_the_specifications_own_example() {
        // From the reference libraries' tests.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"test": 2432232314}"#;
        let made = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body);
        assert_eq!(made, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn an_apps_own_secret_is_the_key_as_base64_of_it_is_to_the_library() {
        let encoded = format!("{PREFIX}{}", BASE64_STANDARD.encode("app-secret"));
        assert_eq!(signature("app-secret", "i", "1", b"{}"), signature(&encoded, "i", "1", b"{}"));
        // What is behind the prefix and no base64 is a secret like any other.
        assert_ne!(signature("whsec_?", "i", "1", b"{}"), signature("?", "i", "1", b"{}"));
        let bytes = format!("{PREFIX}{}", BASE64_STANDARD.encode(PREFIX));
        assert_eq!(signature(PREFIX, "i", "1", b"{}"), signature(&bytes, "i", "1", b"{}"));
    }

    #[test]
    fn several_secrets_sign_side_by_side_the_newest_first() {
        let both = Keys::of([&"new".into(), &"old".into()]).signatures("i", "1", b"{}");
        let each = ["new", "old"].map(|secret| signature(secret, "i", "1", b"{}"));
        assert_eq!(both, each.join(" "));
        assert_ne!(each[0], each[1]);
    }

    #[test]
    fn debug_output_of_keys_holds_no_secret() {
        assert_eq!(format!("{:?}", Keys::of([&"hush".into()])), "Keys(1)");
    }
}
