//! `dlq purge`: letters away, after a copy of them was written.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, anyhow};
use clap::Args;

use super::filters::Filters;
use super::list::line;
use super::{Dlq, confirmed};
use crate::letters::Letter;
use crate::letters::walk::{Step, Walk};
use crate::process::Failure;
use crate::queue::MAX_BATCH;

#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    filters: Filters,
    /// Where the letters are written before they are deleted: JSON lines that `enqueue` takes. Default: a new file in
    /// this directory.
    #[arg(long, value_name = "FILE")]
    backup: Option<PathBuf>,
    /// Ask nothing.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn main(dlq: &Dlq, options: Options) -> Result<ExitCode, Failure> {
    let depth = dlq.depth().await?;
    let mut most = usize::MAX;
    if !options.yes {
        if !std::io::stdin().is_terminal() {
            return Err(anyhow!("purge deletes for good: without a terminal to ask it needs --yes").into());
        }
        let which = if options.filters.all() { "all" } else { "the chosen ones of" };
        let question = format!("Delete {which} about {depth} dead letters? Type {depth} to go on: ");
        if !confirmed(&question, &depth.to_string())? {
            return Ok(ExitCode::FAILURE);
        }
        most = depth;
    }
    let path = options.backup.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        PathBuf::from(format!("dead-letters-{}.jsonl", now.as_secs()))
    });
    let mut backup = create(&path)?;
    let (deleted, ended) = purge(dlq, &options.filters, most, &mut backup).await;
    println!("{deleted} letters deleted; they are in {}", path.display());
    ended?;
    Ok(if dlq.stop.is_cancelled() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Never over another file: it may be the only copy of what an earlier purge took. For its owner's eyes.
fn create(path: &Path) -> anyhow::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("the backup {} cannot be written", path.display()))
}

async fn purge(dlq: &Dlq, filters: &Filters, most: usize, backup: &mut File) -> (usize, anyhow::Result<()>) {
    let mut walk = Walk::new(&dlq.letters, &dlq.random, dlq.stop.clone());
    let mut deleted = 0;
    let ended = loop {
        if deleted >= most {
            break Ok(());
        }
        let letters = match walk.next(MAX_BATCH.min(most - deleted)).await {
            Ok(Step::Letters(letters)) => letters,
            Ok(Step::End | Step::Stopped) => break Ok(()),
            Err(error) => break Err(anyhow::Error::from(error).context("the dead-letter queue")),
        };
        let (going, staying): (Vec<Letter>, Vec<Letter>) =
            letters.into_iter().partition(|letter| filters.matches(letter));
        walk.hold_all(staying);
        if let Err(error) = write(backup, &going) {
            walk.hold_all(going);
            break Err(error);
        }
        let count = going.len();
        match walk.delete(going).await {
            Ok(left) => deleted += count - left,
            Err(error) => break Err(anyhow::Error::from(error).context("the dead-letter queue")),
        }
    };
    walk.end().await;
    (deleted, ended)
}

/// On the disk before anything is deleted.
fn write(backup: &mut File, letters: &[Letter]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for letter in letters {
        lines.push_str(&line(letter).to_string());
        lines.push('\n');
    }
    backup
        .write_all(lines.as_bytes())
        .and_then(|()| backup.sync_data())
        .context("the backup cannot be written")
}
