//! hookferry's program: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use hookferry::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    cli::main(Cli::parse()).await
}
