//! Lanes at the edges of time, over the local queue's state machine with a way there and back, under
//! paused time.

mod coalescing;
mod identities;

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::json;
use tokio::time::{advance, sleep};

use super::*;
use crate::app::{App, WebhookId, webhooks};
use crate::apps::array::Array;
use crate::board::Text;
use crate::fifo::{Broker, Outgoing, Receive};
use crate::flow::shares::Shares;
use crate::job::QueueType;
use crate::outcome::Outcome;
use crate::outcome::Reason;
use crate::plan::Delivery;
use crate::policy::Retry;
use crate::producer::Signer;
use crate::queue::{AttemptId, DeadLetter, Error, Message, ReceiveError, Redriven};
use crate::telemetry::traces::{JobSpan, Traces};
use crate::worker::delete_batcher;

const JOBS: &str = "jobs.fifo";
/// How long a call or an answer is under way: together all of the safety margin.
const WAY: Duration = Duration::from_millis(120);
const SECOND: Duration = Duration::from_secs(1);

/// Every change of visibility that was asked for, in seconds, with what became of it.
type Changes = Arc<Mutex<Vec<Vec<(u64, BatchEntryResult)>>>>;

/// The state machine, a way away.
struct Remote {
    broker: Arc<Mutex<Broker>>,
    start: Instant,
    changes: Changes,
    deletes: Arc<Mutex<Vec<BatchEntryResult>>>,
    letters: Arc<Mutex<Vec<DeadLetter>>>,
}

impl Remote {
    fn entry(result: &Result<(), crate::fifo::Error>) -> BatchEntryResult {
        if result.is_ok() { BatchEntryResult::Ok } else { BatchEntryResult::Rejected }
    }
}

impl Queue for Remote {
    async fn receive(&self, _: usize, _: Duration, _: &AttemptId) -> Result<Vec<Message>, ReceiveError> {
        unreachable!("a lane does not receive")
    }

    async fn delete(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        sleep(WAY).await;
        let now = self.start.elapsed();
        let mut broker = self.broker.lock().unwrap();
        let entries: Vec<_> =
            receipts.iter().map(|r| Self::entry(&broker.delete(now, JOBS, r.handle()))).collect();
        self.deletes.lock().unwrap().extend(&entries);
        Ok(entries)
    }

    async fn change_visibility(
        &self,
        changes: &[(&Receipt, Duration)],
    ) -> Result<Vec<BatchEntryResult>, Error> {
        sleep(WAY).await;
        let now = self.start.elapsed();
        let mut broker = self.broker.lock().unwrap();
        let entries: Vec<_> = changes
            .iter()
            .map(|(r, timeout)| Self::entry(&broker.change_visibility(now, JOBS, r.handle(), *timeout)))
            .collect();
        let seconds = changes.iter().map(|(_, timeout)| timeout.as_secs());
        self.changes.lock().unwrap().push(seconds.zip(entries.iter().copied()).collect());
        Ok(entries)
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), Error> {
        sleep(WAY).await;
        self.letters.lock().unwrap().push(letter.clone());
        Ok(())
    }
}

/// What passes in an attempt.
enum Takes {
    Time(Duration),
    /// The whole process stands still, as under SIGSTOP: every timer of it is late.
    Standstill(Duration),
}

/// What arrived.
#[derive(Clone, Debug)]
struct Request {
    webhook: usize,
    /// The numbers of the jobs whose events it holds.
    jobs: Vec<u64>,
    number: u32,
    delivery: Delivery,
}

/// What an attempt takes and how it ends.
type Script = fn(&Request) -> (Takes, Outcome);

struct Destination {
    script: Script,
    /// The app's, in its order.
    webhooks: Vec<WebhookId>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Transport for Destination {
    async fn attempt(&self, delivery: &Delivery, number: u32) -> Outcome {
        let body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
        let jobs = body["events"].as_array().unwrap().iter().map(|event| event["n"].as_u64().unwrap());
        let webhook = self.webhooks.iter().position(|id| *id == delivery.webhook).unwrap();
        let request = Request { webhook, jobs: jobs.collect(), number, delivery: delivery.clone() };
        let (takes, outcome) = (self.script)(&request);
        self.requests.lock().unwrap().push(request);
        match takes {
            Takes::Time(time) => sleep(time).await,
            Takes::Standstill(time) => advance(time).await,
        }
        outcome
    }
}

struct World {
    broker: Arc<Mutex<Broker>>,
    start: Instant,
    rules: Rules,
    changes: Changes,
    deletes: Arc<Mutex<Vec<BatchEntryResult>>>,
    letters: Arc<Mutex<Vec<DeadLetter>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    webhooks: serde_json::Value,
    redriven: Option<Redriven>,
    metrics: Arc<Metrics>,
    ledger: Arc<Ledger>,
}

impl World {
    /// A queue with that visibility timeout and `jobs` jobs of one group.
    fn new(visibility: u64, timeout: u64, jobs: u64) -> Self {
        let start = Instant::now();
        let mut broker = Broker::new(1, "us-east-1", "000000000000");
        let attributes = BTreeMap::from([
            ("FifoQueue".to_owned(), "true".to_owned()),
            ("VisibilityTimeout".to_owned(), visibility.to_string()),
        ]);
        broker.create_queue(Duration::ZERO, JOBS, &attributes).unwrap();
        let rules = Rules {
            visibility: Duration::from_secs(visibility),
            attempt_timeout: Duration::from_secs(timeout),
            retry: Retry { window: 300 * SECOND, base: SECOND, cap: 36_000 * SECOND },
            max_receive_count: None,
            coalesce: None,
        };
        let world = Self {
            broker: Arc::new(Mutex::new(broker)),
            start,
            rules,
            changes: Arc::default(),
            deletes: Arc::default(),
            letters: Arc::default(),
            requests: Arc::default(),
            webhooks: json!([{"url": "http://h/"}]),
            redriven: None,
            metrics: Arc::new(Metrics::new()),
            ledger: Arc::default(),
        };
        (0..jobs).for_each(|n| world.send(n, "k", "s", "c"));
        world
    }

    /// Sends the job of that number, on a channel, under a key and a secret.
    fn send(&self, n: u64, key: &str, secret: &str, channel: &str) {
        let producer = Signer::new("a", key, secret);
        let fields = [("n".to_owned(), json!(n)), ("channel".to_owned(), json!(channel))];
        let job = producer.event(QueueType::ClientEvent, serde_json::Map::from_iter(fields), n);
        let dedup = Some(job.deduplication);
        let message = Outgoing { group: job.group, dedup, body: job.body.into(), ..Outgoing::default() };
        self.broker.lock().unwrap().send(self.start.elapsed(), JOBS, message).unwrap();
    }

    /// Receives a lane and works it to its end; the process stands still for a while in between.
    async fn work(&self, stands_still: Duration, script: Script) {
        let health = Arc::new(Health::new(Duration::from_secs(30)));
        let shared = Arc::new(Shared {
            queue: Remote {
                broker: Arc::clone(&self.broker),
                start: self.start,
                changes: Arc::clone(&self.changes),
                deletes: Arc::clone(&self.deletes),
                letters: Arc::clone(&self.letters),
            },
            transport: Destination { script, webhooks: self.ids(), requests: Arc::clone(&self.requests) },
            apps: Array::new(["k", "other"].map(|key| {
                let app = json!({"id": key, "key": key, "secret": "s", "webhooks": self.webhooks});
                serde_json::from_value::<App>(app).unwrap()
            })),
            rules: self.rules,
            ledger: Arc::clone(&self.ledger),
            breaker: Breaker::new(self.rules.retry.window, self.rules.attempt_timeout),
            undeliverable: Breaker::new(self.rules.retry.window, self.rules.attempt_timeout),
            throttle: Throttle::default(),
            permits: Permits::new(10, 1 << 20),
            random: Random::from_seed(1),
            metrics: Arc::clone(&self.metrics),
            traces: Traces::default(),
            health: Arc::clone(&health),
            shutdown: CancellationToken::new(),
            received_last: CancellationToken::new(),
        });
        let now = self.start.elapsed();
        let request = Receive { max: 10, visibility: None, attempt_id: None };
        let received = self.broker.lock().unwrap().receive(now, JOBS, &request).unwrap();
        let mut reserved = Permits::new(10, 1 << 20).reserve(10).await;
        let permits = Permits::new(10, 1 << 20);
        let places = Arc::new(Shares::new(10, 1 << 20));
        let jobs = received
            .into_iter()
            .map(|r| InFlight {
                claim: self.ledger.claim(&r.message_id).unwrap(),
                _permit: permits.take(&mut reserved, r.body.len()),
                share: Some(places.take("a", r.body.len())),
                app_id: Text::new("a"),
                message: Message {
                    id: Arc::clone(&r.message_id),
                    receipt: Receipt::new(r.receipt_handle),
                    group: r.group,
                    body: r.body,
                    receive_count: r.receive_count,
                    sent: Some(std::time::SystemTime::UNIX_EPOCH + r.sent),
                    age: now.saturating_sub(r.sent),
                    since_first_receive: now.saturating_sub(r.first_received),
                    redriven: self.redriven.clone(),
                    trace: None,
                },
                span: JobSpan::default(),
            })
            .collect();
        sleep(WAY).await;
        let (acknowledgements, serve) =
            delete_batcher::start::<Remote, _>(Arc::clone(&shared), Arc::clone(&self.metrics), health, 10);
        let serve = tokio::spawn(serve);
        let now = Instant::now();
        let lane = Lane::new(shared, acknowledgements, jobs, Times { received_at: now, lease_start: now });
        advance(stands_still).await;
        lane.run().await;
        serve.await.unwrap();
    }

    fn ids(&self) -> Vec<WebhookId> {
        let (webhooks, _) = webhooks(&self.webhooks.to_string(), "a").unwrap();
        webhooks.into_iter().map(|webhook| webhook.id).collect()
    }

    fn attempted(&self) -> Vec<u64> {
        self.requests.lock().unwrap().iter().flat_map(|request| request.jobs.clone()).collect()
    }

    /// Every change of visibility that was made, in seconds; none was refused.
    fn changed(&self) -> Vec<Vec<u64>> {
        let changes = self.changes.lock().unwrap();
        assert!(changes.iter().flatten().all(|(_, entry)| *entry == BatchEntryResult::Ok), "{changes:?}");
        changes.iter().map(|change| change.iter().map(|(seconds, _)| *seconds).collect()).collect()
    }
}

fn delivered(_: &Request) -> (Takes, Outcome) {
    (Takes::Time(Duration::ZERO), Outcome::Delivered)
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_past_the_lease_before_an_attempt_leaves_the_lane_to_sqs() {
    let world = World::new(5, 4, 3);
    world.work(6 * SECOND, delivered).await;
    assert!(world.attempted().is_empty() && world.changed().is_empty());
    assert_eq!(world.metrics.abandoned.get(), 3);
    world.work(Duration::ZERO, delivered).await;
    assert_eq!(world.attempted(), [0, 1, 2], "redelivered in order");
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_job_spends_in_its_lane_is_part_of_its_age() {
    let world = World::new(30, 4, 2);
    let slow = |request: &Request| {
        let outcome = if request.jobs == [1] { Outcome::Permanent(Reason::Gone) } else { Outcome::Delivered };
        (Takes::Time(3 * SECOND), outcome)
    };
    world.work(Duration::ZERO, slow).await;
    let letters = world.letters.lock().unwrap();
    let waited = letters[0].given_up.unwrap().duration_since(letters[0].first_sent.unwrap()).unwrap();
    assert!(waited >= 6 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_past_the_lease_in_an_attempt_ends_the_lane_after_that_job() {
    let world = World::new(5, 4, 3);
    world.work(Duration::ZERO, |_| (Takes::Standstill(60 * SECOND), Outcome::Delivered)).await;
    assert_eq!(world.attempted(), [0], "delivered, too late to be deleted");
    assert_eq!(*world.deletes.lock().unwrap(), [BatchEntryResult::Rejected]);
    world.work(Duration::ZERO, delivered).await;
    assert_eq!(world.attempted(), [0, 1, 2], "the first was only deleted again");
    assert_eq!(world.deletes.lock().unwrap()[1..], [BatchEntryResult::Ok; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_extension_near_the_limit_asks_for_what_sqs_still_grants() {
    // A whole number of seconds after the arrival: the ways are what would be too much.
    let world = World::new(40_000, 900, 2);
    world.work(39_998 * SECOND, delivered).await;
    assert_eq!(world.changed(), [[43_200 - 39_998 - 1; 2]]);
    assert_eq!(world.attempted(), [0, 1]);
    assert_eq!(world.metrics.abandoned.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_a_lane_is_abandoned_and_nothing_is_asked_for() {
    let world = World::new(43_200, 900, 2);
    world.work(42_500 * SECOND, delivered).await;
    assert!(world.attempted().is_empty() && world.changed().is_empty());
    assert_eq!(world.metrics.abandoned.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_backoff_near_the_limit_is_cut_to_what_sqs_still_grants() {
    let mut world = World::new(43_200, 4, 2);
    world.rules.retry.window = 100_000 * SECOND;
    let asks = |_: &Request| {
        let retry_after = Some(36_000 * SECOND);
        (Takes::Time(Duration::ZERO), Outcome::Transient { reason: Reason::Status(503), retry_after })
    };
    world.work(39_000 * SECOND, asks).await;
    assert_eq!(world.changed(), [[43_200 - 39_000 - 1; 2]]);
}

#[tokio::test(start_paused = true)]
async fn without_a_jump_an_attempt_that_uses_all_its_time_ends_inside_the_lease() {
    let world = World::new(5, 4, 3);
    let start = Instant::now();
    let all = |_: &Request| (Takes::Time(Duration::from_millis(3999)), Outcome::Delivered);
    world.work(Duration::ZERO, all).await;
    assert_eq!(world.attempted(), [0, 1, 2]);
    assert_eq!(*world.deletes.lock().unwrap(), [BatchEntryResult::Ok; 3], "none was late");
    assert_eq!(world.changed(), [[30; 2]], "one extension for the rest");
    assert!(start.elapsed() < 13 * SECOND);
}
