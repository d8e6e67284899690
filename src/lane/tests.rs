//! Lanes at the edges of time, over the local queue's state machine with a way there and back, under
//! paused time.

mod coalescing;
mod identities;

use std::sync::Mutex;

use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::{advance, sleep};

use super::*;
use crate::app::{App, WebhookId, webhooks};
use crate::apps::array::Array;
use crate::apps::{Fresh, LookUpError};
use crate::delete_batcher;
use crate::flow::breaker::{Failure, Job, destination};
use crate::flow::shares::Shares;
use crate::job::QueueType;
use crate::outcome::Outcome;
use crate::outcome::Reason;
use crate::plan::{Delivery, Limits};
use crate::policy::Retry;
use crate::policy::rules::Disposal;
use crate::producer::Signer;
use crate::telemetry::traces::{JobSpan, Traces};
use crate::worker::tests::fake_queue::FakeQueue;

/// How long a call or an answer is under way: together all of the safety margin.
const WAY: Duration = Duration::from_millis(120);
const SECOND: Duration = Duration::from_secs(1);

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
    /// How many came before it.
    before: usize,
    /// Bytes held for what is made for the webhooks.
    made: usize,
}

/// What an attempt takes and how it ends.
type Script = fn(&Request) -> (Takes, Outcome);

struct Destination {
    script: Script,
    /// The app's, in its order, as its source has them.
    webhooks: Vec<WebhookId>,
    requests: Arc<Mutex<Vec<Request>>>,
    permits: Permits,
}

impl Transport for Destination {
    async fn attempt(&self, delivery: &Delivery, number: u32) -> Outcome {
        let body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
        let jobs = body["events"].as_array().unwrap().iter().map(|event| event["n"].as_u64().unwrap());
        let webhook = self.webhooks.iter().position(|id| *id == delivery.webhook).unwrap_or(usize::MAX);
        let before = self.requests.lock().unwrap().len();
        let (jobs, delivery, made) = (jobs.collect(), delivery.clone(), self.permits.bytes());
        let request = Request { webhook, jobs, number, delivery, before, made };
        let (takes, outcome) = (self.script)(&request);
        self.requests.lock().unwrap().push(request);
        match takes {
            Takes::Time(time) => sleep(time).await,
            Takes::Standstill(time) => advance(time).await,
        }
        outcome
    }
}

/// Apps that are there from some time on, in a source that lags.
struct Source {
    apps: Array,
    there_from: Instant,
    lag: Duration,
    is_down: bool,
    /// What is remembered of the apps until they are asked for past that.
    remembered: Mutex<Option<Remembered>>,
}

/// What may be remembered of an app.
#[derive(Clone)]
enum Remembered {
    /// These webhooks.
    Webhooks(serde_json::Value),
    /// That its record could not be read.
    Unusable,
}

fn apps(webhooks: &serde_json::Value) -> Array {
    Array::new(["k", "other"].map(|key| {
        let app = json!({"id": key, "key": key, "secret": "s", "webhooks": webhooks});
        serde_json::from_value::<App>(app).unwrap()
    }))
}

impl Source {
    async fn asked(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        if self.is_down {
            return Err(LookUpError::Unreachable("down".into()));
        }
        if Instant::now() < self.there_from { Ok(None) } else { self.apps.find_by_key(key).await }
    }
}

impl Apps for Source {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        let remembered = self.remembered.lock().unwrap().clone();
        match remembered {
            Some(Remembered::Webhooks(webhooks)) => apps(&webhooks).find_by_key(key).await,
            Some(Remembered::Unusable) => Err(LookUpError::Unusable("its webhooks are no list".into())),
            None => self.asked(key).await,
        }
    }

    async fn find_fresh(&self, key: &str) -> Result<Fresh, LookUpError> {
        let app = self.asked(key).await?;
        self.remembered.lock().unwrap().take();
        Ok(Fresh { app, asked_at: Instant::now() })
    }

    fn lag(&self) -> Duration {
        self.lag
    }
}

struct World {
    queue: FakeQueue,
    rules: Rules,
    requests: Arc<Mutex<Vec<Request>>>,
    webhooks: serde_json::Value,
    metrics: Arc<Metrics>,
    ledger: Arc<Ledger>,
    /// A webhook of the first app that has been failing for a window.
    down: Option<usize>,
    /// For so long from a receive on there are no apps, and by so much their source lags.
    lag: Duration,
    source_is_down: bool,
    remembered: Option<Remembered>,
}

impl World {
    /// A queue with that visibility timeout and `jobs` jobs of one group.
    fn new(visibility: u64, timeout: u64, jobs: u64) -> Self {
        let mut queue = FakeQueue::new(Duration::from_secs(visibility));
        queue.way = WAY;
        let rules = Rules {
            visibility: Duration::from_secs(visibility),
            attempt_timeout: Duration::from_secs(timeout),
            retry: Retry { window: 300 * SECOND, base: SECOND, cap: 36_000 * SECOND },
            disposal: Disposal::default(),
            coalesce: None,
        };
        let world = Self {
            queue,
            rules,
            requests: Arc::default(),
            webhooks: json!([{"url": "http://h/"}]),
            metrics: Arc::new(Metrics::new()),
            ledger: Arc::default(),
            down: None,
            lag: Duration::ZERO,
            source_is_down: false,
            remembered: None,
        };
        (0..jobs).for_each(|n| world.send(n, "k", "s", "c"));
        world
    }

    /// Sends the job of that number, on a channel, under a key and a secret.
    fn send(&self, n: u64, key: &str, secret: &str, channel: &str) {
        let producer = Signer::new("a", key, secret);
        let fields = [("n".to_owned(), json!(n)), ("channel".to_owned(), json!(channel))];
        let job = producer.event(QueueType::ClientEvent, serde_json::Map::from_iter(fields), n);
        self.queue.send(&job.group, job.body);
    }

    /// Receives a lane and works it to its end; the process stands still for a while in between.
    async fn work(&self, stands_still: Duration, script: Script) {
        let health = Arc::new(Health::new(Duration::from_secs(30)));
        let breaker = Breaker::new(self.rules.retry.window, self.rules.attempt_timeout);
        if let Some(webhook) = self.down {
            let (key, now) = (destination("k", &self.ids()[webhook]), Instant::now());
            let since = now.checked_sub(self.rules.retry.window).unwrap();
            (0..8).for_each(|n| {
                let job = Job::new(&format!("other {n}"), since);
                let failure = Failure { app_id: "k", job, began: since, ended: now, why: "status 500" };
                breaker.failed(key, &failure);
            });
            advance(self.rules.attempt_timeout).await;
        }
        let made = Permits::new(10, 1 << 20);
        let shared = Arc::new(Shared {
            queue: Arc::new(self.queue.clone()),
            transport: Destination {
                script,
                webhooks: self.ids(),
                requests: Arc::clone(&self.requests),
                permits: made.clone(),
            },
            apps: Source {
                apps: apps(&self.webhooks),
                remembered: Mutex::new(self.remembered.clone()),
                there_from: Instant::now() + self.lag,
                lag: self.lag,
                is_down: self.source_is_down,
            },
            rules: self.rules.clone(),
            ledger: Arc::clone(&self.ledger),
            breaker,
            failures: Failures::default(),
            undeliverable: Breaker::new(self.rules.retry.window, self.rules.attempt_timeout),
            absences: Absences::default(),
            throttle: Throttle::default(),
            permits: made,
            random: Random::from_seed(1),
            metrics: Arc::clone(&self.metrics),
            traces: Traces::default(),
            health: Arc::clone(&health),
            shutdown: CancellationToken::new(),
            received_last: CancellationToken::new(),
            closing: CancellationToken::new(),
            longest_poll: SECOND,
        });
        let received = self.queue.take(None);
        let mut reserved = Permits::new(10, 1 << 20).reserve(10).await;
        let permits = Permits::new(10, 1 << 20);
        let places = Arc::new(Shares::new(10, 1 << 20));
        let jobs = received
            .into_iter()
            .map(|message| InFlight {
                claim: self.ledger.claim(&message.id).unwrap(),
                _permit: permits.take(&mut reserved, message.body.len()),
                share: Some(places.take("a", message.body.len())),
                app_id: "a".into(),
                message,
                span: JobSpan::default(),
            })
            .collect();
        sleep(WAY).await;
        let (deletes, serve) =
            delete_batcher::start(Arc::clone(&shared.queue), Arc::clone(&self.metrics), health, 10);
        let serve = tokio::spawn(serve);
        let now = Instant::now();
        let lane = Lane::new(shared, deletes, jobs, Times { received_at: now, lease_start: now });
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
}

fn delivered(_: &Request) -> (Takes, Outcome) {
    (Takes::Time(Duration::ZERO), Outcome::Delivered)
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_past_the_lease_before_an_attempt_leaves_the_lane_to_sqs() {
    let world = World::new(5, 4, 3);
    world.work(6 * SECOND, delivered).await;
    assert!(world.attempted().is_empty() && world.queue.changes().is_empty());
    assert_eq!(world.metrics.abandoned.get(), 3);
    world.work(Duration::ZERO, delivered).await;
    assert_eq!(world.attempted(), [0, 1, 2], "redelivered in order");
}

#[tokio::test(start_paused = true)]
async fn at_a_last_receive_a_letter_is_written_although_the_lease_may_be_over() {
    let world = World::new(5, 4, 3);
    world.rules.disposal.set_max_receive_count(Some(1));
    world.work(6 * SECOND, delivered).await;
    assert!(world.attempted().is_empty());
    let reasons: Vec<_> = world.queue.letters().iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, ["last_receive"; 3]);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_job_spends_in_its_lane_is_part_of_its_age() {
    let world = World::new(30, 4, 2);
    let slow = |request: &Request| {
        let outcome = if request.jobs == [1] { Outcome::Permanent(Reason::Gone) } else { Outcome::Delivered };
        (Takes::Time(3 * SECOND), outcome)
    };
    world.work(Duration::ZERO, slow).await;
    let letters = world.queue.letters();
    let waited = letters[0].given_up.unwrap().duration_since(letters[0].first_sent.unwrap()).unwrap();
    assert!(waited >= 6 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn each_webhook_that_lacks_a_job_given_up_counts_it_once_and_no_skip_of_it_is_a_deferral() {
    let mut world = World::new(30, 4, 2);
    world.webhooks = json!([{"url": "http://a/"}, {"url": "http://b/"}, {"url": "http://c/"}]);
    world.down = Some(2);
    let script = |request: &Request| {
        let outcome = match request.webhook {
            0 => Outcome::Delivered,
            1 => Outcome::Permanent(Reason::Gone),
            _ => Outcome::transient(Reason::Status(500)),
        };
        (Takes::Time(WAY), outcome)
    };
    world.work(Duration::ZERO, script).await;
    assert_eq!(world.queue.letters().len(), 2);
    let snapshot = world.metrics.board.snapshot(0, 9);
    let mut rows: Vec<_> = snapshot
        .destinations
        .rows
        .iter()
        .map(|row| (row.destination.as_str(), row.delivered, row.deferred, row.dead_lettered))
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, [("a", 2, 0, 0), ("b", 0, 0, 2), ("c", 0, 0, 2)]);
    let asked = world.requests.lock().unwrap().iter().filter(|request| request.webhook == 2).count();
    assert!(asked < 2, "one of the jobs was not sent to the one that is down");
    let others: Vec<_> = snapshot.dead_letters.rows.iter().map(|row| row.others).collect();
    assert_eq!(others, [1, 1]);
    assert_eq!(snapshot.apps.rows[0].dead_lettered, 2, "a job each");
}

#[tokio::test(start_paused = true)]
async fn an_app_has_one_row_whatever_its_jobs_claim_to_be_of() {
    let world = World::new(30, 4, 1);
    world.work(Duration::ZERO, |_| (Takes::Time(WAY), Outcome::Permanent(Reason::Gone))).await;
    let snapshot = world.metrics.board.snapshot(0, 9);
    let apps: Vec<_> =
        snapshot.apps.rows.iter().map(|row| (row.app.as_str(), row.failed, row.dead_lettered)).collect();
    assert_eq!((apps, snapshot.destinations.count), (vec![("k", 1, 1)], 1));
    assert_eq!(world.queue.letters()[0].app_id, "k", "and its letter is found by its id");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_past_the_lease_in_an_attempt_ends_the_lane_after_that_job() {
    let world = World::new(5, 4, 3);
    world.work(Duration::ZERO, |_| (Takes::Standstill(60 * SECOND), Outcome::Delivered)).await;
    assert_eq!(world.attempted(), [0], "delivered, too late to be deleted");
    assert_eq!(world.queue.deletes(), [BatchEntryResult::ReceiptExpired]);
    world.work(Duration::ZERO, delivered).await;
    assert_eq!(world.attempted(), [0, 1, 2], "the first was only deleted again");
    assert_eq!(world.queue.deletes()[1..], [const { BatchEntryResult::Ok }; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_extension_near_the_limit_asks_for_what_sqs_still_grants() {
    // A whole number of seconds after the arrival: the ways are what would be too much.
    let world = World::new(40_000, 900, 2);
    world.work(39_998 * SECOND, delivered).await;
    assert_eq!(world.queue.changes(), [[43_200 - 39_998 - 1; 2]]);
    assert_eq!(world.attempted(), [0, 1]);
    assert_eq!(world.metrics.abandoned.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_a_lane_is_abandoned_and_nothing_is_asked_for() {
    let world = World::new(43_200, 900, 2);
    world.work(42_500 * SECOND, delivered).await;
    assert!(world.attempted().is_empty() && world.queue.changes().is_empty());
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
    assert_eq!(world.queue.changes(), [[43_200 - 39_000 - 1; 2]]);
}

#[tokio::test(start_paused = true)]
async fn without_a_jump_an_attempt_that_uses_all_its_time_ends_inside_the_lease() {
    let world = World::new(5, 4, 3);
    let start = Instant::now();
    let all = |_: &Request| (Takes::Time(Duration::from_millis(3999)), Outcome::Delivered);
    world.work(Duration::ZERO, all).await;
    assert_eq!(world.attempted(), [0, 1, 2]);
    assert_eq!(world.queue.deletes(), [const { BatchEntryResult::Ok }; 3], "none was late");
    assert_eq!(world.queue.changes(), [[30; 2]], "one extension for the rest");
    assert!(start.elapsed() < 13 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_hangs_holds_its_place_alone_and_none_of_those_behind_it() {
    for (visibility, extensions) in [(60, 0), (5, 3)] {
        let mut world = World::new(visibility, 4, 1);
        world.webhooks = (0..100).map(|n| json!({"url": format!("http://h{n}/")})).collect();
        let start = Instant::now();
        // In each sixteen one would keep all of those behind it waiting.
        let some_hang = |request: &Request| {
            let takes = if request.webhook.is_multiple_of(16) { 3 * SECOND } else { SECOND / 10 };
            (Takes::Time(takes), Outcome::Delivered)
        };
        world.work(Duration::ZERO, some_hang).await;
        let mut asked: Vec<_> =
            world.requests.lock().unwrap().iter().map(|request| request.webhook).collect();
        assert!(visibility < 60 || start.elapsed() < 8 * SECOND, "{:?}", start.elapsed());
        asked.sort_unstable();
        assert!(asked.into_iter().eq(0..100), "each once");
        assert_eq!(world.queue.deletes(), [BatchEntryResult::Ok]);
        assert!(world.queue.changes().len() <= extensions, "{:?}", world.queue.changes());
    }
}

#[tokio::test(start_paused = true)]
async fn time_in_which_there_was_nothing_to_send_is_not_part_of_a_destinations_window() {
    let mut world = World::new(5, 4, 1);
    world.rules.retry.window = 20 * SECOND;
    // No webhook wants it yet.
    world.webhooks = json!([{"url": "http://h/", "event_types": ["member_added"]}]);
    for _ in 0..3 {
        world.work(Duration::ZERO, delivered).await;
        sleep(6 * SECOND).await;
    }
    world.webhooks = json!([{"url": "http://h/"}]);
    let fails = |_: &Request| (Takes::Time(Duration::ZERO), Outcome::transient(Reason::Status(503)));
    for _ in 0..3 {
        world.work(Duration::ZERO, fails).await;
        sleep(6 * SECOND).await;
    }
    assert!(world.queue.letters().is_empty());
    world.work(Duration::ZERO, delivered).await;
    assert_eq!(world.attempted(), [0; 4]);
}

#[tokio::test(start_paused = true)]
async fn time_in_which_nothing_could_be_sent_after_an_attempt_is_not_part_of_a_destinations_window() {
    let mut world = World::new(5, 4, 1);
    world.rules.retry.window = 20 * SECOND;
    world.rules.retry.cap = 5 * SECOND;
    let fails = |_: &Request| (Takes::Time(Duration::ZERO), Outcome::transient(Reason::Status(503)));
    let there = json!([{"url": "http://h/"}]);
    let unlisted = json!([{"url": "http://h/", "event_types": ["member_added"]}]);
    // The app source is down, and then the app has no webhook for such jobs.
    for (is_down, webhooks) in [
        (false, &there),
        (true, &there),
        (true, &there),
        (true, &there),
        (false, &unlisted),
        (false, &unlisted),
        (false, &there),
    ] {
        (world.source_is_down, world.webhooks) = (is_down, webhooks.clone());
        world.work(Duration::ZERO, fails).await;
        sleep(10 * SECOND).await;
    }
    assert_eq!((world.attempted(), world.queue.letters().len()), (vec![0; 2], 0));
    world.work(Duration::ZERO, fails).await;
    assert_eq!((world.attempted().len(), world.queue.letters().len()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_no_letter_is_taken_of_until_the_queue_deletes_it_is_counted_as_lost() {
    let mut world = World::new(5, 4, 1);
    world.rules.disposal.set_retention(Some(120 * SECOND));
    world.queue.set_retention(120 * SECOND);
    world.queue.dead_letters_down_for = 3600 * SECOND;
    world.rules.retry.cap = 30 * SECOND;
    for _ in 0..30 {
        world.work(Duration::ZERO, |_| (Takes::Time(Duration::ZERO), Outcome::Permanent(Reason::Gone))).await;
        sleep(5 * SECOND).await;
    }
    assert!(world.queue.is_empty() && world.queue.letters().is_empty());
    assert_eq!((world.metrics.lost.get(), world.attempted().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_its_lane_still_delivers_is_not_counted_as_lost() {
    let mut world = World::new(60, 4, 10);
    world.rules.disposal.set_retention(Some(120 * SECOND));
    world.queue.dead_letters_down_for = 3600 * SECOND;
    sleep(116 * SECOND).await;
    world.work(Duration::ZERO, |_| (Takes::Time(SECOND), Outcome::Delivered)).await;
    assert_eq!((world.metrics.lost.get(), world.attempted().len(), world.queue.deletes().len()), (0, 10, 10));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_for_its_place_is_sent_by_its_own_plan() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let mut world = World::new(5, 4, 2);
    world.rules.disposal.set_max_receive_count(Some(1));
    // The second is planned and does not fit.
    world.rules.coalesce = Some(Limits { events: 1, bytes: 1 << 20 });
    world
        .work(Duration::ZERO, |_| {
            let first = ASKED.fetch_add(1, Ordering::Relaxed) == 0;
            (
                Takes::Time(Duration::ZERO),
                if first { Outcome::Deferred(Reason::Busy(1)) } else { Outcome::Delivered },
            )
        })
        .await;
    assert_eq!(world.attempted(), [0, 0, 1]);
    assert_eq!(world.queue.deletes(), [const { BatchEntryResult::Ok }; 2]);
}

#[tokio::test(start_paused = true)]
async fn receives_by_others_count_neither_as_attempts_nor_as_failing() {
    let mut world = World::new(5, 4, 1);
    world.rules.retry.window = 20 * SECOND;
    world.webhooks = json!([{"url": "http://h/", "retry": {"max_attempts": 3}}]);
    for _ in 0..3 {
        assert_eq!(world.queue.take(None).len(), 1, "another process, before which it waited behind a job");
        sleep(6 * SECOND).await;
    }
    // For as long no worker ran.
    sleep(60 * SECOND).await;
    let fails = |_: &Request| (Takes::Time(Duration::ZERO), Outcome::transient(Reason::Status(503)));
    for _ in 0..2 {
        world.work(Duration::ZERO, fails).await;
        assert!(world.queue.letters().is_empty());
        sleep(4 * SECOND).await;
    }
    world.work(Duration::ZERO, fails).await;
    let letters = world.queue.letters();
    assert_eq!((letters.len(), letters[0].reason, letters[0].attempts), (1, "status", 3));
    let numbers: Vec<u32> = world.requests.lock().unwrap().iter().map(|request| request.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn at_its_last_receive_a_job_waits_in_its_lane_for_a_place_and_is_attempted() {
    for reason in [Reason::Busy(2), Reason::NoDescriptor] {
        let world = World::new(5, 4, 2);
        world.rules.disposal.set_max_receive_count(Some(1));
        let is_busy = match reason {
            Reason::Busy(_) => |request: &Request| {
                let free = request.before >= 40;
                let outcome = if free { Outcome::Delivered } else { Outcome::Deferred(Reason::Busy(2)) };
                (Takes::Time(Duration::from_millis(500)), outcome)
            },
            _ => |request: &Request| {
                let free = request.before >= 40;
                let outcome = if free { Outcome::Delivered } else { Outcome::Deferred(Reason::NoDescriptor) };
                (Takes::Time(Duration::from_millis(500)), outcome)
            },
        };
        world.work(Duration::ZERO, is_busy).await;
        assert_eq!(world.attempted()[40..], [0, 1], "in order, {reason:?}");
        assert!(world.queue.letters().is_empty());
        assert_eq!(world.queue.deletes(), [const { BatchEntryResult::Ok }; 2]);
        assert!(world.requests.lock().unwrap().iter().all(|request| request.number == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn at_its_last_receive_a_job_waits_in_its_lane_for_an_answer_about_its_app_that_is_not_older_than_it() {
    let mut world = World::new(5, 4, 2);
    world.rules.disposal.set_max_receive_count(Some(1));
    world.lag = 3 * SECOND;
    world.work(Duration::ZERO, delivered).await;
    assert_eq!(world.attempted(), [0, 1]);
    assert!(world.queue.letters().is_empty());
    world.send(2, "nobody", "s", "c");
    world.work(Duration::ZERO, delivered).await;
    let letters = world.queue.letters();
    assert_eq!((letters.len(), letters[0].reason), (1, "unknown_app"));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_sockudos_that_no_webhook_lists_becomes_a_letter_and_holds_no_other_app_up() {
    for lag in [Duration::ZERO, 3 * SECOND] {
        let mut world = World::new(30, 4, 0);
        world.webhooks = json!([{"url": "http://h/", "event_types": ["cache_miss"]}]);
        world.lag = lag;
        for (n, key, name) in [(0, "k", "client_event"), (1, "other", "cache_miss")] {
            let event = json!({"name": name, "channel": "cache-a", "n": n});
            let job = json!({
                "app_key": key, "app_id": key, "app_secret": "s", "original_signature": "a label",
                "payload": {"time_ms": 1, "events": [event]},
            });
            world.queue.send("default", job.to_string());
        }
        world.work(Duration::ZERO, delivered).await;
        if lag.is_zero() {
            assert_eq!(world.attempted(), [1]);
            let letters = world.queue.letters();
            assert_eq!((letters.len(), letters[0].reason), (1, "no_webhook"));
        } else {
            assert!(world.queue.letters().is_empty(), "the webhook may be newer than the answer");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_without_a_place_waits_for_one_where_a_job_behind_it_would_not_be_handed_over_again() {
    let world = World::new(5, 4, 1);
    world.rules.disposal.set_max_receive_count(Some(2));
    assert_eq!(world.queue.take(None).len(), 1, "another process");
    world.send(1, "k", "s", "c");
    sleep(6 * SECOND).await;
    let is_busy = |request: &Request| {
        let free = request.before >= 4;
        let outcome = if free { Outcome::Delivered } else { Outcome::Deferred(Reason::Busy(2)) };
        (Takes::Time(Duration::ZERO), outcome)
    };
    world.work(Duration::ZERO, is_busy).await;
    assert_eq!(world.attempted()[4..], [0, 1]);
    assert!(world.queue.letters().is_empty());
}

#[tokio::test(start_paused = true)]
async fn at_its_last_receive_a_job_is_attempted_although_its_lease_cannot_be_extended() {
    let mut world = World::new(5, 4, 10);
    world.rules.disposal.set_max_receive_count(Some(1));
    world.queue.changes_denied = true;
    world.work(Duration::ZERO, |_| (Takes::Time(WAY), Outcome::Delivered)).await;
    assert!(world.attempted().into_iter().eq(0..10));
    assert_eq!((world.queue.letters().len(), world.queue.deletes().len()), (0, 10));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_lease_is_all_that_an_attempt_at_a_last_receive_may_take() {
    let mut world = World::new(5, 4, 3);
    world.rules.disposal.set_max_receive_count(Some(1));
    world.queue.changes_denied = true;
    world.work(Duration::ZERO, |_| (Takes::Time(3 * SECOND), Outcome::Delivered)).await;
    assert_eq!(world.attempted(), [0, 1], "each with time left for the letters of those behind it");
    let reasons: Vec<_> = world.queue.letters().iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, ["last_receive"; 2], "the second was cut off, and the third has no time left");
    assert_eq!(world.queue.deletes(), [const { BatchEntryResult::Ok }; 3], "each within the lease");
}

#[tokio::test(start_paused = true)]
async fn the_delete_of_a_job_at_its_last_receive_is_tried_again_while_its_lease_lasts() {
    let mut world = World::new(30, 4, 2);
    world.queue.deletes_fail_for = SECOND;
    world.work(Duration::ZERO, delivered).await;
    assert!(world.queue.deletes().is_empty(), "one that comes back is deleted then");
    let mut world = World::new(30, 4, 2);
    world.rules.disposal.set_max_receive_count(Some(1));
    world.queue.deletes_fail_for = SECOND;
    world.work(Duration::ZERO, delivered).await;
    assert_eq!(world.queue.deletes(), [const { BatchEntryResult::Ok }; 2]);
    assert!(world.queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn deferrals_do_not_count_for_the_backoff_of_a_failed_look_up() {
    let mut world = World::new(5, 4, 1);
    for _ in 0..7 {
        world
            .work(Duration::ZERO, |_| (Takes::Time(Duration::ZERO), Outcome::Deferred(Reason::Busy(2))))
            .await;
        sleep(60 * SECOND).await;
    }
    world.source_is_down = true;
    world.work(Duration::ZERO, delivered).await;
    assert_eq!(world.queue.changes().last(), Some(&vec![1]));
}

#[tokio::test(start_paused = true)]
async fn what_never_gets_a_place_is_given_up_by_us_at_its_last_receive_and_put_back_before_it() {
    let busy = |_: &Request| (Takes::Time(Duration::ZERO), Outcome::Deferred(Reason::Busy(2)));
    let world = World::new(5, 4, 1);
    world.rules.disposal.set_max_receive_count(Some(2));
    world.work(Duration::ZERO, busy).await;
    assert_eq!((world.attempted(), world.queue.changes()), (vec![0], vec![vec![1]]));
    sleep(2 * SECOND).await;
    world.work(Duration::ZERO, busy).await;
    let letters = world.queue.letters();
    assert_eq!((letters.len(), letters[0].reason, letters[0].attempts), (1, "last_receive", 0));
    assert_eq!(world.queue.deletes(), [BatchEntryResult::Ok]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_place_is_given_up_before_the_queue_deletes_it_for_its_age() {
    let world = World::new(5, 4, 1);
    world.rules.disposal.set_retention(Some(320 * SECOND));
    sleep(300 * SECOND).await;
    while world.queue.letters().is_empty() && !world.queue.is_empty() {
        world.work(Duration::ZERO, |_| (Takes::Time(SECOND), Outcome::Deferred(Reason::Busy(2)))).await;
        sleep(2 * SECOND).await;
    }
    let letters = world.queue.letters();
    assert_eq!((letters.len(), letters[0].reason), (1, "retention"));
    let waited = letters[0].given_up.unwrap().duration_since(letters[0].first_sent.unwrap()).unwrap();
    assert!(waited > 302 * SECOND && waited < 315 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_receive_count_that_is_lowered_while_jobs_wait_counts_for_those_in_hand() {
    let world = World::new(5, 4, 2);
    world.rules.disposal.set_max_receive_count(Some(1000));
    let fails = |_: &Request| (Takes::Time(Duration::ZERO), Outcome::transient(Reason::Status(503)));
    world.work(Duration::ZERO, fails).await;
    assert!(world.queue.letters().is_empty());
    sleep(20 * SECOND).await;
    // An operator does it, and whoever looks at the queue finds it.
    world.rules.disposal.clone().set_max_receive_count(Some(2));
    world.work(Duration::ZERO, fails).await;
    let reasons: Vec<_> = world.queue.letters().iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, ["last_receive"; 2]);
}

#[tokio::test(start_paused = true)]
async fn what_a_function_gets_counts_as_a_copy_of_its_own() {
    for (webhook, copies) in [
        (json!({"url": "http://h/"}), 0),
        (json!({"lambda_function": "f"}), 1),
        (json!({"lambda_function": "f", "filter": {"channel_prefix": "a"}}), 1),
    ] {
        let mut world = World::new(5, 4, 1);
        world.webhooks = json!([webhook]);
        world.work(Duration::ZERO, delivered).await;
        let requests = world.requests.lock().unwrap();
        assert!(requests.len() <= 1);
        for request in &*requests {
            assert_eq!(request.made, request.delivery.body.len() * copies, "{webhook}");
        }
    }
}
