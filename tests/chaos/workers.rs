//! The worker processes, and what is done to them.
//!
//! There is a fixed number of places. What runs in a place is killed, terminated or stopped at drawn
//! times, and another process with another name takes its place; two places at the most are being
//! dealt with at once, so that the others go on. The worker in the first place is only ever stopped and
//! resumed: it lives through everything, and must still be at work in the end.

mod process;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chance::{Chance, millis};
use crate::history::{History, lock};
use crate::timing::{GRACE, VISIBILITY};
pub use process::{Setting, Worker, program};

/// Places that are being dealt with at once.
const AT_ONCE: usize = 2;

/// What is done to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// SIGKILL.
    Kill,
    /// SIGTERM; it has to end by itself, with success, within its grace.
    Terminate,
    /// SIGTERM, and SIGKILL before it is done: an orchestrator that lost patience.
    TerminateThenKill,
    /// SIGSTOP beyond the visibility timeout, then SIGCONT.
    Stop,
    /// SIGSTOP, then SIGKILL.
    StopThenKill,
}

impl Deed {
    pub const ALL: [Self; 5] =
        [Self::Kill, Self::Terminate, Self::TerminateThenKill, Self::Stop, Self::StopThenKill];
}

/// What became of one worker process.
#[derive(Clone, Debug, Default)]
pub struct Life {
    pub killed: Option<Duration>,
    /// From when to when it was stopped.
    pub stops: Vec<(Duration, Duration)>,
}

/// The places.
#[derive(Debug)]
pub struct Workers {
    setting: Setting,
    history: Arc<History>,
    lives: Mutex<BTreeMap<String, Life>>,
}

impl Workers {
    pub fn new(setting: Setting, history: Arc<History>) -> Arc<Self> {
        Arc::new(Self { setting, history, lives: Mutex::default() })
    }

    /// What became of every worker process, by name.
    pub fn lives(&self) -> BTreeMap<String, Life> {
        lock(&self.lives).clone()
    }

    /// Starts a worker in every place and deals with them until `end`; gives those that then run.
    pub async fn torment(self: &Arc<Self>, places: usize, chance: Chance, end: Duration) -> Vec<Worker> {
        let mut free: Vec<(usize, usize, Worker)> =
            (0..places).map(|place| (place, 0, self.start(place, 0))).collect();
        let mut busy = JoinSet::new();
        let mut rng = chance.rng();
        let mut deck = Vec::new();
        let mut deeds = 0_u32;
        while self.history.now() < end {
            sleep(millis(&mut rng, 700..2200)).await;
            while let Some(done) = busy.try_join_next() {
                free.push(done.expect("a deed is done"));
            }
            if busy.len() >= AT_ONCE.min(places - 1) {
                continue;
            }
            let (place, count, worker) = free.swap_remove(rng.random_range(0..free.len()));
            let deed = if place == 0 { Deed::Stop } else { next(&mut deck, &mut rng) };
            self.history.fault("worker", deed);
            deeds += 1;
            let rng = chance.of(deeds).rng();
            busy.spawn(Arc::clone(self).deal(deed, place, count, worker, rng));
        }
        while let Some(done) = busy.join_next().await {
            free.push(done.expect("a deed is done"));
        }
        free.into_iter().map(|(_, _, worker)| worker).collect()
    }

    /// Ends a worker in an orderly way and holds it to that.
    pub async fn terminate(&self, mut worker: Worker) {
        worker.signal(Signal::TERM);
        match timeout(GRACE + Duration::from_secs(2), worker.wait()).await {
            Ok(status) if status.success() => {}
            Ok(status) => self.history.wrong(format!("{} ended with {status} after SIGTERM", worker.name)),
            Err(_) => self.history.wrong(format!("{} did not end within its grace", worker.name)),
        }
    }

    async fn deal(
        self: Arc<Self>,
        deed: Deed,
        place: usize,
        count: usize,
        mut worker: Worker,
        mut rng: SmallRng,
    ) -> (usize, usize, Worker) {
        if let Some(status) = worker.ended() {
            self.history.wrong(format!("{} ended by itself with {status}", worker.name));
        }
        match deed {
            Deed::Kill => self.kill(&mut worker).await,
            Deed::Terminate => self.terminate(worker).await,
            Deed::TerminateThenKill => {
                worker.signal(Signal::TERM);
                sleep(millis(&mut rng, 1..400)).await;
                self.kill(&mut worker).await;
            }
            Deed::Stop => {
                let from = self.stop(&worker);
                sleep(VISIBILITY + millis(&mut rng, 500..3000)).await;
                worker.signal(Signal::CONT);
                self.stopped(&worker, from);
                return (place, count, worker);
            }
            Deed::StopThenKill => {
                let from = self.stop(&worker);
                sleep(millis(&mut rng, 500..5000)).await;
                self.stopped(&worker, from);
                self.kill(&mut worker).await;
            }
        }
        sleep(millis(&mut rng, 0..1500)).await;
        (place, count + 1, self.start(place, count + 1))
    }

    fn start(&self, place: usize, count: usize) -> Worker {
        let worker = self.setting.start(format!("w{place}i{count}"));
        lock(&self.lives).insert(worker.name.clone(), Life::default());
        worker
    }

    async fn kill(&self, worker: &mut Worker) {
        let now = self.history.now();
        lock(&self.lives).entry(worker.name.clone()).or_default().killed = Some(now);
        worker.signal(Signal::KILL);
        worker.wait().await;
    }

    fn stop(&self, worker: &Worker) -> Duration {
        let from = self.history.now();
        worker.signal(Signal::STOP);
        from
    }

    fn stopped(&self, worker: &Worker, from: Duration) {
        let stop = (from, self.history.now());
        lock(&self.lives).entry(worker.name.clone()).or_default().stops.push(stop);
    }
}

/// Deeds come from a shuffled deck, so that even a short run has each of them.
fn next(deck: &mut Vec<Deed>, rng: &mut SmallRng) -> Deed {
    if deck.is_empty() {
        deck.extend(Deed::ALL);
        deck.shuffle(rng);
    }
    deck.pop().expect("it was just filled")
}
