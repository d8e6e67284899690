//! A queue, a receiver, and workers between them.

use std::collections::{BTreeMap, HashMap};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use hookferry::fifo::Broker;
use hookferry::job::QueueType;
use hookferry::local::receiver::{Arrival, Receiver, serve};
use hookferry::local::server::{ACCOUNT, Server};
use hookferry::producer::Signer;
use hookferry::queue::NewMessage;
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Nothing here takes a tenth of it on an idle machine; it only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct World {
    pub client: Client,
    pub endpoint: String,
    pub queue: String,
    pub dead_letters: String,
    pub receiver: String,
    pub arrivals: Arc<Mutex<Vec<Arrival>>>,
    _ends: tokio_util::sync::DropGuard,
}

/// One accepted delivery of a job made by [`job`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub group: String,
    pub n: u64,
    pub path: String,
}

impl World {
    pub async fn new(answer: impl Fn(&Arrival) -> (u16, Duration) + Send + Sync + 'static) -> Self {
        let shutdown = CancellationToken::new();
        let endpoint = match std::env::var("HOOKFERRY_TEST_SQS_ENDPOINT") {
            Ok(endpoint) => endpoint,
            Err(_) => local_queue(&shutdown).await,
        };
        let client = client(&endpoint);
        let name = unique();
        let dead_letters = create(&client, &format!("{name}-dead.fifo"), &[]).await;
        let queue = create(&client, &format!("{name}.fifo"), &[]).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = format!("http://{}", listener.local_addr().unwrap());
        let (sender, mut arrived) = mpsc::channel(1000);
        let secret = SecretString::from("app-secret");
        let served = Receiver { secret, answer: Arc::new(answer), arrivals: sender };
        tokio::spawn(serve(listener, served, shutdown.clone()));
        let arrivals: Arc<Mutex<Vec<Arrival>>> = Arc::default();
        let kept = Arc::clone(&arrivals);
        tokio::spawn(async move {
            while let Some(arrival) = arrived.recv().await {
                kept.lock().unwrap().push(arrival);
            }
        });
        let ends = shutdown.drop_guard();
        Self { client, endpoint, queue, dead_letters, receiver, arrivals, _ends: ends }
    }

    pub async fn send(&self, jobs: &[NewMessage]) {
        for batch in jobs.chunks(10) {
            let entries = batch.iter().enumerate().map(|(n, job)| {
                SendMessageBatchRequestEntry::builder()
                    .id(n.to_string())
                    .message_body(&job.body)
                    .message_group_id(&job.group)
                    .message_deduplication_id(&job.deduplication)
                    .build()
                    .unwrap()
            });
            let request = self.client.send_message_batch().queue_url(&self.queue);
            let sent = request.set_entries(Some(entries.collect())).send().await.unwrap();
            assert!(sent.failed.is_empty(), "{:?}", sent.failed);
        }
    }

    /// A worker that delivers to `paths` of the receiver.
    pub fn worker(&self, paths: &[&str], more: &[(&str, &str)]) -> Child {
        self.command(paths, more).spawn().unwrap()
    }

    /// The command of such a worker.
    pub fn command(&self, paths: &[&str], more: &[(&str, &str)]) -> Command {
        let webhooks: Vec<_> =
            paths.iter().map(|path| json!({"url": format!("{}{path}", self.receiver)})).collect();
        let mut command = hookferry("run");
        command
            .env("QUEUE_SQS_URL", &self.queue)
            .env("QUEUE_SQS_ENDPOINT", &self.endpoint)
            .env("QUEUE_SQS_DLQ_URL", &self.dead_letters)
            .env("QUEUE_SQS_WAIT_TIME_SECONDS", "2")
            .env("DEFAULT_APP_WEBHOOKS", json!(webhooks).to_string())
            .env("WEBHOOKS_RETRY_MAX_MS", "1000")
            .env("WEBHOOKS_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128")
            .env("METRICS_PORT", "0")
            .env("LOG_LEVEL", "error");
        for (name, value) in more {
            command.env(name, value);
        }
        command
    }

    /// Accepted deliveries, in order of arrival.
    pub fn delivered(&self) -> Vec<Delivered> {
        let arrivals = self.arrivals.lock().unwrap();
        arrivals.iter().filter(|arrival| arrival.status == 200).filter_map(delivered).collect()
    }

    /// Waits until that many different jobs have been accepted at every path together.
    pub async fn wait_for(&self, count: usize) {
        wait_until(|| {
            let mut distinct: Vec<_> = self.delivered().into_iter().map(|d| (d.group, d.n, d.path)).collect();
            distinct.sort_unstable();
            distinct.dedup();
            distinct.len() >= count
        })
        .await;
    }

    /// Waits until the queue is empty.
    pub async fn wait_until_empty(&self) {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self
                .client
                .get_queue_attributes()
                .queue_url(&self.queue)
                .attribute_names(QueueAttributeName::All)
                .send()
                .await
                .unwrap();
            let attributes = answer.attributes.unwrap();
            let count = |name| attributes.get(&name).map_or("0", String::as_str) == "0";
            if count(QueueAttributeName::ApproximateNumberOfMessages)
                && count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "the queue is not empty: {attributes:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The bodies in the dead-letter queue with their `reason`.
    pub async fn dead(&self) -> Vec<(String, String)> {
        let letters = self.letters().await.into_iter();
        letters.map(|mut letter| (letter.remove("body").unwrap(), letter.remove("reason").unwrap())).collect()
    }

    /// The attributes of everything in the dead-letter queue, and the `body` among them.
    pub async fn letters(&self) -> Vec<HashMap<String, String>> {
        let mut letters = Vec::new();
        loop {
            let request = self.client.receive_message().queue_url(&self.dead_letters);
            let answer = request
                .max_number_of_messages(10)
                .visibility_timeout(60)
                .message_attribute_names("All")
                .send()
                .await
                .unwrap();
            let messages = answer.messages.unwrap_or_default();
            if messages.is_empty() {
                return letters;
            }
            for message in messages {
                let attributes = message.message_attributes.unwrap_or_default().into_iter();
                let mut letter: HashMap<_, _> =
                    attributes.map(|(name, value)| (name, value.string_value.unwrap())).collect();
                letter.insert("body".to_owned(), message.body.unwrap());
                letters.push(letter);
            }
        }
    }
}

/// A command of the program with nothing of this process's configuration.
pub fn hookferry(command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_hookferry"));
    program
        .arg(command)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    program
}

pub async fn wait_until(mut condition: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "it never happened");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A job whose event names its group and number.
pub fn job(group: &str, n: u64) -> NewMessage {
    signed(group, n, "app-key", "app-secret")
}

pub fn signed(group: &str, n: u64, key: &str, secret: &str) -> NewMessage {
    let producer = Signer::new("app-id", key, secret);
    let event = json!({"name": "client_event", "channel": "private-x", "group": group, "n": n});
    let payload = json!({"time_ms": n, "events": [event]}).to_string();
    let mut job = producer.payload(QueueType::ClientEvent, payload);
    group.clone_into(&mut job.group);
    job
}

/// Asserts that the first accepted delivery of every job came in the order of its group.
pub fn assert_in_order(delivered: &[Delivered]) {
    let mut next: HashMap<(&str, &str), u64> = HashMap::new();
    for delivery in delivered {
        let next = next.entry((&delivery.group, &delivery.path)).or_default();
        assert!(delivery.n <= *next, "job {} of {} came before {next}", delivery.n, delivery.group);
        *next = (*next).max(delivery.n + 1);
    }
}

pub fn delivered(arrival: &Arrival) -> Option<Delivered> {
    let body: serde_json::Value = serde_json::from_slice(&arrival.body).ok()?;
    let event = body.pointer("/events/0")?;
    Some(Delivered {
        group: event.get("group")?.as_str()?.to_owned(),
        n: event.get("n")?.as_u64()?,
        path: arrival.path.clone(),
    })
}

pub fn client(endpoint: &str) -> Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .build();
    Client::from_conf(config)
}

pub async fn create(client: &Client, name: &str, more: &[(QueueAttributeName, &str)]) -> String {
    let mut request = client
        .create_queue()
        .queue_name(name)
        .attributes(QueueAttributeName::FifoQueue, "true")
        .attributes(QueueAttributeName::VisibilityTimeout, "5");
    for (name, value) in more {
        request = request.attributes(name.clone(), *value);
    }
    request.send().await.unwrap().queue_url.unwrap()
}

pub async fn local_queue(shutdown: &CancellationToken) -> String {
    let broker = Broker::new(1, "us-east-1", ACCOUNT);
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), broker).await.unwrap();
    let endpoint = format!("http://{}", server.local_addr().unwrap());
    tokio::spawn(server.serve(shutdown.clone()));
    endpoint
}

pub fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    format!("t{now}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// How often each job of a group was accepted.
pub fn counts(delivered: &[Delivered]) -> BTreeMap<(String, u64), usize> {
    let mut counts = BTreeMap::new();
    for delivery in delivered {
        *counts.entry((delivery.group.clone(), delivery.n)).or_default() += 1;
    }
    counts
}
