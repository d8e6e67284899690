//! One run from beginning to end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::apps::{self, GROUPS};
use crate::books::{self, Evidence};
use crate::chance::Chance;
use crate::history::History;
use crate::producer::Producer;
use crate::proxy::{Fault, Proxy};
use crate::queue::LocalQueue;
use crate::receiver::{self, Afterwards, Fate};
use crate::timing::DRAIN;
use crate::workers::{Deed, Setting, Worker, Workers};
use crate::{Options, STANDARD};

const RECEIVERS: usize = 5;

/// Every process and task of a run.
struct World {
    history: Arc<History>,
    queue: LocalQueue,
    proxy: Arc<Proxy>,
    producer: Producer,
    workers: Arc<Workers>,
    _tasks: JoinSet<()>,
}

/// Runs; gives the table and everything that is wrong.
pub async fn run(options: &Options, seed: u64, directory: &Path) -> (String, Vec<String>) {
    let chance = Chance::from_seed(seed);
    let length = Duration::from_secs(options.seconds);
    let world = World::start(options, chance, length, directory).await;
    let (producer, history) = (&world.producer, &world.history);
    let (living, ()) = tokio::join!(
        world.workers.torment(usize::from(options.workers), chance.of("deeds"), length),
        producer.produce(history, chance.of("jobs"), options.rate, length),
    );
    history.calm_down();
    world.drain(chance, &living).await;
    for worker in living {
        world.workers.terminate(worker).await;
    }
    let evidence = world.evidence().await;
    let balance = books::balance(&evidence);
    let faults = history.faults();
    let mut wrongs: Vec<String> = history.wrongs();
    wrongs.extend(balance.violations.lines());
    if length >= STANDARD {
        wrongs.extend(never_inflicted(&faults));
    }
    (books::table(&evidence, &balance, &faults), wrongs)
}

impl World {
    async fn start(options: &Options, chance: Chance, length: Duration, directory: &Path) -> Self {
        let queue = LocalQueue::start().await;
        let producer = Producer::new(queue.sender().await);
        let history = Arc::new(History::default());
        let mut tasks = JoinSet::new();
        let watched = Arc::clone(&history);
        tasks.spawn(async move { watched.watch().await });
        let mut receivers = Vec::new();
        for number in 0..RECEIVERS {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            receivers.push(listener.local_addr().expect("it is bound"));
            tasks.spawn(receiver::serve(listener, chance.of(("receiver", number)), Arc::clone(&history)));
        }
        let (proxy, listener) = Proxy::bind(queue.address, chance.of("proxy"), Arc::clone(&history)).await;
        // A third of the way, so that there is life before and after it.
        tasks.spawn(Arc::clone(&proxy).serve(listener, length / 3));
        let setting = Setting {
            endpoint: proxy.address(),
            queue_url: queue.url.clone(),
            receivers,
            directory: directory.to_owned(),
            log_level: options.log_level.clone(),
        };
        let workers = Workers::new(setting, Arc::clone(&history));
        Self { history, queue, proxy, producer, workers, _tasks: tasks }
    }

    /// Faults have stopped: everything must now go through, and every worker must take part in it. A
    /// poller or lane that is stuck since some fault would show here.
    async fn drain(&self, chance: Chance, living: &[Worker]) {
        let since = self.history.now();
        let end = since + DRAIN;
        let mut silent: BTreeSet<String> = living.iter().map(|worker| worker.name.clone()).collect();
        let mut wave = 0_u32;
        while !silent.is_empty() && self.history.now() < end {
            self.producer.wave(chance.of(("wave", wave))).await;
            wave += 1;
            sleep(Duration::from_millis(500)).await;
            silent = &silent - &self.history.at_work_since(since);
        }
        for name in silent {
            self.history.wrong(format!("{name} delivered nothing after the faults had stopped"));
        }
        loop {
            let depth = self.queue.depth().await;
            if depth == 0 {
                return;
            }
            if self.history.now() >= end {
                return self.history.wrong(format!("{depth} messages are still in the queue"));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn evidence(&self) -> Evidence {
        Evidence {
            sent: self.producer.sent(),
            webhooks: (0..GROUPS).map(apps::webhooks).collect(),
            attempts: self.history.attempts(),
            dead: self.queue.take_dead().await,
            lives: self.workers.lives(),
            notes: self.proxy.notes(),
            stalls: self.history.stalls(),
        }
    }
}

/// No fault may be dead code.
fn never_inflicted(faults: &BTreeMap<(&'static str, String), u64>) -> Vec<String> {
    let mut expected: Vec<(&str, String)> = vec![("queue", "Gone".to_owned())];
    expected.extend(Deed::ALL.map(|deed| ("worker", format!("{deed:?}"))));
    expected.extend(Fate::ALL.map(|fate| ("receiver", format!("{fate:?}"))));
    expected.extend(Afterwards::ALL.map(|after| ("connection", format!("{after:?}"))));
    for action in ["receive", "delete", "change visibility"] {
        expected.extend(Fault::ALL.map(|fault| (action, format!("{fault:?}"))));
    }
    expected
        .into_iter()
        .filter(|(whom, kind)| !faults.contains_key(&(*whom, kind.clone())))
        .map(|(whom, kind)| format!("never inflicted on a {whom}: {kind}"))
        .collect()
}
