//! sockudo's jobs, and each member of its webhooks: that it has an effect on what is delivered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use hookferry::app::EVENT_TYPES;
use hookferry::queue::NewMessage;
use serde_json::{Value, json};
use tokio::process::Child;

use crate::peer::{OK, Peer};
use crate::world::{World, wait_until};

/// A job as sockudo enqueues it, whatever the app, in its one group.
fn job(n: u64, secret: &str, events: &Value) -> NewMessage {
    let body = json!({
        "job_id": n.to_string(), "app_key": "app-key", "app_id": "app-id", "app_secret": secret,
        "payload": {"time_ms": n, "events": events},
        "original_signature": "app-id:presence-a:channel_occupied",
    });
    NewMessage::new("default".into(), body.to_string())
}

/// The same in a group of its own, so that it waits for no other.
fn alone(n: u64, event: &str) -> NewMessage {
    let mut job = job(n, "app-secret", &json!([{"name": event, "channel": "presence-a"}]));
    job.group = format!("group-{n}");
    job
}

/// A worker whose app stands in sockudo's configuration file, as sockudo nests it.
fn worker(world: &World, webhooks: &Value, more: &[(&str, &str)]) -> (Child, tempfile::NamedTempFile) {
    let app = json!({"id": "app-id", "key": "app-key", "secret": "app-secret", "enabled": true,
        "policy": {"webhooks": webhooks, "limits": {"max_connections": 10}}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"app_manager": {"array": {"apps": [app]}}}).to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    let mut all = vec![("APPS_FILE", path), ("DEFAULT_APP_KEY", "another"), ("DEFAULT_APP_WEBHOOKS", "[]")];
    all.extend(more);
    (world.worker(&[], &all), file)
}

/// What was accepted at each path: a member of each event.
fn accepted(world: &World, member: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for arrival in world.arrivals.lock().unwrap().iter().filter(|arrival| arrival.status == 200) {
        assert!(arrival.verified);
        let body: Value = serde_json::from_slice(&arrival.body).unwrap();
        let events = body["events"].as_array().unwrap().iter();
        found
            .entry(arrival.path.clone())
            .or_default()
            .extend(events.map(|event| event[member].as_str().unwrap().to_owned()));
    }
    found
}

/// The numbers of the attempts that were answered at each path, in order.
fn attempts(world: &World) -> BTreeMap<String, Vec<u32>> {
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for arrival in world.arrivals.lock().unwrap().iter() {
        found.entry(arrival.path.clone()).or_default().push(arrival.attempt);
    }
    found
}

#[tokio::test]
async fn a_job_of_sockudos_is_delivered_with_a_signature_of_its_payload_and_a_forged_one_is_not() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let events = json!([{"name": "channel_occupied", "channel": "presence-a"}]);
    let job = |n: u64, secret: &str| job(n, secret, &events);
    world.send(&[job(1, "app-secret"), job(2, "forged"), job(3, "app-secret")]).await;
    let _worker = world.worker(&["/"], &[]);
    world.wait_until_empty().await;
    let arrivals = world.arrivals.lock().unwrap();
    let times: Vec<Value> = arrivals.iter().map(|a| serde_json::from_slice(&a.body).unwrap()).collect();
    assert_eq!(times.iter().map(|body| body["time_ms"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 3]);
    assert!(arrivals.iter().all(|arrival| arrival.verified));
}

#[tokio::test]
async fn each_part_of_a_filter_leaves_out_what_the_webhook_did_not_ask_for() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let channels = ["private-chat:1", "orders-42", "presence-orders:7", "lobby"];
    let events: Vec<Value> =
        channels.iter().map(|channel| json!({"name": "channel_occupied", "channel": channel})).collect();
    world.send(&[job(1, "app-secret", &json!(events))]).await;
    let table = [
        ("/all", json!({}), &channels[..]),
        ("/prefix", json!({"channel_prefix": "private-"}), &["private-chat:1"]),
        ("/suffix", json!({"channel_suffix": "-42"}), &["orders-42"]),
        ("/pattern", json!({"channel_pattern": r"^(orders-\d+|lobby)$"}), &["orders-42", "lobby"]),
        ("/namespace", json!({"channel_namespace": "chat"}), &["private-chat:1"]),
        ("/namespaces", json!({"channel_namespaces": ["orders", "x"]}), &["presence-orders:7"]),
        ("/none", json!({"channel_prefix": "private-", "channel_namespace": "orders"}), &[]),
    ];
    let webhook = |path: &str, filter: &Value| json!({"url": format!("{}{path}", world.receiver), "event_types": ["channel_occupied"], "filter": filter});
    let webhooks: Vec<Value> = table.iter().map(|(path, filter, _)| webhook(path, filter)).collect();
    let _worker = worker(&world, &json!(webhooks), &[]);
    world.wait_until_empty().await;
    let expected = table.iter().filter(|(.., channels)| !channels.is_empty());
    let expected: BTreeMap<_, Vec<_>> = expected
        .map(|(path, _, channels)| ((*path).to_owned(), channels.iter().map(|c| (*c).to_owned()).collect()))
        .collect();
    assert_eq!(accepted(&world, "channel"), expected);
}

#[tokio::test]
async fn every_event_type_goes_to_the_webhook_that_names_it_and_to_no_other() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let events = EVENT_TYPES.map(|name| json!({"name": name, "channel": "presence-a"}));
    world.send(&[job(1, "app-secret", &json!(events))]).await;
    let webhooks =
        EVENT_TYPES.map(|name| json!({"url": format!("{}/{name}", world.receiver), "event_types": [name]}));
    let _worker = worker(&world, &json!(webhooks), &[]);
    world.wait_until_empty().await;
    let expected = EVENT_TYPES.map(|name| (format!("/{name}"), vec![name.to_owned()]));
    assert_eq!(accepted(&world, "name"), BTreeMap::from(expected));
}

#[tokio::test]
async fn a_webhooks_headers_are_sent_but_for_those_that_are_reserved() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let peer = Peer::answering(OK).await;
    world.send(&[alone(1, "member_added")]).await;
    let headers = json!({"X-Tenant": "seven", "X-Pusher-Signature": "forged"});
    let webhooks = json!([{"url": peer.url(), "event_types": ["member_added"], "headers": headers}]);
    let _worker = worker(&world, &webhooks, &[]);
    world.wait_until_empty().await;
    let requests = peer.requests.lock().unwrap().clone();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    let head = request.to_lowercase();
    assert!(head.contains("\r\nx-tenant: seven\r\n"), "{request}");
    assert!(head.contains("\r\nx-pusher-signature: ") && !head.contains("forged"), "{request}");
}

#[tokio::test]
async fn a_webhooks_own_timeout_ends_an_attempt_that_the_workers_would_not() {
    let slow_at_first = |attempt| if attempt == 1 { Duration::from_millis(1500) } else { Duration::ZERO };
    let world = World::new(move |arrival| (200, slow_at_first(arrival.attempt))).await;
    world.send(&[alone(1, "member_added")]).await;
    let webhooks = json!([
        {"url": format!("{}/short", world.receiver), "event_types": ["member_added"], "request_timeout_ms": 200},
        {"url": format!("{}/long", world.receiver), "event_types": ["member_added"]},
    ]);
    let _worker = worker(&world, &webhooks, &[]);
    world.wait_until_empty().await;
    let attempts = attempts(&world);
    assert_eq!(attempts["/long"], [1]);
    assert_eq!(attempts["/short"].last(), Some(&2), "the first was not waited for");
}

#[tokio::test]
async fn a_webhook_ends_its_own_retries() {
    let world = World::new(|_| (500, Duration::ZERO)).await;
    world.send(&[alone(1, "member_added"), alone(2, "member_removed"), alone(3, "cache_miss")]).await;
    let webhook = |path: &str, event: &str, retry: Value| json!({"url": format!("{}{path}", world.receiver), "event_types": [event], "retry": retry});
    // An app of soketi's: they are its webhooks' members just as well.
    let webhooks = json!([
        webhook("/never", "member_added", json!({"enabled": false, "max_attempts": 9})),
        webhook("/twice", "member_removed", json!({"max_attempts": 2})),
        webhook("/window", "cache_miss", json!({"max_elapsed_time_ms": 1})),
    ]);
    let _worker = world.worker(&[], &[("DEFAULT_APP_WEBHOOKS", &webhooks.to_string())]);
    world.wait_until_empty().await;
    let attempts = attempts(&world);
    assert_eq!(attempts["/never"], [1]);
    assert_eq!(attempts["/twice"], [1, 2]);
    assert_eq!(attempts["/window"], [1], "the worker's own window is 300 s");
    let letters = world.letters().await;
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().all(|letter| letter["reason"] == "status"), "{letters:?}");
}

#[tokio::test]
async fn a_webhooks_own_backoffs_count_where_they_are_shorter_than_the_workers() {
    let world = World::new(|_| (500, Duration::ZERO)).await;
    world.send(&[alone(1, "member_added"), alone(2, "member_removed"), alone(3, "cache_miss")]).await;
    let webhook = |path: &str, event: &str, retry: Value| json!({"url": format!("{}{path}", world.receiver), "event_types": [event], "retry": retry});
    let webhooks = json!([
        webhook("/initial", "member_added", json!({"initial_backoff_ms": 1})),
        webhook("/max", "member_removed", json!({"max_backoff_ms": 1000})),
        webhook("/workers", "cache_miss", json!({})),
    ]);
    let minutes = [("WEBHOOKS_RETRY_BASE_MS", "3600000"), ("WEBHOOKS_RETRY_MAX_MS", "3600000")];
    let _worker = worker(&world, &webhooks, &minutes);
    wait_until(|| {
        let attempts = attempts(&world);
        ["/initial", "/max"].iter().all(|path| attempts.get(*path).is_some_and(|made| made.len() >= 4))
    })
    .await;
    // Two waits drawn from an hour each would have to be over in these few seconds.
    assert!(attempts(&world)["/workers"].len() < 3);
}

#[cfg(feature = "lambda")]
#[tokio::test]
async fn a_function_named_as_sockudo_does_is_invoked_in_its_region_with_what_sockudo_sends() {
    type Seen = Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>;
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let seen: Seen = Arc::default();
    let kept = Arc::clone(&seen);
    let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
        kept.lock().unwrap().push((uri.path().to_owned(), headers, body));
        StatusCode::ACCEPTED
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    world.send(&[alone(1, "member_added")]).await;
    let lambda = json!({"function_name": "orders", "region": "eu-central-1"});
    let webhooks = json!([{"lambda": lambda, "event_types": ["member_added"]}]);
    let _worker = worker(&world, &webhooks, &[("LAMBDA_ENDPOINT", &endpoint)]);
    world.wait_until_empty().await;
    let seen = seen.lock().unwrap();
    let [(path, headers, body)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(path, "/2015-03-31/functions/orders/invocations");
    assert_eq!(headers["x-amz-invocation-type"], "Event");
    assert!(headers["authorization"].to_str().unwrap().contains("/eu-central-1/lambda/"));
    let invoked: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(invoked["events"][0]["name"], "member_added");
    assert_eq!((&invoked["time_ms"], &invoked["headers"]["X-Pusher-Key"]), (&json!(1), &json!("app-key")));
}
