//! Any webhooks (the first line, as an app's JSON has them) and any payload (the rest): every body, byte
//! for byte, is what an oracle has it that works as JavaScript does; every signature verifies.
#![no_main]

#[path = "../../properties/oracle.rs"]
#[allow(dead_code, reason = "shared with another target and with the tests")]
mod oracle;
mod words;

use bytes::Bytes;
use hookferry::app::{self, App, Webhook};
use hookferry::job::{Job, sign};
use hookferry::plan::{Delivery, ID_HEADER, USER_AGENT, plan};
use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;
use serde::de::IgnoredAny;

/// Names that a delivery has once, whatever the webhook's own headers are.
const OURS: [(&str, usize); 8] = [
    ("x-pusher-key", 1),
    ("x-pusher-signature", 1),
    ("x-hookferry-id", 1),
    ("x-hookferry-attempt", 0),
    ("host", 0),
    ("content-length", 0),
    ("transfer-encoding", 0),
    ("connection", 0),
];

/// Why a payload holds no events; the place of an event is a number.
fn hints(error: &str) -> Vec<String> {
    let mut hints = vec!["it is no UTF-8".to_owned(), "it has no member events".to_owned()];
    for kind in ["a list", "a string", "a number", "null", "true or false"] {
        hints.push(format!("it is {kind}, and no object with a member events"));
        hints.push(format!("its events are {kind}, and no list"));
    }
    hints.push("its events are an object, and no list".to_owned());
    let place: String = error.chars().filter(char::is_ascii_digit).collect();
    hints.push(format!("its events[{place}] is no object"));
    hints
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some((webhooks, payload)) = text.split_once('\n') else { return };
    let Ok((webhooks, _)) = app::webhooks(webhooks, "a") else { return };
    let app = App::new("a".into(), "k".into(), SecretString::from("app-secret"), webhooks);
    let bytes = Bytes::copy_from_slice(payload.as_bytes());
    let signature = sign(&app.secret, [&*bytes]);
    let job = Job { app_key: "k".into(), app_id: "a".into(), payload: bytes, signature, sender_secret: None };
    let valid = serde_json::from_str::<IgnoredAny>(payload).is_ok();
    let read = valid.then(|| oracle::read(payload)).flatten();
    match (plan(&job, &app, "m"), read) {
        (Err(error), read) => {
            let error = error.to_string().replace(": in its events, ", ": ");
            words::assert_plain(&error, "the payload is not a list of events: ", &hints(&error));
            assert!(read.is_none(), "JavaScript reads it");
        }
        // serde_json lets a raw control character pass in a key. Decoding has refused it before.
        (Ok(_), None) if !valid && payload.contains(|c| c < ' ') => {}
        (Ok(deliveries), read) => {
            let expected = oracle::expected(&read.expect("JavaScript does not read it"), &app);
            assert_eq!(deliveries.len(), expected.len());
            for (delivery, expected) in deliveries.iter().zip(&expected) {
                let webhook = app.webhooks.iter().find(|webhook| webhook.id == delivery.webhook).unwrap();
                assert_eq!((&delivery.webhook, &delivery.target), (&expected.webhook, &webhook.target));
                let body = if expected.whole { payload } else { &expected.body };
                assert_eq!(delivery.body, body);
                check_headers(delivery, webhook, &job, &app, expected.whole);
            }
        }
    }
});

fn check_headers(delivery: &Delivery, webhook: &Webhook, job: &Job, app: &App, whole: bool) {
    for (name, times) in OURS {
        let found = delivery.headers.iter().filter(|(n, _)| n.trim().eq_ignore_ascii_case(name)).count();
        assert_eq!(found, times, "{name}");
    }
    let value = |name: &str| &delivery.headers.iter().find(|(n, _)| n == name).unwrap().1;
    let signature = value("X-Pusher-Signature").clone();
    assert!(!whole || signature == job.signature);
    let sent = Job { payload: delivery.body.clone(), signature, ..job.clone() };
    assert!(sent.verify(&app.secret).is_ok());
    assert_eq!(value("X-Pusher-Key"), "k");
    assert_eq!(*value(ID_HEADER), format!("m.{}", delivery.webhook));
    assert_eq!(value("User-Agent"), USER_AGENT);
    let ours = |name: &str| OURS.iter().any(|(n, _)| name.trim().eq_ignore_ascii_case(n));
    let own = webhook.headers.iter().filter(|(name, _)| !ours(name));
    assert!(delivery.headers[3..delivery.headers.len() - 3].iter().eq(own), "its own, in between");
}
