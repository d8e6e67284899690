//! A source that goes down and comes back while jobs come in, whichever it is.

use std::time::Duration;

use serde_json::json;

use crate::server::Server;
use crate::world::{World, assert_in_order, counts, job, signed, unique};

/// What a source has to be told.
pub struct Source<'a> {
    /// The server that goes down.
    pub server: Server,
    /// The variables by which the worker finds it.
    pub variables: Vec<(&'a str, String)>,
}

/// Runs a worker on the source through an outage. `put` writes an app with this key and these
/// webhooks.
pub async fn goes_down_and_comes_back(source: Source<'_>, put: impl AsyncFn(&str, &str)) {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    for (key, path) in [("app-key", "/known"), ("other-key", "/other")] {
        put(key, &json!([{"url": format!("{}{path}", world.receiver)}]).to_string()).await;
    }
    let port = free_port();
    let mut variables: Vec<_> =
        source.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // No window at all: whatever is not excepted from it is given up at its first failure.
    variables.extend([("WEBHOOKS_RETRY_WINDOW_SECONDS", "0"), ("APP_MANAGER_CACHE_TTL", "1")]);
    variables.push(("METRICS_PORT", &port));
    let _worker = world.worker(&[], &variables);

    world.send(&(0..20).map(|n| job(&format!("g{}", n % 4), n / 4)).collect::<Vec<_>>()).await;
    world.wait_for(20).await;
    source.server.stop().await;
    world.send(&(20..40).map(|n| job(&format!("g{}", n % 4), n / 4)).collect::<Vec<_>>()).await;
    world.send(&(0..20).map(|n| unknown(&format!("o{}", n % 4), n / 4)).collect::<Vec<_>>()).await;
    // The app that is remembered is served on; the other one's jobs wait.
    world.wait_for(40).await;
    assert!(world.delivered().iter().all(|delivery| delivery.path == "/known"));
    until_jobs_wait(&port).await;
    source.server.start(&[]).await;
    world.wait_for(60).await;
    world.wait_until_empty().await;
    assert_in_order(&world.delivered());
    assert_eq!(counts(&world.delivered()).len(), 60, "nothing lost");
    assert_eq!(world.delivered().len(), 60, "nothing twice");
    assert_eq!(world.dead().await, [], "nothing given up");
}

/// Starts a worker while the source is down.
pub async fn is_down_at_start(source: Source<'_>, put: impl AsyncFn(&str, &str)) {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    put("app-key", &json!([{"url": world.receiver}]).to_string()).await;
    source.server.stop().await;
    let port = free_port();
    let mut variables: Vec<_> =
        source.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    variables.extend([("WEBHOOKS_RETRY_WINDOW_SECONDS", "0"), ("METRICS_PORT", &port)]);
    let _worker = world.worker(&[], &variables);
    world.send(&(0..10).map(|n| job("g", n)).collect::<Vec<_>>()).await;
    until_jobs_wait(&port).await;
    assert_eq!(world.arrivals.lock().unwrap().len(), 0);
    source.server.start(&[]).await;
    world.wait_for(10).await;
    world.wait_until_empty().await;
    assert_in_order(&world.delivered());
    assert_eq!(world.dead().await, [], "nothing given up");
}

fn unknown(group: &str, n: u64) -> hookferry::queue::NewMessage {
    signed(group, n, "other-key", "app-secret")
}

/// Waits until the worker has hidden jobs because the app source is down.
async fn until_jobs_wait(port: &str) {
    let waits = "hookferry_retries_total{reason=\"app_source\"}";
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await;
        let text = match answer {
            Ok(answer) => answer.text().await.unwrap(),
            Err(_) => String::new(),
        };
        if text.lines().any(|line| line.starts_with(waits)) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "no job waits for its app: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn free_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// A table's name that no other test uses.
pub fn table() -> String {
    unique().replace('-', "_")
}
