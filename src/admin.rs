//! The ops port: `/healthz`, `/readyz`, `/metrics`, `/status` and the status page at `/`. Read-only.
//!
//! What the numbers mean and where they come from is `telemetry`'s; this knows how they are served. A
//! stranger who reaches the port can take neither memory nor descriptors from the deliveries: see
//! `server`.

mod page;
mod server;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::telemetry::health::Health;
use crate::telemetry::metrics::{Format, Metrics};
use page::Page;
use status::Facts;

/// The header by which `healthcheck` and `status` know a worker's answer from any other server's.
pub const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-hookferry");

/// How often the numbers for the history are looked at: a fifth of its slots.
const SAMPLE: Duration = Duration::from_secs(2);

/// What is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// Alive and ready.
    pub health: Arc<Health>,
    /// All that is counted.
    pub metrics: Arc<Metrics>,
    /// What does not change while it runs.
    pub facts: Arc<Facts>,
}

/// Serves until `shutdown`.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    served: Served,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let metrics = Arc::clone(&served.metrics);
    let sampling = async {
        let mut ticks = interval(SAMPLE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            metrics.sample();
        }
    };
    tokio::select! {
        ended = server::serve(listener, router(served), &shutdown) => ended,
        () = sampling => Ok(()),
    }
}

fn router(served: Served) -> Router {
    let Served { health, metrics, facts } = served;
    let (ready, scraped) = (Arc::clone(&health), Arc::clone(&metrics));
    let page = Arc::new(Page::new());
    Router::new()
        .route("/", get(move || async move { page.answer() }))
        .route("/healthz", {
            let health = Arc::clone(&health);
            get(move || async move { answer(health.live()) })
        })
        .route("/readyz", get(move || async move { answer(ready.ready().map_err(|why| why.join("\n"))) }))
        .route("/metrics", get(move |headers: HeaderMap| async move { scrape(&scraped, &headers) }))
        .route(
            "/status",
            get(move || async move {
                let named = [
                    (header::CONTENT_TYPE, "application/json"),
                    (header::CACHE_CONTROL, "no-store"),
                    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                    (TOKEN_HEADER, env!("CARGO_PKG_VERSION")),
                ];
                (named, status::json(&facts, &health, &metrics))
            }),
        )
}

/// One line, and the token.
fn answer(state: Result<(), String>) -> impl IntoResponse {
    let token = [(TOKEN_HEADER, HeaderValue::from_static(env!("CARGO_PKG_VERSION")))];
    match state {
        Ok(()) => (StatusCode::OK, token, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, token, format!("{why}\n")),
    }
}

/// `Accept` decides between the formats.
fn scrape(metrics: &Metrics, headers: &HeaderMap) -> impl IntoResponse + use<> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let named = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")];
    (named, metrics.encode(format))
}
