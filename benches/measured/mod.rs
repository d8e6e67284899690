//! What benches that start processes share: the process with what it costs, and the clock.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, SystemTime};

use anyhow::Context;

/// A process that is killed with its owner.
pub struct Running {
    pub child: Child,
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

/// Microseconds since the Unix epoch, on the clock that all processes of a run share.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
