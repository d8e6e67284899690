//! What there is to say of the headers of Standard Webhooks.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use secrecy::SecretString;

use super::lines::Findings;
use crate::standard::Keys;

/// How far the receivers' libraries let an attempt's time be from theirs.
const TOLERANCE: Duration = Duration::from_secs(300);

/// The headers of one attempt.
pub(super) struct Standard {
    pub(super) id: String,
    pub(super) timestamp: String,
    pub(super) signature: String,
}

pub(super) fn judge(
    found: &mut Findings,
    claimed: &Standard,
    body: &Bytes,
    secrets: &[SecretString],
    now: SystemTime,
) {
    // Several stand side by side while a secret is changed.
    let is_of = |secret: &SecretString, body: &[u8]| {
        let own = Keys::of([secret]).signatures(&claimed.id, &claimed.timestamp, body);
        claimed.signature.split_whitespace().any(|one| one == own)
    };
    let trimmed = body.trim_ascii();
    if secrets.first().is_some_and(|newest| is_of(newest, body)) {
        found.say(true, "webhook-signature is that of id, timestamp and body");
    } else if secrets.iter().any(|secret| is_of(secret, body)) {
        found.say(
            true,
            "webhook-signature is that of id, timestamp and body under an older secret of the app's",
        );
    } else if trimmed.len() < body.len() && secrets.iter().any(|secret| is_of(secret, trimmed)) {
        found.say(
            false,
            "webhook-signature matches the body without the white space at its ends, which something added",
        );
    } else if !claimed.signature.split_whitespace().any(|one| one.starts_with("v1,")) {
        found.say(
            false,
            "webhook-signature has none that begins with v1, : it is the whole header, as v1,BASE64",
        );
    } else {
        found.say(
            false,
            "webhook-signature is not that of id, timestamp and body under this secret (the library's secret is whsec_ and the base64 of the app's secret)",
        );
    }
    let Ok(seconds) = claimed.timestamp.parse() else {
        return found.say(false, "webhook-timestamp is no number of seconds since 1970");
    };
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(now);
    let (apart, way) = match now.duration_since(at) {
        Ok(apart) => (apart, "ago"),
        Err(ahead) => (ahead.duration(), "ahead of this machine's clock"),
    };
    let limit = if apart > TOLERANCE { ": a receiver's library would refuse it now" } else { "" };
    found.say(true, format!("webhook-timestamp is {} s {way}{limit}", apart.as_secs()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn told(secrets: &[&str], signed: &str, body: &'static str, timestamp: &str, cut: usize) -> Findings {
        let signature = Keys::of([&signed.into()]).signatures("i", timestamp, b"{}")[cut..].to_owned();
        let claimed = Standard { id: "i".into(), timestamp: timestamp.into(), signature };
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| (*secret).into()).collect();
        let mut found = Findings::none();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        judge(&mut found, &claimed, &Bytes::from_static(body.as_bytes()), &secrets, now);
        found
    }

    #[test]
    fn a_webhooks_headers_are_told_right_from_wrong_and_why() {
        let time = NOW.to_string();
        let time = time.as_str();
        for (found, valid, says) in [
            (told(&["new", "old"], "new", "{}", time, 0), true, "id, timestamp and body\n"),
            (told(&["new", "old"], "old", "{}", time, 0), true, "older secret"),
            (told(&["new"], "old", "{}", time, 0), false, "whsec_"),
            (told(&["new"], "new", "{}\n", time, 0), false, "white space"),
            (told(&["new"], "new", "{}", time, "v1,".len()), false, "begins with v1,"),
            (
                told(&["new"], "new", "{}", "1699999000", 0),
                true,
                "1000 s ago: a receiver's library would refuse",
            ),
            (told(&["new"], "new", "{}", "1700000009", 0), true, "9 s ahead"),
            (told(&["new"], "new", "{}", "2023-11-14", 0), false, "no number of seconds"),
        ] {
            assert_eq!((found.valid(), found.to_string().contains(says)), (valid, true), "{says}: {found}");
        }
    }
}
