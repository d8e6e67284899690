//! What `dev` sent and what became of it.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use crate::local::receiver::Arrival;
use crate::telemetry::metrics::Metrics;

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
}

impl Default for Books {
    fn default() -> Self {
        Self {
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
}

impl Books {
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
            self.print(
                "refused",
                &group,
                n,
                &format!("attempt {}: answered {}, its group waits", arrival.attempt, arrival.status),
            );
            return;
        }
        let retried = self.failed.remove(&arrival.id);
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

    pub(super) fn summary(&self, metrics: &Metrics) -> String {
        let in_flight = metrics
            .messages
            .get()
            .saturating_sub(metrics.acknowledged.get() + metrics.released.get() + metrics.abandoned.get());
        let blocked = u64::try_from(metrics.blocked.get()).unwrap_or_default();
        format!(
            "── {:>6.1} s  sent {}  delivered {}  retried {}  dead-lettered {}  blocked groups {}  in flight {}  duplicates {}  overtaken {}",
            self.began.elapsed().as_secs_f64(),
            self.sent,
            self.delivered,
            metrics.retries(),
            self.dead,
            blocked,
            in_flight.min(self.sent - self.settled().min(self.sent)).saturating_sub(blocked),
            self.duplicates,
            self.disorder,
        )
    }

    fn print(&self, what: &str, group: &str, n: u64, note: &str) {
        println!("{:>9.3} s  {what:<9}  {group:<30}  job {n:<5} {note}", self.began.elapsed().as_secs_f64());
    }
}

fn number(body: &[u8], event: &str) -> Option<(u64, String)> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let event = body.pointer(event)?;
    Some((event.get("n")?.as_u64()?, event.get("name")?.as_str()?.to_owned()))
}
