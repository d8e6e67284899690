//! `dlq list`, `show` and `export`: what looks, and gives everything back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::filters::Filters;
use super::{Dlq, tell_left};
use crate::letters::walk::{Step, Walk};
use crate::letters::{Letter, Origin};
use crate::process::Failure;
use crate::process::output::print;
use crate::queue::MAX_BATCH;
use crate::shown::{self, span};

/// Letters of one queue and app with one reason.
#[derive(Debug, Default)]
struct Heap {
    count: usize,
    groups: BTreeSet<Arc<str>>,
    oldest: Duration,
    newest: Option<Duration>,
    first: Option<String>,
    destinations: BTreeSet<String>,
    webhooks: BTreeSet<String>,
}

/// How a look ended.
pub(super) struct Looked {
    /// Whether it was told to stop before the end.
    stopped: bool,
    /// Whether letters stay hidden that were to be given back.
    hidden: bool,
}

impl Looked {
    /// Says what was not seen; gives the exit code.
    fn end(&self, seen: usize, depth: usize) -> ExitCode {
        if self.stopped {
            eprintln!("stopped after {seen} of about {depth} letters");
        }
        if self.stopped || self.hidden { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Walks over all letters that can be seen, until it is told that this is enough, and gives them back.
pub(super) async fn look(
    dlq: &Dlq,
    mut each: impl FnMut(&Letter) -> anyhow::Result<bool>,
) -> anyhow::Result<Looked> {
    let mut walk = Walk::new(&dlq.letters, &dlq.random, dlq.stop.clone());
    let ended = 'walk: loop {
        let letters = match walk.next(MAX_BATCH).await {
            Ok(Step::Letters(letters)) => letters,
            Ok(Step::End) => break Ok(false),
            Ok(Step::Stopped) => break Ok(true),
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
                    break 'walk Ok(false);
                }
                Err(error) => {
                    walk.hold_all(letters);
                    break 'walk Err(error);
                }
            }
        }
    };
    let hidden = walk.end().await.words();
    if let Some(words) = &hidden {
        eprintln!("{words}");
    }
    Ok(Looked { stopped: ended?, hidden: hidden.is_some() })
}

pub(super) async fn list(dlq: &Dlq, filters: &Filters, as_json: bool) -> Result<ExitCode, Failure> {
    let depth = dlq.depth().await?;
    let mut heaps: BTreeMap<(Origin, String, String), Heap> = BTreeMap::new();
    let mut seen = 0_usize;
    let looked = look(dlq, |letter| {
        seen += 1;
        if filters.matches(letter) {
            let key = (letter.origin.clone(), letter.app_id().to_owned(), letter.reason().to_owned());
            let heap = heaps.entry(key).or_default();
            heap.count += 1;
            heap.groups.insert(Arc::clone(&letter.message.group));
            heap.oldest = heap.oldest.max(letter.message.age);
            heap.newest = Some(heap.newest.map_or(letter.message.age, |age| age.min(letter.message.age)));
            heap.first.get_or_insert_with(|| letter.message.id.to_string());
            heap.destinations.extend(letter.attribute("destination").map(str::to_owned));
            heap.webhooks.extend(letter.attribute("webhook").map(str::to_owned));
        }
        Ok(true)
    })
    .await?;
    let unseen = depth.saturating_sub(seen);
    if as_json {
        let groups: Vec<Value> = heaps
            .iter()
            .map(|((origin, app, reason), heap)| {
                json!({
                    "app_id": app, "reason": reason, "letters": heap.count, "groups": heap.groups.len(),
                    "oldest_s": heap.oldest.as_secs(), "newest_s": heap.newest.unwrap_or_default().as_secs(),
                    "destinations": heap.destinations, "webhooks": heap.webhooks, "id": heap.first,
                    "queue": queue(origin),
                })
            })
            .collect();
        let complete = !looked.stopped && unseen == 0;
        let listed = json!({"letters": depth, "seen": seen, "complete": complete, "groups": groups});
        print(&format!("{}\n", shown::json(&listed.to_string())))?;
        return Ok(looked.end(seen, depth));
    }
    // Where no other queue shares the dead-letter queue, a letter that names none is of this one.
    let mixed = heaps.keys().any(|(origin, ..)| matches!(origin, Origin::Other(_)))
        || (heaps.keys().any(|(origin, ..)| *origin == Origin::Unmarked) && dlq.is_shared().await);
    let mut text = if heaps.is_empty() {
        format!("no dead letters{}\n", if filters.all() { "" } else { " like that" })
    } else {
        table(heaps, mixed)
    };
    if unseen > 0 && !looked.stopped {
        // Writing to a string does not fail.
        writeln!(
            text,
            "\n{unseen} more, by the queue's own count, cannot be seen now: a group shows ten letters at a time, and what another \
             command or a worker holds is hidden, or the queue delays it"
        )
        .ok();
    }
    print(&text)?;
    Ok(looked.end(seen, depth))
}

/// The heaps, the largest first; with the queues that they are of where there is more than one.
fn table(heaps: BTreeMap<(Origin, String, String), Heap>, mixed: bool) -> String {
    let line = |columns: [&str; 7], of: &str, example: &str| {
        let [letters, app, reason, destination, webhook, groups, since] = columns;
        let (app, reason) = (fitted(app, 20), fitted(reason, 18));
        let of = if mixed { format!("{:<28} ", fitted(of, 28)) } else { String::new() };
        format!(
            "{letters:>7}  {app:<20} {reason:<18} {destination:<30} {webhook:<15} {groups:>6} {since:>8}  {of}{example}\n"
        )
    };
    let head = ["LETTERS", "APP", "REASON", "DESTINATION", "WEBHOOK", "GROUPS", "SINCE"];
    let mut text = line(head, "QUEUE", "FOR EXAMPLE");
    let mut heaps: Vec<_> = heaps.into_iter().collect();
    heaps.sort_by_key(|(_, heap)| std::cmp::Reverse(heap.count));
    for ((origin, app, reason), heap) in heaps {
        let of = match &origin {
            Origin::Ours => "this one",
            Origin::Other(name) => name,
            Origin::Unmarked => "it does not say",
        };
        let (letters, groups) = (heap.count.to_string(), heap.groups.len().to_string());
        let (destination, webhook) = (few(&heap.destinations, 30), few(&heap.webhooks, 15));
        let columns =
            [&letters, &app, &reason, &destination, &webhook, &groups, &*span(heap.oldest.as_secs())];
        text.push_str(&line(
            columns,
            of,
            &format!("hookferry dlq show {}", heap.first.as_deref().unwrap_or_default()),
        ));
    }
    text
}

/// The first of some names, and how many more there are.
fn few(names: &BTreeSet<String>, width: usize) -> String {
    let Some(first) = names.first() else { return "-".to_owned() };
    let more = if names.len() > 1 { format!(" +{}", names.len() - 1) } else { String::new() };
    format!("{}{more}", fitted(first, width.saturating_sub(more.len())))
}

/// Which queue a letter is of, for a program.
fn queue(origin: &Origin) -> Value {
    match origin {
        Origin::Ours => Value::from("this queue"),
        Origin::Other(queue) => Value::from(&**queue),
        Origin::Unmarked => Value::Null,
    }
}

pub(super) async fn show(dlq: &Dlq, id: &str) -> Result<ExitCode, Failure> {
    let depth = dlq.depth().await?;
    let (mut seen, mut found) = (0_usize, None);
    let looked = look(dlq, |letter| {
        seen += 1;
        if *letter.message.id != *id && letter.attribute("source_message_id") != Some(id) {
            return Ok(true);
        }
        found = Some(details(letter));
        Ok(false)
    })
    .await?;
    let Some(details) = found else {
        if !looked.stopped {
            eprintln!(
                "no letter {id} can be seen: it may lie behind ten others of its group, or be held by another command. The worker's \
                 log tells of it (CloudWatch Logs Insights: fields @timestamp, app_id, destination, reason | filter message_id = {id:?}), \
                 and hookferry dlq list --app APP shows what lies before it"
            );
        }
        looked.end(seen, depth);
        return Ok(ExitCode::FAILURE);
    };
    let details = serde_json::to_string_pretty(&details).context("the letter")?;
    print(&format!("{}\n", shown::json(&details)))?;
    Ok(looked.end(seen, depth))
}

fn details(letter: &Letter) -> Value {
    let body = String::from_utf8_lossy(&letter.message.body);
    let body = serde_json::from_str(&body).unwrap_or_else(|_| Value::from(body.into_owned()));
    json!({
        "id": &*letter.message.id, "group": &*letter.message.group, "app_id": letter.app_id(),
        "reason": letter.reason(), "dead_for_s": letter.message.age.as_secs(), "queue": queue(&letter.origin),
        "attributes": letter.attributes, "body": body,
    })
}

pub(super) async fn export(dlq: &Dlq, filters: &Filters) -> Result<ExitCode, Failure> {
    let depth = dlq.depth().await?;
    let unmarked = !dlq.is_shared().await;
    let (mut seen, mut written, mut left) = (0_usize, 0_usize, BTreeMap::new());
    let mut out = std::io::stdout().lock();
    let looked = look(dlq, |letter| {
        seen += 1;
        if !filters.matches(letter) {
            return Ok(true);
        }
        if let Some(why) = letter.of_others(unmarked) {
            *left.entry(why).or_default() += 1;
        } else {
            let line = line(letter, dlq.letters.name()).to_string();
            writeln!(out, "{}", shown::json(&line)).context("standard output")?;
            written += 1;
        }
        Ok(true)
    })
    .await?;
    eprintln!("{written} letters exported");
    eprint!("{}", tell_left(&left));
    let unseen = depth.saturating_sub(seen);
    let ended = looked.end(seen, depth);
    if unseen > 0 && !looked.stopped {
        // SQS hands over nothing of a group of which a message is held, and only a deletion ends that.
        eprintln!(
            "about {unseen} more could not be seen and are not exported: a group shows its first ten letters, and those behind them only \
             when these are gone; what another command or a worker holds is hidden too, and what the dead-letter queue delays. hookferry dlq purge writes all letters to a file \
             while it deletes them"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ended)
}

/// A line that `enqueue` takes, with everything that the letter says beside. `ours` is the account and name of the
/// queue: letters of others are never written.
pub(super) fn line(letter: &Letter, ours: Option<&str>) -> Value {
    let message = &letter.message;
    json!({
        "group": &*message.group,
        "dedup": format!("redrive-{}", message.id),
        "body": String::from_utf8_lossy(&message.body),
        "id": &*message.id,
        "attributes": letter.attributes,
        "queue": ours,
    })
}

/// Text of tenants and producers, for a terminal.
pub(super) fn shown(text: &str) -> String {
    fitted(text, 40)
}

/// Text of tenants and producers, escaped and cut to `most` characters.
fn fitted(text: &str, most: usize) -> String {
    let escaped: String = text.escape_debug().collect();
    if escaped.chars().count() <= most {
        return escaped;
    }
    let mut short: String = escaped.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_is_a_line_that_names_its_endpoint_and_is_cut_to_fit() {
        let heap = Heap {
            count: 3,
            destinations: ["hooks.shop.example".to_owned(), "z".repeat(300)].into(),
            webhooks: BTreeSet::from(["0123456789ab".to_owned()]),
            first: Some("id-1".to_owned()),
            ..Heap::default()
        };
        let key = (Origin::Other("0.other.fifo".into()), "a\n".repeat(200), "status".to_owned());
        let text = table(BTreeMap::from([(key, heap)]), true);
        let row = text.lines().nth(1).unwrap();
        assert!(row.contains("hooks.shop.example +1") && row.contains("0123456789ab"), "{text}");
        assert!(row.contains("0.other.fifo") && row.ends_with("hookferry dlq show id-1"), "{text}");
        assert!(text.lines().count() == 2 && row.chars().count() < 200, "{text}");
    }
}
