//! A producer of jobs: what is not enqueued in order cannot be delivered in order.
//!
//! [`Event`] builds events by Pusher's rules, [`Signer`] makes jobs of them as soketi does, byte for byte, and
//! [`Producer`] sends the jobs:
//!
//! - At most one send of a message group is under way; other groups go in parallel. What waits of a group
//!   meanwhile travels as one batch.
//! - A batch that failed in part is sent again from the failed entry on, before anything later of its group.
//! - A job that is given up takes what waits behind it in its group along ([`Error::Behind`]), for a place in the
//!   buffer or in a batcher too, so that all of it may be sent anew in order; unless the job itself is what the queue
//!   does not take.
//! - Where answers fail to come in time, fewer and smaller batches are sent, until they come again.
//! - Every retry carries the same deduplication id and starts so that it arrives within SQS' five minutes; a
//!   job that is not confirmed by then is given up, with an error that says whether it may be on the queue.
//! - What is buffered is bounded by jobs and bytes; past that [`Producer::enqueue`] waits.
//! - No job is lost in silence: each has a [`Confirmation`], [`Producer::flush`] tells of failures, and how much
//!   a producer or a [`Batcher`] held when it ended is logged.
//!
//! Knows jobs and the shape of a message, and nothing of apps, webhooks or deliveries.

mod batcher;
mod check;
mod driver;
mod error;
mod event;
mod failures;
mod outbox;
mod pace;
mod places;
mod port;
mod signer;
mod sqs;
#[cfg(feature = "worker")]
#[cfg(test)]
mod tests;

use futures_util::{Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};

pub use batcher::{Batcher, Batching};
#[cfg(feature = "worker")]
pub(crate) use check::size;
pub use driver::Confirmation;
pub use error::{CallError, Error, FlushError, Full};
pub use event::{Event, InvalidEvent};
pub use places::Buffer;
pub use port::{EntryResult, SendBatch};
pub use signer::Signer;
#[cfg(feature = "worker")]
pub(crate) use signer::now_ms;

use crate::queue::{MessageId, NewMessage};
use batcher::Running;
use driver::{Command, Ticket};
use failures::Handle;
use outbox::RetryPolicy;
use places::{Called, Place, Places};

/// Sends jobs to an SQS FIFO queue, in order per message group. Its clones share one buffer; each is told by its own
/// flushes of what failed.
///
/// The jobs of a group are sent in the order of the calls; calls that run side by side have none.
#[derive(Clone, Debug)]
pub struct Producer {
    commands: mpsc::UnboundedSender<Command>,
    places: Places,
    batchers: Running,
    handle: Handle,
}

impl Producer {
    /// A producer to the queue of that URL, with the default [`Buffer`]. Takes the client's endpoint, region
    /// and credentials; retries and timeouts are the producer's own.
    ///
    /// # Panics
    /// Outside a tokio runtime, on which it runs.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "a client is a handle, and handed over as one")]
    pub fn new(client: aws_sdk_sqs::Client, queue_url: impl Into<String>) -> Self {
        Self::over(sqs::Sqs::new(&client, queue_url.into()), Buffer::default())
    }

    /// A producer with the client's timeouts, and as many retries as the client is set to, with its backoff. For a
    /// command that someone waits for.
    ///
    /// # Panics
    /// Outside a tokio runtime, on which it runs.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "a client is a handle, and handed over as one")]
    pub fn with_retries_of(client: aws_sdk_sqs::Client, queue_url: impl Into<String>) -> Self {
        let retries = sqs::retries_of(&client);
        let queue = sqs::Sqs::with_timeouts_of(&client, queue_url.into());
        Self::start(queue, Buffer::default(), retries)
    }

    /// A producer over any way to send a batch.
    ///
    /// # Panics
    /// Outside a tokio runtime, on which it runs.
    #[must_use]
    pub fn over(queue: impl SendBatch, buffer: Buffer) -> Self {
        Self::start(queue, buffer, RetryPolicy::default())
    }

    fn start(queue: impl SendBatch, buffer: Buffer, retries: RetryPolicy) -> Self {
        let (commands, places, handle) = driver::start(queue, buffer, retries);
        Self { commands, places, batchers: Running::default(), handle }
    }

    /// Hands over one job, waiting for a place in the buffer if there is none. The job is sent from then on,
    /// whether or not somebody awaits its confirmation.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Refused`] for what SQS could never take, before anything is sent.
    pub async fn enqueue(&self, job: NewMessage) -> Result<Confirmation, Error> {
        let (size, place) = self.place_for(&job, self.places.called(&job.group)).await?;
        let (answer, confirmation) = Confirmation::pair();
        self.hand_over(job, size, Ticket { answers: vec![answer], place });
        Ok(confirmation)
    }

    /// Hands over one job if there is a place in the buffer now.
    ///
    /// # Errors
    /// The job comes back with [`Error::Full`] where there is none, or as with [`Producer::enqueue`].
    pub fn try_enqueue(&self, job: NewMessage) -> Result<Confirmation, Box<Full>> {
        let refused = |job, error| Err(Box::new(Full { job, error }));
        let size = match check::size(&job) {
            Ok(size) => size,
            Err(error) => return refused(job, error),
        };
        let Some(place) = self.places.try_take(&job.group, size) else { return refused(job, Error::Full) };
        let (answer, confirmation) = Confirmation::pair();
        self.hand_over(job, size, Ticket { answers: vec![answer], place });
        Ok(confirmation)
    }

    /// Sends all jobs of a stream, in its order per group. The results come in the stream's order; as many
    /// jobs are under way as the buffer holds. A job that failed does not end the stream: what is taken from it after a
    /// group's jobs were given up is sent, so drop the stream at such an error where order counts. A group has half of the buffer
    /// ([`Buffer`]): where one that is throttled has filled its half, the stream waits at its next job, and with it
    /// the groups behind. Give such groups a stream of their own.
    pub fn enqueue_all(
        &self,
        jobs: impl Stream<Item = NewMessage>,
    ) -> impl Stream<Item = Result<MessageId, Error>> {
        jobs.then(move |job| self.enqueue(job))
            .map(async |confirmation| confirmation?.await)
            .buffered(self.places.most().jobs)
    }

    /// Closes the open batches of its batchers, of dropped ones too, and waits until every job that was
    /// handed over before has been answered for.
    ///
    /// # Errors
    /// Where jobs of whatever handle have failed since this handle's last flush, or since the first one's where it was
    /// never flushed: how many, and why the first of them. A batch that came to no job is one of them. Flushes that
    /// run side by side are each told of them.
    pub async fn flush(&self) -> Result<(), FlushError> {
        self.batchers.flush().await;
        let (answer, flushed) = oneshot::channel();
        let gone = FlushError { failed: 0, first: Error::Dropped };
        self.commands.send(Command::Flush(self.handle.id(), answer)).map_err(|_| gone.clone())?;
        flushed.await.map_err(|_| gone)?
    }

    /// Gathers an app's events into jobs of several: see [`Batcher`].
    ///
    /// # Panics
    /// Outside a tokio runtime, on which it runs.
    #[must_use]
    pub fn batched(&self, signer: Signer, batching: Batching) -> Batcher {
        Batcher::start(self.clone(), signer, batching)
    }

    /// The size of a job, and its place in the buffer once there is one.
    async fn place_for(&self, job: &NewMessage, called: Called) -> Result<(usize, Place), Error> {
        let size = check::size(job)?;
        Ok((size, self.places.take(called, size).await?))
    }

    /// Has the next flush tell of what came to no job.
    fn failed(&self, count: u64, error: Error) {
        // Without a task there is no flush that could tell.
        self.commands.send(Command::Failed(count, error)).unwrap_or_default();
    }

    fn hand_over(&self, job: NewMessage, size: usize, ticket: Ticket) {
        if let Err(refused) = self.commands.send(Command::Job { job, size, ticket })
            && let Command::Job { job, ticket, .. } = refused.0
        {
            driver::tell(&job, ticket.answers, &Err(Error::Dropped));
        }
    }
}
