//! Connections to the local endpoints, each bounded in the time that a request may take to come.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Connections at once: a worker opens some forty.
const MAX_CONNECTIONS: usize = 1024;

/// The time for a request's head, and for a kept connection to bring the next one.
const HEAD: Duration = Duration::from_secs(20);

/// The time for a request's body, once its head is there.
const BODY: Duration = Duration::from_secs(10);

/// The wait after an accept that failed, for want of descriptors most likely.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Serves until `shutdown`; what is under way then is cut off.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let router = router.clone();
                    connections.spawn(async move {
                        connection(stream, router).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    debug!(%error, "a local endpoint could not accept");
                    sleep(ACCEPT_WAIT).await;
                }
            }
        }
    };
    shutdown.run_until_cancelled(accepting).await;
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, router: Router) {
    // Without it the second small write of a connection waits for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY could not be set");
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let served = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    if let Err(error) = served.await {
        debug!(%error, "a connection to a local endpoint broke off");
    }
}

/// A request's body, if it comes in time and is not too long.
pub(super) async fn body(body: Body, most: usize) -> Result<Bytes, StatusCode> {
    match timeout(BODY, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}
