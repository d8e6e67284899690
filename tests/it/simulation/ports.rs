//! The worker's ports in the simulation: a queue, destinations and an app source that fail as the
//! plan says, all over one clock.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use hookferry::app::{App, Target};
use hookferry::apps::{Apps, Unreachable};
use hookferry::lane::SAFETY_MARGIN;
use hookferry::local::fifo::{self, Broker, Outgoing, Receive, Received};
use hookferry::plan::{Delivery, ID_HEADER};
use hookferry::policy::{Outcome, Reason};
use hookferry::queue::{
    AttemptId, DeadLetter, Entry, Error, Message, MessageId, Queue, Receipt, ReceiveError,
};
use hookferry::transport::Transport;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::book::{Book, Id};
use super::plan::{Behaviour, Dice, Plan};

pub const JOBS: &str = "jobs.fifo";
pub const LETTERS: &str = "dead.fifo";

/// What all processes share: the outside world.
#[derive(Debug)]
pub struct Outside {
    pub plan: Arc<Plan>,
    start: Instant,
    broker: Mutex<Broker>,
    pub changed: Notify,
    dice: Mutex<Dice>,
    book: Mutex<Book>,
    /// Message bodies that some process holds.
    pub bodies: Arc<AtomicUsize>,
    apps: Vec<Vec<Option<Arc<App>>>>,
}

impl Outside {
    pub fn new(plan: Arc<Plan>, traced: bool) -> Self {
        let mut broker = Broker::new(plan.seed, "us-east-1", "000000000000");
        let fifo = |more: &[(&str, String)]| {
            let own = [("FifoQueue".to_owned(), "true".to_owned())];
            own.into_iter().chain(more.iter().map(|(k, v)| ((*k).to_owned(), v.clone()))).collect()
        };
        broker.create_queue(Duration::ZERO, LETTERS, &fifo(&[])).unwrap();
        let visibility = plan.rules.visibility.as_secs().to_string();
        let mut attributes = vec![("VisibilityTimeout", visibility)];
        if let Some(most) = plan.rules.max_receive_count {
            let arn = broker.arn(LETTERS);
            attributes.push((
                "RedrivePolicy",
                format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{most}}}"#),
            ));
        }
        broker.create_queue(Duration::ZERO, JOBS, &fifo(&attributes)).unwrap();
        let app = |n: usize, version: &super::plan::Version| {
            version.there.then(|| Arc::new(serde_json::from_value(version.json(n)).unwrap()))
        };
        let apps =
            plan.apps.iter().enumerate().map(|(n, all)| all.iter().map(|v| app(n, v)).collect()).collect();
        Self {
            start: Instant::now(),
            broker: Mutex::new(broker),
            changed: Notify::new(),
            dice: Mutex::new(Dice::new(plan.seed ^ 0x5eed)),
            book: Mutex::new(Book::new(Arc::clone(&plan), traced)),
            bodies: Arc::default(),
            apps,
            plan,
        }
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    pub fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap()
    }

    pub fn faulty(&self) -> bool {
        self.now() < self.plan.quiet
    }

    /// Draws whether a fault with this probability happens to a call.
    fn strikes(&self, rate: f64, what: &'static str) -> bool {
        let strikes = rate > 0.0 && self.faulty() && self.dice().chance(rate);
        if strikes {
            self.book().count(what);
        }
        strikes
    }

    pub fn send(&self, queue: &str, message: Outgoing) -> MessageId {
        let sent = self.broker.lock().unwrap().send(self.now(), queue, message).unwrap();
        self.changed.notify_waiters();
        sent.message_id
    }

    fn receive(&self, max: usize, attempt: &AttemptId) -> Vec<Received> {
        let request = Receive { max, visibility: None, attempt_id: Some(attempt.0.clone()) };
        let received = self.broker.lock().unwrap().receive(self.now(), JOBS, &request).unwrap();
        if self.plan.rules.max_receive_count.is_some() {
            self.read_letters();
        }
        received
    }

    /// Takes from the dead-letter queue what SQS itself moved there.
    fn read_letters(&self) {
        let all = Receive { max: 10, visibility: None, attempt_id: None };
        loop {
            let mut broker = self.broker.lock().unwrap();
            let letters = broker.receive(self.now(), LETTERS, &all).unwrap();
            if letters.is_empty() {
                return;
            }
            for letter in letters {
                broker.delete(self.now(), LETTERS, &letter.receipt_handle).unwrap();
                if letter.dead_letter_source.is_some() {
                    self.book().moved(self.now(), &letter.message_id);
                }
            }
        }
    }

    fn next_change(&self) -> Option<Duration> {
        self.broker.lock().unwrap().next_change(JOBS)
    }
}

/// One process, from its start to its end.
#[derive(Debug)]
pub struct Process {
    pub id: Id,
    pub outside: Arc<Outside>,
    frozen_until: Mutex<Instant>,
    calls_left: AtomicI64,
    /// It was killed: nothing of it goes on.
    pub killed: CancellationToken,
    /// It was told to end.
    pub shutdown: CancellationToken,
}

impl Process {
    pub fn new(id: Id, outside: &Arc<Outside>) -> Self {
        Self {
            id,
            outside: Arc::clone(outside),
            frozen_until: Mutex::new(Instant::now()),
            calls_left: AtomicI64::new(i64::MAX),
            killed: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        }
    }

    pub fn freeze(&self, lasts: Duration) {
        *self.frozen_until.lock().unwrap() = Instant::now() + lasts;
    }

    pub fn kill_at_call(&self, calls: u64) {
        self.calls_left.store(i64::try_from(calls).unwrap(), Ordering::Relaxed);
    }

    /// Every step of a call passes here: it waits while the process is frozen, and goes no further
    /// once it is dead.
    async fn step(&self) {
        loop {
            let until = *self.frozen_until.lock().unwrap();
            if Instant::now() >= until {
                break;
            }
            sleep_until(until).await;
        }
        if self.calls_left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.killed.cancel();
        }
        if self.killed.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// The way of a request or of its response.
    async fn travel(&self, most: u64) {
        let takes = self.outside.dice().millis(0..most);
        sleep(takes).await;
        self.step().await;
    }
}

/// A body that counts itself while a process holds it.
struct Body(Bytes, Arc<AtomicUsize>);

impl Body {
    fn held(body: Bytes, bodies: &Arc<AtomicUsize>) -> Bytes {
        bodies.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Self(body, Arc::clone(bodies)))
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The port to the queue.
#[derive(Clone, Debug)]
pub struct SimulatedQueue(pub Arc<Process>);

/// Notices a receive that is given up before its answer.
struct Receiving<'a>(&'a Process, bool);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        let process = self.0;
        if !self.1 && !process.killed.is_cancelled() && !process.shutdown.is_cancelled() {
            let now = process.outside.now();
            process.outside.book().violated(now, format!("{:?} gave up a receive", process.id));
        }
    }
}

impl SimulatedQueue {
    fn message(&self, received: Received, now: Duration) -> Message {
        Message {
            id: received.message_id,
            receipt: Receipt::new(received.receipt_handle),
            group: received.group,
            body: Body::held(received.body, &self.0.outside.bodies),
            receive_count: received.receive_count,
            age: now.saturating_sub(received.sent),
            redriven: None,
        }
    }

    /// Whether a settling call fails, and whether it takes effect all the same.
    async fn settling(&self) -> Option<(bool, Error)> {
        let outside = &self.0.outside;
        let rates = outside.plan.rates;
        self.0.travel(20).await;
        let error = |why: &str| Error::Call(why.to_owned());
        if outside.strikes(rates.slow, "settle: no answer for 3 s") {
            sleep(Duration::from_secs(3)).await;
            return Some((outside.dice().chance(0.5), error("timed out")));
        }
        if outside.strikes(rates.lost_before, "settle: lost on the way there") {
            return Some((false, error("reset")));
        }
        if outside.strikes(rates.lost_after, "settle: lost on the way back") {
            return Some((true, error("reset")));
        }
        outside.strikes(rates.throttled, "settle: throttled").then(|| (false, error("throttled")))
    }

    /// One entry of a batch; half failed batches fail entry by entry.
    fn entry(&self, act: impl FnOnce(&mut Broker, Duration) -> Result<(), fifo::Error>) -> Entry {
        let outside = &self.0.outside;
        if outside.strikes(outside.plan.rates.partial, "settle: an entry failed") {
            return Entry::Failed;
        }
        let done = act(&mut outside.broker.lock().unwrap(), outside.now());
        if done.is_ok() { Entry::Settled } else { Entry::Late }
    }
}

/// The simulated handle is the queue's own, with the message's id before it.
fn parts(receipt: &Receipt) -> (MessageId, &str) {
    let (id, handle) = receipt.handle().split_once(' ').unwrap();
    (id.into(), handle)
}

impl Queue for SimulatedQueue {
    async fn receive(&self, max: usize, attempt: &AttemptId) -> Result<Vec<Message>, ReceiveError> {
        let (process, outside) = (&self.0, &self.0.outside);
        let mut receiving = Receiving(process, false);
        let began = outside.now();
        let rates = outside.plan.rates;
        outside.book().receive_begins(outside.now(), process.id, &attempt.0);
        process.travel(20).await;
        let none = String::new;
        if outside.strikes(rates.lost_before, "receive: lost on the way there") {
            process.travel(3000).await;
            receiving.1 = true;
            return Err(ReceiveError::NoResponse(none()));
        }
        for (rate, error, what) in [
            (rates.throttled, ReceiveError::Throttled(none()), "receive: throttled"),
            (rates.refused, ReceiveError::Service(none()), "receive: error of the service"),
            (rates.denied, ReceiveError::Denied(none()), "receive: denied"),
        ] {
            if outside.strikes(rate, what) {
                process.travel(100).await;
                outside.book().receive_answered(&attempt.0);
                receiving.1 = true;
                return Err(error);
            }
        }
        let deadline = Instant::now() + outside.plan.bounds.wait;
        let received = loop {
            let changed = outside.changed.notified();
            let received = outside.receive(max, attempt);
            if !received.is_empty() || Instant::now() >= deadline {
                break received;
            }
            let next = outside.next_change().map_or(deadline, |at| outside.start + at);
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep_until(next.min(deadline)) => {}
            }
            // A lost connection or a dead process is no reason for the queue not to hand over.
        };
        let at = outside.now();
        for message in &received {
            let until = at + outside.plan.rules.visibility;
            outside.book().handed_over(at, process.id, &message.message_id, until, message.receive_count);
        }
        let slow = outside.strikes(rates.slow, "receive: answered late");
        if outside.strikes(rates.lost_after, "receive: answer lost") {
            process.travel(3000).await;
            receiving.1 = true;
            return Err(ReceiveError::NoResponse(none()));
        }
        process.travel(if slow { 8000 } else { 100 }).await;
        // The process knows when the queue must have answered; before that it has to take a late
        // answer for a fresh one.
        let latest = began + outside.plan.bounds.wait + SAFETY_MARGIN;
        if outside.now().min(latest) > at + SAFETY_MARGIN {
            received.iter().for_each(|message| outside.book().doubtful(process.id, &message.message_id));
        }
        outside.book().receive_answered(&attempt.0);
        receiving.1 = true;
        Ok(received
            .into_iter()
            .map(|mut message| {
                message.receipt_handle = format!("{} {}", message.message_id, message.receipt_handle);
                self.message(message, at)
            })
            .collect())
    }

    async fn delete(&self, receipts: &[&Receipt]) -> Result<Vec<Entry>, Error> {
        let (process, outside) = (&self.0, &self.0.outside);
        assert!((1..=10).contains(&receipts.len()));
        for (id, _) in receipts.iter().map(|receipt| parts(receipt)) {
            outside.book().delete_sent(outside.now(), process.id, &id);
        }
        let fault = self.settling().await;
        if let Some((false, error)) = fault {
            return Err(error);
        }
        let entries = receipts.iter().map(|receipt| {
            let (id, handle) = parts(receipt);
            let entry = self.entry(|broker, now| broker.delete(now, JOBS, handle));
            if entry == Entry::Settled {
                outside.book().deleted(outside.now(), process.id, &id);
            }
            entry
        });
        let entries = entries.collect();
        outside.changed.notify_waiters();
        process.travel(20).await;
        fault.map_or(Ok(entries), |(_, error)| Err(error))
    }

    async fn change_visibility(&self, changes: &[(&Receipt, Duration)]) -> Result<Vec<Entry>, Error> {
        let (process, outside) = (&self.0, &self.0.outside);
        assert!((1..=10).contains(&changes.len()));
        assert!(changes.iter().all(|(_, timeout)| timeout.subsec_nanos() == 0), "{changes:?}");
        let fault = self.settling().await;
        if let Some((false, error)) = fault {
            return Err(error);
        }
        let entries = changes.iter().map(|(receipt, timeout)| {
            let (id, handle) = parts(receipt);
            let entry = self.entry(|broker, now| broker.change_visibility(now, JOBS, handle, *timeout));
            if entry == Entry::Settled {
                outside.book().visibility_changed(outside.now(), process.id, &id, *timeout);
            }
            entry
        });
        let entries = entries.collect();
        outside.changed.notify_waiters();
        process.travel(20).await;
        fault.map_or(Ok(entries), |(_, error)| Err(error))
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), Error> {
        let (process, outside) = (&self.0, &self.0.outside);
        if !outside.plan.dead_letters {
            outside.book().letter_confirmed(outside.now(), process.id, &letter.id);
            return Err(Error::NoDeadLetterQueue);
        }
        let fault = self.settling().await;
        if outside.plan.letters_down.contains(&outside.now()) {
            outside.book().count("dead-letter queue down");
            return Err(Error::Call("down".to_owned()));
        }
        if let Some((false, error)) = fault {
            return Err(error);
        }
        outside.send(
            LETTERS,
            Outgoing {
                group: letter.group.to_string(),
                dedup: Some(letter.id.to_string()),
                body: letter.body.to_vec().into(),
                ..Outgoing::default()
            },
        );
        outside.book().lettered(outside.now(), process.id, letter);
        process.travel(20).await;
        match fault {
            Some((_, error)) => Err(error),
            None => {
                outside.book().letter_confirmed(outside.now(), process.id, &letter.id);
                Ok(())
            }
        }
    }
}

/// The port to the destinations.
#[derive(Clone, Debug)]
pub struct SimulatedDestinations(pub Arc<Process>);

/// An attempt that has arrived; dropped when it ends, however it ends.
struct Arrived<'a> {
    process: &'a Process,
    job: usize,
    attempt: usize,
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        let (outside, dead) = (&self.process.outside, self.process.killed.is_cancelled());
        outside.book().attempt_ends(outside.now(), self.process.id, self.job, self.attempt, dead);
    }
}

impl Transport for SimulatedDestinations {
    async fn attempt(&self, delivery: &Delivery, number: u32) -> Outcome {
        let (process, outside) = (&*self.0, &self.0.outside);
        let Target::Http(url) = &delivery.target else { panic!("{:?}", delivery.target) };
        let body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
        let job = usize::try_from(body["events"][0]["n"].as_u64().unwrap()).unwrap();
        let id =
            delivery.headers.iter().find(|(name, _)| name == ID_HEADER).map(|(_, id)| id.clone()).unwrap();
        let jumps = outside.book().jumps;
        process.travel(10).await;
        let attempt = outside.book().attempt_begins(
            outside.now(),
            process.id,
            job,
            delivery.webhook,
            url,
            &id,
            number,
            jumps,
        );
        let _arrived = Arrived { process, job, attempt };
        let host = url.strip_prefix("http://h").and_then(|rest| rest.split('/').next()).unwrap();
        let behaviour = outside.plan.hosts[host.parse::<usize>().unwrap()].at(outside.now()).clone();
        let outcome = self.answer(job, delivery.webhook, url, behaviour).await;
        process.step().await;
        if outcome == Outcome::Delivered {
            outside.book().told_delivered(process.id, job, delivery.webhook, url);
        }
        outcome
    }
}

impl SimulatedDestinations {
    async fn answer(&self, job: usize, webhook: usize, url: &str, behaviour: Behaviour) -> Outcome {
        let outside = &self.0.outside;
        let draw = |most| outside.dice().millis(0..most);
        let accept = || outside.book().accepted(outside.now(), job, webhook, url);
        let broken = || Outcome::transient(Reason::Broken("reset".to_owned()));
        match behaviour {
            Behaviour::Accepts(takes) => {
                let takes = outside.dice().millis(takes);
                sleep(takes).await;
                accept();
                Outcome::Delivered
            }
            Behaviour::Answers(status, after) => {
                let takes = draw(30);
                sleep(takes).await;
                outside.book().count("destination: error status");
                let retry_after = after.map(Duration::from_secs);
                match status {
                    410 => Outcome::Permanent(Reason::Gone),
                    _ => Outcome::Transient { reason: Reason::Status(status), retry_after },
                }
            }
            Behaviour::Flaky(fails) => {
                let takes = draw(100);
                sleep(takes).await;
                if outside.dice().chance(fails) {
                    return Outcome::transient(Reason::Status(503));
                }
                accept();
                Outcome::Delivered
            }
            Behaviour::Hangs => {
                outside.book().count("destination: hangs");
                std::future::pending().await
            }
            Behaviour::Trickles(body) => {
                let takes = draw(50);
                sleep(takes).await;
                accept();
                outside.book().count("destination: trickles");
                let takes = outside.dice().millis(body);
                sleep(takes).await;
                Outcome::Delivered
            }
            Behaviour::Resets => {
                let takes = draw(50);
                sleep(takes).await;
                outside.book().count("destination: resets");
                if outside.dice().chance(0.5) {
                    accept();
                }
                broken()
            }
        }
    }
}

/// The port to the app source.
#[derive(Clone, Debug)]
pub struct SimulatedApps(pub Arc<Process>);

impl Apps for SimulatedApps {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, Unreachable> {
        let outside = &self.0.outside;
        if outside.plan.apps_down.contains(&outside.now()) {
            outside.book().count("app source down");
            if outside.dice().chance(0.2) {
                std::future::pending::<()>().await;
            }
            return Err(Unreachable("down".to_owned()));
        }
        self.0.travel(5).await;
        let now = outside.now();
        let Some(app) = key.strip_prefix('k').and_then(|n| n.parse::<usize>().ok()) else { return Ok(None) };
        let versions = &outside.plan.apps[app];
        let current = versions.iter().rposition(|version| version.from <= now).unwrap_or_default();
        if current > 0 {
            outside.book().count("app changed");
        }
        Ok(outside.apps[app][current].clone())
    }
}
