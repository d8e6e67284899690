//! What commands print, and standard output, which may be a pipe that its reader has closed.

use std::io::Write;

use anyhow::Context;

/// Prints text as it stands. A pipe that is closed, as `| head` does, is no failure: whoever reads has enough.
pub fn print(text: &str) -> anyhow::Result<()> {
    try_print(text).map(drop)
}

/// Prints text as it stands; false if its reader has closed the pipe.
pub fn try_print(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("standard output"),
    }
}

/// Lines on standard output, which may be a pipe that its reader has closed.
#[derive(Debug, Default)]
pub struct Lines {
    closed: bool,
}

impl Lines {
    /// Prints a line; false if the reader has closed the pipe, now or at an earlier one.
    pub fn print(&mut self, line: &impl std::fmt::Display) -> anyhow::Result<bool> {
        self.closed = self.closed || !try_print(&format!("{line}\n"))?;
        Ok(!self.closed)
    }
}
