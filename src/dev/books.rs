//! What `dev` sent and what became of it.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use crate::local::receiver::Arrival;
use crate::process::output::print;
use crate::telemetry::metrics::Metrics;

/// Lines are no longer than the narrowest terminal is wide.
const COLUMNS: usize = 80;

/// Lines that a panel can show.
const KEPT: usize = 200;

/// The books: every sample job, by its group.
#[derive(Debug)]
pub(super) struct Books {
    began: Instant,
    expected: HashMap<String, VecDeque<u64>>,
    forged: HashSet<u64>,
    failed: HashSet<String>,
    sent: u64,
    delivered: u64,
    duplicates: u64,
    dead: u64,
    disorder: u64,
    /// Deliveries that came after a failure.
    retried: u64,
    /// Failed attempts of each group.
    refusals: HashMap<String, u64>,
    /// The last lines, where a panel shows them.
    lines: Option<VecDeque<String>>,
}

impl Books {
    /// Empty ones, which print what happens or, for a panel, keep the last lines.
    pub(super) fn new(panelled: bool) -> Self {
        Self {
            lines: panelled.then(VecDeque::new),
            retried: 0,
            refusals: HashMap::new(),
            began: Instant::now(),
            expected: HashMap::new(),
            forged: HashSet::new(),
            failed: HashSet::new(),
            sent: 0,
            delivered: 0,
            duplicates: 0,
            dead: 0,
            disorder: 0,
        }
    }

    pub(super) fn sent(&mut self, group: &str, n: u64, forged: bool) {
        self.sent += 1;
        if forged {
            self.forged.insert(n);
        } else {
            self.expected.entry(group.to_owned()).or_default().push_back(n);
        }
    }

    pub(super) fn arrived(&mut self, arrival: &Arrival) {
        let Some((n, event)) = number(&arrival.body, "/events/0") else { return };
        // The receiver knows no groups; a sample job's follows from its app and event.
        let group = format!("{}_{event}_webhooks", arrival.path.trim_start_matches('/'));
        if arrival.status != 200 {
            self.failed.insert(arrival.id.clone());
            *self.refusals.entry(group.clone()).or_default() += 1;
            self.print(
                "refused",
                &group,
                n,
                &format!("attempt {}: {}, group waits", arrival.attempt, arrival.status),
            );
            return;
        }
        let retried = self.failed.remove(&arrival.id);
        self.retried += u64::from(retried);
        let note = if retried {
            format!("attempt {}, after failures", arrival.attempt)
        } else {
            format!("attempt {}", arrival.attempt)
        };
        let expected = self.expected.entry(group.clone()).or_default();
        match expected.iter().position(|other| *other == n) {
            Some(0) => {
                expected.pop_front();
                self.delivered += 1;
                self.print("delivered", &group, n, &note);
            }
            Some(place) => {
                expected.remove(place);
                self.delivered += 1;
                self.disorder += 1;
                self.print("OVERTOOK", &group, n, &note);
            }
            None => {
                self.duplicates += 1;
                self.print("duplicate", &group, n, &note);
            }
        }
    }

    pub(super) fn dead_lettered(&mut self, group: &str, body: &[u8], detail: &str) {
        let n = number(body, "/payload/events/0").map_or(u64::MAX, |(n, _)| n);
        self.forged.remove(&n);
        self.dead += 1;
        self.print("dead", group, n, detail);
    }

    pub(super) fn settled(&self) -> u64 {
        self.delivered + self.dead
    }

    pub(super) fn in_order(&self) -> bool {
        self.disorder == 0
            && self.forged.is_empty()
            && self.expected.values().all(VecDeque::is_empty)
            && self.delivered + self.dead == self.sent
    }

    /// Groups with how many of their jobs are not delivered yet.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&str, usize)> {
        self.expected.iter().map(|(group, waiting)| (group.as_str(), waiting.len()))
    }

    /// Jobs sent, delivered and dead-lettered.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        (self.sent, self.delivered, self.dead)
    }

    /// The last lines that a panel is to show.
    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }

    pub(super) fn summary(&self, metrics: &Metrics) -> String {
        let blocked = metrics.board.blocked_groups();
        let mut line = format!(
            "── {:.1} s  sent {}  delivered {}  retried {}  dead {}  blocked groups {blocked}",
            self.began.elapsed().as_secs_f64(),
            self.sent,
            self.delivered,
            metrics.retries(),
            self.dead,
        );
        for (what, count) in [("duplicates", self.duplicates), ("OVERTAKEN", self.disorder)] {
            if count > 0 {
                line.extend([format!("  {what} {count}")]);
            }
        }
        cut(line)
    }

    /// What was seen, in four sentences.
    pub(super) fn story(&self) -> [String; 4] {
        let groups = self.expected.len();
        let order = match self.disorder {
            0 => "each in the order of its group".to_owned(),
            more => format!("{more} of them OUT OF ORDER"),
        };
        let refused: u64 = self.refusals.values().sum();
        let failing = match refused {
            0 => "No endpoint failed.".to_owned(),
            _ => format!(
                "{refused} attempts failed in {} groups: these waited, and nothing overtook.",
                self.refusals.len()
            ),
        };
        let recovered = match (self.retried, self.dead) {
            (0, 0) => "No job had to be tried again, and none was given up.".to_owned(),
            (retried, dead) => {
                format!("{retried} jobs got through on a retry; {dead} went to the dead-letter queue.")
            }
        };
        let lost = self.sent.saturating_sub(self.settled());
        let end = match (lost, self.duplicates) {
            (0, 0) => "Nothing was lost, and nothing came twice.".to_owned(),
            (0, twice) => format!("Nothing was lost; {twice} came twice, which a kill can cause."),
            (more, _) => format!("{more} jobs were still on the queue when it ended."),
        };
        [
            format!("{} of {} jobs in {groups} groups arrived, {order}.", self.delivered, self.sent),
            failing,
            recovered,
            end,
        ]
        .map(cut)
    }

    fn print(&mut self, what: &str, group: &str, n: u64, note: &str) {
        let (group, at) = (group.trim_end_matches("_webhooks"), self.began.elapsed().as_secs_f64());
        let line = cut(format!("{at:>6.1} s  {what:<9}  {group:<21}  {:<7}  {note}", format!("job {n}")));
        match &mut self.lines {
            // Whoever watches may have enough of it: the run goes on.
            None => drop(print(&format!("{line}\n"))),
            Some(lines) => {
                lines.push_back(line);
                while lines.len() > KEPT {
                    lines.pop_front();
                }
            }
        }
    }
}

/// A line that no terminal wraps.
fn cut(line: String) -> String {
    if line.chars().count() <= COLUMNS {
        return line;
    }
    line.chars().take(COLUMNS - 1).chain(['…']).collect()
}

fn number(body: &[u8], event: &str) -> Option<(u64, String)> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let event = body.pointer(event)?;
    Some((event.get("n")?.as_u64()?, event.get("name")?.as_str()?.to_owned()))
}
