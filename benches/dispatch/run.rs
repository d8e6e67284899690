//! One run: a fresh queue with its jobs, a fresh sink, one contender between them, and what it took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Deserialize;

use super::contender::{Between, Contender};
use super::measured::Running;
use super::process::Role;
use super::queue::NAME;

/// A run that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(180);

/// The work of one run.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub jobs: u64,
    pub groups: u64,
    /// Bytes of a message's body, about.
    pub size: usize,
    /// How long the destination takes to answer.
    pub latency: Duration,
}

impl Default for Work {
    /// What soketi's apps look like to a worker that is behind: many groups, small events.
    fn default() -> Self {
        Self { jobs: 20_000, groups: 600, size: 500, latency: Duration::ZERO }
    }
}

/// What a run took.
#[derive(Clone, Debug)]
pub struct Taken {
    pub deliveries_per_s: f64,
    /// CPU time of the contender, microseconds a delivery.
    pub cpu_us: f64,
    /// Its most memory, bytes.
    pub peak: u64,
    /// Calls to the queue, a delivery.
    pub calls: f64,
    /// Events to a post: more than one where jobs are coalesced.
    pub events_per_post: f64,
    pub duplicates: u64,
    pub out_of_order: u64,
}

/// What the queue tells.
#[derive(Debug, Deserialize)]
pub struct QueueStats {
    pub left: u64,
    pub in_flight: u64,
    pub calls: BTreeMap<String, u64>,
    pub first_receive_us: Option<u64>,
}

impl QueueStats {
    /// Of all actions.
    pub fn calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// What the sink tells.
#[derive(Clone, Debug, Deserialize)]
pub struct SinkStats {
    pub posts: u64,
    pub events: u64,
    pub duplicates: u64,
    pub out_of_order: u64,
    pub first_us: u64,
    pub last_us: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
}

/// A queue and a sink.
pub struct Stage {
    pub queue: Role,
    pub sink: Role,
    endpoint: String,
    queue_url: String,
    sink_url: String,
}

impl Stage {
    pub fn set(latency: Duration) -> anyhow::Result<Self> {
        let (queue, endpoint) = Role::start(&["queue"])?;
        let (sink, sink_url) = Role::start(&["sink", &latency.as_millis().to_string()])?;
        let queue_url = format!("{endpoint}/{}/{NAME}", hookferry::local::server::ACCOUNT);
        Ok(Self { queue, sink, endpoint, queue_url, sink_url })
    }

    pub fn between(&self) -> Between<'_> {
        Between { endpoint: &self.endpoint, queue: &self.queue_url, sink: &self.sink_url }
    }

    /// Starts a contender on it.
    pub fn start(&self, contender: &Contender) -> anyhow::Result<Running> {
        Running::start(&mut contender.command(self.between())?)
    }
}

/// Makes one run. CPU time counts from the first delivery, start-up apart, to the empty queue.
pub fn run(contender: &Contender, work: Work) -> anyhow::Result<Taken> {
    let mut stage = Stage::set(work.latency)?;
    stage.queue.ask(&format!("fill {} {} {}", work.groups, work.size, work.jobs))?;
    let mut running = stage.start(contender)?;
    let deadline = Instant::now() + PATIENCE;
    let mut from: Option<(u64, Duration)> = None;
    let mut pause = Duration::from_millis(1);
    loop {
        if !running.is_alive() {
            bail!("{} has ended (BENCH_STDERR=1 shows why)", contender.name());
        }
        if Instant::now() > deadline {
            bail!(
                "{} is not done after {PATIENCE:?}: {:?}",
                contender.name(),
                stage.sink.stats::<SinkStats>()?
            );
        }
        std::thread::sleep(pause);
        if from.is_none() {
            let events = stage.sink.stats::<SinkStats>()?.events;
            if events > 0 {
                from = Some((events, running.cpu()?));
                // A question costs the queue and the sink time that the contender waits for.
                pause = Duration::from_millis(20);
            }
            continue;
        }
        if stage.queue.stats::<QueueStats>()?.left == 0 {
            break;
        }
    }
    let (cpu, (peak, _)) = (running.cpu()?, running.memory()?);
    let (queue, sink): (QueueStats, SinkStats) = (stage.queue.stats()?, stage.sink.stats()?);
    let (before, cpu_before) = from.unwrap_or_default();
    #[allow(clippy::cast_precision_loss, reason = "counts and microseconds far below 2^52")]
    let (events, posts, counted, calls, time_us) = (
        sink.events as f64,
        sink.posts as f64,
        (sink.events - before) as f64,
        queue.calls() as f64,
        (sink.last_us - sink.first_us) as f64,
    );
    Ok(Taken {
        deliveries_per_s: events / (time_us / 1e6),
        cpu_us: cpu.saturating_sub(cpu_before).as_secs_f64() * 1e6 / counted,
        peak,
        calls: calls / events,
        events_per_post: events / posts,
        duplicates: sink.duplicates,
        out_of_order: sink.out_of_order,
    })
}
