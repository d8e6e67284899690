//! The ops port: `/healthz`, `/readyz`, `/metrics`, `/status` and the status page at `/`. Read-only.
//!
//! What the numbers mean and where they come from is `telemetry`'s; this knows how they are served. A
//! stranger who reaches the port can take neither memory nor descriptors from the deliveries: see
//! `server`.

mod page;
mod server;
pub mod status;
pub mod summary;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::telemetry::health::Health;
use crate::telemetry::metrics::{Format, Metrics};
use crate::visitors::{Foreign, Visitors};
use page::Page;
use status::StatusFacts;

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
    pub facts: Arc<StatusFacts>,
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
    let readers = Readers::of(listener.local_addr()?);
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
        ended = server::serve(listener, router(served, readers), &shutdown) => ended,
        () = sampling => Ok(()),
    }
}

/// Who may read the status: on a loopback port, programs and people on this machine, by its own names; on any other,
/// whoever reaches it. No web page of another origin in either case. Probes and scrapers read nothing that it holds.
#[derive(Clone, Debug)]
struct Readers(Option<Visitors>);

impl Readers {
    fn of(listening: SocketAddr) -> Self {
        Self(listening.ip().to_canonical().is_loopback().then(|| Visitors::new(listening, &[])))
    }

    /// Of the page: it may be linked to, and shows nothing that it does not fetch.
    fn judge_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        self.0.as_ref().map_or(Ok(()), |visitors| visitors.judge_host(uri, headers)).map_err(refusal)
    }

    fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        self.judge_host(uri, headers)?;
        Visitors::judge_page(uri, headers).map_err(refusal)
    }
}

type Refusal = (StatusCode, String);

fn refusal(foreign: Foreign) -> Refusal {
    (StatusCode::FORBIDDEN, format!("{foreign}\n"))
}

fn router(served: Served, readers: Readers) -> Router {
    let Served { health, metrics, facts } = served;
    let (ready, scraped) = (Arc::clone(&health), Arc::clone(&metrics));
    let page = Arc::new(Page::new());
    Router::new()
        .route("/", {
            let readers = readers.clone();
            get(move |uri: Uri, headers: HeaderMap| async move {
                readers.judge_host(&uri, &headers).map(|()| page.answer())
            })
        })
        .route("/healthz", {
            let health = Arc::clone(&health);
            get(move || async move { answer(health.live()) })
        })
        .route("/readyz", get(move || async move { answer(ready.ready().map_err(|why| why.join("\n"))) }))
        .route("/metrics", get(move |headers: HeaderMap| async move { scrape(&scraped, &headers) }))
        .route(
            "/status",
            get(move |uri: Uri, headers: HeaderMap| async move {
                readers.judge(&uri, &headers)?;
                let named = [
                    (header::CONTENT_TYPE, "application/json"),
                    (header::CACHE_CONTROL, "no-store"),
                    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                    (TOKEN_HEADER, env!("CARGO_PKG_VERSION")),
                ];
                Ok::<_, Refusal>((named, status::json(&facts, &health, &metrics)))
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
    // In several lines it is one list.
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(&lines.collect::<Vec<_>>().join(","));
    let named = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")];
    (named, metrics.encode(format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accept_in_several_lines_is_one_list() {
        let mut headers = HeaderMap::new();
        for line in ["text/html", "application/openmetrics-text"] {
            headers.append(header::ACCEPT, HeaderValue::from_static(line));
        }
        let answer = scrape(&Metrics::new(), &headers).into_response();
        let named = answer.headers()[header::CONTENT_TYPE].to_str().unwrap();
        assert!(named.starts_with("application/openmetrics-text"), "{named}");
    }

    #[test]
    fn the_status_of_a_loopback_port_is_for_this_machine_and_of_any_port_for_no_foreign_page() {
        let judged = |listening: &str, headers: &[(&'static str, &'static str)]| {
            let readers = Readers::of(listening.parse().unwrap());
            let headers = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let uri = Uri::from_static("/status");
            (readers.judge_host(&uri, &headers).is_ok(), readers.judge(&uri, &headers).is_ok())
        };
        let (local, rebound) = ("127.0.0.1:9090", ("host", "evil.example"));
        assert_eq!(judged(local, &[("host", "localhost:1234")]), (true, true), "through a port forward");
        assert_eq!(judged(local, &[("host", "127.0.0.1:9090")]), (true, true));
        assert_eq!(judged(local, &[rebound]), (false, false));
        assert_eq!(judged("[::1]:9090", &[rebound]), (false, false));
        assert_eq!(judged("0.0.0.0:9090", &[("host", "hookferry.internal")]), (true, true));
        let linked = ("sec-fetch-site", "cross-site");
        for listening in [local, "0.0.0.0:9090"] {
            assert_eq!(
                judged(listening, &[("host", "localhost"), linked]),
                (true, false),
                "a link leads to the page"
            );
            let foreign = ("origin", "https://evil.example");
            assert_eq!(judged(listening, &[("host", "localhost"), foreign]), (true, false));
            let own = ("sec-fetch-site", "same-origin");
            assert_eq!(judged(listening, &[("host", "localhost"), own]), (true, true));
        }
    }
}
