//! How many jobs a second one core enqueues: `cargo bench --bench produce`.
//!
//! Everything of the producer runs on one thread, whose time on a core is counted: into a queue that answers
//! at once, which is what making, signing, ordering and batching cost; and through AWS' SDK over HTTP to the
//! local queue in a process of its own. Medians of several runs.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "it measures time as it is, and has a runtime for the producer alone"
)]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use futures_util::{StreamExt, stream};
use hookferry::producer::{Buffer, CallError, EntryResult, Event, Producer, SendBatch, Signer};
use hookferry::queue::NewMessage;

const GROUPS: u64 = 600;
const RUNS: usize = 5;
/// Of an event; a job has some 250 bytes more.
const DATA: usize = 250;

/// Answers at once.
struct Instantly(Arc<str>);

impl SendBatch for Instantly {
    async fn send_batch(&self, batch: &[&NewMessage]) -> Result<Vec<EntryResult>, CallError> {
        Ok(batch.iter().map(|_| EntryResult::Sent(Arc::clone(&self.0))).collect())
    }
}

/// What a run took.
struct Took {
    on_core: Duration,
    elapsed: Duration,
}

fn main() {
    report("a queue that answers at once", 200_000, || {
        Producer::over(Instantly("id".into()), Buffer::default())
    });
    let queue = LocalQueue::start();
    report("AWS' SDK, HTTP without TLS, the local queue", 50_000, || {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "bench"))
            .endpoint_url(&queue.endpoint)
            .build();
        Producer::new(Client::from_conf(config), format!("{}/000000000000/bench.fifo", queue.endpoint))
    });
}

fn report(what: &str, jobs: u64, producer: impl Fn() -> Producer) {
    let mut runs: Vec<Took> = (0..RUNS).map(|run| enqueue(run as u64, jobs, &producer)).collect();
    runs.sort_by_key(|took| took.on_core);
    let median = runs.swap_remove(RUNS / 2);
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let (rate, us) =
        (jobs as f64 / median.on_core.as_secs_f64(), median.on_core.as_secs_f64() * 1e6 / jobs as f64);
    println!(
        "{what}: {rate:.0} jobs a second of one core, {us:.1} us a job ({:.1} s of {:.1} s on it)",
        median.on_core.as_secs_f64(),
        median.elapsed.as_secs_f64()
    );
}

fn enqueue(run: u64, jobs: u64, producer: &impl Fn() -> Producer) -> Took {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let producer = producer();
        let app = Signer::new("app-id", "app-key", "app-secret");
        let data = "x".repeat(DATA);
        let made = (0..jobs).map(|n| {
            let event = Event::client_event("private-bench", "client-bench", &data).unwrap();
            app.job(&event.with("n", &(run, n)).unwrap().in_group(format!("group-{}", n % GROUPS)))
        });
        let (began, before) = (Instant::now(), on_core());
        let sent = producer.enqueue_all(stream::iter(made)).map(Result::unwrap).count().await;
        assert_eq!(sent as u64, jobs);
        Took { on_core: on_core().checked_sub(before).unwrap(), elapsed: began.elapsed() }
    })
}

/// How long this thread has been on a core, as Linux counts it.
fn on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// The local queue in a process of its own, until it is dropped.
struct LocalQueue {
    process: Child,
    endpoint: String,
}

impl LocalQueue {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let process = Command::new(env!("CARGO_BIN_EXE_hookferry"))
            .args(["local-queue", "--listen", &address, "--queue", "bench.fifo"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(&address).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, endpoint: format!("http://{address}") }
    }
}

impl Drop for LocalQueue {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
