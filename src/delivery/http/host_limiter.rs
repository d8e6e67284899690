//! The bound on requests to one destination at a time.
//!
//! An attempt holds one permit at most, waits for it for no longer than `wait`, and gives it back
//! whichever way it ends, so no lane waits for ever and none can wait for another in a circle. Where
//! there is no permit in time the attempt is deferred: the job goes back to the queue untried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::request::Origin;

type Hosts = Arc<Mutex<HashMap<Arc<Origin>, Arc<Semaphore>>>>;

/// The permits of every destination that has requests under way.
#[derive(Debug)]
pub(super) struct HostLimiter {
    bound: Option<usize>,
    wait: Duration,
    hosts: Hosts,
}

/// Leave for one request; given back when dropped.
#[derive(Debug)]
pub(super) struct HostPermit {
    permit: Option<OwnedSemaphorePermit>,
    origin: Arc<Origin>,
    hosts: Hosts,
}

impl HostLimiter {
    pub(super) fn new(bound: Option<usize>, wait: Duration) -> Self {
        Self { bound, wait, hosts: Arc::default() }
    }

    /// Takes a permit, waiting for a while if there is none; the error is the bound.
    pub(super) async fn acquire(&self, origin: &Arc<Origin>) -> Result<Option<HostPermit>, usize> {
        let Some(bound) = self.bound else { return Ok(None) };
        // Made first, so that whoever stops waiting cleans up as well.
        let mut taken =
            HostPermit { permit: None, origin: Arc::clone(origin), hosts: Arc::clone(&self.hosts) };
        let semaphore = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(Arc::clone(origin)).or_insert_with(|| Arc::new(Semaphore::new(bound))))
        };
        taken.permit = match Arc::clone(&semaphore).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => timeout(self.wait, semaphore.acquire_owned()).await.ok().and_then(Result::ok),
        };
        if taken.permit.is_some() { Ok(Some(taken)) } else { Err(bound) }
    }
}

impl Drop for HostPermit {
    fn drop(&mut self) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.permit.take());
        // Everyone who holds or waits for a permit has a share in it; the map's alone means no one does.
        if hosts.get(&self.origin).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            hosts.remove(&self.origin);
        }
    }
}
