//! Processes, for real: several workers, the local queue behind a proxy that inflicts faults, and
//! receivers that misbehave. Then faults stop, the queue drains, and the books are balanced from what
//! the receivers saw: lost 0, reordered 0, overtaken 0, and every duplicate explained.
//!
//! ```sh
//! cargo test --test chaos -- --seconds 60             # the short form
//! cargo test --test chaos -- --seconds 600 --seed 7   # as long as one likes
//! ```
//!
//! It ends with a table, and, if anything is wrong, with a list of it, the seed, the logs of the
//! workers and a status other than 0. What counts as what is defined in [`books`], which are themselves
//! checked before every run.
//!
//! # What it is known to catch
//!
//! Each of these was put into the worker by itself, and a run of 45 s failed, naming what follows it:
//!
//! - a job is deleted before it is delivered: lost, reordered, overtaken;
//! - a lane goes on after a failure: overtaken, reordered;
//! - every message of a group gets a lane of its own: reordered, overtaken;
//! - the head of a 2xx counts as success, its body unread: lost, overtaken;
//! - any answer counts as success: lost, overtaken;
//! - one webhook of two is enough: lost, overtaken;
//! - a dead letter is not waited for: lost, overtaken;
//! - the ledger is ignored: unexplained duplicate, within one process;
//! - a job is forgotten although its delete failed: the same;
//! - the lease is ignored: unexplained duplicate, by a worker that was stopped;
//! - a receive's answer counts as arrived when it is read, not before the stop in which it came: the same;
//! - SIGTERM drops what is being delivered: unexplained duplicate;
//! - attempts may take four times their timeout: overstayed;
//! - an attempt id is used again after throttling: attempt id reused;
//! - `X-Hookferry-Id` changes with the attempt: wrong id;
//! - pollers end after three errors in a row: a worker delivered nothing after the faults had stopped.
//!
//! It does not catch, and leaves to tests under paused time, two copies of one message worked at once by
//! one process (they meet too seldom), and whatever only costs time: a tail that is not released, a lost
//! answer that is not asked for again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking, and has no readers of its documentation but its own"
)]

mod apps;
mod books;
mod chance;
mod history;
mod http1;
mod producer;
mod proxy;
mod queue;
mod receiver;
mod run;
mod timing;
mod workers;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser;

/// The arguments after `--`.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// For how long jobs are sent and faults inflicted.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where everything that is drawn comes from; another one each time if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Worker processes at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=32))]
    workers: u8,
    /// Jobs a second.
    #[arg(long, default_value_t = 150)]
    rate: u32,
    /// The workers' `LOG_LEVEL`.
    #[arg(long, default_value = "warn")]
    log_level: String,
}

/// A run shorter than this may not meet every fault, so that it cannot be asked for each.
const STANDARD: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let options = Options::parse();
    books::self_check();
    let seed = options.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos())
    });
    println!(
        "chaos: {} s, {} workers, {} jobs/s, seed {seed}",
        options.seconds, options.workers, options.rate
    );
    let directory = tempfile::tempdir().expect("a directory can be made");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    // Interrupted, it must not leave workers behind, least of all stopped ones: they die when dropped.
    let finished = runtime.block_on(async {
        tokio::select! {
            finished = run::run(&options, seed, directory.path()) => Some(finished),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    drop(runtime);
    let Some((table, wrongs)) = finished else { return ExitCode::FAILURE };
    println!("{table}");
    if wrongs.is_empty() {
        println!("\nthe books balance");
        return ExitCode::SUCCESS;
    }
    println!("\nTHE BOOKS DO NOT BALANCE (--seed {seed} --seconds {}):", options.seconds);
    for wrong in wrongs {
        println!("  {wrong}");
    }
    println!("the workers' logs are in {}", directory.keep().display());
    ExitCode::FAILURE
}
