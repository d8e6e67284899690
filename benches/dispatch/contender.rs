//! What is measured: the worker, the two floors and the peers, each as a process of its own that takes
//! jobs off the same queue and posts them to the same sink.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::process::role;

/// Loops of the floors and of the Node worker: as many as hookferry has pollers at the most.
pub const LOOPS: usize = 32;

/// Where the peers are installed.
#[derive(Clone, Debug)]
pub struct Peers(pub PathBuf);

/// Something that delivers.
#[derive(Clone, Debug)]
pub enum Contender {
    /// hookferry, with these variables beside those that it needs.
    Hookferry(Vec<(&'static str, String)>),
    /// The least that any program could do.
    Raw,
    /// A plain loop over the same libraries.
    Bare,
    /// soketi's own worker, as it is by default.
    Soketi(Peers),
    /// The same with ten messages a receive, handled at the same time: faster, and out of order.
    SoketiInBatches(Peers),
    /// A plain worker on sqs-consumer and undici.
    Node(Peers),
}

/// The queue and the sink of one run.
#[derive(Clone, Copy, Debug)]
pub struct Between<'a> {
    pub endpoint: &'a str,
    pub queue: &'a str,
    pub sink: &'a str,
}

impl Contender {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hookferry(_) => "hookferry",
            Self::Raw => "raw",
            Self::Bare => "bare",
            Self::Soketi(_) => "soketi",
            Self::SoketiInBatches(_) => "soketi, batches",
            Self::Node(_) => "node",
        }
    }

    /// The command that starts it.
    pub fn command(&self, between: Between<'_>) -> anyhow::Result<Command> {
        let Between { endpoint, queue, sink } = between;
        let mut command = match self {
            Self::Hookferry(variables) => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_hookferry"));
                command
                    .env("QUEUE_SQS_URL", queue)
                    .env("QUEUE_SQS_ENDPOINT", endpoint)
                    .env("DEFAULT_APP_WEBHOOKS", json!([{"url": sink}]).to_string())
                    .env("WEBHOOKS_ALLOWED_NETWORKS", "127.0.0.0/8")
                    .env("METRICS_PORT", "0")
                    .envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
                command
            }
            Self::Raw => role(&["raw", queue, sink])?,
            Self::Bare => role(&["bare", queue, endpoint, sink])?,
            Self::Soketi(Peers(dir)) => soketi(dir, between),
            Self::SoketiInBatches(Peers(dir)) => {
                let mut command = soketi(dir, between);
                command
                    .env("SOKETI_QUEUE_SQS_BATCH_SIZE", "10")
                    .env("SOKETI_QUEUE_SQS_PROCESS_BATCH", "true");
                command
            }
            Self::Node(Peers(dir)) => {
                let mut command = Command::new(dir.join("node_worker/node"));
                command.arg("worker.mjs").arg(queue).arg(endpoint).arg(sink).arg(LOOPS.to_string());
                command.current_dir(dir.join("node_worker"));
                command
            }
        };
        command
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_REGION", "us-east-1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(if std::env::var_os("BENCH_STDERR").is_some() {
                Stdio::inherit()
            } else {
                Stdio::null()
            });
        Ok(command)
    }
}

/// soketi's worker as its documentation sets it up.
fn soketi(dir: &Path, between: Between<'_>) -> Command {
    let webhook = json!([{"url": between.sink, "event_types": ["client_event"]}]);
    let mut command = Command::new(dir.join("soketi/node"));
    command
        .args(["node_modules/@soketi/soketi/bin/server.js", "start"])
        .current_dir(dir.join("soketi/json"))
        .env("AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE", "1")
        .env("SOKETI_MODE", "worker")
        .env("SOKETI_HOST", "127.0.0.1")
        .env("SOKETI_PORT", "0")
        .env("SOKETI_QUEUE_DRIVER", "sqs")
        .env("SOKETI_QUEUE_SQS_URL", between.queue)
        .env("SOKETI_QUEUE_SQS_ENDPOINT", between.endpoint)
        .env("SOKETI_QUEUE_SQS_REGION", "us-east-1")
        .env("SOKETI_DEFAULT_APP_WEBHOOKS", webhook.to_string());
    command
}
