//! Several events in one job, as Pusher batches its webhooks.
//!
//! Batches are kept apart by message group, which is that of an app and a queue type: events of different
//! types or groups never share a job.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::error;

use super::Producer;
use super::driver::{Answer, Confirmation, Ticket, at, tell};
use super::error::Error;
use super::event::Event;
use super::places::{Buffer, Called, Places};
use super::signer::Signer;
use crate::queue::MAX_BATCH_BYTES;

/// Events that wait to be taken over; past it [`Batcher::add`] waits.
const WAITING: usize = 1000;

/// The longest window: what is longer is closed by count and size.
const MAX_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// When a batch is closed: whatever comes first. A closed batch that finds no place in the producer's buffer holds up all
/// groups of its batcher. Open batches hold no more than the producer's buffer may; past that
/// the oldest is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// How long after its first event, a day at the most.
    pub window: Duration,
    /// How many events it has then.
    pub max_events: usize,
    /// How many bytes the body of its job may have, no more than a message's. An event that has more by itself goes
    /// alone.
    pub max_bytes: usize,
}

impl Default for Batching {
    /// Pusher's own: 250 ms or 20 events; and 256 KiB, which every queue takes and most receivers do.
    fn default() -> Self {
        Self { window: Duration::from_millis(250), max_events: 20, max_bytes: 256 << 10 }
    }
}

/// Gathers an app's events into jobs of several. Dropped, it closes its batches and hands them over;
/// [`Producer::flush`] waits for that.
#[derive(Clone, Debug)]
pub struct Batcher {
    signer: Signer,
    places: Places,
    events: mpsc::Sender<Added>,
    flushes: mpsc::Sender<Flushed>,
    /// The bytes of the events that wait to be taken over.
    waiting: Arc<Semaphore>,
    most_bytes: usize,
}

/// An event that waits to be taken over.
#[derive(Debug)]
struct Added {
    group: String,
    called: Called,
    event: Event,
    answer: Answer,
    /// Its place until then.
    _place: OwnedSemaphorePermit,
}

/// Told when all that was added before is with the producer.
type Flushed = oneshot::Sender<()>;

/// The ways to the tasks of a producer's batchers, of dropped ones as long as they have something to hand over.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<Mutex<Vec<mpsc::Sender<Flushed>>>>);

/// Events of one group, which are given up together if the group ends after they were added.
#[derive(Debug)]
struct Open {
    called: Called,
    events: Vec<Event>,
    answers: Vec<Answer>,
    bytes: usize,
    opened: u64,
    closes: Instant,
}

impl Running {
    fn add(&self, flushes: mpsc::Sender<Flushed>) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|batcher| !batcher.is_closed());
        running.push(flushes);
    }

    /// Waits until all that was added to them is with the producer. One that has ended has handed all over,
    /// or told the producer of what it lost.
    pub(super) async fn flush(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for batcher in running {
            let (answer, flushed) = oneshot::channel();
            if batcher.send(answer).await.is_ok() {
                flushed.await.unwrap_or_default();
            }
        }
    }
}

impl Batcher {
    pub(super) fn start(producer: Producer, signer: Signer, batching: Batching) -> Self {
        let (events, received) = mpsc::channel(WAITING);
        let (flushes, asked) = mpsc::channel(1);
        producer.batchers.add(flushes.clone());
        let places = producer.places.clone();
        let most = places.most();
        let max_bytes = batching.max_bytes.min(MAX_BATCH_BYTES).saturating_sub(signer.bytes_beside_events());
        let gatherer = Gatherer {
            producer,
            signer: signer.clone(),
            received,
            asked,
            batches: Batches::new(Batching { max_bytes, ..batching }, most),
            closed: VecDeque::new(),
            flushing: Vec::new(),
        };
        drop(tokio::spawn(gatherer.run()));
        let most_bytes = most.bytes.min(u32::MAX as usize);
        let waiting = Arc::new(Semaphore::new(most_bytes));
        Self { signer, places, events, flushes, waiting, most_bytes }
    }

    /// Hands over one event. Its confirmation is that of the job it goes in.
    ///
    /// # Errors
    /// [`Error::Dropped`] where the runtime has ended the batcher.
    pub async fn add(&self, event: Event) -> Result<Confirmation, Error> {
        let group = self.signer.group(&event);
        let called = self.places.called(&group);
        let (answer, confirmation) = Confirmation::pair();
        let bytes = u32::try_from(event.json().len().min(self.most_bytes)).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.waiting).acquire_many_owned(bytes).await.map_err(|_| Error::Dropped)?;
        let added = Added { group, called, event, answer, _place: place };
        self.events.send(added).await.map_err(|_| Error::Dropped)?;
        Ok(confirmation)
    }

    /// Closes every open batch and waits until the jobs are with the producer; see [`Producer::flush`] for
    /// their way to the queue.
    ///
    /// # Errors
    /// [`Error::Dropped`] where the runtime has ended the batcher.
    pub async fn flush(&self) -> Result<(), Error> {
        let (answer, flushed) = oneshot::channel();
        self.flushes.send(answer).await.map_err(|_| Error::Dropped)?;
        flushed.await.map_err(|_| Error::Dropped)
    }
}

/// The batches that are open, by message group. No clock, no I/O.
#[derive(Debug)]
struct Batches {
    batching: Batching,
    /// What all of them together may hold.
    most: Buffer,
    open: HashMap<String, Open>,
    /// Their groups, the oldest first.
    order: BTreeMap<u64, String>,
    opened: u64,
    bytes: usize,
}

impl Batches {
    fn new(batching: Batching, most: Buffer) -> Self {
        let batching = Batching { window: batching.window.min(MAX_WINDOW), ..batching };
        Self { batching, most, open: HashMap::new(), order: BTreeMap::new(), opened: 0, bytes: 0 }
    }

    fn close(&mut self, group: &str) -> Option<(String, Open)> {
        let (group, open) = self.open.remove_entry(group)?;
        self.order.remove(&open.opened);
        self.bytes -= open.bytes;
        Some((group, open))
    }

    fn close_oldest(&mut self) -> Option<(String, Open)> {
        let (_, group) = self.order.first_key_value()?;
        let group = group.clone();
        self.close(&group)
    }

    /// Adds an event; gives the batches that are closed by it, those of its group in order.
    fn add(&mut self, now: Instant, added: Added) -> Vec<(String, Open)> {
        let Added { group, called, event, answer, .. } = added;
        let group = group.as_str();
        let mut closed = Vec::new();
        let size = event.json().len();
        let fits =
            |open: &Open| open.bytes + 1 + size <= self.batching.max_bytes && open.called.is_like(&called);
        if self.open.get(group).is_some_and(|open| !fits(open)) {
            closed.extend(self.close(group));
        }
        while self.open.len() >= self.most.jobs && !self.open.contains_key(group)
            || self.bytes > 0 && self.bytes + 1 + size > self.most.bytes
        {
            closed.extend(self.close_oldest());
        }
        let open = self.open.entry(group.to_owned()).or_insert_with(|| {
            self.opened += 1;
            self.order.insert(self.opened, group.to_owned());
            let until = now + self.batching.window;
            let (events, answers, opened) = (Vec::new(), Vec::new(), self.opened);
            Open { called, events, answers, bytes: 0, opened, closes: until }
        });
        let size = size + usize::from(!open.events.is_empty());
        open.bytes += size;
        self.bytes += size;
        open.events.push(event);
        open.answers.push(answer);
        if open.events.len() >= self.batching.max_events || open.bytes >= self.batching.max_bytes {
            closed.extend(self.close(group));
        }
        closed
    }

    /// When the oldest closes: all have the same window.
    fn next_close(&self) -> Option<Instant> {
        let (_, group) = self.order.first_key_value()?;
        self.open.get(group).map(|open| open.closes)
    }

    /// The batches whose time has come, the oldest first.
    fn due(&mut self, now: Instant) -> Vec<(String, Open)> {
        let mut due = Vec::new();
        while self.next_close().is_some_and(|closes| closes <= now) {
            due.extend(self.close_oldest());
        }
        due
    }

    /// All of them, the oldest first.
    fn all(&mut self) -> Vec<(String, Open)> {
        std::iter::from_fn(|| self.close_oldest()).collect()
    }
}

/// A batcher's task. All that it holds stands in it, so that none of it is dropped in silence.
struct Gatherer {
    producer: Producer,
    signer: Signer,
    received: mpsc::Receiver<Added>,
    asked: mpsc::Receiver<Flushed>,
    batches: Batches,
    /// Batches that wait for their place in the producer's buffer, in order.
    closed: VecDeque<(String, Open)>,
    /// Who is told once they have it.
    flushing: Vec<Flushed>,
}

impl Gatherer {
    async fn run(mut self) {
        let mut handles = true;
        while handles {
            let next = self.batches.next_close();
            tokio::select! {
                event = self.received.recv() => if let Some(event) = event {
                    self.add(event);
                } else {
                    handles = false;
                    self.close_all();
                },
                Some(flushed) = self.asked.recv() => {
                    for _ in 0..self.received.len() {
                        if let Ok(event) = self.received.try_recv() {
                            self.add(event);
                        }
                    }
                    self.close_all();
                    self.flushing.push(flushed);
                }
                () = at(next) => self.closed.extend(self.batches.due(Instant::now())),
            }
            self.hand_over().await;
            for flushed in self.flushing.drain(..) {
                // Whoever gave the flush up wants no answer.
                flushed.send(()).unwrap_or_default();
            }
        }
    }

    fn add(&mut self, added: Added) {
        self.closed.extend(self.batches.add(Instant::now(), added));
    }

    fn close_all(&mut self) {
        self.closed.extend(self.batches.all());
    }

    async fn hand_over(&mut self) {
        while let Some((group, batch)) = self.closed.front() {
            let job = self.signer.job_of(group, &batch.events);
            let place = self.producer.place_for(&job, batch.called.clone()).await;
            let Some((_, batch)) = self.closed.pop_front() else { return };
            match place {
                Ok((size, place)) => {
                    self.producer.hand_over(job, size, Ticket { answers: batch.answers, place });
                }
                Err(error) => {
                    tell(&job, batch.answers, &Err(error.clone()));
                    self.producer.failed(1, error);
                }
            }
        }
    }
}

impl Drop for Gatherer {
    fn drop(&mut self) {
        self.received.close();
        let batches = self.closed.iter().map(|(_, open)| open).chain(self.batches.open.values());
        let mut events: usize = batches.map(|open| open.events.len()).sum();
        while self.received.try_recv().is_ok() {
            events += 1;
        }
        if events > 0 {
            error!(
                events,
                "a batcher ended with events that were not handed over; flush its producer before the runtime ends"
            );
            self.producer.failed(events as u64, Error::Dropped);
        }
    }
}

#[cfg(test)]
mod tests;
