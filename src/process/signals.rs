//! SIGTERM and SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};
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

/// The signals that ask a command to stop, for one that has to say what it did.
#[derive(Debug)]
pub(crate) struct Stops {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Stops {
    /// From now on they no longer end the process.
    pub(crate) fn new() -> Self {
        let handled = |kind| {
            signal(kind)
                .inspect_err(|error| error!(%error, "a signal cannot be handled: it ends the process"))
                .ok()
        };
        Self { terminate: handled(SignalKind::terminate()), interrupt: handled(SignalKind::interrupt()) }
    }

    /// The exit code of the next one, as a shell has it: 128 and the signal's number.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            () = received(&mut self.terminate) => 143,
            () = received(&mut self.interrupt) => 130,
        }
    }
}

async fn received(signals: &mut Option<Signal>) {
    let came = match signals {
        Some(signals) => signals.recv().await,
        None => None,
    };
    if came.is_none() {
        std::future::pending::<()>().await;
    }
}
