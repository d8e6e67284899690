//! The producer: sends straight to the queue, past the proxy, and remembers what it sent.

use std::sync::Mutex;
use std::time::Duration;

use hookferry::queue::sqs::Sqs;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::{MissedTickBehavior, interval};

use crate::apps::{GROUPS, Kind, job};
use crate::chance::{Chance, drawn};
use crate::history::{History, lock};

/// Between two sends.
const TICK: Duration = Duration::from_millis(100);

/// Jobs that come to one group at once, so that lanes have ten.
const BURST: usize = 25;

/// Out of 1,000 jobs, those that are not sound.
const KINDS: [(Kind, u32); 4] =
    [(Kind::Forged, 8), (Kind::Malformed, 8), (Kind::UnknownApp, 8), (Kind::Gone, 8)];

/// One job that the queue has confirmed.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The message id that the queue gave it.
    pub id: String,
    pub kind: Kind,
}

/// The producer. Its jobs stand by group, in the order of the queue.
#[derive(Debug)]
pub struct Producer {
    queue: Sqs,
    sent: Mutex<Vec<Vec<Sent>>>,
}

impl Producer {
    pub fn new(queue: Sqs) -> Self {
        Self { queue, sent: Mutex::new(vec![Vec::new(); GROUPS]) }
    }

    /// Every job that was sent.
    pub fn sent(&self) -> Vec<Vec<Sent>> {
        lock(&self.sent).clone()
    }

    /// Sends `rate` jobs a second until `end`.
    pub async fn produce(&self, history: &History, chance: Chance, rate: u32, end: Duration) {
        let mut rng = chance.rng();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let each = f64::from(rate) * TICK.as_secs_f64();
        let mut due = 0.0;
        while history.now() < end {
            ticks.tick().await;
            due += each;
            let mut batch = Vec::new();
            while due >= 1.0 {
                let group = rng.random_range(0..GROUPS);
                let count = if rng.random_ratio(1, 50) { BURST } else { 1 };
                for _ in 0..count {
                    batch.push((group, drawn(&mut rng, &KINDS).unwrap_or(Kind::Sound)));
                    due -= 1.0;
                }
            }
            self.send(&batch, &mut rng).await;
        }
    }

    /// Sends one sound job to every group.
    pub async fn wave(&self, chance: Chance) {
        let batch: Vec<_> = (0..GROUPS).map(|group| (group, Kind::Sound)).collect();
        self.send(&batch, &mut chance.rng()).await;
    }

    async fn send(&self, batch: &[(usize, Kind)], rng: &mut SmallRng) {
        let mut next: Vec<usize> = lock(&self.sent).iter().map(Vec::len).collect();
        let jobs: Vec<_> = batch
            .iter()
            .map(|(group, kind)| {
                let n = next[*group];
                next[*group] += 1;
                let size = if rng.random_ratio(1, 20) { 20_000 } else { 10 };
                job(*group, n, *kind, size)
            })
            .collect();
        let answers = self.queue.send(&jobs).await.expect("the queue takes what is sent straight to it");
        let ids: Vec<_> = answers.into_iter().map(|id| id.expect("the queue takes each job")).collect();
        assert_eq!(ids.len(), batch.len());
        let mut sent = lock(&self.sent);
        for ((group, kind), id) in batch.iter().zip(ids) {
            sent[*group].push(Sent { id, kind: *kind });
        }
    }
}
