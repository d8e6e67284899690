//! Worlds of a seed each: an application that keeps what is confirmed, producers that crash, and a network
//! and a queue that fail in every way, under virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use super::queue::Queue;
use super::*;

/// Worlds, unless the variable `SEEDS` says otherwise.
const SEEDS: u64 = 40;
/// A world that lasts longer says nothing of duplicates: SQS has forgotten what was sent at its beginning.
const REMEMBERED: Duration = Duration::from_secs(290);

/// A process's way to the queue, until it crashes.
struct Way {
    queue: Queue,
    alive: Arc<AtomicBool>,
    random: std::sync::Mutex<SmallRng>,
    trouble: f64,
    /// Calls whose end nobody knows yet, and what is on its way although its call was given up.
    arriving: Arc<AtomicUsize>,
}

/// What happens to one call.
struct Fate {
    there: Duration,
    back: Duration,
    request_lost: bool,
    response_lost: bool,
    throttled: bool,
    fails_from: Option<usize>,
}

impl Way {
    fn fate(&self, entries: usize) -> Fate {
        let mut random = self.random.lock().unwrap();
        let trouble = self.trouble;
        let mut chance = |share: f64| random.random::<f64>() < share * trouble;
        let (request_lost, response_lost, throttled) = (chance(0.2), chance(0.3), chance(0.2));
        let (partial, slow) = (chance(0.3), chance(0.05));
        let there = Duration::from_millis(random.random_range(1..if slow { 15_000 } else { 40 }));
        let back = Duration::from_millis(random.random_range(1..if slow { 15_000 } else { 40 }));
        let fails_from = partial.then(|| random.random_range(0..entries));
        Fate { there, back, request_lost, response_lost, throttled, fails_from }
    }
}

impl SendBatch for Way {
    async fn send_batch(&self, batch: &[&NewMessage]) -> Result<Vec<EntryResult>, CallError> {
        let fate = self.fate(batch.len());
        if !self.alive.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        if fate.request_lost {
            sleep(fate.there).await;
            return Err(CallError::NoResponse("lost".into()));
        }
        let jobs: Vec<NewMessage> = batch.iter().map(|job| (*job).clone()).collect();
        let queue = self.queue.clone();
        let arriving = Arc::clone(&self.arriving);
        arriving.fetch_add(1, Ordering::Relaxed);
        // What is on its way arrives, even if whoever sent it has given up waiting, or crashed.
        let effect = tokio::spawn(async move {
            sleep(fate.there).await;
            arriving.fetch_sub(1, Ordering::Relaxed);
            if fate.throttled {
                return Err(CallError::Throttled("slow down".into()));
            }
            // Of a group nothing is taken behind what is not taken.
            let mut failing: Vec<&str> = Vec::new();
            let mut results = Vec::with_capacity(jobs.len());
            for (n, job) in jobs.iter().enumerate() {
                if fate.fails_from == Some(n) {
                    failing.push(&job.group);
                }
                if failing.contains(&job.group.as_str()) {
                    results.push(EntryResult::Failed("internal".into()));
                } else {
                    results.extend(queue.put(&[job]));
                }
            }
            Ok(results)
        });
        let answer = effect.await.unwrap();
        sleep(fate.back).await;
        if !self.alive.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        if fate.response_lost { Err(CallError::NoResponse("lost".into())) } else { answer }
    }
}

/// An application that puts `per_group` jobs into each group, and after a crash again what it was not told
/// of: the same jobs, in the same order.
async fn live(seed: u64) -> bool {
    let began = tokio::time::Instant::now();
    let mut random = SmallRng::seed_from_u64(seed);
    let groups = random.random_range(1..60);
    let per_group = random.random_range(1..60);
    let crashes = random.random_range(0..4);
    let trouble = if random.random_bool(0.2) { 0.0 } else { random.random_range(0.1..1.0) };
    let queue = Queue::new();
    let mut confirmed: BTreeMap<u64, u64> = BTreeMap::new();
    for life in 0..=crashes {
        let alive = Arc::new(AtomicBool::new(true));
        let way = Way {
            queue: queue.clone(),
            alive: Arc::clone(&alive),
            random: std::sync::Mutex::new(SmallRng::seed_from_u64(seed << 8 | life)),
            trouble,
            arriving: Arc::default(),
        };
        let buffer = Buffer { jobs: random.random_range(100..1000), ..Buffer::default() };
        let producer = Producer::over(way, buffer);
        let mut jobs: Vec<(u64, u64)> = (0..per_group)
            .flat_map(|n| (0..groups).map(move |group| (group, n)))
            .filter(|(group, n)| *n >= confirmed.get(group).copied().unwrap_or_default())
            .collect();
        jobs.sort_by_key(|(_, n)| *n);
        let made = stream::iter(jobs.clone().into_iter().map(|(group, n)| job(&format!("g{group}"), n)));
        let mut results = Box::pin(producer.enqueue_all(made));
        let crash = Duration::from_millis(random.random_range(1..3000));
        let ends = async {
            for (group, n) in jobs {
                let result = results.next().await.unwrap();
                result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                assert_eq!(confirmed.insert(group, n + 1).unwrap_or_default(), n, "seed {seed}");
            }
        };
        if life < crashes {
            // Whether it was done or not: what was confirmed counts.
            drop(tokio::time::timeout(crash, ends).await);
            alive.store(false, Ordering::Relaxed);
        } else {
            ends.await;
        }
    }
    if crashes > 0 && began.elapsed() > REMEMBERED {
        return false;
    }
    // What is still on its way arrives too.
    sleep(Duration::from_secs(60)).await;
    let expected: BTreeMap<_, _> =
        (0..groups).map(|group| (format!("g{group}"), (0..per_group).collect::<Vec<_>>())).collect();
    assert_eq!(queue.arrived(), expected, "seed {seed}");
    true
}

#[tokio::test(start_paused = true)]
async fn in_every_world_each_job_arrives_once_and_in_the_order_of_its_group() {
    #[allow(clippy::disallowed_methods, reason = "of the test alone: how many worlds")]
    let seeds = std::env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let mut judged = 0;
    for seed in 0..seeds {
        judged += u64::from(live(seed).await);
    }
    assert!(judged * 10 >= seeds * 9, "{judged} of {seeds} worlds were short enough to judge");
}

/// A process that stands still once for some minutes, when nothing of it is on its way.
async fn stand_still(seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let (groups, per_group) = (random.random_range(1..200), random.random_range(1..30));
    let queue = Queue::new();
    let arriving = Arc::<AtomicUsize>::default();
    let way = Way {
        queue: queue.clone(),
        alive: Arc::new(AtomicBool::new(true)),
        random: std::sync::Mutex::new(SmallRng::seed_from_u64(seed << 8)),
        trouble: random.random_range(0.5..1.0),
        arriving: Arc::clone(&arriving),
    };
    let producer = Producer::over(way, Buffer::default());
    let jobs: Vec<_> =
        (0..per_group).flat_map(|n| (0..groups).map(move |group| (format!("g{group}"), n))).collect();
    let made = stream::iter(jobs.clone().into_iter().map(|(group, n)| job(&group, n)));
    let results = producer.enqueue_all(made).collect::<Vec<_>>();
    let stop = Duration::from_millis(random.random_range(1..3000));
    let stands = async {
        sleep(stop).await;
        for _ in 0..10_000 {
            if arriving.load(Ordering::Relaxed) == 0 {
                advance(Duration::from_secs(random.random_range(200..600))).await;
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let (results, ()) = tokio::join!(results, stands);
    sleep(Duration::from_secs(60)).await;
    let mut arrived: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for (group, ns) in queue.arrived() {
        for n in ns {
            *arrived.entry((group.clone(), n)).or_default() += 1;
        }
    }
    for (job, result) in jobs.iter().zip(results) {
        let times = arrived.get(job).copied().unwrap_or_default();
        let may = match &result {
            Ok(_) => times == 1,
            Err(error) if error.may_be_on_the_queue() => times <= 1,
            Err(_) => times == 0,
        };
        assert!(may, "seed {seed}: {job:?} is {times} times on the queue: {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_no_world_does_a_standstill_make_two_of_a_job() {
    for seed in 0..30 {
        stand_still(seed).await;
    }
}
