//! The commands. Here, and in `main` alone, adapters are wired to ports.

// clap shows the options' docs as they stand, back-ticks and all.
#![allow(clippy::doc_markdown, reason = "the docs of options are help texts")]

mod check;
mod dev;
mod dlq;
mod enqueue;
mod env;
mod env_file;
mod healthcheck;
mod local_queue;
mod preflight;
mod receive;
mod reload;
mod run;
mod shell;
mod signals;
mod verify;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{self, Config, Errors, LogConfig, LogFormat};

/// Delivers webhook jobs from an Amazon SQS FIFO queue: in order per message group, at least once.
///
/// Configured by environment variables (see .env.example); without a command it runs the worker.
#[derive(Debug, Parser)]
#[command(name = "hookferry", version)]
pub struct Cli {
    /// Variables from a file, NAME=value a line; what is set already wins. May be given again.
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Vec<std::path::PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker (the default): receive jobs from `QUEUE_SQS_URL` and deliver them.
    Run,
    /// Run the whole system on this machine, with sample jobs: queue, worker and receiver.
    Dev(dev::Options),
    /// Run the local SQS-compatible FIFO queue alone.
    LocalQueue(local_queue::Options),
    /// Run a receiver alone: verifies signatures, prints one JSON line a webhook.
    Receive(receive::Options),
    /// Put jobs on the queue: one event from flags, or JSON lines from standard input.
    Enqueue(enqueue::Options),
    /// Tell whether one job, or one received webhook, is valid, and if it is not, why.
    Verify(verify::Options),
    /// Look at everything that a worker with this environment would meet, and change nothing: exit 0, 1 or 78.
    Check(check::Options),
    /// Dead letters: list, show, put back, export, delete.
    Dlq(dlq::Options),
    /// Ask the worker running with this environment whether it is alive: exit 0 or 1.
    Healthcheck,
    /// Print the annotated list of variables, or the values in force.
    Env(env::Options),
    /// Print a script that completes commands and options in a shell.
    Completions(shell::Options),
    /// Print the manual page.
    Man,
}

/// Why a command ended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The configuration cannot be used: exit 78.
    #[error(transparent)]
    Configuration(#[from] Errors),
    /// Anything else: exit 1.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// Runs the command that was asked for.
pub async fn main(cli: Cli) -> ExitCode {
    if !cli.env_file.is_empty() {
        return failed(env_file::start_again(&cli.env_file).into());
    }
    let ended = match cli.command.unwrap_or(Command::Run) {
        Command::Run => Box::pin(run::main()).await,
        Command::Dev(options) => dev::main(options).await,
        Command::LocalQueue(options) => local_queue::main(options).await,
        Command::Receive(options) => receive::main(options).await,
        Command::Enqueue(options) => enqueue::main(options).await,
        Command::Verify(options) => verify::main(options),
        Command::Check(options) => Box::pin(check::main(options)).await,
        Command::Dlq(options) => Box::pin(dlq::main(options)).await,
        Command::Healthcheck => healthcheck::main().await,
        Command::Env(options) => env::main(&options),
        Command::Completions(options) => shell::completions(&options),
        Command::Man => shell::man(),
    };
    ended.unwrap_or_else(failed)
}

/// Says why a command ended.
fn failed(failure: Failure) -> ExitCode {
    match failure {
        Failure::Configuration(Errors(errors)) => {
            for error in errors {
                eprintln!("configuration error: {error}");
            }
            ExitCode::from(config::EXIT_CODE)
        }
        Failure::Other(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The process's configuration, with some variables set over it.
fn configuration(over: &[(&str, Option<String>)]) -> Result<Config, Errors> {
    let mut environment = config::environment();
    for (name, value) in over {
        if let Some(value) = value {
            environment.insert((*name).to_owned(), value.clone());
        }
    }
    Config::from_env(environment)
}

/// Starts logging: for people on a terminal, JSON elsewhere, to standard error. What it gives can change the
/// level later.
fn log(default_level: Option<&str>) -> Option<reload::Level> {
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
