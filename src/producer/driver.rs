//! What runs a producer: one task that owns the outbox, and the calls that are under way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, warn};

use super::check::MAX_BYTES;
use super::error::{CallError, Error, FlushError};
use super::outbox::{Batch, CALL_DEADLINE, Outbox, Settled};
use super::port::{EntryResult, SendBatch};
use crate::queue::{MessageId, NewMessage};
use crate::random::Random;

/// The most calls under way at once: enough to keep a partition of SQS busy, few enough that one client's
/// connections serve them.
const MAX_CALLS: usize = 32;
/// How often it is told that jobs are sent in vain.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Commands taken over before the outbox is looked at.
const COMMANDS: usize = 256;

/// How much a producer holds that is not confirmed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Jobs, at least one.
    pub jobs: usize,
    /// Bytes of jobs with their attributes, at least those of the largest one (1 MiB).
    pub bytes: usize,
}

impl Default for Buffer {
    /// 10,000 jobs of 64 MiB together.
    fn default() -> Self {
        Self { jobs: 10_000, bytes: 64 << 20 }
    }
}

/// Tells one sender what became of its job.
pub(super) type Answer = oneshot::Sender<Result<MessageId, Error>>;

/// What a job brings along: who is told of its end, and its place in the buffer.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) answers: Vec<Answer>,
    pub(super) _place: Place,
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
    /// What a batcher took and no job on its way came of: so many, and why the first.
    Failed(u64, Error),
    Flush(oneshot::Sender<Result<(), FlushError>>),
}

/// The places of the buffer.
#[derive(Clone, Debug)]
pub(super) struct Places {
    jobs: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    most: usize,
}

/// A job's place in the buffer, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place(#[allow(dead_code, reason = "held")] [OwnedSemaphorePermit; 2]);

impl Places {
    fn new(buffer: Buffer) -> Self {
        let most = buffer.jobs.clamp(1, Semaphore::MAX_PERMITS);
        let bytes = buffer.bytes.clamp(MAX_BYTES, Semaphore::MAX_PERMITS);
        Self { jobs: Arc::new(Semaphore::new(most)), bytes: Arc::new(Semaphore::new(bytes)), most }
    }

    pub(super) fn jobs(&self) -> usize {
        self.most
    }

    /// A place for a job of that size, once there is one. Places are given in the order of the calls.
    pub(super) async fn take(&self, size: usize) -> Result<Place, Error> {
        let job = Arc::clone(&self.jobs).acquire_owned().await.map_err(|_| Error::Dropped)?;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(size).await.map_err(|_| Error::Dropped)?;
        Ok(Place([job, bytes]))
    }

    pub(super) fn try_take(&self, size: usize) -> Option<Place> {
        let job = Arc::clone(&self.jobs).try_acquire_owned().ok()?;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Some(Place([job, Arc::clone(&self.bytes).try_acquire_many_owned(size).ok()?]))
    }
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
    failed: u64,
    first_failure: Option<Error>,
    overtaken: u64,
    /// When it was last told that jobs are sent in vain.
    told: Option<Instant>,
}

/// Starts a producer's task. It ends when every handle is gone and nothing is left to send.
pub(super) fn start<Q: SendBatch>(
    queue: Q,
    buffer: Buffer,
    retry_for: Duration,
) -> (mpsc::UnboundedSender<Command>, Places) {
    #[allow(clippy::disallowed_methods, reason = "a job in it holds a place in the buffer; a flush waits")]
    let (commands, received) = mpsc::unbounded_channel();
    let driver = Driver {
        queue: Arc::new(queue),
        received,
        outbox: Outbox::new(retry_for),
        calls: JoinSet::new(),
        random: Random::from_system(),
        next_number: 0,
        open: 0,
        flushes: Vec::new(),
        failed: 0,
        first_failure: None,
        overtaken: 0,
        told: None,
    };
    drop(tokio::spawn(driver.run()));
    (commands, Places::new(buffer))
}

impl<Q: SendBatch> Driver<Q> {
    async fn run(mut self) {
        let mut commands = Vec::with_capacity(COMMANDS);
        let mut handles = true;
        while handles || self.open > 0 {
            self.send_what_can_go();
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
                    // A panic in an implementation of the port: its jobs' senders are told by their
                    // dropped answers, and their groups stand still.
                    Err(failure) => error!(%failure, "a send ended without an answer"),
                },
                () = at(pause) => {}
            }
        }
    }

    fn take_over(&mut self, command: Command) {
        match command {
            Command::Job { job, size, ticket } => {
                self.outbox.push(job, size, Numbered { ticket, number: self.next_number });
                self.next_number += 1;
                self.open += 1;
            }
            Command::Failed(count, error) => {
                self.failed += count;
                self.first_failure.get_or_insert(error);
            }
            Command::Flush(answer) => {
                self.flushes.push(Flush { before: self.next_number, left: self.open, answer });
                self.end_flushes();
            }
        }
    }

    fn send_what_can_go(&mut self) {
        while let Some(batch) = self.outbox.take(Instant::now(), MAX_CALLS - self.calls.len().min(MAX_CALLS))
        {
            let queue = Arc::clone(&self.queue);
            self.calls.spawn(async move {
                let jobs: Vec<&NewMessage> = batch.entries.iter().map(|entry| &entry.job).collect();
                let answer = timeout(CALL_DEADLINE, queue.send_batch(&jobs)).await.unwrap_or_else(|_| {
                    Err(CallError::NoResponse(format!("none within {} s", CALL_DEADLINE.as_secs())))
                });
                (batch, answer)
            });
        }
    }

    fn settle(&mut self, batch: Batch<Numbered>, answer: CallResult) {
        for settled in self.outbox.settle(Instant::now(), batch, answer, self.random.fraction()) {
            self.answer(settled);
        }
        if self.outbox.overtaken > self.overtaken {
            self.overtaken = self.outbox.overtaken;
            warn!(
                jobs = self.overtaken,
                "the queue took jobs of a batch behind one that it did not take: so many are ahead of their place"
            );
        }
        if let Some(trouble) = self.outbox.trouble.take()
            && self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY)
        {
            self.told = Some(Instant::now());
            warn!(
                detail = trouble,
                jobs = self.open,
                "the queue does not take what it is sent; it is sent again"
            );
        }
        self.end_flushes();
    }

    fn answer(&mut self, settled: Settled<Numbered>) {
        let Settled { entry, result } = settled;
        let Numbered { ticket, number } = entry.ticket;
        self.open -= 1;
        for flush in self.flushes.iter_mut().filter(|flush| number < flush.before) {
            flush.left -= 1;
        }
        if let Err(failure) = &result {
            self.failed += 1;
            self.first_failure.get_or_insert_with(|| failure.clone());
        }
        tell(&entry.job, ticket.answers, &result);
    }

    fn end_flushes(&mut self) {
        for flush in self.flushes.extract_if(.., |flush| flush.left == 0) {
            let failed = std::mem::take(&mut self.failed);
            let result = match self.first_failure.take() {
                Some(first) => Err(FlushError { failed, first }),
                None => Ok(()),
            };
            // Whoever gave the flush up wants no answer.
            drop(flush.answer.send(result));
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
