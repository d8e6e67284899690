//! The headers of Standard Webhooks, by a worker process, beside Pusher's.

use std::collections::BTreeMap;
use std::time::Duration;

use hookferry::local::receiver::Arrival;
use hookferry::standard::{ID_HEADER, Keys, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use serde_json::json;

use crate::producing::run;
use crate::world::{World, job};

fn headers(arrival: &Arrival) -> BTreeMap<&'static str, &str> {
    arrival.standard.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn a_retry_has_the_same_id_another_time_and_a_signature_of_its_own() {
    let world = World::new(|arrival| (if arrival.attempt == 1 { 500 } else { 200 }, Duration::ZERO)).await;
    world.send(&[job("g", 0)]).await;
    let _worker = world.worker(
        &["/"],
        &[("WEBHOOKS_STANDARD_HEADERS", "true"), ("DEFAULT_APP_PREVIOUS_SECRET", "old-secret")],
    );
    world.wait_for(1).await;
    let arrivals = world.arrivals.lock().unwrap();
    assert_eq!(arrivals.len(), 2);
    let mut times = Vec::new();
    for arrival in arrivals.iter() {
        let headers = headers(arrival);
        assert!(arrival.verified, "Pusher's are there too");
        assert_eq!(headers[ID_HEADER], arrival.id.replace('.', "_"));
        let keys = Keys::of([&"app-secret".into(), &"old-secret".into()]);
        let signatures = keys.signatures(headers[ID_HEADER], headers[TIMESTAMP_HEADER], &arrival.body);
        assert_eq!(headers[SIGNATURE_HEADER], signatures);
        times.push(headers[TIMESTAMP_HEADER].parse::<u64>().unwrap());
    }
    assert_eq!(arrivals[0].id, arrivals[1].id);
    // No backoff is shorter than a second.
    assert!(times[0] < times[1], "{times:?}");
}

#[tokio::test]
async fn each_webhook_has_its_own_word_on_it_and_a_tenants_headers_replace_none() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    world.send(&[job("g", 0)]).await;
    let url = |path: &str| format!("{}{path}", world.receiver);
    let own = json!({"webhook-id": "forged", "Webhook-Timestamp": "1", "webhook-signature": "v1,forged"});
    let webhooks = json!([
        {"url": url("/on"), "standard_headers": true, "headers": own.clone()},
        {"url": url("/off"), "standard_headers": false, "headers": own.clone()},
        {"url": url("/silent")},
    ]);
    let _worker = world.worker(&[], &[("DEFAULT_APP_WEBHOOKS", &webhooks.to_string())]);
    world.wait_for(3).await;
    let arrivals = world.arrivals.lock().unwrap();
    let at = |path: &str| headers(arrivals.iter().find(|arrival| arrival.path == path).unwrap());
    assert!(at("/silent").is_empty());
    assert_eq!(at("/off")[SIGNATURE_HEADER], "v1,forged", "they are the tenant's own there");
    let on = at("/on");
    let body = &arrivals.iter().find(|arrival| arrival.path == "/on").unwrap().body;
    let keys = Keys::of([&"app-secret".into()]);
    assert_eq!(on[SIGNATURE_HEADER], keys.signatures(on[ID_HEADER], on[TIMESTAMP_HEADER], body));
}

#[tokio::test]
async fn verify_tells_by_these_headers_whether_a_received_webhook_is_genuine() {
    let secrets = [("DEFAULT_APP_SECRET", "new"), ("DEFAULT_APP_PREVIOUS_SECRET", "old")];
    let body = br#"{"time_ms":1,"events":[{"name":"order.paid"}]}"#;
    for (secret, received, code) in [
        ("new", &body[..], 0),
        ("old", &body[..], 0),
        ("other", &body[..], 1),
        ("new", br#"{"time_ms":2,"events":[{"name":"order.paid"}]}"#, 1),
    ] {
        let signature = Keys::of([&secret.into()]).signatures("m_1", "1700000000", body);
        let headers =
            ["--webhook-id", "m_1", "--webhook-timestamp", "1700000000", "--webhook-signature", &signature];
        let output = run("verify", &headers, &secrets, received).await;
        assert_eq!(output.status.code(), Some(code), "{secret}: {output:?}");
    }
}
