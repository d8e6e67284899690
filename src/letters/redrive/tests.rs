use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::*;
use crate::fifo::{Attribute, AttributeValue, Attributes, Broker, Outgoing, Receive};
use crate::letters::Origin;
use crate::queue::{AttemptId, BatchEntryResult, Message, Receipt, Unsent};

const DEAD: &str = "dead.fifo";
const JOBS: &str = "jobs.fifo";
const SOURCE: &str = "source_message_id";
const LOCK: &str = "a test that failed poisons it";

/// Two queues, and what goes wrong with them.
struct World {
    broker: Mutex<Broker>,
    start: Instant,
    random: Random,
    refused: Option<&'static str>,
    /// A body that the queue cannot take now, for so many calls.
    passing: Mutex<Option<(&'static str, u32)>>,
    /// The largest message that the queue takes.
    takes: usize,
    /// A worker that gives every job up again as soon as it is put back.
    hopeless: bool,
    deletes_fail: Mutex<bool>,
    /// By how much letters seem older than they are; without, the endpoint does not say when they were sent.
    ahead: Option<Duration>,
    /// Receives that the dead-letter queue throttles.
    throttled: Mutex<u32>,
}

impl World {
    fn new() -> Self {
        let mut broker = Broker::new(1, "us-east-1", "000000000000");
        for queue in [DEAD, JOBS] {
            let attributes = [("FifoQueue".to_owned(), "true".to_owned())];
            broker.create_queue(Duration::ZERO, queue, &BTreeMap::from(attributes)).unwrap();
        }
        Self {
            broker: Mutex::new(broker),
            start: Instant::now(),
            random: Random::from_seed(1),
            refused: None,
            passing: Mutex::new(None),
            takes: usize::MAX,
            hopeless: false,
            deletes_fail: Mutex::new(false),
            ahead: Some(Duration::ZERO),
            throttled: Mutex::new(0),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Broker, Duration) -> T) -> T {
        act(&mut self.broker.lock().unwrap_or_else(PoisonError::into_inner), self.start.elapsed())
    }

    fn send(&self, queue: &str, group: &str, dedup: &str, body: &str) {
        self.send_known(queue, group, dedup, body, None);
    }

    /// Sends what is known by an id from before; gives its own.
    fn send_known(
        &self,
        queue: &str,
        group: &str,
        dedup: &str,
        body: &str,
        known: Option<&str>,
    ) -> MessageId {
        let attribute = |id: &str| Attribute {
            data_type: "String".to_owned(),
            value: AttributeValue::Text(id.to_owned()),
        };
        let message = Outgoing {
            group: group.to_owned(),
            dedup: Some(dedup.to_owned()),
            body: body.to_owned().into(),
            attributes: known
                .map(|id| (SOURCE.to_owned(), attribute(id)))
                .into_iter()
                .collect::<Attributes>(),
            ..Outgoing::default()
        };
        self.with(|broker, now| broker.send(now, queue, message)).unwrap().message_id
    }

    /// What is on a queue, taken off it.
    fn drain(&self, queue: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let request = Receive { max: 10, visibility: None, attempt_id: None };
            let received = self.with(|broker, now| broker.receive(now, queue, &request)).unwrap();
            if received.is_empty() {
                return bodies;
            }
            for message in received {
                bodies.push(String::from_utf8(message.body.to_vec()).unwrap());
                self.with(|broker, now| broker.delete(now, queue, &message.receipt_handle)).unwrap();
            }
        }
    }

    async fn redrive(&self, plan: &Plan<'_>) -> (Report, Result<(), Failure>) {
        let stop = CancellationToken::new();
        redrive((self, self, &AlwaysWanted), plan, &self.random, stop, |_| {}).await
    }
}

/// Takes every letter for wanted: the worker that gets it knows.
struct AlwaysWanted;

impl Wanted for AlwaysWanted {
    async fn is_wanted(&self, _: &Letter) -> bool {
        true
    }
}

impl Letters for World {
    async fn receive_letters(&self, max: usize, attempt: &AttemptId) -> Result<Vec<Letter>, ReceiveError> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut throttled = self.throttled.lock().expect(LOCK);
        if let Some(left) = throttled.checked_sub(1) {
            *throttled = left;
            return Err(ReceiveError::Throttled("RequestThrottled".to_owned()));
        }
        drop(throttled);
        let request =
            Receive { max, visibility: Some(Duration::from_secs(120)), attempt_id: Some(attempt.0.clone()) };
        let received = self.with(|broker, now| broker.receive(now, DEAD, &request)).unwrap();
        let now = self.start.elapsed();
        let letter = |received: crate::fifo::Received| Letter {
            origin: match received.group.strip_prefix("other") {
                Some(_) => Origin::Other("000000000000.other.fifo".into()),
                None => Origin::Ours,
            },
            message: Message {
                id: received.message_id,
                receipt: Receipt::new(received.receipt_handle),
                group: received.group,
                body: received.body,
                receive_count: received.receive_count,
                sent: self.ahead.map(|_| SystemTime::UNIX_EPOCH + received.sent),
                age: self.ahead.map_or(Duration::ZERO, |ahead| now.saturating_sub(received.sent) + ahead),
                since_first_receive: Duration::ZERO,
                redriven: received.attributes.get(SOURCE).map(|attribute| match &attribute.value {
                    AttributeValue::Text(id) => Redriven::of(id, None, None),
                    AttributeValue::Binary(_) => unreachable!("a text was sent"),
                }),
                trace: None,
            },
            attributes: BTreeMap::new(),
        };
        Ok(received.into_iter().map(letter).collect())
    }

    async fn delete_letters(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        if *self.deletes_fail.lock().expect(LOCK) {
            return Err(Error::Call("down".into()));
        }
        let delete =
            |receipt: &&Receipt| match self.with(|broker, now| broker.delete(now, DEAD, receipt.handle())) {
                Ok(()) => BatchEntryResult::Ok,
                Err(_) => BatchEntryResult::ReceiptExpired,
            };
        Ok(receipts.iter().map(delete).collect())
    }

    async fn give_back(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        for receipt in receipts {
            self.with(|broker, now| broker.change_visibility(now, DEAD, receipt.handle(), Duration::ZERO))
                .unwrap();
        }
        Ok(vec![BatchEntryResult::Ok; receipts.len()])
    }
}

impl Source for World {
    async fn send_jobs(&self, jobs: &[NewMessage]) -> Result<Vec<super::super::Sent>, Error> {
        let mut sent = Vec::new();
        for job in jobs {
            if self.refused.is_some_and(|refused| job.body == refused) {
                sent.push(Err(Unsent { why: "InvalidMessageContents".to_owned(), cause: Cause::Message }));
                continue;
            }
            if job.size() > self.takes {
                sent.push(Err(Unsent { why: "too long".to_owned(), cause: Cause::Message }));
                continue;
            }
            if let Some((body, left)) = self.passing.lock().expect(LOCK).as_mut()
                && job.body == *body
                && *left > 0
            {
                *left -= 1;
                sent.push(Err(Unsent { why: "InternalError".to_owned(), cause: Cause::Passing }));
                continue;
            }
            let known = job.redriven.as_ref().map(|redriven| &*redriven.source);
            let id = self.send_known(JOBS, &job.group, &job.deduplication, &job.body, known);
            if self.hopeless {
                let again = format!("again-{}", self.random.uuid());
                self.send_known(DEAD, &job.group, &again, &job.body, Some(known.unwrap_or(&*id)));
            }
            sent.push(Ok(id.to_string()));
        }
        Ok(sent)
    }
}

fn everything<'a>() -> Plan<'a> {
    Plan {
        chosen: &|_| true,
        unmarked: true,
        most: usize::MAX,
        rate: None,
        dry_run: false,
        most_bytes: usize::MAX,
    }
}

async fn later() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn all_letters_go_back_in_the_order_of_their_groups() {
    let world = World::new();
    for n in 0..25 {
        world.send(DEAD, "a", &format!("a{n}"), &format!("a{n}"));
        world.send(DEAD, "b", &format!("b{n}"), &format!("b{n}"));
    }
    later().await;
    let (report, ended) = world.redrive(&everything()).await;
    assert_eq!((report.put_back, ended), (50, Ok(())));
    assert!(report.left.is_empty(), "{report:?}");
    let bodies = world.drain(JOBS);
    for group in ["a", "b"] {
        let of_group: Vec<_> = bodies.iter().filter(|body| body.starts_with(group)).cloned().collect();
        assert_eq!(of_group, (0..25).map(|n| format!("{group}{n}")).collect::<Vec<_>>());
    }
    assert!(world.drain(DEAD).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_dies_again_at_once_is_put_back_once_and_the_redrive_ends() {
    let world = World { hopeless: true, ..World::new() };
    for n in 0..12 {
        world.send(DEAD, "a", &format!("a{n}"), &format!("a{n}"));
    }
    later().await;
    let (report, ended) = world.redrive(&everything()).await;
    assert_eq!((report.put_back, ended), (12, Ok(())));
    assert!(report.left.get(&Left::Newer).is_some_and(|newer| *newer > 0), "{report:?}");
    assert_eq!(world.drain(JOBS).len(), 12);
    assert_eq!(world.drain(DEAD).len(), 12, "the new letters are given back");
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_dies_again_is_put_back_once_whatever_its_age_seems_to_be() {
    for ahead in [None, Some(Duration::from_millis(1500)), Some(Duration::from_secs(u64::from(u32::MAX)))] {
        // With what is known of the job, and where the queue takes it without that alone.
        for takes in [usize::MAX, 2] {
            let world = World { hopeless: true, ahead, takes, ..World::new() };
            for n in 0..3 {
                world.send(DEAD, "a", &format!("a{n}"), &format!("a{n}"));
                world.send(DEAD, "b", &format!("b{n}"), &format!("b{n}"));
            }
            later().await;
            let (report, ended) = world.redrive(&everything()).await;
            assert_eq!((report.put_back, ended), (6, Ok(())), "{ahead:?} {takes}");
            assert_eq!(report.left, BTreeMap::from([(Left::Newer, 6)]), "{ahead:?} {takes}");
            assert_eq!(world.drain(JOBS).len(), 6);
            assert_eq!(world.drain(DEAD).len(), 6, "the new letters are given back");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn letters_that_do_not_say_when_they_were_sent_are_put_back() {
    let world = World { ahead: None, ..World::new() };
    world.send(DEAD, "a", "a1", "a1");
    later().await;
    let (report, ended) = world.redrive(&everything()).await;
    assert_eq!((report.put_back, report.left, ended), (1, BTreeMap::new(), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_and_seen_again_hides_nothing_from_a_slow_redrive() {
    let world = World::new();
    for n in 0..200 {
        world.send(DEAD, &format!("chat-{n}"), &format!("o{n}"), "other");
    }
    for n in 0..30 {
        world.send(DEAD, &format!("shop-{n}"), &format!("s{n}"), "shop");
    }
    later().await;
    let plan = Plan { chosen: &|letter| letter.message.body == "shop", rate: Some(0.1), ..everything() };
    let (report, ended) = world.redrive(&plan).await;
    assert_eq!((report.put_back, ended), (30, Ok(())), "{:?}", report.left);
    assert_eq!(world.drain(JOBS).len(), 30);
    assert_eq!(world.drain(DEAD).len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_waits_longer_than_letters_are_hidden_puts_each_back_and_deletes_it() {
    let world = World::new();
    for n in 0..2 {
        world.send(DEAD, "a", &format!("a{n}"), &format!("a{n}"));
    }
    later().await;
    let began = Instant::now();
    let (report, ended) = world.redrive(&Plan { rate: Some(0.005), ..everything() }).await;
    assert_eq!((report.put_back, report.left, ended), (2, BTreeMap::new(), Ok(())));
    assert!(began.elapsed() >= Duration::from_secs(400), "{:?}", began.elapsed());
    assert_eq!(world.drain(JOBS), ["a0", "a1"]);
    assert!(world.drain(DEAD).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_is_throttled_is_repeated_and_one_that_stays_so_ends_it() {
    for (throttled, put_back) in [(4, 1), (5, 0)] {
        let world = World { throttled: Mutex::new(throttled), ..World::new() };
        world.send(DEAD, "a", "a0", "a0");
        later().await;
        let (report, ended) = world.redrive(&everything()).await;
        assert_eq!((report.put_back, ended.is_ok()), (put_back, put_back == 1), "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn letters_of_another_queue_stay_where_they_are_and_can_be_received_at_once() {
    let world = World::new();
    world.send(DEAD, "other-1", "o1", "o1");
    world.send(DEAD, "a", "a1", "a1");
    world.send(DEAD, "other-1", "o2", "o2");
    later().await;
    let (report, _) = world.redrive(&everything()).await;
    assert_eq!((report.put_back, report.left.get(&Left::OtherQueue)), (1, Some(&2)));
    assert_eq!(world.drain(JOBS), ["a1"]);
    assert_eq!(world.drain(DEAD), ["o1", "o2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_ahead_of_a_chosen_letter_of_its_group_is_named() {
    let world = World::new();
    for body in ["first", "second", "third"] {
        world.send(DEAD, "a", body, body);
    }
    later().await;
    let plan = Plan { chosen: &|letter| letter.message.body == "second", ..everything() };
    let (report, _) = world.redrive(&plan).await;
    assert_eq!((report.put_back, report.overtaken.len()), (1, 1));
    assert_eq!(world.drain(JOBS), ["second"]);
    assert_eq!(world.drain(DEAD), ["first", "third"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_letter_stays_and_nothing_of_its_group_overtakes_it_later() {
    let world = World { refused: Some("a0"), ..World::new() };
    for n in 0..12 {
        world.send(DEAD, "a", &format!("a{n}"), &format!("a{n}"));
        world.send(DEAD, "b", &format!("b{n}"), &format!("b{n}"));
    }
    later().await;
    let (report, ended) = world.redrive(&everything()).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(report.left.get(&Left::Refused), Some(&1), "{report:?}");
    assert!(world.drain(JOBS).iter().filter(|body| body.starts_with('b')).count() == 12);
    assert_eq!(world.drain(DEAD).first().map(String::as_str), Some("a0"));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_deleted_is_put_back_once_when_it_is_run_again() {
    let world = World::new();
    world.send(DEAD, "a", "a1", "a1");
    later().await;
    *world.deletes_fail.lock().expect(LOCK) = true;
    let (report, ended) = world.redrive(&everything()).await;
    assert!(matches!(ended, Err(Failure::Delete(_))));
    assert_eq!(
        (report.put_back, report.left.get(&Left::PutBackNotDeleted)),
        (1, Some(&1)),
        "it says what it did"
    );
    // It was given back: the next run sees it at once.
    *world.deletes_fail.lock().expect(LOCK) = false;
    let (report, ended) = world.redrive(&everything()).await;
    assert_eq!((report.put_back, ended), (1, Ok(())));
    assert_eq!(world.drain(JOBS), ["a1"], "the deduplication id is the letter's");
    assert!(world.drain(DEAD).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_changes_nothing_and_says_what_would_go() {
    let world = World::new();
    for n in 0..7 {
        world.send(DEAD, "a", &format!("a{n}"), &format!("a{n}"));
    }
    later().await;
    let (report, _) = world.redrive(&Plan { dry_run: true, ..everything() }).await;
    assert_eq!(report.put_back, 7);
    assert!(world.drain(JOBS).is_empty());
    assert_eq!(world.drain(DEAD).len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_redrive_sends_no_faster_than_its_rate() {
    let world = World::new();
    for n in 0..20 {
        world.send(DEAD, &format!("g{n}"), &format!("a{n}"), &format!("a{n}"));
    }
    later().await;
    let began = Instant::now();
    let (report, _) = world.redrive(&Plan { rate: Some(2.0), ..everything() }).await;
    assert_eq!(report.put_back, 20);
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(world.drain(JOBS).len(), 20);
}

#[tokio::test(start_paused = true)]
async fn what_was_told_to_stop_gives_back_what_it_holds() {
    let world = World::new();
    for n in 0..20 {
        world.send(DEAD, "a", &format!("a{n}"), &format!("a{n}"));
    }
    later().await;
    let stop = CancellationToken::new();
    let first = stop.clone();
    let plan = everything();
    let ports = (&world, &world, &AlwaysWanted);
    let (report, ended) = redrive(ports, &plan, &world.random, stop, move |_| first.cancel()).await;
    assert_eq!((report.put_back, report.stopped, ended), (10, true, Ok(())));
    assert_eq!(world.drain(DEAD).len(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_cannot_take_now_is_sent_again_before_what_lies_behind_it() {
    let world = World { passing: Mutex::new(Some(("a0", 3))), ..World::new() };
    for n in 0..5 {
        world.send(DEAD, "a", &format!("a{n}"), &format!("a{n}"));
    }
    later().await;
    let (report, ended) = world.redrive(&everything()).await;
    assert_eq!((report.put_back, report.refusal, ended), (5, None, Ok(())));
    assert_eq!(world.drain(JOBS), ["a0", "a1", "a2", "a3", "a4"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_does_not_come_to_take_is_not_overtaken_and_not_called_refused() {
    let world = World { passing: Mutex::new(Some(("a0", u32::MAX))), ..World::new() };
    for n in 0..5 {
        world.send(DEAD, "a", &format!("a{n}"), &format!("a{n}"));
    }
    world.send(DEAD, "b", "b0", "b0");
    later().await;
    let (report, ended) = world.redrive(&everything()).await;
    assert_eq!((report.put_back, ended), (1, Ok(())));
    assert_eq!(report.left, BTreeMap::from([(Left::Unsent, 1), (Left::Behind, 4)]));
    assert_eq!(world.drain(JOBS), ["b0"]);
    assert_eq!(world.drain(DEAD), ["a0", "a1", "a2", "a3", "a4"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_too_large_for_the_queue_with_what_is_known_of_it_goes_without() {
    // Whether the queue says how much it takes, or is found to take less.
    for most_bytes in [100, usize::MAX] {
        let world = World { takes: 100, ..World::new() };
        world.send(DEAD, "a", "a0", &"x".repeat(100));
        world.send(DEAD, "a", "a1", "a1");
        later().await;
        let (report, ended) = world.redrive(&Plan { most_bytes, ..everything() }).await;
        assert_eq!((report.put_back, report.bare.len(), ended), (2, 1, Ok(())), "{most_bytes}");
        assert_eq!(world.drain(JOBS), ["x".repeat(100).as_str(), "a1"]);
    }
    let world = World { takes: 100, ..World::new() };
    world.send(DEAD, "a", "a0", &"x".repeat(101));
    later().await;
    let plan = Plan { most_bytes: 100, dry_run: true, ..everything() };
    let (report, _) = world.redrive(&plan).await;
    assert_eq!((report.put_back, report.left), (0, BTreeMap::from([(Left::Refused, 1)])));
    assert!(report.refusal.is_some_and(|why| why.contains("101 bytes")));
}
