//! `dev`: the whole system on this machine, with sample jobs.

// clap shows the options' docs as they stand, back-ticks and all.
#![allow(clippy::doc_markdown, reason = "the docs of options are help texts")]

mod books;
mod controls;
pub(crate) mod local_queue;
mod panel;
mod worker;

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
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::fifo::{AttributeValue, Outgoing, Receive};
use crate::job::QueueType;
use crate::local::receiver::{Answer, Arrival, Receiver, serve};
use crate::local::server::Endpoint;
use crate::process::output::{print, try_print};
use crate::process::{Failure, log, signals};
use crate::producer::Signer;
use crate::producer::now_ms;
use crate::telemetry::metrics::Metrics;
use books::Books;
use controls::Controls;

const QUEUE: &str = "webhooks.fifo";
const DEAD_LETTERS: &str = "dead-letters.fifo";
const SECRET: &str = "dev-secret";
const APPS: [&str; 3] = ["shop", "chat", "game"];
/// The app whose endpoint fails at first, by its place in [`APPS`].
const FAILING_APP: usize = 1;
/// How long it fails from its first webhook on.
const FAILS_FOR: Duration = Duration::from_secs(4);
/// Sample jobs a second, at the most.
const MAX_RATE: f64 = 100_000.0;
/// The job that is forged.
const FORGED: u64 = 7;
/// The longest time without any progress; then something is wrong.
const STALLED: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// End after N jobs: exit code 0 only if every one of them is accounted for.
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
    if !(options.rate > 0.0 && options.rate <= MAX_RATE) {
        return Err(anyhow!("--rate {} does not lie between 0 and {MAX_RATE}", options.rate).into());
    }
    let shutdown = signals::shutdown();
    let server = local_queue::bind(options.listen, &[QUEUE.to_owned()], Some(DEAD_LETTERS)).await?;
    let address = server.local_addr().context("the queue's address is unknown")?;
    let endpoint = server.endpoint();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(loopback).await.context("the receiver's address")?;
    let receiver_address = listener.local_addr().context("the receiver's address is unknown")?;
    let ops = TcpListener::bind(loopback).await.context("the status page's address")?;
    let ops_address = ops.local_addr().context("the status page's address is unknown")?;
    introduce(address, receiver_address, ops_address);

    let metrics = Arc::new(Metrics::new());
    let panelled = panel::fits();
    let books = Arc::new(Mutex::new(Books::new(panelled)));
    let controls = Arc::new(Controls::new(options.rate, !options.no_faults));
    // The queue and the receiver outlive the worker's drain.
    let later = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(server.serve(later.clone()));
    let (arrivals, arrived) = mpsc::channel(1000);
    let answer = answers(Arc::clone(&controls));
    let receiver = Receiver { secret: SecretString::from(SECRET), answer, arrivals };
    tasks.spawn(serve(listener, receiver, later));
    tasks.spawn(report_arrivals(arrived, Arc::clone(&books)));
    tasks.spawn(report_dead_letters(endpoint.clone(), Arc::clone(&books)));
    tasks.spawn(produce(
        endpoint,
        Arc::clone(&books),
        Arc::clone(&controls),
        options.jobs,
        !options.no_faults,
    ));
    let config = configuration(address, receiver_address)?;
    let ops = ops.into_std().context("the status page's socket")?;
    let worker = tokio::spawn(worker::supervise(
        config,
        ops,
        Arc::clone(&metrics),
        Arc::clone(&controls),
        shutdown.clone(),
    ));
    let shown = Shown { books: &books, metrics: &metrics, controls: &controls, page: ops_address };
    let complete = if panelled {
        panel::run(&shown, options.jobs, &shutdown).await.context("the terminal")?
    } else {
        watch(&shown, options.jobs, &shutdown).await
    };
    shutdown.cancel();
    worker.await.context("the worker failed")??;
    Ok(conclude(&shown, options.jobs, complete)?)
}

/// What was seen, and whether all is accounted for.
fn conclude(shown: &Shown<'_>, jobs: Option<u64>, complete: bool) -> anyhow::Result<ExitCode> {
    let books = shown.books.lock().unwrap_or_else(PoisonError::into_inner);
    let mut lines = vec![String::new(), books.summary(shown.metrics), String::new()];
    lines.extend(books.story());
    let accounted = complete && books.in_order();
    let code = match jobs {
        Some(_) if !accounted => {
            lines.push("not every job is accounted for".to_owned());
            ExitCode::FAILURE
        }
        Some(jobs) => {
            lines.push(format!("all {jobs} jobs are accounted for, each in the order of its group"));
            ExitCode::SUCCESS
        }
        None => ExitCode::SUCCESS,
    };
    lines.push("Next, try: hookferry dev --jobs 5000 --rate 500   (more: hookferry --help)\n".to_owned());
    print(&lines.join("\n"))?;
    Ok(code)
}

/// The status page's address comes first: it is what there is to see.
fn introduce(queue: SocketAddr, receiver: SocketAddr, ops: SocketAddr) {
    let url = local_queue::queue_url(queue, QUEUE);
    let producer = Signer::new("shop", "shop-key", SECRET);
    let fields = Map::from_iter([("channel".to_owned(), json!("private-a"))]);
    let sample = producer.event(QueueType::ClientEvent, fields, now_ms());
    let text = format!(
        "Status page: http://{ops}/\n\n\
         hookferry dev: queue http://{queue}, receiver http://{receiver}\n\n\
         To point a soketi at it (apps shop, chat, game; keys shop-key, …;\n\
         secret {SECRET}):\n  \
         QUEUE_DRIVER=sqs\n  QUEUE_SQS_URL={url}\n  QUEUE_SQS_ENDPOINT=http://{queue}\n  QUEUE_SQS_REGION=us-east-1\n  \
         AWS_ACCESS_KEY_ID=local\n  AWS_SECRET_ACCESS_KEY=local\n\n\
         To send one job by hand:\n  \
         AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local \\\n  \
         aws sqs send-message --region us-east-1 \\\n  \
         --endpoint-url http://{queue} \\\n  --queue-url {url} \\\n  --message-group-id {} \\\n  \
         --message-deduplication-id \\\n  {} \\\n  --message-body \\\n{}\n\n",
        sample.group,
        sample.deduplication,
        quoted(&sample.body)
    );
    // A reader that is gone has no need of it; the run goes on.
    print(&text).ok();
}

/// One word for a shell, over as many lines as eighty columns take: quoted parts that nothing stands between are one.
fn quoted(text: &str) -> String {
    let text: Vec<char> = text.chars().collect();
    let parts: Vec<String> =
        text.chunks(76).map(|part| format!("'{}'", part.iter().collect::<String>())).collect();
    parts.join("\\\n")
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

fn answers(controls: Arc<Controls>) -> Arc<Answer> {
    Arc::new(move |arrival| {
        let app = APPS.iter().position(|app| arrival.path.strip_prefix('/') == Some(app));
        (if app.is_some_and(|app| controls.fails(app)) { 500 } else { 200 }, Duration::ZERO)
    })
}

async fn produce(
    endpoint: Endpoint,
    books: Arc<Mutex<Books>>,
    controls: Arc<Controls>,
    jobs: Option<u64>,
    faults: bool,
) -> std::io::Result<()> {
    let mut due = Instant::now();
    // With few jobs the last one is the forged one.
    let forged = jobs.map_or(FORGED, |jobs| FORGED.min(jobs - 1));
    for n in 0..jobs.unwrap_or(u64::MAX) {
        sleep_until(due).await;
        // By the rate of this moment: it can be changed.
        due += Duration::from_secs_f64(1.0 / controls.rate());
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
async fn watch(shown: &Shown<'_>, jobs: Option<u64>, shutdown: &CancellationToken) -> bool {
    let mut progress = Progress::new(jobs);
    let mut told = Instant::now();
    loop {
        if shutdown.run_until_cancelled(sleep(Duration::from_millis(20))).await.is_none() {
            return false;
        }
        let books = shown.books.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(complete) = progress.ended(&books, shown.metrics) {
            return complete;
        }
        if told.elapsed() > Duration::from_secs(2) {
            told = Instant::now();
            // Whoever watches may have enough of it, as `| head` does: a run with --jobs goes on to its end, and
            // one that has none is over.
            let printed = try_print(&format!("{}\n", books.summary(shown.metrics)));
            if jobs.is_none() && !matches!(printed, Ok(true)) {
                return false;
            }
        }
    }
}

/// What is shown of a run.
#[derive(Clone, Copy)]
struct Shown<'a> {
    books: &'a Mutex<Books>,
    metrics: &'a Metrics,
    controls: &'a Controls,
    page: SocketAddr,
}

/// Whether a run is at its end.
struct Progress {
    jobs: Option<u64>,
    settled: u64,
    moved: Instant,
}

impl Progress {
    fn new(jobs: Option<u64>) -> Self {
        Self { jobs, settled: 0, moved: Instant::now() }
    }

    /// Whether all jobs are accounted for, once the run has ended.
    fn ended(&mut self, books: &Books, metrics: &Metrics) -> Option<bool> {
        let settled = books.settled();
        // The queue has the last word: what is delivered has to be deleted too.
        if self.jobs.is_some_and(|jobs| settled >= jobs) && metrics.acknowledged.get() >= settled {
            return Some(true);
        }
        if settled != self.settled {
            self.settled = settled;
            self.moved = Instant::now();
        }
        (self.moved.elapsed() > STALLED && self.jobs.is_some()).then_some(false)
    }
}
