//! The bound on requests to one destination at a time.
//!
//! An attempt holds one slot at most, waits for it for no longer than its patience, and gives it back
//! whichever way it ends, so no lane waits for ever and none can wait for another in a circle. Where
//! there is no slot in time the attempt is deferred: the job goes back to the queue untried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::request::Origin;

/// The slots of every destination that has requests under way.
#[derive(Debug)]
pub(super) struct Slots {
    bound: Option<usize>,
    patience: Duration,
    taken: Arc<Mutex<HashMap<Arc<Origin>, Arc<Semaphore>>>>,
}

/// Leave for one request; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    origin: Arc<Origin>,
    taken: Arc<Mutex<HashMap<Arc<Origin>, Arc<Semaphore>>>>,
}

impl Slots {
    pub(super) fn new(bound: Option<usize>, patience: Duration) -> Self {
        Self { bound, patience, taken: Arc::default() }
    }

    /// Takes a slot, waiting for a while if there is none; the error is the bound.
    pub(super) async fn take(&self, origin: &Arc<Origin>) -> Result<Option<Slot>, usize> {
        let Some(bound) = self.bound else { return Ok(None) };
        // Made first, so that whoever stops waiting cleans up as well.
        let mut slot = Slot { permit: None, origin: Arc::clone(origin), taken: Arc::clone(&self.taken) };
        let semaphore = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(taken.entry(Arc::clone(origin)).or_insert_with(|| Arc::new(Semaphore::new(bound))))
        };
        slot.permit = match Arc::clone(&semaphore).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => timeout(self.patience, semaphore.acquire_owned()).await.ok().and_then(Result::ok),
        };
        if slot.permit.is_some() { Ok(Some(slot)) } else { Err(bound) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.permit.take());
        // Everyone who holds or waits for a slot has a share in it; the map's alone means no one does.
        if taken.get(&self.origin).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            taken.remove(&self.origin);
        }
    }
}
