//! The worker of `dev`: started, killed without a drain, started again.

use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Controls;
use crate::config::Config;
use crate::process::Failure;
use crate::run;
use crate::telemetry::metrics::Metrics;

/// Runs a worker while there is to be one, until `shutdown` and its drain. One that is killed leaves
/// what it held as a process does that is killed: its messages come back when their visibility ends.
pub(super) async fn supervise(
    config: Config,
    ops: std::net::TcpListener,
    metrics: Arc<Metrics>,
    controls: Arc<Controls>,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let mut wanted = controls.worker.subscribe();
    while !shutdown.is_cancelled() {
        if shutdown.run_until_cancelled(wanted.wait_for(|wanted| *wanted)).await.is_none() {
            return Ok(());
        }
        let ops = ops.try_clone().and_then(TcpListener::from_std).context("the status page's socket")?;
        // Its configuration does not come from the environment alone.
        let facts = Arc::new(run::facts::of(&config, Vec::new()));
        let told = (Arc::clone(&metrics), facts);
        let worker = run::worker(config.clone(), ops, told, shutdown.clone(), None);
        let mut worker = AbortOnDropHandle::new(tokio::spawn(worker));
        tokio::select! {
            ended = &mut worker => return ended.context("the worker failed")?,
            _ = wanted.wait_for(|wanted| !*wanted) => drop(worker),
        }
    }
    Ok(())
}
