//! SIGHUP: apps and log level anew, without a restart.
//!
//! A process's environment does not change, so a level can come only from a file of `--env-file`; apps come
//! from `APPS_FILE`, and what is remembered of a database's is asked for again.

use std::collections::HashMap;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::reload::Handle;

use super::{env_file, targets};
use crate::apps::Sources;
use crate::config::{self, ENV_FILE, LogConfig};

/// The filter of the log that is in force.
pub(crate) type Level = Handle<Targets, Registry>;

/// What SIGHUP reloads.
#[derive(Debug)]
pub(crate) struct Reload {
    hangups: Signal,
    level: Option<Level>,
    environment: HashMap<String, String>,
    files: Vec<PathBuf>,
    /// What the files held at the start: a variable of another value was set outside them.
    at_start: HashMap<String, String>,
}

impl Reload {
    /// From now on SIGHUP no longer ends the process. `None` where signals cannot be handled.
    pub(crate) fn new(level: Option<Level>) -> Option<Self> {
        let hangups = signal(SignalKind::hangup())
            .inspect_err(|error| error!(%error, "SIGHUP cannot be handled: it will end the process"))
            .ok()?;
        let environment = config::environment();
        let files = environment.get(ENV_FILE).map(|files| std::env::split_paths(files).collect());
        let files: Vec<PathBuf> = files.unwrap_or_default();
        let at_start = variables(&files);
        Some(Self { hangups, level, environment, files, at_start })
    }

    /// Reloads at each SIGHUP.
    pub(crate) async fn run(mut self, apps: Sources) {
        while self.hangups.recv().await.is_some() {
            info!("SIGHUP: apps and log level are reloaded");
            apps.reload().await;
            let LogConfig { level, .. } = LogConfig::from_env(self.current());
            if let Some(handle) = &self.level {
                match handle.reload(targets(&level)) {
                    Ok(()) => info!(level, "log level in force"),
                    Err(error) => error!(%error, "the log level cannot be changed"),
                }
            }
        }
    }

    /// The environment as it would be after a start with the files as they are now.
    fn current(&self) -> HashMap<String, String> {
        let now = variables(&self.files);
        let of_file = |name: &String| {
            let set = self.environment.get(name);
            set.is_none() || set == self.at_start.get(name)
        };
        let mut current = self.environment.clone();
        current.retain(|name, _| !self.at_start.contains_key(name) || !of_file(name));
        current.extend(now.into_iter().filter(|(name, _)| of_file(name)));
        current
    }
}

fn variables(files: &[PathBuf]) -> HashMap<String, String> {
    let mut variables = HashMap::new();
    for file in files.iter().filter(|file| !file.as_os_str().is_empty()) {
        match env_file::read(file) {
            Ok(read) => variables.extend(read),
            Err(error) => error!(%error, "the file's variables are left out"),
        }
    }
    variables
}
