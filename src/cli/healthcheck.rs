//! `healthcheck`: for images without a shell.

use std::process::ExitCode;

use crate::process::Failure;
use crate::process::ops::ask;
use crate::process::output::print;

pub(super) async fn main() -> Result<ExitCode, Failure> {
    let answer = match ask("/healthz").await {
        Ok(answer) => answer,
        // Not exit code 78 for a configuration: orchestrators know healthy and not.
        Err(why) => {
            for line in why {
                eprintln!("{line}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    print(&format!("{}\n", answer.said.trim()))?;
    Ok(if answer.status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
