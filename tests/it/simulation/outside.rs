//! The world outside the workers: the queue, the dice, the book and the clock that all share; and
//! the shell of one process.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hookferry::app::App;
use hookferry::fifo::{Broker, Outgoing, Receive, Received};
use hookferry::queue::{AttemptId, MessageId, Redriven};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::book::{Book, Event, Id};
use super::plan::{Dice, Plan, Version};

pub const JOBS: &str = "jobs.fifo";
/// Where SQS itself moves messages to.
pub const LETTERS: &str = "dead.fifo";
/// Where our letters are; what SQS has moved is put there too.
pub const GIVEN_UP: &str = "given-up.fifo";

/// What a letter says.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The message that was given up.
    pub message: usize,
    pub redriven: Redriven,
}

/// The message bodies that processes hold: where each begins, how long it is, and of which message it is.
#[derive(Debug, Default)]
pub struct Bodies(Mutex<BTreeMap<usize, (usize, usize)>>);

impl Bodies {
    pub fn taken(&self, body: &[u8], message: usize) {
        self.0.lock().unwrap().insert(body.as_ptr().addr(), (body.len(), message));
    }

    pub fn dropped(&self, body: &[u8]) {
        self.0.lock().unwrap().remove(&body.as_ptr().addr());
    }

    pub fn held(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The message of whose body this is a part, if it is no copy.
    pub fn message_of(&self, part: &[u8]) -> Option<usize> {
        let at = part.as_ptr().addr();
        let bodies = self.0.lock().unwrap();
        let (from, (length, message)) = bodies.range(..=at).next_back()?;
        (at < from + length).then_some(*message)
    }
}

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
    pub bodies: Arc<Bodies>,
    pub apps: Vec<Vec<Option<Arc<App>>>>,
    /// How much each busy destination has taken in its current second.
    taken: Mutex<HashMap<usize, (u64, u32)>>,
    letters: Mutex<HashMap<MessageId, Letter>>,
    redriven: Mutex<HashMap<MessageId, Redriven>>,
    /// No process starts before that.
    pub away_until: Mutex<Duration>,
}

impl Outside {
    pub fn new(plan: Arc<Plan>) -> Self {
        let mut broker = Broker::new(plan.seed, "us-east-1", "000000000000");
        let fifo = |more: &[(&str, String)]| {
            let own = [("FifoQueue".to_owned(), "true".to_owned())];
            own.into_iter().chain(more.iter().map(|(k, v)| ((*k).to_owned(), v.clone()))).collect()
        };
        broker.create_queue(Duration::ZERO, LETTERS, &fifo(&[])).unwrap();
        broker.create_queue(Duration::ZERO, GIVEN_UP, &fifo(&[])).unwrap();
        let visibility = plan.rules.visibility.as_secs().to_string();
        let mut attributes = vec![("VisibilityTimeout", visibility)];
        if let Some(retention) = plan.rules.disposal.retention() {
            attributes.push(("MessageRetentionPeriod", retention.as_secs().to_string()));
        }
        if let Some(most) = plan.rules.disposal.max_receive_count() {
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
            taken: Mutex::default(),
            letters: Mutex::default(),
            redriven: Mutex::default(),
            away_until: Mutex::default(),
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

    /// Whether a destination that takes so many in a second takes one more now.
    pub fn has_room(&self, host: usize, most: u32) -> bool {
        let mut taken = self.taken.lock().unwrap();
        let second = self.now().as_secs();
        let entry = taken.entry(host).or_default();
        if entry.0 != second {
            *entry = (second, 0);
        }
        entry.1 += 1;
        entry.1 <= most
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
        if self.plan.rules.disposal.max_receive_count().is_some() {
            self.read_letters();
        }
        self.write_expired();
        received
    }

    /// Writes down what the queue has deleted for its age.
    pub fn write_expired(&self) {
        let Some(retention) = self.plan.rules.disposal.retention() else { return };
        let (now, mut book) = (self.now(), self.book());
        for message in now.checked_sub(retention).map(|time| book.sent_before(time)).unwrap_or_default() {
            book.write(now, Event::Expired { message });
        }
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
                let message = self.message(&letter.message_id);
                self.write(Event::Moved { message });
                let redriven = self.redriven(&letter.message_id).unwrap_or_else(|| Redriven {
                    source: Arc::clone(&letter.message_id),
                    delivered: Vec::new(),
                    webhook: None,
                });
                let dedup = Some(letter.message_id.to_string());
                let group = letter.group.to_string();
                let copy = Outgoing { group, dedup, body: letter.body.clone(), ..Outgoing::default() };
                let sent = broker.send(self.now(), GIVEN_UP, copy).unwrap();
                self.letters.lock().unwrap().insert(sent.message_id, Letter { message, redriven });
            }
        }
    }

    /// Puts a letter into the dead-letter queue; says whether that keeps it, and does not take it for one that it had
    /// before.
    pub fn give_up(&self, message: Outgoing, letter: Letter) -> bool {
        let id = self.send(GIVEN_UP, message);
        self.letters.lock().unwrap().insert(id, letter).is_none()
    }

    /// What a letter says.
    pub fn letter(&self, id: &MessageId) -> Letter {
        self.letters.lock().unwrap()[id].clone()
    }

    /// What a redrive said of a message.
    pub fn redriven(&self, id: &MessageId) -> Option<Redriven> {
        self.redriven.lock().unwrap().get(id).cloned()
    }

    /// Puts a letter's job back on the queue, unless it was put back lately.
    pub fn put_back(&self, message: Outgoing, letter: &Letter, redriven: Option<&Redriven>) {
        let group = message.group.clone();
        let mut book = self.book();
        let id = self.send(JOBS, message);
        if book.message(&id).is_some() {
            return;
        }
        if let Some(redriven) = redriven {
            self.redriven.lock().unwrap().insert(Arc::clone(&id), redriven.clone());
        }
        let delivered = letter.redriven.delivered.iter().map(ToString::to_string).collect();
        let message = letter.message + self.plan.jobs.len();
        let webhook = letter.redriven.webhook.as_ref().map(ToString::to_string);
        book.write(self.now(), Event::PutBack { message, delivered, webhook });
        book.write(self.now(), Event::Sent { message, id, group });
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
    /// How far it takes the queue's clock to be from where it is, in milliseconds.
    clock_error: i64,
}

impl Process {
    pub fn new(id: Id, outside: &Arc<Outside>) -> Self {
        let most = i64::try_from(outside.plan.clock_error.as_millis()).unwrap();
        let seed = outside.plan.seed ^ u64::try_from(id.replica * 1000 + id.start).unwrap();
        let drawn = i64::try_from(Dice::new(seed).number(0..1001)).unwrap();
        Self {
            id,
            clock_error: most * (drawn - 500) / 500,
            outside: Arc::clone(outside),
            frozen_until: Mutex::new(Instant::now()),
            calls_left: AtomicI64::new(i64::MAX),
            killed: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// How long ago something was, as this process sees it.
    pub fn age(&self, now: Duration, of: Duration) -> Duration {
        let error = Duration::from_millis(self.clock_error.unsigned_abs());
        let now = if self.clock_error < 0 { now.saturating_sub(error) } else { now + error };
        now.saturating_sub(of)
    }

    /// SIGTERM.
    pub fn ask_to_end(&self) {
        if !self.shutdown.is_cancelled() {
            self.outside.write(Event::AskedToEnd { process: self.id });
        }
        self.shutdown.cancel();
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
