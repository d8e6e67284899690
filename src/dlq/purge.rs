//! `dlq purge`: letters away, after a copy of them was written.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;

use super::filters::Filters;
use super::list::{line, look};
use super::{Dlq, confirmed, tell_left};
use crate::letters::Letter;
use crate::letters::redrive::Left;
use crate::letters::walk::{Step, Walk};
use crate::process::Failure;
use crate::process::output::print;
use crate::queue::MAX_BATCH;
use crate::wall;

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

/// What a purge did.
#[derive(Default)]
struct Purged {
    deleted: usize,
    /// Letters that were asked for and stay, by why.
    left: BTreeMap<Left, usize>,
    /// All that were seen, those among them that stay.
    seen: usize,
    stopped: bool,
    /// Whether it ended because it had deleted as many as there were.
    enough: bool,
    /// Letters that are hidden, in words.
    hidden: Option<String>,
}

pub(super) async fn main(dlq: &Dlq, options: Options) -> Result<ExitCode, Failure> {
    let depth = dlq.depth().await?;
    let path = options.backup.unwrap_or_else(|| {
        let now = wall::since_epoch();
        PathBuf::from(format!("dead-letters-{}.jsonl", now.as_secs()))
    });
    let mut backup = Backup::at(path)?;
    let (mut most, mut uncounted) = (usize::MAX, 0);
    let unmarked = !dlq.is_shared().await;
    if !options.yes {
        if !std::io::stdin().is_terminal() {
            return Err(anyhow!("purge deletes for good: without a terminal to ask it needs --yes").into());
        }
        let (count, unseen) = count(dlq, (&options.filters, unmarked), depth).await?;
        let rest = if unseen > 0 { format!(", and {unseen} more cannot be seen now") } else { String::new() };
        if count == 0 {
            eprintln!("no such letter can be seen{rest}: nothing was deleted");
            return Ok(if unseen > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        let which = if options.filters.all() && unmarked { "all about" } else { "the chosen" };
        let question =
            format!("Delete {which} {count} of about {depth} dead letters{rest}? Type {count} to go on: ");
        if !confirmed(&question, &count.to_string(), &dlq.stop).await? {
            eprintln!("nothing was deleted");
            return Ok(ExitCode::FAILURE);
        }
        (most, uncounted) = (count, unseen);
    }
    let (purged, ended) = purge(dlq, (&options.filters, unmarked), most, &mut backup).await;
    let place = backup.file.map_or_else(String::new, |_| format!("; they are in {}", backup.path.display()));
    print(&format!("{} letters deleted{place}\n{}", purged.deleted, tell_left(&purged.left)))?;
    if let Some(words) = &purged.hidden {
        eprintln!("{words}");
    }
    ended?;
    let unseen = depth.saturating_sub(purged.seen);
    let missed = unseen > 0 && !purged.stopped && !purged.enough;
    if purged.stopped {
        eprintln!("stopped after {} of about {depth} letters", purged.seen);
    } else if missed {
        eprintln!(
            "about {unseen} could not be seen: behind ten letters of their group that stay, held by another command, or delayed by the dead-letter queue"
        );
    }
    let behind = purged.enough && uncounted > 0;
    if behind {
        eprintln!("up to {uncounted} letters were not counted and may be of the chosen: run this again");
    }
    let failed = behind
        || purged.stopped
        || missed
        || purged.hidden.is_some()
        || purged.left.contains_key(&Left::NotPurged);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How many letters a purge would take, and how many it cannot say that of: it looks, and gives them back. All of them
/// need no look.
async fn count(
    dlq: &Dlq,
    (filters, unmarked): (&Filters, bool),
    depth: usize,
) -> anyhow::Result<(usize, usize)> {
    if filters.all() && unmarked {
        return Ok((depth, 0));
    }
    let (mut seen, mut meant) = (0_usize, 0_usize);
    look(dlq, |letter| {
        seen += 1;
        meant += usize::from(filters.matches(letter) && letter.of_others(unmarked).is_none());
        Ok(true)
    })
    .await?;
    Ok((meant, depth.saturating_sub(seen)))
}

/// The file that letters are written to before they are deleted; made with the first of them.
struct Backup {
    path: PathBuf,
    file: Option<File>,
}

impl Backup {
    fn at(path: PathBuf) -> anyhow::Result<Self> {
        if path.exists() {
            return Err(anyhow!("the backup {} cannot be written: it exists", path.display()));
        }
        Ok(Self { path, file: None })
    }

    /// On the disk before anything is deleted.
    fn write(&mut self, letters: &[Letter], ours: Option<&str>) -> anyhow::Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(&self.path)?),
        };
        let mut lines = String::new();
        for letter in letters {
            lines.push_str(&line(letter, ours).to_string());
            lines.push('\n');
        }
        file.write_all(lines.as_bytes())
            .and_then(|()| file.sync_data())
            .with_context(|| format!("the backup {} cannot be written", self.path.display()))
    }
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

async fn purge(
    dlq: &Dlq,
    (filters, unmarked): (&Filters, bool),
    most: usize,
    backup: &mut Backup,
) -> (Purged, anyhow::Result<()>) {
    let mut walk = Walk::new(&dlq.letters, &dlq.random, dlq.stop.clone());
    let mut purged = Purged::default();
    let ended = loop {
        if purged.deleted >= most {
            purged.enough = true;
            break Ok(());
        }
        let letters = match walk.next(MAX_BATCH.min(most - purged.deleted)).await {
            Ok(Step::Letters(letters)) => letters,
            Ok(Step::End) => break Ok(()),
            Ok(Step::Stopped) => {
                purged.stopped = true;
                break Ok(());
            }
            Err(error) => break Err(anyhow::Error::from(error).context("the dead-letter queue")),
        };
        purged.seen += letters.len();
        let mut going: Vec<Letter> = Vec::with_capacity(letters.len());
        for letter in letters {
            if !filters.matches(&letter) {
                walk.hold(letter);
            } else if let Some(why) = letter.of_others(unmarked) {
                *purged.left.entry(why).or_default() += 1;
                walk.hold(letter);
            } else {
                going.push(letter);
            }
        }
        if let Err(error) = backup.write(&going, dlq.letters.name()) {
            walk.hold_all(going);
            break Err(error);
        }
        let deletion = walk.delete(going).await;
        purged.deleted += deletion.deleted;
        if deletion.left > 0 {
            *purged.left.entry(Left::NotPurged).or_default() += deletion.left;
        }
        if let Some(error) = deletion.error {
            break Err(anyhow::Error::from(error).context("the dead-letter queue"));
        }
    };
    purged.hidden = walk.end().await.words();
    (purged, ended)
}
