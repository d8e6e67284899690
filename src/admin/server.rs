//! Connections to the ops port, each bounded in what it may send and how long it may take, and all of
//! them in number.
//!
//! At the bound the connection that has been open longest gives way to the new one. So a flood of
//! connections that stay silent or trickle cannot keep a health check out: that one is served within
//! milliseconds of its coming.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Connections at once: scrapers, health checks and a handful of open pages take ten.
const MAX_CONNECTIONS: usize = 64;

/// The time for a request's head, and for a kept connection to bring the next one: twice what the page
/// leaves between two.
const HEAD: Duration = Duration::from_secs(5);

/// A request's head, all of it: browsers send under 4 KiB.
const MAX_HEAD: usize = 16 * 1024;

/// After so long a connection ends with the answer under way; pages and scrapers open another.
const LIFETIME: Duration = Duration::from_secs(60);

/// The wait after an accept that failed, for want of descriptors most likely.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Serves until `shutdown`; then answers under way have a moment to end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: &CancellationToken,
) -> std::io::Result<()> {
    let mut connections = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "the ops port could not accept");
                sleep(ACCEPT_WAIT).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= MAX_CONNECTIONS
            && let Some(longest) = open.pop_front()
        {
            longest.abort();
        }
        open.push_back(connections.spawn(connection(stream, router.clone(), shutdown.clone())));
    }
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = &mut served => ended,
        _ = timeout(LIFETIME, shutdown.cancelled()) => {
            served.as_mut().graceful_shutdown();
            // Whoever does not read its answer in this time does not get it.
            timeout(HEAD, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection to the ops port broke off");
    }
}
