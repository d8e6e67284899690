//! The role of the queue: the local queue behind its own endpoint, filled from inside, so that what is
//! measured is not slowed down by a producer; calls are counted by action.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use axum::serve::ListenerExt;
use hookferry::fifo::{Broker, Outgoing};
use hookferry::job::QueueType;
use hookferry::local::server::{ACCOUNT, Clock, Endpoint};
use hookferry::producer::Signer;

use super::control;
use super::measured::now_us;

/// The name of the one queue.
pub const NAME: &str = "bench.fifo";

/// Calls by action, and when the first receive came.
#[derive(Default)]
struct Calls {
    by_action: BTreeMap<String, u64>,
    first_receive_us: Option<u64>,
}

#[derive(Clone)]
struct Served {
    endpoint: Endpoint,
    calls: Arc<Mutex<Calls>>,
}

/// Serves until standard input ends. Commands: `fill GROUPS SIZE COUNT`, `rate PER_SECOND SECONDS
/// GROUPS SIZE`, `stats`.
pub fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let endpoint = Endpoint::new(Broker::new(1, "us-east-1", ACCOUNT), Clock::Wall);
    let attributes =
        [("FifoQueue", "true"), ("VisibilityTimeout", "30"), ("DeduplicationScope", "messageGroup")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    endpoint.with(|broker, now| broker.create_queue(now, NAME, &BTreeMap::from(attributes)))?;
    let served = Served { endpoint, calls: Arc::default() };
    let listener = runtime.block_on(async { control::listen() })?;
    control::say(&format!("http://{}", listener.local_addr()?));
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let router =
        Router::new().fallback(answer).layer(DefaultBodyLimit::max(64 << 20)).with_state(served.clone());
    runtime.spawn(async move { axum::serve(listener, router).await });
    let mut filling = Filling::default();
    control::serve(|words| match words {
        ["fill", groups, size, count] => {
            filling.send(&served.endpoint, groups.parse()?, size.parse()?, count.parse()?)?;
            Ok("filled".to_owned())
        }
        ["rate", per_second, seconds, groups, size] => {
            let (per_second, seconds) = (per_second.parse()?, seconds.parse()?);
            let sent = filling.pace(&served.endpoint, per_second, seconds, groups.parse()?, size.parse()?)?;
            Ok(sent.to_string())
        }
        ["stats"] => stats(&served),
        other => bail!("no such command: {other:?}"),
    })
}

async fn answer(
    State(served): State<Served>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let action = target.and_then(|target| target.rsplit('.').next()).unwrap_or("query");
    {
        let mut calls = served.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.by_action.entry(action.to_owned()).or_default() += 1;
        if action == "ReceiveMessage" {
            calls.first_receive_us.get_or_insert_with(now_us);
        }
    }
    served.endpoint.answer(&method, &uri, &headers, &body).await
}

fn stats(served: &Served) -> anyhow::Result<String> {
    let attributes = served.endpoint.with(|broker, now| broker.attributes(now, NAME))?;
    let number = |name: &str| attributes.get(name).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    let left = number("ApproximateNumberOfMessages") + number("ApproximateNumberOfMessagesNotVisible");
    let calls = served.calls.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(serde_json::json!({
        "left": left,
        "in_flight": number("ApproximateNumberOfMessagesNotVisible"),
        "calls": calls.by_action,
        "first_receive_us": calls.first_receive_us,
    })
    .to_string())
}

/// Jobs that go on counting in each group, so that the sink can see their order.
#[derive(Default)]
struct Filling {
    sent: u64,
}

impl Filling {
    /// Sends `count` jobs of about `size` bytes, one group after the other.
    fn send(&mut self, endpoint: &Endpoint, groups: u64, size: usize, count: u64) -> anyhow::Result<()> {
        let producer = Signer::new("app-id", "app-key", "app-secret");
        for _ in 0..count {
            let (group, n) = (self.sent % groups, self.sent / groups);
            self.sent += 1;
            let now = now_us();
            let frame = format!(
                r#"{{"time_ms":{},"events":[{{"name":"client_event","channel":"private-{group}","event":"client-e","n":{n},"t":{now},"data":""}}]}}"#,
                now / 1000
            );
            // The envelope around it is some 150 bytes.
            let data = "x".repeat(size.saturating_sub(frame.len() + 150));
            let payload = frame.replacen(r#""data":"""#, &format!(r#""data":"{data}""#), 1);
            let job = producer.payload(QueueType::ClientEvent, payload);
            let message = Outgoing {
                body: job.body.into(),
                group: format!("group-{group}"),
                dedup: Some(job.deduplication),
                ..Outgoing::default()
            };
            endpoint.with(|broker, now| broker.send(now, NAME, message)).context("a job was refused")?;
        }
        Ok(())
    }

    /// Sends at an even pace, whether or not anything is delivered; says how many.
    fn pace(
        &mut self,
        endpoint: &Endpoint,
        per_second: u64,
        seconds: u64,
        groups: u64,
        size: usize,
    ) -> anyhow::Result<u64> {
        let start = Instant::now();
        let total = per_second * seconds;
        for n in 0..total {
            let due = Duration::from_micros(n * 1_000_000 / per_second);
            if let Some(early) = due.checked_sub(start.elapsed()) {
                std::thread::sleep(early);
            }
            self.send(endpoint, groups, size, 1)?;
        }
        Ok(total)
    }
}
