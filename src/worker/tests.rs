//! The worker under paused time, over the local queue's state machine and scripted destinations.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub(crate) mod fake_queue;
mod promises;

use super::*;
use crate::app::{App, Target, WebhookId};
use crate::apps::LookUpError;
use crate::apps::array::Array;
use crate::job::QueueType;
use crate::outcome::{Outcome, Reason};
use crate::plan::Delivery;
use crate::policy::Retry;
use crate::policy::rules::Disposal;
use crate::producer::Signer;
use crate::worker::tests::fake_queue::FakeQueue;

const SECRET: &str = "s";

/// One attempt that was made.
#[derive(Clone, Debug)]
struct Attempt {
    n: u64,
    webhook: usize,
    at: Duration,
    outcome: Option<Outcome>,
}

type Script = dyn Fn(u64, usize, u32, Duration) -> (Duration, Outcome) + Send + Sync;

struct Destination {
    script: Arc<Script>,
    queue: FakeQueue,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    stands_still: Mutex<Option<(u64, Duration)>>,
}

impl Transport for Destination {
    async fn attempt(&self, delivery: &Delivery, number: u32) -> Outcome {
        let body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
        let n = body["events"][0]["n"].as_u64().unwrap();
        let at = self.queue.now();
        let Target::Http(url) = &delivery.target else { panic!("{delivery:?}") };
        let webhook = url.rsplit('/').next().unwrap().parse().unwrap();
        let place = {
            let mut attempts = self.attempts.lock().unwrap();
            attempts.push(Attempt { n, webhook, at, outcome: None });
            attempts.len() - 1
        };
        let (takes, outcome) = (self.script)(n, webhook, number, at);
        let stands_still = self.stands_still.lock().unwrap().take_if(|(at, _)| *at == n);
        match stands_still {
            Some((_, time)) => tokio::time::advance(time).await,
            None => sleep(takes).await,
        }
        self.attempts.lock().unwrap()[place].outcome = Some(outcome.clone());
        outcome
    }
}

/// Apps in a source that does not answer at first.
struct Source {
    apps: Array,
    answers_from: Instant,
}

impl Apps for Source {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        if Instant::now() < self.answers_from {
            return Err(LookUpError::Unreachable("down".into()));
        }
        self.apps.find_by_key(key).await
    }
}

struct World {
    queue: FakeQueue,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    webhooks: usize,
    /// What each webhook's filter is.
    filter: serde_json::Value,
    max_bytes: usize,
    seed: u64,
    max_receive_count: Option<u32>,
    retention: Option<Duration>,
    window: Duration,
    wait: Duration,
    shutdown: CancellationToken,
    source_down_for: Duration,
    /// The job in whose attempt the whole process stands still once, as under SIGSTOP, and for how long.
    stands_still: Option<(u64, Duration)>,
}

impl World {
    fn new() -> Self {
        Self {
            queue: FakeQueue::new(Duration::from_secs(5)),
            attempts: Arc::default(),
            webhooks: 1,
            filter: json!({}),
            max_bytes: 1 << 26,
            seed: 7,
            max_receive_count: None,
            retention: None,
            window: Duration::from_secs(300),
            wait: Duration::from_secs(10),
            shutdown: CancellationToken::new(),
            source_down_for: Duration::ZERO,
            stands_still: None,
        }
    }

    fn send(&self, group: &str, n: u64) {
        self.send_as("a", group, n);
    }

    /// Sends a job that claims to be of an app.
    fn send_as(&self, app_id: &str, group: &str, n: u64) {
        let producer = Signer::new(app_id, "k", SECRET);
        let fields = Map::from_iter([("n".to_owned(), json!(n))]);
        self.queue.send(group, producer.event(QueueType::ClientEvent, fields, n).body);
    }

    fn start(
        &self,
        script: impl Fn(u64, usize, u32, Duration) -> (Duration, Outcome) + Send + Sync + 'static,
    ) -> JoinHandle<()> {
        let hook = |n| json!({"url": format!("http://h/{n}"), "filter": self.filter});
        let hooks: Vec<_> = (0..self.webhooks).map(hook).collect();
        let app: App =
            serde_json::from_value(json!({"id": "a", "key": "k", "secret": SECRET, "webhooks": hooks}))
                .unwrap();
        let parts = Parts {
            queue: self.queue.clone(),
            transport: Destination {
                script: Arc::new(script),
                queue: self.queue.clone(),
                attempts: Arc::clone(&self.attempts),
                stands_still: Mutex::new(self.stands_still),
            },
            apps: Source { apps: Array::new([app]), answers_from: Instant::now() + self.source_down_for },
            random: Random::from_seed(self.seed),
            metrics: Arc::new(Metrics::new()),
            health: Arc::new(Health::new(Duration::from_secs(34))),
            traces: Traces::default(),
        };
        let rules = Rules {
            visibility: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(4),
            retry: Retry { window: self.window, base: Duration::from_secs(1), cap: Duration::from_secs(60) },
            disposal: Disposal::new(self.max_receive_count, self.retention),
            coalesce: None,
        };
        let bounds = Bounds {
            max_in_flight: 2000,
            max_bytes: self.max_bytes,
            batch: 10,
            pause: Duration::ZERO,
            wait: self.wait,
            grace: Duration::from_secs(25),
        };
        tokio::spawn(Worker::new(parts, rules, bounds, self.shutdown.clone()).run())
    }

    /// Runs until the queue is empty, or fails after an hour of virtual time.
    async fn drain(&self) {
        let end = Instant::now() + Duration::from_secs(3600);
        while !self.queue.is_empty() {
            assert!(Instant::now() < end, "the queue does not drain");
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn attempts(&self) -> Vec<Attempt> {
        self.attempts.lock().unwrap().clone()
    }

    fn delivered(&self) -> Vec<u64> {
        let attempts = self.attempts();
        attempts.iter().filter(|a| a.outcome == Some(Outcome::Delivered)).map(|a| a.n).collect()
    }
}

fn ok() -> Outcome {
    Outcome::Delivered
}

fn down() -> Outcome {
    Outcome::transient(Reason::Status(500))
}

#[tokio::test(start_paused = true)]
async fn without_faults_every_job_is_attempted_once_in_the_order_of_its_group() {
    let world = World::new();
    for n in 0..1000 {
        world.send(&format!("g{}", n % 37), n);
    }
    world.start(|n, _, _, _| (Duration::from_millis(n % 50), ok()));
    world.drain().await;
    let attempts = world.attempts();
    assert_eq!(attempts.len(), 1000);
    for group in 0..37 {
        let ns: Vec<u64> = attempts.iter().map(|a| a.n).filter(|n| n % 37 == group).collect();
        assert!(ns.is_sorted(), "{ns:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_head_is_never_overtaken_and_holds_up_no_other_group() {
    let world = World::new();
    for n in 0..10 {
        world.send("bad", n);
        world.send("good", 100 + n);
    }
    world.start(|n, _, number, _| {
        (Duration::from_millis(5), if n == 0 && number < 4 { down() } else { ok() })
    });
    world.drain().await;
    let delivered = world.delivered();
    assert_eq!(delivered.len(), 20);
    assert_eq!(delivered[..10], (100..110).collect::<Vec<_>>()[..]);
    assert_eq!(delivered[10..], (0..10).collect::<Vec<_>>()[..]);
    assert_eq!(world.queue.changes()[0].len(), 10, "one change for all that is left");
}

#[tokio::test(start_paused = true)]
async fn the_rest_is_hidden_for_longer_where_the_queue_dead_letters_by_itself() {
    let mut world = World::new();
    world.max_receive_count = Some(5);
    for n in 0..3 {
        world.send("g", n);
    }
    world.start(|_, _, number, _| (Duration::ZERO, if number == 1 { down() } else { ok() }));
    world.drain().await;
    let first = world.queue.changes()[0].clone();
    assert_eq!(first, [1, 6, 6]);
    assert_eq!(world.delivered(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn only_the_webhook_that_failed_is_attempted_again() {
    let mut world = World::new();
    world.webhooks = 2;
    world.send("g", 1);
    world.start(|_, webhook, number, _| {
        (Duration::ZERO, if webhook == 1 && number < 3 { down() } else { ok() })
    });
    world.drain().await;
    let count = |webhook| world.attempts().iter().filter(|a| a.webhook == webhook).count();
    assert_eq!((count(0), count(1)), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_never_ends_is_cut_off_inside_its_visibility() {
    let world = World::new();
    world.send("g", 1);
    world.start(|_, _, number, _| (Duration::from_secs(if number == 1 { 600 } else { 0 }), ok()));
    world.drain().await;
    let attempts = world.attempts();
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0].outcome, None, "cut off");
    let gap = attempts[1].at.checked_sub(attempts[0].at).unwrap();
    assert!(gap >= Duration::from_secs(5), "timeout and backoff: {gap:?}");
    assert_eq!(world.queue.changes().len(), 1, "hidden by the worker, not by expiry");
}

#[tokio::test(start_paused = true)]
async fn a_slow_lane_extends_its_lease_and_is_never_redelivered() {
    let world = World::new();
    for n in 0..10 {
        world.send("g", n);
    }
    world.start(|_, _, _, _| (Duration::from_millis(3900), ok()));
    world.drain().await;
    assert_eq!(world.attempts().len(), 10);
    assert_eq!(world.delivered(), (0..10).collect::<Vec<_>>());
    let extensions = world.queue.changes().len();
    assert!((1..=2).contains(&extensions), "{extensions} extensions for 39 s");
}

#[tokio::test(start_paused = true)]
async fn poison_at_the_head_is_dead_lettered_and_the_jobs_behind_it_are_delivered() {
    let world = World::new();
    let job = |key: &str, signature: &str| {
        format!(
            r#"{{"appKey":"{key}","appId":"a","payload":{{"events":[]}},"originalPusherSignature":"{signature}"}}"#
        )
    };
    for (group, body) in [("json", "{".to_owned()), ("app", job("nobody", "")), ("signature", job("k", "00"))]
    {
        world.queue.send(group, body);
        world.send(group, group.len() as u64);
    }
    world.start(|_, _, _, _| (Duration::ZERO, ok()));
    world.drain().await;
    let letters = world.queue.letters();
    let mut reasons: Vec<_> = letters.iter().map(|letter| letter.reason).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["malformed", "signature", "unknown_app"]);
    assert_eq!(world.delivered().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn past_its_window_a_job_is_given_up_after_an_attempt() {
    let world = World::new();
    world.send("g", 1);
    world.send("g", 2);
    world.start(|n, _, _, _| (Duration::ZERO, if n == 1 { down() } else { ok() }));
    world.drain().await;
    let letters = world.queue.letters();
    let webhook = WebhookId::of(&Target::Http("http://h/0".into()));
    assert_eq!((letters.len(), letters[0].reason), (1, "status"));
    assert_eq!((&letters[0].webhook, &letters[0].delivered[..]), (&Some(webhook), &[][..]));
    let last = world.attempts().iter().filter(|a| a.n == 1).map(|a| a.at).max().unwrap();
    assert!(last.checked_sub(world.attempts()[0].at).unwrap() >= Duration::from_secs(300));
    assert_eq!(world.delivered(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_destinations_backlog_is_given_up_but_for_one_probe_at_a_time() {
    let mut world = World::new();
    world.window = Duration::from_secs(60);
    for n in 0..200 {
        world.send(&format!("g{n}"), n);
    }
    world.start(|_, _, _, _| (Duration::from_secs(4), down()));
    world.drain().await;
    assert_eq!(world.queue.letters().len(), 200, "nothing is lost");
    let skipped = world.queue.letters().iter().filter(|l| l.reason == "destination_down").count();
    assert!(skipped > 50, "{skipped} given up untried");
    let probes: Vec<_> =
        world.attempts().iter().map(|a| a.at).filter(|at| *at > Duration::from_secs(1_000_065)).collect();
    let one_at_a_time =
        probes.windows(2).all(|pair| pair[1].checked_sub(pair[0]).unwrap() >= Duration::from_secs(4));
    assert!(one_at_a_time, "{probes:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_dead_letter_queue_is_down_the_job_stays() {
    let mut world = World::new();
    world.queue.dead_letters_down_for = Duration::from_secs(30);
    world.queue.send("g", "{".to_owned());
    world.send("g", 1);
    world.start(|_, _, _, _| (Duration::ZERO, ok()));
    world.drain().await;
    assert_eq!(world.queue.letters().len(), 1);
    assert!(world.attempts()[0].at > Duration::from_secs(1_000_030), "job 1 waited behind it");
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_filed_under_the_whole_id_of_its_app_without_what_sqs_refuses() {
    let world = World::new();
    let long = format!("{}\u{202e}1", "x".repeat(200));
    for app_id in [long.clone(), "y".repeat(10_000)] {
        let job = Signer::new(&app_id, "unknown", SECRET).event(QueueType::ClientEvent, Map::new(), 1);
        world.queue.send(&app_id[..9], job.body);
    }
    world.start(|_, _, _, _| (Duration::ZERO, ok()));
    world.drain().await;
    let letters = world.queue.letters();
    let filed = |first: char| letters.iter().find(|l| l.app_id.starts_with(first)).unwrap().app_id.clone();
    assert_eq!(filed('x'), long.replace('\u{202e}', "\u{fffd}"));
    assert_eq!(filed('y').len(), 255);
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_is_refused_is_sent_less_and_less_often() {
    let mut world = World::new();
    world.queue.dead_letters_down_for = Duration::from_secs(600);
    world.queue.send("g", "{".to_owned());
    world.start(|_, _, _, _| (Duration::ZERO, ok()));
    world.drain().await;
    let calls = world.queue.letter_calls();
    assert!(calls.len() < 40, "{} calls in 600 s", calls.len());
    let gap = |pair: &[Duration]| pair[1].checked_sub(pair[0]).unwrap();
    let (first, last) = (gap(&calls[..2]), gap(&calls[calls.len() - 2..]));
    assert!(last > first * 4, "{first:?} at first, {last:?} at last");
}

#[tokio::test(start_paused = true)]
async fn a_delivered_job_whose_delete_failed_is_only_deleted_again() {
    let mut world = World::new();
    world.queue.deletes_fail_for = Duration::from_secs(12);
    for n in 0..3 {
        world.send("g", n);
    }
    world.start(|_, _, _, _| (Duration::ZERO, ok()));
    world.drain().await;
    assert_eq!(world.attempts().len(), 3, "no duplicate");
}

#[tokio::test(start_paused = true)]
async fn a_dead_lettered_job_whose_delete_failed_is_only_deleted_again() {
    let mut world = World::new();
    world.queue.deletes_fail_for = Duration::from_secs(12);
    world.queue.send("g", "{".to_owned());
    world.start(|_, _, _, _| (Duration::ZERO, ok()));
    world.drain().await;
    assert_eq!(world.queue.letters().len(), 1, "one letter");
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_is_asked_for_again_by_the_same_attempt_id_and_nothing_else_is() {
    for (fault, again) in
        [(ReceiveError::NoResponse(String::new()), true), (ReceiveError::Throttled(String::new()), false)]
    {
        let mut world = World::new();
        world.queue.receive_fault = Arc::new(move |call| (call == 1).then(|| fault.clone()));
        world.send("g", 1);
        world.start(|_, _, _, _| (Duration::ZERO, ok()));
        world.drain().await;
        let ids = world.queue.attempt_ids();
        assert_eq!(ids[0] == ids[1], again);
        let at = world.attempts()[0].at.checked_sub(Duration::from_secs(1_000_000)).unwrap();
        assert!(at < Duration::from_secs(5), "{at:?}: not by the visibility timeout");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_queue_throttles_it_is_asked_less_and_less() {
    let mut world = World::new();
    let throttled = |call| (call > 100).then(|| ReceiveError::Throttled(String::new()));
    world.queue.receive_fault = Arc::new(throttled);
    for n in 0..5000 {
        world.send(&format!("g{n}"), n);
    }
    world.start(|_, _, _, _| (Duration::from_secs(1), ok()));
    sleep(Duration::from_secs(60)).await;
    let before = world.queue.attempt_ids().len();
    assert!(before > 100, "{before} calls: it came to the throttling");
    sleep(Duration::from_secs(60)).await;
    let calls = world.queue.attempt_ids().len() - before;
    assert!(calls < 100, "{calls} calls in a minute: by one poller, not by each of them");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_what_is_attempted_releases_the_rest_and_loses_nothing() {
    let world = World::new();
    for n in 0..10 {
        world.send("g", n);
    }
    let worker = world.start(|_, _, _, _| (Duration::from_secs(1), ok()));
    sleep(Duration::from_millis(2500)).await;
    world.shutdown.cancel();
    worker.await.unwrap();
    assert_eq!(world.delivered(), [0, 1, 2]);
    assert!(world.attempts().iter().all(|a| a.outcome.is_some()));
    assert_eq!(world.queue.take(None).len(), 7, "at once");
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_is_asked_about_once_a_second_where_no_receive_waits() {
    let mut world = World::new();
    world.wait = Duration::ZERO;
    world.start(|_, _, _, _| (Duration::ZERO, ok()));
    sleep(Duration::from_secs(60)).await;
    let calls = world.queue.attempt_ids().len();
    assert!((50..80).contains(&calls), "{calls} calls in a minute");
    for n in 0..2000 {
        world.send(&format!("g{n}"), n);
    }
    let before = world.queue.now();
    world.drain().await;
    assert!(world.queue.now().saturating_sub(before) < Duration::from_secs(5), "what there is comes at once");
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_the_dead_letter_queue_never_takes_is_sent_every_few_minutes() {
    let mut world = World::new();
    world.queue.letter_bytes = 50;
    world.queue.send("g", format!("{{{}", "x".repeat(100)));
    world.send("g", 1);
    world.send("other", 2);
    world.start(|_, _, _, _| (Duration::ZERO, ok()));
    sleep(Duration::from_secs(1000)).await;
    let calls = world.queue.letter_calls();
    let apart = calls.windows(2).map(|pair| pair[1].checked_sub(pair[0]).unwrap()).min().unwrap();
    assert!(calls.len() > 2 && apart >= Duration::from_secs(300), "{calls:?}");
    assert!(world.queue.letters().is_empty() && !world.queue.is_empty(), "the job stays");
    assert_eq!(world.attempts.lock().unwrap().len(), 1, "what is behind it waits, other groups do not");
}

#[test]
fn rights_are_asked_for_only_where_the_role_lacks_one() {
    let hint = |why: &str| operator_hint(&ReceiveError::Denied(why.to_owned()));
    assert!(
        hint("AccessDenied: m (the role needs sqs:ReceiveMessage on the queue)")
            .contains("sqs:DeleteMessage")
    );
    for other in [
        "KMS.AccessDeniedException: m (the role needs kms:Decrypt on the queue's key)",
        "AccessDenied: m (an explicit deny forbids it; no right of the role's helps: sqs:ReceiveMessage has to be let through there)",
        "status 403 and no answer of SQS' form (a proxy answers)",
        "no providers in chain provided credentials",
    ] {
        assert!(!hint(other).contains("sqs:"), "{other}");
    }
}
