//! SIGTERM and SIGINT.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// A token that the first signal cancels; the second ends the process at once.
pub(crate) fn shutdown() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
            error!("signals cannot be handled; SIGTERM will end the process without a drain");
            return;
        };
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let first = next().await;
        info!(signal = first, "shutting down");
        cancelled.cancel();
        let second = next().await;
        error!(signal = second, "second signal: ending at once");
        #[allow(clippy::disallowed_methods, reason = "the operator asked twice: no drain")]
        std::process::exit(1);
    });
    token
}
