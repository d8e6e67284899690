//! What runs a producer: one task that owns the outbox, and the calls that are under way.
//!
//! It decides nothing of the order of sends: that is the outbox's. It gives it the time and chance, makes its calls, and
//! tells senders and flushes what became of their jobs. It ends when every handle is gone and nothing is left to send.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info, warn};

use super::error::{CallError, Error, FlushError};
use super::failures::{Failures, Handle, Untold};
use super::outbox::{Batch, CALL_DEADLINE, Moment, Outbox, RetryPolicy, Settled};
use super::places::{Buffer, Place, Places};
use super::port::{EntryResult, SendBatch};
use crate::queue::{MessageId, NewMessage};
use crate::random::Random;

/// How often it is said that the queue does not take jobs.
const REMIND: Duration = Duration::from_secs(30);
/// Commands taken over before the outbox is looked at.
const COMMANDS: usize = 256;

/// Tells one sender what became of its job.
pub(super) type Answer = oneshot::Sender<Result<MessageId, Error>>;

/// What a job brings along: who is told of its end, and its place in the buffer.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) answers: Vec<Answer>,
    pub(super) place: Place,
}

/// What became of a job: the message id that SQS gave it. Dropping it gives up nothing but the knowledge.
#[must_use = "a job that failed is told of here, and by flush"]
#[derive(Debug)]
pub struct Confirmation(oneshot::Receiver<Result<MessageId, Error>>);

impl Confirmation {
    pub(super) fn pair() -> (Answer, Self) {
        let (answer, confirmation) = oneshot::channel();
        (answer, Self(confirmation))
    }
}

impl Future for Confirmation {
    type Output = Result<MessageId, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(Error::Dropped)))
    }
}

/// What the producer's handles ask of its task.
#[derive(Debug)]
pub(super) enum Command {
    Job {
        job: NewMessage,
        size: usize,
        ticket: Ticket,
    },
    /// Events that a batcher took and of which no job came: how many, and why the first failed.
    Failed(u64, Error),
    /// Of a handle.
    Flush(u64, oneshot::Sender<Result<(), FlushError>>),
}

/// A job as the outbox holds it: its ticket and its number, in the order of the commands.
struct Numbered {
    ticket: Ticket,
    number: u64,
}

/// A flush that waits for the jobs before it.
struct Flush {
    before: u64,
    left: u64,
    handle: u64,
    untold: Untold,
    answer: oneshot::Sender<Result<(), FlushError>>,
}

type CallResult = Result<Vec<EntryResult>, CallError>;

struct Driver<Q> {
    queue: Arc<Q>,
    received: mpsc::UnboundedReceiver<Command>,
    outbox: Outbox<Numbered>,
    calls: JoinSet<(Batch<Numbered>, CallResult)>,
    random: Random,
    next_number: u64,
    /// Jobs that are not answered for.
    open: u64,
    flushes: Vec<Flush>,
    failures: Failures,
    overtaken: u64,
    trouble: Trouble,
}

/// What was last said of a queue that does not take jobs.
#[derive(Debug, Default)]
struct Trouble {
    lasts: bool,
    said: Option<Instant>,
}

/// Starts a producer's task. It ends when every handle is gone and nothing is left to send.
pub(super) fn start<Q: SendBatch>(
    queue: Q,
    buffer: Buffer,
    retries: RetryPolicy,
) -> (mpsc::UnboundedSender<Command>, Places, Handle) {
    #[allow(clippy::disallowed_methods, reason = "a job in it holds a place in the buffer; a flush waits")]
    let (commands, received) = mpsc::unbounded_channel();
    let failures = Failures::default();
    let handle = failures.handle();
    let driver = Driver {
        queue: Arc::new(queue),
        received,
        outbox: Outbox::new(retries),
        calls: JoinSet::new(),
        random: Random::from_system(),
        next_number: 0,
        open: 0,
        flushes: Vec::new(),
        failures: failures.clone(),
        overtaken: 0,
        trouble: Trouble::default(),
    };
    drop(tokio::spawn(driver.run()));
    (commands, Places::new(buffer), handle)
}

impl<Q: SendBatch> Driver<Q> {
    async fn run(mut self) {
        let mut commands = Vec::with_capacity(COMMANDS);
        let mut handles = true;
        loop {
            self.send_what_can_go();
            if !handles && self.open == 0 {
                return;
            }
            let pause = self.outbox.next_change();
            tokio::select! {
                count = self.received.recv_many(&mut commands, COMMANDS), if handles => {
                    for command in commands.drain(..) {
                        self.take_over(command);
                    }
                    handles = count > 0;
                    if !handles && self.open > 0 {
                        warn!(jobs = self.open, "the producer was dropped with jobs that the queue has not confirmed; it goes on sending them");
                    }
                }
                Some(done) = self.calls.join_next() => match done {
                    Ok((batch, answer)) => self.settle(batch, answer),
                    // It is caught where the port panics: nothing else ends a call.
                    Err(failure) => error!(%failure, "a send ended without an answer"),
                },
                () = at(pause) => {}
            }
        }
    }

    fn take_over(&mut self, command: Command) {
        match command {
            Command::Job { job, size, ticket } => {
                let (ended, number) = (ticket.place.ended(), self.next_number);
                let numbered = Numbered { ticket, number };
                self.next_number += 1;
                self.open += 1;
                match ended {
                    // Its sender could not know of that when it called.
                    Some(ahead) => self.answer(&job, numbered, &Err(ahead.behind())),
                    None => self.outbox.push(job, size, numbered),
                }
            }
            Command::Failed(count, error) => {
                let flushes = self.flushes.iter_mut().map(|flush| &mut flush.untold);
                self.failures.add_failed(count, &error, flushes);
            }
            Command::Flush(handle, answer) => {
                let untold = self.failures.untold(handle);
                let (before, left) = (self.next_number, self.open);
                self.flushes.push(Flush { before, left, handle, untold, answer });
                self.end_flushes();
            }
        }
    }

    fn send_what_can_go(&mut self) {
        while let Some(batch) = self.outbox.take(Moment::now(), self.calls.len()) {
            let queue = Arc::clone(&self.queue);
            self.calls.spawn(async move {
                let jobs: Vec<&NewMessage> = batch.entries.iter().map(|entry| &entry.job).collect();
                // A panic in an implementation of the port says no more than silence does.
                let call = AssertUnwindSafe(async { queue.send_batch(&jobs).await }).catch_unwind();
                let answer = match timeout(CALL_DEADLINE, call).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => Err(CallError::NoResponse("the send panicked".to_owned())),
                    Err(_) => {
                        Err(CallError::NoResponse(format!("none within {} s", CALL_DEADLINE.as_secs())))
                    }
                };
                (batch, answer)
            });
        }
        let expired = std::mem::take(&mut self.outbox.expired);
        self.answer_all(expired);
        self.end_flushes();
    }

    fn settle(&mut self, batch: Batch<Numbered>, answer: CallResult) {
        let settled = self.outbox.settle(Moment::now(), batch, answer, self.random.fraction());
        let sent = settled.iter().any(|settled| settled.result.is_ok());
        self.answer_all(settled);
        self.tell_of_trouble(sent);
        if self.outbox.overtaken > self.overtaken {
            self.overtaken = self.outbox.overtaken;
            warn!(
                jobs = self.overtaken,
                "the queue took jobs of a batch behind one that it did not take: this many are ahead of their place"
            );
        }
        self.end_flushes();
    }

    /// Says that the queue does not take jobs when that begins and while it lasts, and that it does again; all of it
    /// no oftener than people read.
    fn tell_of_trouble(&mut self, sent: bool) {
        let now = Instant::now();
        let due = self.trouble.said.is_none_or(|said| now - said >= REMIND);
        match self.outbox.trouble.take() {
            Some(why) if due => {
                self.trouble = Trouble { lasts: true, said: Some(now) };
                warn!(jobs = self.open, %why, "the queue does not take jobs; they wait, and are sent again");
            }
            None if sent && self.trouble.lasts && self.outbox.is_well() => {
                self.trouble.lasts = false;
                info!(jobs = self.open, "the queue takes jobs again");
            }
            Some(_) | None => {}
        }
    }

    /// Answers for jobs, of which all of a group that was given up is among them. The group ends before any of them is
    /// told and gives its place back: what was called for earlier, and waits for a place or to be taken over, ends with it.
    fn answer_all(&mut self, all: Vec<Settled<Numbered>>) {
        for Settled { entry, result } in &all {
            if let Err(why) = result
                && !why.is_the_jobs_own()
            {
                entry.ticket.ticket.place.end_group(why);
            }
        }
        for Settled { entry, result } in all {
            self.answer(&entry.job, entry.ticket, &result);
        }
    }

    fn answer(&mut self, job: &NewMessage, numbered: Numbered, result: &Result<MessageId, Error>) {
        let Numbered { ticket, number } = numbered;
        self.open -= 1;
        for flush in self.flushes.iter_mut().filter(|flush| number < flush.before) {
            flush.left -= 1;
        }
        if let Err(failure) = result {
            let flushes = self.flushes.iter_mut().map(|flush| &mut flush.untold);
            self.failures.add_failed(1, failure, flushes);
        }
        tell(job, ticket.answers, result);
    }

    fn end_flushes(&mut self) {
        for flush in self.flushes.extract_if(.., |flush| flush.left == 0) {
            let result = self.failures.result(flush.untold);
            // Whoever gave the flush up is told by the next one.
            if flush.answer.send(result).is_ok() {
                self.failures.told(flush.handle);
            }
        }
    }
}

/// Tells a job's senders of its end, and the log where it failed and nobody waits to be told.
pub(super) fn tell(job: &NewMessage, answers: Vec<Answer>, result: &Result<MessageId, Error>) {
    let mut told = false;
    for answer in answers {
        told |= answer.send(result.clone()).is_ok();
    }
    if let (Err(failure), false) = (result, told) {
        error!(group = %job.group.escape_default(), deduplication_id = %job.deduplication.escape_default(), %failure, "a job was not sent, and nobody waits to be told");
    }
}

impl<Q> Drop for Driver<Q> {
    /// Counts what was handed over and not taken over, too: a runtime that ends may never have polled the
    /// task. Who hands over after this is refused.
    fn drop(&mut self) {
        self.received.close();
        let mut jobs = self.open;
        while let Ok(command) = self.received.try_recv() {
            jobs += u64::from(matches!(command, Command::Job { .. }));
        }
        if jobs > 0 {
            error!(
                jobs,
                "a producer ended with jobs that the queue has not confirmed; flush it before the runtime ends"
            );
        }
    }
}

/// Ends at that time; without one, never.
pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
