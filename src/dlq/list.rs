//! `dlq list`, `show` and `export`: what looks, and gives everything back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::Dlq;
use super::filters::{Filters, words};
use crate::letters::walk::{Step, Walk};
use crate::letters::{Letter, Origin};
use crate::process::Failure;
use crate::queue::MAX_BATCH;

/// Letters of one app with one reason.
#[derive(Debug, Default)]
struct Heap {
    count: usize,
    groups: BTreeSet<Arc<str>>,
    oldest: Duration,
    newest: Option<Duration>,
    first: Option<String>,
    destinations: BTreeSet<String>,
}

/// Walks over all letters that can be seen, and gives them back; true if it saw the end.
async fn look(dlq: &Dlq, mut each: impl FnMut(&Letter) -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    let mut walk = Walk::new(&dlq.letters, &dlq.random, dlq.stop.clone());
    let ended = 'walk: loop {
        let letters = match walk.next(MAX_BATCH).await {
            Ok(Step::Letters(letters)) => letters,
            Ok(Step::End) => break Ok(true),
            Ok(Step::Stopped) => break Ok(false),
            Err(error) => break Err(anyhow::Error::from(error).context("the dead-letter queue")),
        };
        let mut letters = letters.into_iter();
        while let Some(letter) = letters.next() {
            let goes_on = each(&letter);
            walk.hold(letter);
            match goes_on {
                Ok(true) => {}
                Ok(false) => {
                    walk.hold_all(letters);
                    break 'walk Ok(true);
                }
                Err(error) => {
                    walk.hold_all(letters);
                    break 'walk Err(error);
                }
            }
        }
    };
    let late = walk.end().await;
    if late > 0 {
        eprintln!("{late} letters could not be given back: they are hidden for up to two minutes");
    }
    ended
}

pub(super) async fn list(dlq: &Dlq, filters: &Filters, as_json: bool) -> Result<ExitCode, Failure> {
    let depth = dlq.depth().await?;
    let mut heaps: BTreeMap<(String, String), Heap> = BTreeMap::new();
    let mut seen = 0_usize;
    let whole = look(dlq, |letter| {
        seen += 1;
        if filters.matches(letter) {
            let heap = heaps.entry((letter.app_id().to_owned(), letter.reason().to_owned())).or_default();
            heap.count += 1;
            heap.groups.insert(Arc::clone(&letter.message.group));
            heap.oldest = heap.oldest.max(letter.message.age);
            heap.newest = Some(heap.newest.map_or(letter.message.age, |age| age.min(letter.message.age)));
            heap.first.get_or_insert_with(|| letter.message.id.to_string());
            heap.destinations.extend(letter.attribute("destination").map(str::to_owned));
        }
        Ok(true)
    })
    .await?;
    let unseen = depth.saturating_sub(seen);
    if as_json {
        let groups: Vec<Value> = heaps
            .iter()
            .map(|((app, reason), heap)| {
                json!({
                    "app_id": app, "reason": reason, "letters": heap.count, "groups": heap.groups.len(),
                    "oldest_s": heap.oldest.as_secs(), "newest_s": heap.newest.unwrap_or_default().as_secs(),
                    "destinations": heap.destinations, "id": heap.first,
                })
            })
            .collect();
        println!(
            "{}",
            json!({"letters": depth, "seen": seen, "complete": whole && unseen == 0, "groups": groups})
        );
        return Ok(ExitCode::SUCCESS);
    }
    if heaps.is_empty() {
        println!("no dead letters{}", if filters.all() { "" } else { " like that" });
    } else {
        println!(
            "{:>7}  {:<24} {:<28} {:>7}  {:>8}  FOR EXAMPLE",
            "LETTERS", "APP", "REASON", "GROUPS", "SINCE"
        );
    }
    let mut heaps: Vec<_> = heaps.into_iter().collect();
    heaps.sort_by_key(|(_, heap)| std::cmp::Reverse(heap.count));
    for ((app, reason), heap) in heaps {
        println!(
            "{:>7}  {:<24} {:<28} {:>7}  {:>8}  hookferry dlq show {}",
            heap.count,
            shown(&app),
            shown(&reason),
            heap.groups.len(),
            words(heap.oldest),
            heap.first.unwrap_or_default()
        );
    }
    if unseen > 0 {
        println!(
            "\n{unseen} more, by the queue's own count, cannot be seen now: a group shows ten letters at a time, and what another \
             command or a worker holds is hidden"
        );
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(dlq: &Dlq, id: &str) -> Result<ExitCode, Failure> {
    let mut found = None;
    look(dlq, |letter| {
        if *letter.message.id != *id && letter.attribute("source_message_id") != Some(id) {
            return Ok(true);
        }
        found = Some(details(letter));
        Ok(false)
    })
    .await?;
    let Some(details) = found else {
        eprintln!(
            "no letter {id} can be seen: it may lie behind ten others of its group, or be held by another command"
        );
        return Ok(ExitCode::FAILURE);
    };
    println!("{}", serde_json::to_string_pretty(&details).context("the letter")?);
    Ok(ExitCode::SUCCESS)
}

fn details(letter: &Letter) -> Value {
    let body = String::from_utf8_lossy(&letter.message.body);
    let body = serde_json::from_str(&body).unwrap_or_else(|_| Value::from(body.into_owned()));
    let origin = match &letter.origin {
        Origin::Ours => Value::from("this queue"),
        Origin::Other(queue) => Value::from(&**queue),
        Origin::Unmarked => Value::Null,
    };
    json!({
        "id": &*letter.message.id, "group": &*letter.message.group, "app_id": letter.app_id(),
        "reason": letter.reason(), "dead_for_s": letter.message.age.as_secs(), "queue": origin,
        "attributes": letter.attributes, "body": body,
    })
}

pub(super) async fn export(dlq: &Dlq, filters: &Filters) -> Result<ExitCode, Failure> {
    let depth = dlq.depth().await?;
    let (mut seen, mut written) = (0_usize, 0_usize);
    let mut out = std::io::stdout().lock();
    look(dlq, |letter| {
        seen += 1;
        if filters.matches(letter) {
            writeln!(out, "{}", line(letter)).context("standard output")?;
            written += 1;
        }
        Ok(true)
    })
    .await?;
    let unseen = depth.saturating_sub(seen);
    eprintln!("{written} letters exported");
    if unseen > 0 {
        eprintln!(
            "{unseen} more could not be seen: a group shows ten letters at a time (purge writes all that it takes)"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// A line that `enqueue` takes, with everything that the letter says beside.
pub(super) fn line(letter: &Letter) -> Value {
    let message = &letter.message;
    json!({
        "group": &*message.group,
        "dedup": format!("redrive-{}", message.id),
        "body": String::from_utf8_lossy(&message.body),
        "id": &*message.id,
        "attributes": letter.attributes,
    })
}

/// Text of tenants and producers, for a terminal.
pub(super) fn shown(text: &str) -> String {
    let escaped: String = text.escape_debug().collect();
    let mut short: String = escaped.chars().take(40).collect();
    if short.len() < escaped.len() {
        short.push('…');
    }
    short
}
