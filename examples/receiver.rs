//! A receiver as an application would write it: it verifies each webhook and handles no job twice.
//!
//! ```sh
//! SECRET=app-secret cargo run --example receiver        # listens on 127.0.0.1:8080
//! ```
//!
//! Point a webhook at `http://127.0.0.1:8080/` and set `WEBHOOKS_ALLOWED_NETWORKS=127.0.0.0/8`.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hookferry::job::Job;
use secrecy::SecretString;

/// Ids that are remembered. A repetition comes within minutes of the original, or with a redrive.
const REMEMBERED: usize = 100_000;

/// The ids seen last. In production: a table with a unique key, written in the transaction that handles
/// the events.
#[derive(Default)]
struct Seen {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Whether the id is new; it is remembered from now on.
    fn insert(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

struct Receiver {
    secret: SecretString,
    seen: Mutex<Seen>,
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header =
        |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let claimed = Job {
        app_key: header("x-pusher-key"),
        app_id: String::new(),
        payload: body.clone(),
        signature: header("x-pusher-signature"),
        sender_secret: None,
    };
    // The signature covers the bytes as they came: verify before parsing.
    if claimed.verify(&receiver.secret).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    // With WEBHOOKS_COALESCE a request may carry several jobs, and the header their ids with commas between.
    // The same jobs come again in the same request or alone, so that every id counts by itself.
    let ids = header("x-hookferry-id");
    let new = {
        let mut seen = receiver.seen.lock().unwrap_or_else(PoisonError::into_inner);
        ids.split(',').filter(|id| seen.insert(id)).count()
    };
    println!("{new} new of {ids}: {}", String::from_utf8_lossy(&body));
    // 2xx means: I have it. Anything else, and hookferry sends it again.
    StatusCode::OK
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let secret = std::env::var_os("SECRET").unwrap_or_else(|| "app-secret".into());
    let receiver = Receiver { secret: secret.to_string_lossy().as_ref().into(), seen: Mutex::default() };
    let router = Router::new().route("/", post(receive)).with_state(Arc::new(receiver));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}/", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}
