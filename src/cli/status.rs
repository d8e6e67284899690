//! `status`: what the worker that runs with this environment tells at `/status`, for people.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::admin::summary::summary;
use crate::process::Failure;
use crate::process::ops::ask;
use crate::process::output::print;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The document of `/status` as it is (`docs/status.md`), instead of a summary.
    #[arg(long)]
    json: bool,
}

pub(super) async fn main(options: &Options) -> Result<ExitCode, Failure> {
    let answer = match ask("/status").await {
        Ok(answer) => answer,
        Err(why) => {
            for line in why {
                eprintln!("{line}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    if options.json {
        print(&format!("{}\n", answer.said.trim_end()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = summary(&answer.said).with_context(|| {
        format!("the worker's status cannot be read (is it of release {}?)", env!("CARGO_PKG_VERSION"))
    })?;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
