//! What a healthy app sees of its neighbours: twenty jobs a second over its six types beside hostile tenants, the
//! same without any, and what the worker takes meanwhile.
//!
//! ```text
//! cargo bench --bench neighbours             every row
//! cargo bench --bench neighbours -- WORDS    the rows whose names have one of the words
//! SECONDS=60 cargo bench --bench neighbours  for longer than 30 s a row
//! ```
//!
//! The queue and all receivers are this process, the worker is one of its own.

#![allow(
    clippy::disallowed_methods,
    reason = "benches measure real time, by blocking threads and barest clients"
)]

mod cases;
#[path = "../measured/mod.rs"]
mod measured;
mod receivers;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context;
use hookferry::fifo::{Broker, Outgoing};
use hookferry::job::QueueType;
use hookferry::local::server::{ACCOUNT, Endpoint, Server};
use hookferry::producer::Signer;
use hookferry::queue::NewMessage;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use cases::Case;
use measured::{Running, now_us};
use receivers::{Manner, Receiver};

const QUEUE: &str = "neighbours.fifo";
const DEAD_LETTERS: &str = "neighbours-dead.fifo";

/// Jobs of the healthy app a second.
const PACE: u64 = 20;

/// What one run came to.
#[derive(Debug)]
struct Taken {
    sent: u64,
    late_ms: Vec<f64>,
    /// Jobs that the hostile apps' receivers took.
    hostile: u64,
    peak: u64,
    cpu: Duration,
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let seconds = std::env::var("SECONDS").ok().map_or(Ok(30), |seconds| seconds.parse())?;
    println!(
        "{:<40} {:>6} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "neighbours", "sent", "delivered", "p50 ms", "p99 ms", "max ms", "peak MiB", "CPU %", "of alone"
    );
    let wanted = |case: &Case| words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()));
    for case in cases::all().into_iter().filter(wanted) {
        let taken = run(&case, seconds, true)?;
        let alone = if case.works { Some(run(&case, seconds, false)?.hostile) } else { None };
        line(&case, &taken, alone, seconds);
    }
    Ok(())
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "for a table"
)]
fn line(case: &Case, taken: &Taken, alone: Option<u64>, seconds: u64) {
    let mut late = taken.late_ms.clone();
    late.sort_by(f64::total_cmp);
    let at = |part: f64| {
        late.get((late.len().saturating_sub(1) as f64 * part) as usize).copied().unwrap_or(f64::NAN)
    };
    println!(
        "{:<40} {:>6} {:>9} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8}",
        case.name,
        taken.sent,
        late.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        taken.peak as f64 / f64::from(1 << 20),
        taken.cpu.as_secs_f64() * 100.0 / seconds as f64,
        alone.map_or_else(String::new, |alone| format!("{:.2}", taken.hostile as f64 / alone.max(1) as f64)),
    );
}

fn run(case: &Case, seconds: u64, with_healthy: bool) -> anyhow::Result<Taken> {
    // A runtime for each: nothing of one row is left in the next.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let taken = runtime.block_on(measure(case, seconds, with_healthy));
    runtime.shutdown_background();
    taken.with_context(|| case.name)
}

async fn measure(case: &Case, seconds: u64, with_healthy: bool) -> anyhow::Result<Taken> {
    let (endpoint, url) = queue().await?;
    let (healthy, hostile) = (Receiver::start(Manner::Healthy)?, Receiver::start(case.manner)?);
    let (mut apps, jobs) = case.load.of(&hostile);
    apps.insert(0, cases::app("healthy", json!([{"url": healthy.url(70_000)}])));
    let dir = TempDir::new()?;
    let mut worker = start_worker(case, &apps, &url, &hostile, &dir)?;
    let start = Instant::now();
    // The worker is at work before the hostile jobs come, all at once.
    let warm_up = Duration::from_secs(3);
    let signer = Signer::new("healthy", "healthy", "s");
    let (mut sent, mut jobs) = (0, Some(jobs));
    let (mut cpu, mut sending) = (Duration::ZERO, None);
    for n in 0..PACE * (seconds + warm_up.as_secs()) {
        tokio::time::sleep_until((start + Duration::from_millis(n * 1000 / PACE)).into()).await;
        if start.elapsed() >= warm_up
            && let Some(jobs) = jobs.take()
        {
            healthy.arrivals.late().clear();
            sent = 0;
            cpu = worker.cpu()?;
            let endpoint = endpoint.clone();
            // Not at the cost of the healthy app's pace.
            sending = Some(tokio::spawn(async move {
                for job in jobs {
                    send(&endpoint, job)?;
                    tokio::task::yield_now().await;
                }
                anyhow::Ok(())
            }));
        }
        if with_healthy {
            let kind = QueueType::ALL.get(usize::try_from(n)? % QueueType::ALL.len()).context("a type")?;
            let events = json!([{"name": kind.event_name(), "channel": "private-x", "sent_us": now_us()}]);
            let payload = json!({"time_ms": n, "events": events}).to_string();
            send(&endpoint, signer.payload(*kind, payload))?;
            sent += 1;
        }
    }
    if let Some(sending) = sending {
        sending.await??;
    }
    anyhow::ensure!(worker.is_alive(), "the worker has ended (BENCH_STDERR=1 shows why)");
    let ((peak, _), cpu) = (worker.memory()?, worker.cpu()?.saturating_sub(cpu));
    // What is under way.
    let deadline = Instant::now() + Duration::from_secs(30);
    while healthy.arrivals.late().len() < usize::try_from(sent)? && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    #[allow(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
    let late_ms = healthy.arrivals.late().iter().map(|us| *us as f64 / 1e3).collect();
    Ok(Taken { sent, late_ms, hostile: hostile.arrivals.count.load(Ordering::Relaxed), peak, cpu })
}

/// A queue with its dead-letter queue behind an endpoint of its own.
async fn queue() -> anyhow::Result<(Endpoint, String)> {
    let server = Server::bind("127.0.0.1:0".parse()?, Broker::new(1, "us-east-1", ACCOUNT)).await?;
    let (endpoint, address) = (server.endpoint(), server.local_addr()?);
    let attributes =
        [("FifoQueue", "true"), ("VisibilityTimeout", "30"), ("DeduplicationScope", "messageGroup")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    for name in [QUEUE, DEAD_LETTERS] {
        endpoint.with(|broker, now| broker.create_queue(now, name, &BTreeMap::from(attributes.clone())))?;
    }
    tokio::spawn(server.serve(CancellationToken::new()));
    Ok((endpoint, format!("http://{address}")))
}

fn send(endpoint: &Endpoint, job: NewMessage) -> anyhow::Result<()> {
    let message = Outgoing {
        body: job.body.into(),
        group: job.group,
        dedup: Some(job.deduplication),
        ..Outgoing::default()
    };
    endpoint.with(|broker, now| broker.send(now, QUEUE, message)).context("a job was refused")?;
    Ok(())
}

/// Starts the worker, with the descriptors that the case leaves it.
fn start_worker(
    case: &Case,
    apps: &[serde_json::Value],
    endpoint: &str,
    hostile: &Receiver,
    dir: &TempDir,
) -> anyhow::Result<Running> {
    let file = dir.path().join("apps.json");
    std::fs::write(&file, serde_json::to_string(apps)?)?;
    let mut command = match case.descriptors {
        Some(descriptors) => {
            let mut command = Command::new("sh");
            let limited = format!("ulimit -n {descriptors} && exec \"$0\"");
            command.args(["-c", &limited, env!("CARGO_BIN_EXE_hookferry")]);
            command
        }
        None => Command::new(env!("CARGO_BIN_EXE_hookferry")),
    };
    if let Some(authority) = &hostile.authority {
        let authorities = dir.path().join("authority.pem");
        std::fs::write(&authorities, authority)?;
        command.env("WEBHOOKS_CA_FILE", authorities);
    }
    let shown = std::env::var_os("BENCH_STDERR").is_some();
    command
        .env("QUEUE_SQS_URL", format!("{endpoint}/{ACCOUNT}/{QUEUE}"))
        .env("QUEUE_SQS_DLQ_URL", format!("{endpoint}/{ACCOUNT}/{DEAD_LETTERS}"))
        .env("QUEUE_SQS_ENDPOINT", endpoint)
        .env("APPS_FILE", file)
        .env("WEBHOOKS_ALLOWED_NETWORKS", "127.0.0.0/8")
        .env("LAMBDA_ENDPOINT", hostile.url(0))
        .env("METRICS_PORT", "0")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_REGION", "us-east-1")
        .stdin(Stdio::null())
        .stdout(if shown { Stdio::inherit() } else { Stdio::null() })
        .stderr(if shown { Stdio::inherit() } else { Stdio::null() });
    Running::start(&mut command)
}
