//! Child processes: what they say, and what they cost.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde::de::DeserializeOwned;

/// A process that is killed with its owner.
pub struct Running {
    child: Child,
}

/// A process of this bench that answers lines.
pub struct Role {
    _running: Running,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child })
    }

    /// The CPU time of all its threads so far, kernel time included, by the scheduler's own clock
    /// (nanoseconds; `/proc/PID/stat` counts in hundredths of a second). What a thread that has ended
    /// took is not in it: tokio's pool of blocking threads keeps its own for ten seconds.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(self.proc("task"))? {
            // A thread may end between the two calls.
            let Ok(stat) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
            nanoseconds += stat.split(' ').next().unwrap_or_default().parse::<u64>().context("schedstat")?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The most memory that it had resident, and what it has now; bytes.
    pub fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let status = std::fs::read_to_string(self.proc("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        let bytes = |name| field(name).map(|kilobytes| kilobytes * 1024).with_context(|| name.to_owned());
        Ok((bytes("VmHWM:")?, bytes("VmRSS:")?))
    }

    /// Whether it is still there.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
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
