//! The places of a producer's buffer: bounds on its jobs and bytes, half of them for one message group at the most,
//! so that a group that is throttled keeps no other out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Error;
use crate::queue::MAX_BATCH_BYTES;

/// How much a producer holds that is not confirmed yet. One message group has half of it at the most, or a single
/// job.
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

/// Places for jobs, and for their bytes.
#[derive(Clone, Debug)]
struct Room {
    jobs: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// The places of the buffer.
#[derive(Clone, Debug)]
pub(super) struct Places {
    all: Room,
    most: Buffer,
    groups: Arc<Mutex<Groups>>,
}

/// What a group may have of the places, and how often it ended: how often jobs of it were given up for a reason that
/// was not their own.
#[derive(Debug)]
struct Share {
    room: Room,
    ended: Mutex<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    times: u64,
    /// Why, the last time.
    why: Option<Error>,
}

/// A group as its sender found it when it called: where the group has ended since, the call shares that end, however
/// long it waited for a place.
#[derive(Clone, Debug)]
pub(super) struct Called {
    share: Arc<Share>,
    times: u64,
}

/// The shares of the groups that have jobs in the buffer, or wait for a place.
#[derive(Debug, Default)]
struct Groups {
    shares: HashMap<String, Weak<Share>>,
    /// At this many groups, those of which nobody holds a place are forgotten.
    full: usize,
}

/// A job's place in the buffer, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _held: [OwnedSemaphorePermit; 4],
    called: Called,
}

impl Place {
    /// Ends the group for whoever has called by now.
    pub(super) fn end_group(&self, why: &Error) {
        let mut ended = self.called.share.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.times += 1;
        ended.why = Some(why.clone());
    }

    /// Why the group has ended since the call, if it has.
    pub(super) fn ended(&self) -> Option<Error> {
        let ended = self.called.share.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.why.clone().filter(|_| ended.times != self.called.times)
    }
}

impl Called {
    /// Whether the group had ended as often for both.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.share, &other.share) && self.times == other.times
    }
}

impl Room {
    fn new(jobs: usize, bytes: usize) -> Self {
        Self { jobs: Arc::new(Semaphore::new(jobs)), bytes: Arc::new(Semaphore::new(bytes)) }
    }

    async fn take(&self, size: u32) -> Result<[OwnedSemaphorePermit; 2], Error> {
        let job = Arc::clone(&self.jobs).acquire_owned().await.map_err(|_| Error::Dropped)?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(size).await.map_err(|_| Error::Dropped)?;
        Ok([job, bytes])
    }

    fn try_take(&self, size: u32) -> Option<[OwnedSemaphorePermit; 2]> {
        let job = Arc::clone(&self.jobs).try_acquire_owned().ok()?;
        Some([job, Arc::clone(&self.bytes).try_acquire_many_owned(size).ok()?])
    }
}

impl Groups {
    fn share(&mut self, group: &str, most: Buffer) -> Arc<Share> {
        if let Some(share) = self.shares.get(group).and_then(Weak::upgrade) {
            return share;
        }
        if self.shares.len() >= self.full {
            self.shares.retain(|_, share| share.strong_count() > 0);
            self.full = 2 * self.shares.len() + 64;
        }
        let room = Room::new((most.jobs / 2).max(1), (most.bytes / 2).max(MAX_BATCH_BYTES));
        let share = Arc::new(Share { room, ended: Mutex::default() });
        self.shares.insert(group.to_owned(), Arc::downgrade(&share));
        share
    }
}

impl Places {
    pub(super) fn new(buffer: Buffer) -> Self {
        let jobs = buffer.jobs.clamp(1, Semaphore::MAX_PERMITS);
        let bytes = buffer.bytes.clamp(MAX_BATCH_BYTES, Semaphore::MAX_PERMITS);
        Self { all: Room::new(jobs, bytes), most: Buffer { jobs, bytes }, groups: Arc::default() }
    }

    /// How many places there are.
    pub(super) fn most(&self) -> Buffer {
        self.most
    }

    /// A group as it is now.
    pub(super) fn called(&self, group: &str) -> Called {
        let share = self.groups.lock().unwrap_or_else(PoisonError::into_inner).share(group, self.most);
        let times = share.ended.lock().unwrap_or_else(PoisonError::into_inner).times;
        Called { share, times }
    }

    /// A place for a job of that size, once there is one. Those of a group are given in the order of the calls.
    pub(super) async fn take(&self, called: Called, size: usize) -> Result<Place, Error> {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let [a, b] = called.share.room.take(size).await?;
        let [c, d] = self.all.take(size).await?;
        Ok(Place { _held: [a, b, c, d], called })
    }

    pub(super) fn try_take(&self, group: &str, size: usize) -> Option<Place> {
        let called = self.called(group);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let [a, b] = called.share.room.try_take(size)?;
        let [c, d] = self.all.try_take(size)?;
        Some(Place { _held: [a, b, c, d], called })
    }
}

#[cfg(test)]
mod tests;
