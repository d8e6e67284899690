//! The books as a table.

use std::collections::BTreeMap;

use super::{Balance, Cause, Evidence};
use crate::apps::Kind;
use crate::history::End;

/// Everything in figures.
pub fn table(
    evidence: &Evidence,
    balance: &Balance,
    faults: &BTreeMap<(&'static str, String), u64>,
) -> String {
    let mut lines = Vec::new();
    let mut row = |name: String, count: u64| lines.push(format!("  {name:<66}{count:>9}"));
    let jobs = || evidence.sent.iter().flatten();
    row("jobs sent".into(), count(jobs()));
    for kind in [Kind::Forged, Kind::Malformed, Kind::UnknownApp, Kind::Gone] {
        row(format!("  of them to be dead-lettered: {kind:?}"), count(jobs().filter(|job| job.kind == kind)));
    }
    row("jobs in the dead-letter queue".into(), count(evidence.dead.iter()));
    let deliveries: u64 = evidence
        .sent
        .iter()
        .zip(&evidence.webhooks)
        .map(|(jobs, webhooks)| count(jobs.iter().filter(|job| job.kind == Kind::Sound)) * *webhooks as u64)
        .sum();
    row("deliveries due (sound jobs × webhooks)".into(), deliveries);
    row("attempts".into(), count(evidence.attempts.iter()));
    for (end, name) in [
        (Some(End::Accepted), "answered with a whole 2xx"),
        (Some(End::AnswerLost), "taken, the answer lost"),
        (Some(End::NotTaken), "not taken"),
        (None, "not ended"),
    ] {
        let ended = evidence.attempts.iter().filter(|attempt| attempt.end() == end);
        row(format!("  {name}"), count(ended));
    }
    row("worker processes".into(), count(evidence.lives.iter()));
    row("stalls of the machine".into(), count(evidence.stalls.iter()));
    row("duplicates".into(), balance.duplicates.values().sum());
    for cause in Cause::ALL {
        row(format!("  {}", cause.text()), balance.duplicates.get(&cause).copied().unwrap_or_default());
    }
    for kind in ["lost", "reordered", "overtaken", "overstayed", "unexplained duplicate"] {
        row(kind.into(), balance.violations.count(kind) as u64);
    }
    lines.push(String::new());
    lines.push("  what was done, to whom and how often".into());
    let mut by: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((whom, kind), count) in faults {
        by.entry(whom).or_default().push(format!("{kind} {count}"));
    }
    lines.extend(by.into_iter().map(|(whom, kinds)| format!("  {whom}: {}", kinds.join(", "))));
    lines.join("\n")
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    items.count() as u64
}
