//! The bound on requests to one destination at a time.
//!
//! An attempt holds one permit at most, waits for it for no longer than `wait`, and gives it back
//! whichever way it ends, so no lane waits for ever and none can wait for another in a circle. Where
//! there is no permit in time the attempt is deferred: the job goes back to the queue untried.
//!
//! A destination of which nothing is known has few permits, and one more with each answer; fewer still while it
//! leaves attempts unanswered. A response's head may take 408 KiB of memory (hyper's bound, which reqwest does not
//! pass on), HTTP/2's informational responses several megabytes a connection, and who never answers could fill as much
//! with each of its requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::request::Origin;
use crate::delivery::unanswered::{MOST_WHILE_MUTE, Standing};

/// Requests to a destination that has not answered yet: enough that one that works has answered before many wait.
const UNPROVEN: usize = 16;

type Hosts = Arc<Mutex<HashMap<Arc<Origin>, Host>>>;

/// A destination with requests under way.
#[derive(Debug)]
struct Host {
    permits: Arc<Semaphore>,
    /// All permits, those that are taken included.
    total: usize,
    /// The permits that it gets with its answers.
    withheld: usize,
    /// Requests under way for apps for which it is mute.
    mute: usize,
    proven: Arc<AtomicBool>,
}

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
    mute: bool,
    origin: Arc<Origin>,
    proven: Arc<AtomicBool>,
    hosts: Hosts,
}

impl HostLimiter {
    pub(super) fn new(bound: Option<usize>, wait: Duration) -> Self {
        Self { bound, wait, hosts: Arc::default() }
    }

    /// Takes a permit, waiting for a while if there is none; the error is the bound. Nobody waits for a destination
    /// that left its last attempts unanswered.
    pub(super) async fn acquire(
        &self,
        origin: &Arc<Origin>,
        standing: Standing,
    ) -> Result<Option<HostPermit>, usize> {
        let Some(bound) = self.bound else { return Ok(None) };
        let mute = standing == Standing::Mute;
        let (permits, proven, total) = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let host = hosts.entry(Arc::clone(origin)).or_insert_with(|| Host::new(bound, standing));
            if mute && host.mute >= MOST_WHILE_MUTE {
                return Err(MOST_WHILE_MUTE);
            }
            host.mute += usize::from(mute);
            (Arc::clone(&host.permits), Arc::clone(&host.proven), host.total)
        };
        // Made first, so that whoever stops waiting cleans up as well.
        let mut taken = HostPermit {
            permit: None,
            mute,
            origin: Arc::clone(origin),
            proven,
            hosts: Arc::clone(&self.hosts),
        };
        taken.permit = self.permit(permits, mute).await;
        if taken.permit.is_some() { Ok(Some(taken)) } else { Err(total) }
    }
}

impl HostLimiter {
    /// Has no share in the permits any more when it returns.
    async fn permit(&self, permits: Arc<Semaphore>, mute: bool) -> Option<OwnedSemaphorePermit> {
        match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) if mute => None,
            Err(_) => timeout(self.wait, permits.acquire_owned()).await.ok().and_then(Result::ok),
        }
    }
}

impl Host {
    fn new(bound: usize, standing: Standing) -> Self {
        let total = if standing.answers() { bound } else { bound.min(UNPROVEN) };
        let proven = Arc::new(AtomicBool::new(bound == total));
        Self { permits: Arc::new(Semaphore::new(total)), total, withheld: bound - total, mute: 0, proven }
    }
}

impl HostPermit {
    /// The destination answered: one request more may be under way.
    pub(super) fn answered(&self) {
        if self.proven.load(Ordering::Relaxed) {
            return;
        }
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get_mut(&self.origin)
            && host.withheld > 0
        {
            host.withheld -= 1;
            host.total += 1;
            host.permits.add_permits(1);
            self.proven.store(host.withheld == 0, Ordering::Relaxed);
        }
    }
}

impl Drop for HostPermit {
    fn drop(&mut self) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.permit.take());
        if self.mute
            && let Some(host) = hosts.get_mut(&self.origin)
        {
            // It may be another one than it was taken from.
            host.mute = host.mute.saturating_sub(1);
        }
        // Everyone who holds or waits for a permit has a share in it; the map's alone means no one does.
        if hosts.get(&self.origin).is_some_and(|host| Arc::strong_count(&host.permits) == 1) {
            hosts.remove(&self.origin);
        }
    }
}

#[cfg(test)]
mod tests;
