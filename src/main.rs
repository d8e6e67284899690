//! hookferry's program: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use hookferry::cli::{self, Cli};
use mimalloc::MiMalloc;

/// A delivery makes some hundred small allocations, most of them in the AWS SDK.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    cli::main(Cli::parse()).await
}
