//! Child processes that answer lines.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context;
use serde::de::DeserializeOwned;

use super::measured::Running;

/// A process of this bench that answers lines.
pub struct Role {
    _running: Running,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Role {
    /// Starts this program in a role; gives it with the first line that it says.
    pub fn start(arguments: &[&str]) -> anyhow::Result<(Self, String)> {
        let mut command = role(arguments)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(&mut command)?;
        let stdin = running.child.stdin.take().context("no standard input")?;
        let stdout = BufReader::new(running.child.stdout.take().context("no standard output")?);
        let mut role = Self { _running: running, stdin, stdout };
        let first = role.line()?;
        Ok((role, first))
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        self.tell(line)?;
        self.line()
    }

    /// Asks and reads the answer as JSON.
    pub fn stats<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        Ok(serde_json::from_str(&self.ask("stats")?)?)
    }

    /// Asks without waiting; [`Role::line`] gives the answer.
    pub fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.stdin, "{line}")?;
        Ok(self.stdin.flush()?)
    }

    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            anyhow::bail!("a process of the bench has ended");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// This program in a role.
pub fn role(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--role").args(arguments);
    Ok(command)
}
