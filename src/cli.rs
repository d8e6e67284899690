//! The command line: parses, and hands over to the command.

// clap shows the options' docs as they stand, back-ticks and all.
#![allow(clippy::doc_markdown, reason = "the docs of options are help texts")]

mod enqueue;
mod healthcheck;
mod receive;
mod shell;
mod status;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Errors};
use crate::dev::local_queue;
use crate::process::{Failure, env, env_file};
use crate::{check, dev, dlq, run};

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
    /// Run the worker (the default): receive jobs from QUEUE_SQS_URL and deliver them.
    Run,
    /// Run the whole system on this machine, with sample jobs: queue, worker and receiver.
    Dev(dev::Options),
    /// Run the local SQS-compatible FIFO queue alone.
    LocalQueue(local_queue::Options),
    /// Run a receiver alone: verifies signatures, prints each webhook (a line for people on a terminal, JSON elsewhere).
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
    /// Tell what the worker running with this environment does: its state, failing destinations, blocked groups and the
    /// last dead letters. Exit 0 if one answers, whatever its state, else 1.
    Status(status::Options),
    /// Print the annotated list of variables, or the values in force.
    Env(env::Options),
    /// Print a script that completes commands and options in a shell.
    Completions(shell::Options),
    /// Print the manual page.
    Man,
}

/// Runs the command that was asked for.
pub async fn main(cli: Cli) -> ExitCode {
    if !cli.env_file.is_empty() {
        return failed(env_file::start_again(&cli.env_file).into());
    }
    if let Some(errors) = env_file::start_again_with_bare_variables() {
        return failed(errors.into());
    }
    let (not_unicode, _) = config::not_unicode(std::env::vars_os());
    if !not_unicode.is_empty() {
        return failed(Errors(not_unicode).into());
    }
    let ended = match cli.command.unwrap_or(Command::Run) {
        Command::Run => Box::pin(run::main()).await,
        Command::Dev(options) => dev::main(options).await,
        Command::LocalQueue(options) => local_queue::main(options).await,
        Command::Receive(options) => receive::main(options).await,
        Command::Enqueue(options) => Box::pin(enqueue::main(options)).await,
        Command::Verify(options) => verify::main(options),
        Command::Check(options) => Box::pin(check::main(options)).await,
        Command::Dlq(options) => Box::pin(dlq::main(options)).await,
        Command::Healthcheck => healthcheck::main().await,
        Command::Status(options) => status::main(&options).await,
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
