//! `dev`: the whole system on this machine, with sample jobs.

mod books;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use secrecy::SecretString;
use serde_json::{Map, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::enqueue::now_ms;
use super::{Failure, local_queue, log, run, signals};
use crate::config::Config;
use crate::job::QueueType;
use crate::local::fifo::{AttributeValue, Outgoing, Receive};
use crate::local::receiver::{Answer, Arrival, Receiver, serve};
use crate::local::server::Endpoint;
use crate::producer::Signer;
use crate::telemetry::metrics::Metrics;
use books::Books;

const QUEUE: &str = "webhooks.fifo";
const DEAD_LETTERS: &str = "dead-letters.fifo";
const SECRET: &str = "dev-secret";
const APPS: [&str; 3] = ["shop", "chat", "game"];
/// The app whose endpoint fails for a while, and for how long.
const FAILING: (&str, Duration) = ("chat", Duration::from_secs(4));
/// The job that is forged.
const FORGED: u64 = 7;
/// Without any progress for so long something is wrong.
const STALLED: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// End after so many jobs: exit code 0 only if every one of them is accounted for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    jobs: Option<u64>,
    /// Sample jobs a second.
    #[arg(long, value_name = "R", default_value_t = 5.0)]
    rate: f64,
    /// No failing endpoint and no forged job.
    #[arg(long)]
    no_faults: bool,
    /// Where the local queue listens.
    #[arg(long, default_value = "127.0.0.1:9324")]
    listen: SocketAddr,
}

pub(super) async fn main(options: Options) -> Result<ExitCode, Failure> {
    log(Some("off"));
    if !(options.rate > 0.0 && options.rate <= 100_000.0) {
        return Err(anyhow!("--rate {} does not lie between 0 and 100000", options.rate).into());
    }
    let shutdown = signals::shutdown();
    let server = local_queue::bind(options.listen, &[QUEUE.to_owned()], Some(DEAD_LETTERS)).await?;
    let address = server.local_addr().context("the queue's address is unknown")?;
    let endpoint = server.endpoint();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(loopback).await.context("the receiver's address")?;
    let receiver_address = listener.local_addr().context("the receiver's address is unknown")?;
    let metrics_listener = TcpListener::bind(loopback).await.context("the metrics' address")?;
    let metrics_address = metrics_listener.local_addr().context("the metrics' address is unknown")?;
    introduce(address, receiver_address, metrics_address);

    let metrics = Arc::new(Metrics::new());
    let books = Arc::new(Mutex::new(Books::default()));
    // The queue and the receiver outlive the worker's drain.
    let later = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.serve(later.clone()));
    let (arrivals, arrived) = mpsc::channel(1000);
    let receiver =
        Receiver { secret: SecretString::from(SECRET), answer: answers(!options.no_faults), arrivals };
    tasks.spawn(serve(listener, receiver, later));
    tasks.spawn(report_arrivals(arrived, Arc::clone(&books)));
    tasks.spawn(report_dead_letters(endpoint.clone(), Arc::clone(&books)));
    tasks.spawn(produce(endpoint, Arc::clone(&books), options.jobs, options.rate, !options.no_faults));
    let config = configuration(address, receiver_address)?;
    let worker =
        tokio::spawn(run::worker(config, metrics_listener, Arc::clone(&metrics), shutdown.clone(), None));

    let complete = watch(&books, &metrics, options.jobs, &shutdown).await;
    shutdown.cancel();
    worker.await.context("the worker failed")??;
    let books = books.lock().unwrap_or_else(PoisonError::into_inner);
    println!("\n{}", books.summary(&metrics));
    let accounted = complete && books.in_order();
    match options.jobs {
        Some(_) if !accounted => {
            println!("not every job is accounted for");
            Ok(ExitCode::FAILURE)
        }
        Some(jobs) => {
            println!("all {jobs} jobs are accounted for, each in the order of its group");
            Ok(ExitCode::SUCCESS)
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

fn introduce(queue: SocketAddr, receiver: SocketAddr, metrics: SocketAddr) {
    let url = local_queue::queue_url(queue, QUEUE);
    let producer = Signer::new("shop", "shop-key", SECRET);
    let fields = Map::from_iter([("channel".to_owned(), json!("private-a"))]);
    let sample = producer.event(QueueType::ClientEvent, fields, now_ms());
    println!(
        "hookferry dev: queue http://{queue}, receiver http://{receiver}, metrics http://{metrics}/metrics\n\n\
         To point a soketi at it (apps: shop, chat, game; keys shop-key, …; secret {SECRET}):\n  \
         QUEUE_DRIVER=sqs\n  QUEUE_SQS_URL={url}\n  QUEUE_SQS_ENDPOINT=http://{queue}\n  QUEUE_SQS_REGION=us-east-1\n  \
         AWS_ACCESS_KEY_ID=local\n  AWS_SECRET_ACCESS_KEY=local\n\n\
         To send one job by hand:\n  \
         AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws sqs send-message --region us-east-1 \
         --endpoint-url http://{queue} --queue-url {url} --message-group-id {} \
         --message-deduplication-id {} --message-body '{}'\n",
        sample.group, sample.deduplication, sample.body
    );
}

/// A configuration of its own: nothing of the environment has a say in it.
fn configuration(queue: SocketAddr, receiver: SocketAddr) -> Result<Config, Failure> {
    let webhooks = |app: &str| json!([{"url": format!("http://{receiver}/{app}")}]).to_string();
    let mut config = Config::from_env(
        [
            ("QUEUE_SQS_URL", local_queue::queue_url(queue, QUEUE)),
            ("QUEUE_SQS_ENDPOINT", format!("http://{queue}")),
            ("QUEUE_SQS_WAIT_TIME_SECONDS", "1".to_owned()),
            (
                "QUEUE_SQS_CLIENT_OPTIONS",
                json!({"accessKeyId": "local", "secretAccessKey": "local"}).to_string(),
            ),
            ("WEBHOOKS_ALLOWED_NETWORKS", "127.0.0.0/8".to_owned()),
            ("DEFAULT_APP_ID", APPS[0].to_owned()),
            ("DEFAULT_APP_KEY", format!("{}-key", APPS[0])),
            ("DEFAULT_APP_SECRET", SECRET.to_owned()),
            ("DEFAULT_APP_WEBHOOKS", webhooks(APPS[0])),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )?;
    for app in &APPS[1..] {
        let stored =
            json!({"id": app, "key": format!("{app}-key"), "secret": SECRET, "webhooks": webhooks(app)});
        let app = serde_json::from_value(stored).context("a sample app")?;
        config.apps.listed.apps.push(app);
    }
    Ok(config)
}

fn answers(faults: bool) -> Arc<Answer> {
    let began: Mutex<Option<Instant>> = Mutex::new(None);
    Arc::new(move |arrival| {
        let (app, while_) = FAILING;
        if !faults || arrival.path != format!("/{app}") {
            return (200, Duration::ZERO);
        }
        let began = *began.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        (if began.elapsed() < while_ { 500 } else { 200 }, Duration::ZERO)
    })
}

async fn produce(
    endpoint: Endpoint,
    books: Arc<Mutex<Books>>,
    jobs: Option<u64>,
    rate: f64,
    faults: bool,
) -> std::io::Result<()> {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // With few jobs the last one is the forged one.
    let forged = jobs.map_or(FORGED, |jobs| FORGED.min(jobs - 1));
    for n in 0..jobs.unwrap_or(u64::MAX) {
        ticks.tick().await;
        let place = usize::try_from(n).unwrap_or_default();
        let (Some(app), Some(kind)) =
            (APPS.get(place % APPS.len()), QueueType::ALL.get(place / APPS.len() % QueueType::ALL.len()))
        else {
            continue;
        };
        let is_forged = faults && n == forged;
        let secret = if is_forged { "not-the-secret" } else { SECRET };
        let producer = Signer::new(*app, format!("{app}-key"), secret);
        let fields =
            Map::from_iter([("channel".to_owned(), json!("presence-dev")), ("n".to_owned(), json!(n))]);
        let job = producer.event(*kind, fields, now_ms());
        books.lock().unwrap_or_else(PoisonError::into_inner).sent(&job.group, n, is_forged);
        let message = Outgoing {
            group: job.group,
            dedup: Some(job.deduplication),
            body: job.body.into(),
            ..Outgoing::default()
        };
        let sent = endpoint.with(|broker, now| broker.send(now, QUEUE, message));
        sent.map_err(std::io::Error::other)?;
    }
    Ok(())
}

async fn report_arrivals(
    mut arrived: mpsc::Receiver<Arrival>,
    books: Arc<Mutex<Books>>,
) -> std::io::Result<()> {
    while let Some(arrival) = arrived.recv().await {
        books.lock().unwrap_or_else(PoisonError::into_inner).arrived(&arrival);
    }
    Ok(())
}

async fn report_dead_letters(endpoint: Endpoint, books: Arc<Mutex<Books>>) -> std::io::Result<()> {
    let request = Receive { max: 10, visibility: None, attempt_id: None };
    loop {
        let wait = Some(Duration::from_secs(20));
        let letters = endpoint.receive(DEAD_LETTERS, &request, wait).await.map_err(std::io::Error::other)?;
        for letter in letters {
            let detail = match letter.attributes.get("detail").map(|attribute| &attribute.value) {
                Some(AttributeValue::Text(text)) => text.as_str(),
                Some(AttributeValue::Binary(_)) | None => "received too often",
            };
            books.lock().unwrap_or_else(PoisonError::into_inner).dead_lettered(
                &letter.group,
                &letter.body,
                detail,
            );
            endpoint
                .with(|broker, now| broker.delete(now, DEAD_LETTERS, &letter.receipt_handle))
                .map_err(std::io::Error::other)?;
        }
    }
}

/// Prints a summary now and then until all jobs are accounted for (true), or it is told to stop or
/// nothing moves any more (false).
async fn watch(
    books: &Mutex<Books>,
    metrics: &Metrics,
    jobs: Option<u64>,
    shutdown: &CancellationToken,
) -> bool {
    let mut moved = Instant::now();
    let mut before = 0;
    let mut shown = Instant::now();
    loop {
        if shutdown.run_until_cancelled(sleep(Duration::from_millis(20))).await.is_none() {
            return false;
        }
        let books = books.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = books.settled();
        // The queue has the last word: what is delivered has to be deleted too.
        if jobs.is_some_and(|jobs| settled >= jobs) && metrics.acknowledged.get() >= settled {
            return true;
        }
        if settled != before {
            before = settled;
            moved = Instant::now();
        }
        if moved.elapsed() > STALLED && jobs.is_some() {
            return false;
        }
        if shown.elapsed() > Duration::from_secs(2) {
            shown = Instant::now();
            println!("{}", books.summary(metrics));
        }
    }
}
