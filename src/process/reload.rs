//! SIGHUP: apps and log level anew, without a restart.
//!
//! A process's environment does not change, so a level can come only from a file of `--env-file`; apps come
//! from `APPS_FILE`, and what is remembered of a database's is asked for again. What else has changed in a file of
//! `--env-file`, the apps of `APPS` included, counts after a restart, and is named.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::reload::Handle;

use super::{env_file, targets};
use crate::config::{self, ENV_FILE, Errors, LogConfig};

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
        let at_start = variables(&files)
            .inspect_err(|error| error!(%error, "the files' variables are left out"))
            .unwrap_or_default();
        Some(Self { hangups, level, environment, files, at_start })
    }

    /// Reloads at each SIGHUP; `reload_apps` does it for the apps, and `told` is told of the log level that is in force.
    pub(crate) async fn run<F: Future<Output = ()>>(
        mut self,
        reload_apps: impl Fn() -> F,
        told: impl Fn(&str),
    ) {
        while self.hangups.recv().await.is_some() {
            info!("SIGHUP: the apps of APPS_FILE or a database and the log level are reloaded");
            reload_apps().await;
            let (level, other) = match self.current().and_then(|now| Ok((level(&now)?, self.other(&now)))) {
                Ok(read) => read,
                Err(error) => {
                    error!(%error, "the log level in force stays: mend that and send SIGHUP again");
                    continue;
                }
            };
            if !other.is_empty() {
                let variables = other.join(", ");
                warn!(variables, "these have changed in the files of --env-file, and count after a restart");
            }
            let Some(handle) = &self.level else { continue };
            match handle.reload(targets(&level)) {
                Ok(()) => {
                    told(&level);
                    info!(level, "log level in force");
                }
                Err(error) => error!(%error, "the log level cannot be changed"),
            }
        }
    }

    /// The variables that would have another value after a start now, but for the log level.
    fn other(&self, now: &HashMap<String, String>) -> Vec<String> {
        let all: BTreeSet<&String> = self.environment.keys().chain(now.keys()).collect();
        let has_changed =
            |name: &&String| !name.ends_with("LOG_LEVEL") && self.environment.get(*name) != now.get(*name);
        all.into_iter().filter(has_changed).cloned().collect()
    }

    /// The environment as it would be after a start with the files as they are now.
    fn current(&self) -> Result<HashMap<String, String>, Errors> {
        let now = variables(&self.files)?;
        let of_file = |name: &String| {
            let set = self.environment.get(name);
            set.is_none() || set == self.at_start.get(name)
        };
        let mut current = self.environment.clone();
        current.retain(|name, _| !self.at_start.contains_key(name) || !of_file(name));
        current.extend(now.into_iter().filter(|(name, _)| of_file(name)));
        Ok(current)
    }
}

/// The log level of an environment; an error where there would be none.
fn level(environment: &HashMap<String, String>) -> Result<String, Errors> {
    Ok(LogConfig::checked(environment.clone())?.level)
}

fn variables(files: &[PathBuf]) -> Result<HashMap<String, String>, Errors> {
    let mut variables = HashMap::new();
    for file in files.iter().filter(|file| !file.as_os_str().is_empty()) {
        variables.extend(env_file::read(file)?);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Of a process that was started with a file, and with some variables over those in it.
    fn started_with(file: &Path, over: &[(&str, &str)]) -> Reload {
        let files = vec![file.to_owned()];
        let at_start = variables(&files).unwrap();
        let mut environment = at_start.clone();
        environment.extend(over.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let hangups = signal(SignalKind::hangup()).unwrap();
        Reload { hangups, level: None, environment, at_start, files }
    }

    #[tokio::test]
    async fn a_level_that_cannot_be_read_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hookferry.env");
        std::fs::write(&file, "LOG_LEVEL=debug\n").unwrap();
        let reload = started_with(&file, &[]);
        let now = || reload.current().and_then(|now| level(&now));
        assert_eq!(now().unwrap(), "debug");
        std::fs::write(&file, "LOG_LEVEL=trace\n").unwrap();
        assert_eq!(now().unwrap(), "trace");
        for wrong in ["LOG_LEVEL=warning\n", "LOG LEVEL=info\n"] {
            std::fs::write(&file, wrong).unwrap();
            assert!(now().is_err(), "{wrong}");
        }
        std::fs::remove_file(&file).unwrap();
        let error = now().unwrap_err().to_string();
        assert!(error.contains("hookferry.env"), "{error}");
    }

    #[tokio::test]
    async fn what_counts_only_after_a_restart_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hookferry.env");
        std::fs::write(&file, "APPS=[]\nLOG_LEVEL=debug\nMETRICS_PORT=1\nWEBHOOKS_TIMEOUT_MS=5\n").unwrap();
        let reload = started_with(&file, &[("METRICS_PORT", "2")]);
        let other = || reload.other(&reload.current().unwrap());
        assert!(other().is_empty());
        let text = "APPS=[1]\nLOG_LEVEL=info\nMETRICS_PORT=3\nSOKETI_DEFAULT_APP_WEBHOOKS=[]\n";
        std::fs::write(&file, text).unwrap();
        assert_eq!(other(), ["APPS", "SOKETI_DEFAULT_APP_WEBHOOKS", "WEBHOOKS_TIMEOUT_MS"]);
    }
}
