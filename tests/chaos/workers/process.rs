//! One worker process: the real program, with an environment of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::apps;
use crate::timing::{ATTEMPT_TIMEOUT, GRACE, VISIBILITY};

/// Where workers run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The proxy in front of the queue.
    pub endpoint: SocketAddr,
    /// The queue's URL.
    pub queue_url: String,
    pub receivers: Vec<SocketAddr>,
    /// For apps files and logs.
    pub directory: PathBuf,
    pub log_level: String,
}

/// A running worker. It is killed when it is dropped.
#[derive(Debug)]
pub struct Worker {
    pub name: String,
    child: Child,
}

/// The program, with nothing of this process's configuration.
pub fn program(command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_hookferry"));
    program
        .arg(command)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    program
}

impl Setting {
    /// Starts a worker that names itself in the header of its webhooks and in its access key id.
    pub fn start(&self, name: String) -> Worker {
        let apps_file = self.directory.join(format!("{name}.json"));
        fs::write(&apps_file, apps::file(&name, &self.receivers)).expect("a file can be written");
        let log = File::create(self.directory.join(format!("{name}.log"))).expect("a log can be written");
        let child = program("run")
            .env("AWS_ACCESS_KEY_ID", &name)
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("QUEUE_SQS_URL", &self.queue_url)
            .env("QUEUE_SQS_ENDPOINT", format!("http://{}", self.endpoint))
            .env("QUEUE_SQS_VISIBILITY_TIMEOUT", VISIBILITY.as_secs().to_string())
            .env("QUEUE_SQS_WAIT_TIME_SECONDS", "2")
            // A backlog, after the queue was gone, must not starve a machine of two cores.
            .env("QUEUE_SQS_MAX_IN_FLIGHT", "100")
            .env("WEBHOOKS_TIMEOUT_MS", ATTEMPT_TIMEOUT.as_millis().to_string())
            .env("WEBHOOKS_RETRY_BASE_MS", "500")
            .env("WEBHOOKS_RETRY_MAX_MS", "4000")
            // Nothing sound may be given up, however long the run.
            .env("WEBHOOKS_RETRY_WINDOW_SECONDS", "86400")
            .env("SHUTDOWN_GRACE_SECONDS", GRACE.as_secs().to_string())
            .env("APPS_FILE", apps_file)
            .env("WEBHOOKS_ALLOWED_NETWORKS", "127.0.0.0/8")
            .env("METRICS_PORT", "0")
            .env("LOG_LEVEL", &self.log_level)
            .stdout(log.try_clone().expect("a log can be shared"))
            .stderr(log)
            .spawn()
            .expect("the worker starts");
        Worker { name, child }
    }
}

impl Worker {
    /// Sends a signal; not to a process that has ended, whose number may be another's by now.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(id) = id {
            kill_process(id, signal).expect("a child of ours takes signals until it is waited for");
        }
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    pub async fn wait(&mut self) -> ExitStatus {
        self.child.wait().await.expect("a child of ours can be waited for")
    }
}
