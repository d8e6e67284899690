//! The world outside the workers: the queue, the dice, the book and the clock that all share; and
//! the shell of one process.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hookferry::app::App;
use hookferry::local::fifo::{Broker, Outgoing, Receive, Received};
use hookferry::queue::{AttemptId, MessageId};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::book::{Book, Event, Id};
use super::plan::{Dice, Plan, Version};

pub const JOBS: &str = "jobs.fifo";
pub const LETTERS: &str = "dead.fifo";

/// What all processes share: the outside world.
#[derive(Debug)]
pub struct Outside {
    pub plan: Arc<Plan>,
    pub start: Instant,
    pub broker: Mutex<Broker>,
    pub changed: Notify,
    dice: Mutex<Dice>,
    book: Mutex<Book>,
    /// Message bodies that some process holds.
    pub bodies: Arc<AtomicUsize>,
    pub apps: Vec<Vec<Option<Arc<App>>>>,
}

impl Outside {
    pub fn new(plan: Arc<Plan>) -> Self {
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
        let app = |n: usize, version: &Version| {
            version.there.then(|| Arc::new(serde_json::from_value(version.json(n)).unwrap()))
        };
        let apps =
            plan.apps.iter().enumerate().map(|(n, all)| all.iter().map(|v| app(n, v)).collect()).collect();
        Self {
            start: Instant::now(),
            broker: Mutex::new(broker),
            changed: Notify::new(),
            dice: Mutex::new(Dice::new(plan.seed ^ 0x5eed)),
            book: Mutex::new(Book::new(Arc::clone(&plan))),
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

    /// The number of the message with that id.
    pub fn message(&self, id: &str) -> usize {
        self.book().message(id).unwrap()
    }

    /// Writes down what happens now.
    pub fn write(&self, event: Event) {
        self.book().write(self.now(), event);
    }

    pub fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap()
    }

    pub fn faulty(&self) -> bool {
        self.now() < self.plan.quiet
    }

    /// Draws whether a fault with this probability happens to a call.
    pub fn strikes(&self, rate: f64, what: &'static str) -> bool {
        let strikes = rate > 0.0 && self.faulty() && self.dice().chance(rate);
        if strikes {
            self.write(Event::Fault(what));
        }
        strikes
    }

    pub fn send(&self, queue: &str, message: Outgoing) -> MessageId {
        let sent = self.broker.lock().unwrap().send(self.now(), queue, message).unwrap();
        self.changed.notify_waiters();
        sent.message_id
    }

    pub fn receive(&self, max: usize, attempt: &AttemptId) -> Vec<Received> {
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
                    self.write(Event::Moved { message: self.message(&letter.message_id) });
                }
            }
        }
    }

    pub fn next_change(&self) -> Option<Duration> {
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
    pub async fn step(&self) {
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
    pub async fn travel(&self, most: u64) {
        let takes = self.outside.dice().millis(0..most);
        sleep(takes).await;
        self.step().await;
    }
}
