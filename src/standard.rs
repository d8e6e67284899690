//! Standard Webhooks: headers that receivers verify with the libraries they already have.
//!
//! The specification (standardwebhooks/standard-webhooks, version 1.0) signs `{id}.{timestamp}.{body}` by
//! HMAC-SHA256, in base64, behind `v1,`. Its secrets are written `whsec_` and base64; an app's secret that is
//! not written so is the key by its own bytes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};

use crate::job::sign_raw;

/// How the specification writes a secret.
const PREFIX: &str = "whsec_";

/// The header of the id, which is the same on every attempt.
pub const ID_HEADER: &str = "webhook-id";
/// The header of the attempt's time, in seconds since the Unix epoch.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header of the signature.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// The value of `webhook-signature` for one secret.
#[must_use]
pub fn signature(secret: &SecretString, id: &str, timestamp: &str, body: &[u8]) -> String {
    let written = secret.expose_secret();
    let decoded = written.strip_prefix(PREFIX).and_then(|key| BASE64_STANDARD.decode(key).ok());
    let key = decoded.as_deref().unwrap_or(written.as_bytes());
    let pieces = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    format!("v1,{}", BASE64_STANDARD.encode(sign_raw(key, pieces)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specifications_own_example() {
        // From the reference libraries' tests.
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let made = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body);
        assert_eq!(made, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn an_apps_own_secret_is_the_key_as_base64_of_it_is_to_the_library() {
        let encoded = format!("{PREFIX}{}", BASE64_STANDARD.encode("app-secret"));
        let own = signature(&"app-secret".into(), "i", "1", b"{}");
        assert_eq!(own, signature(&encoded.into(), "i", "1", b"{}"));
    }
}
