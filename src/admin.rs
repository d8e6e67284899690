//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

/// Serves them until `shutdown`.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let ready = Arc::clone(&health);
    let answer = |state: Result<(), String>| match state {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    let text = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let router = Router::new()
        .route("/healthz", get(move || async move { answer(health.live()) }))
        .route("/readyz", get(move || async move { answer(ready.ready()) }))
        .route("/metrics", get(move || async move { (text, metrics.encode()) }));
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}
