use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::app::App;
use crate::job::{Job, sign};
use crate::plan::plan;
use crate::standard::Keys;

/// Keeps what it was to send.
#[derive(Default)]
struct Kept(Mutex<Vec<Delivery>>);

impl Transport for Kept {
    async fn attempt(&self, delivery: &Delivery, _: u32) -> Outcome {
        self.0.lock().unwrap().push(delivery.clone());
        Outcome::Delivered
    }
}

/// Ten seconds later each time that it is read.
fn clock() -> SystemTime {
    thread_local!(static READ: AtomicU64 = const { AtomicU64::new(170) });
    let read = READ.with(|read| read.fetch_add(1, Ordering::Relaxed));
    SystemTime::UNIX_EPOCH + Duration::from_secs(read * 10)
}

/// What each of two attempts at the job of an app's only webhook would send.
async fn attempts(secrets: &str, webhook: &str, by_default: bool) -> Vec<Delivery> {
    let app = format!(r#"{{"id":"a","key":"k","secret":{secrets},"webhooks":[{webhook}]}}"#);
    let app: App = serde_json::from_str(&app).unwrap();
    let payload = Bytes::from_static(br#"{"time_ms":1,"events":[{"name":"b"}]}"#);
    let signature = sign(&app.secret, [payload.as_ref()]);
    let job = Job { app_key: "k".into(), app_id: "a".into(), payload, signature, sender_secret: None };
    let deliveries = plan(&job, &app, "m-1").unwrap();
    let transport = Standard::new(Kept::default(), by_default, clock);
    for number in 1..=2 {
        transport.attempt(&deliveries[0], number).await;
    }
    transport.transport.0.into_inner().unwrap()
}

fn headers(delivery: &Delivery) -> Vec<(&str, &str)> {
    let header = |(name, value): &'_ (String, String)| {
        let known = HEADERS.iter().find(|header| name.eq_ignore_ascii_case(header))?;
        Some((*known, value.clone()))
    };
    let found = delivery.headers.iter().filter_map(header);
    found.map(|(name, value)| (name, &*value.leak())).collect()
}

#[tokio::test]
async fn the_id_stays_and_the_time_is_each_attempts_own() {
    let sent = attempts(r#""app-secret""#, r#"{"url":"http://u/","standard_headers":true}"#, false).await;
    let keys = Keys::of([&"app-secret".into()]);
    for (delivery, seconds) in sent.iter().zip(["1700", "1710"]) {
        let id = format!("m-1_{}", delivery.webhook);
        let signature = keys.signatures(&id, seconds, &delivery.body);
        let expected = [(STANDARD_ID, &*id), (TIMESTAMP_HEADER, seconds), (SIGNATURE_HEADER, &*signature)];
        assert_eq!(headers(delivery), expected);
    }
    assert_eq!(sent.len(), 2);
}

#[tokio::test]
async fn a_webhooks_own_word_goes_before_the_operators() {
    for (member, by_default, has) in [
        ("", false, false),
        ("", true, true),
        (r#","standard_headers":false"#, true, false),
        (r#","standard_headers":true"#, false, true),
    ] {
        let webhook = format!(r#"{{"url":"http://u/"{member}}}"#);
        let sent = attempts(r#""s""#, &webhook, by_default).await;
        assert_eq!(headers(&sent[0]).len(), if has { 3 } else { 0 }, "{member} {by_default}");
    }
}

#[tokio::test]
async fn a_tenants_headers_replace_none_of_them_and_are_its_own_where_they_are_off() {
    let own =
        r#"{"url":"http://u/","headers":{"Webhook-Id":"forged","WEBHOOK-SIGNATURE":"v1,forged","x":"y"}}"#;
    let on = attempts(r#""s""#, own, true).await;
    assert!(on[0].headers.iter().all(|(_, value)| !value.contains("forged")));
    assert!(on[0].headers.contains(&("x".to_owned(), "y".to_owned())));
    assert_eq!(headers(&on[0]).len(), 3);
    let off = attempts(r#""s""#, own, false).await;
    assert_eq!(headers(&off[0]).len(), 2);
}

#[tokio::test]
async fn during_a_rotation_receivers_with_either_secret_find_their_signature() {
    let webhook = r#"{"url":"http://u/","standard_headers":true}"#;
    let sent = attempts(r#"["new","old"]"#, webhook, false).await;
    let [(_, id), (_, time), (_, signatures)] = headers(&sent[0])[..] else { panic!("three headers") };
    let each = ["new", "old"].map(|secret| Keys::of([&secret.into()]).signatures(id, time, &sent[0].body));
    assert_eq!(signatures.split(' ').collect::<Vec<_>>(), each);
}
