//! What every command shares: its configuration, its log, its signals, how it fails, and how it asks a worker.

pub(crate) mod duration;
pub mod env;
pub mod env_file;
pub mod ops;
pub mod output;
pub mod reload;
pub mod signals;

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{self, Config, Errors, LogConfig, LogFormat};

/// Why a command ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration cannot be used: exit 78.
    #[error(transparent)]
    Configuration(#[from] Errors),
    /// Anything else: exit 1.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// The process's configuration, with some variables set over it.
pub fn configuration(over: &[(&str, Option<String>)]) -> Result<Config, Errors> {
    let mut environment = config::environment();
    for (name, value) in over {
        if let Some(value) = value {
            environment.insert((*name).to_owned(), value.clone());
        }
    }
    let mut config = Config::from_env(environment)?;
    let (_, not_unicode) = config::not_unicode(std::env::vars_os());
    config.warnings.extend(not_unicode);
    Ok(config)
}

/// Starts logging: for people on a terminal, JSON elsewhere, to standard error. What it gives can change the
/// level later.
pub fn log(default_level: Option<&str>) -> Option<reload::Level> {
    let mut environment = config::environment();
    if let Some(level) = default_level {
        environment.entry("LOG_LEVEL".to_owned()).or_insert_with(|| level.to_owned());
    }
    let LogConfig { format, level } = LogConfig::from_env(environment);
    let human = match format {
        Some(format) => format == LogFormat::Human,
        None => std::io::stderr().is_terminal(),
    };
    let (targets, handle) = tracing_subscriber::reload::Layer::new(targets(&level));
    // What libraries tell below a warning holds headers and bodies, and with them secrets.
    let own = filter_fn(|line| {
        let of_hookferry = line.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
        of_hookferry || *line.level() <= Level::WARN
    });
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(targets).with(own);
    let started = if human {
        registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init()
    } else {
        registry.with(layer.json().flatten_event(true)).try_init()
    };
    match started {
        Ok(()) => Some(handle),
        Err(error) => {
            eprintln!("logging is set up already: {error}");
            None
        }
    }
}

/// The filter of a level.
fn targets(level: &str) -> Targets {
    let mut targets: Targets = level.parse().unwrap_or_default();
    for quiet in ["aws_config", "aws_runtime", "aws_smithy_runtime", "sqlx"] {
        // They warn, with a dump of their state, of what is told here in words.
        if !level.contains(quiet) {
            targets = targets.with_target(quiet, LevelFilter::ERROR);
        }
    }
    targets
}
