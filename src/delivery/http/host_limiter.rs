//! The bound on requests to one destination at a time.
//!
//! An attempt holds one permit at most, waits for it for no longer than `wait`, and gives it back
//! whichever way it ends, so no lane waits for ever and none can wait for another in a circle. Where
//! there is no permit in time the attempt is deferred: the job goes back to the queue untried.
//!
//! A destination has fewer permits until it has answered, lately, and again while it leaves attempts unanswered. A response's head may take 408 KiB of memory (hyper's bound, which reqwest does not
//! pass on), HTTP/2's informational responses several megabytes a connection, and who never answers could fill as much
//! with each of its requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::request::Origin;
use super::unanswered::Standing;

/// Requests to a destination that has not answered yet, or left its last attempts unanswered: enough that one that
/// works has answered before many wait, and some 70 MB for one that sends whatever it can and no answer.
const UNPROVEN: usize = 16;

type Hosts = Arc<Mutex<HashMap<Arc<Origin>, Host>>>;

/// A destination with requests under way.
#[derive(Debug)]
struct Host {
    permits: Arc<Semaphore>,
    /// All permits, those that are taken included.
    total: usize,
    /// The permits that it gets with its first answer.
    withheld: usize,
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
            if mute && host.total - host.permits.available_permits() >= UNPROVEN {
                return Err(UNPROVEN);
            }
            (Arc::clone(&host.permits), Arc::clone(&host.proven), host.total)
        };
        // Made first, so that whoever stops waiting cleans up as well.
        let mut taken =
            HostPermit { permit: None, origin: Arc::clone(origin), proven, hosts: Arc::clone(&self.hosts) };
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
        let total = if standing == Standing::Answers { bound } else { bound.min(UNPROVEN) };
        let proven = Arc::new(AtomicBool::new(bound == total));
        Self { permits: Arc::new(Semaphore::new(total)), total, withheld: bound - total, proven }
    }
}

impl HostPermit {
    /// The destination answered.
    pub(super) fn answered(&self) {
        if self.proven.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get_mut(&self.origin) {
            host.total += host.withheld;
            host.permits.add_permits(host.withheld);
        }
    }
}

impl Drop for HostPermit {
    fn drop(&mut self) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.permit.take());
        // Everyone who holds or waits for a permit has a share in it; the map's alone means no one does.
        if hosts.get(&self.origin).is_some_and(|host| Arc::strong_count(&host.permits) == 1) {
            hosts.remove(&self.origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::RequestTarget;
    use super::*;

    async fn take(
        limiter: &HostLimiter,
        origin: &Arc<Origin>,
        standing: Standing,
        most: usize,
    ) -> Vec<HostPermit> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Ok(permit) = limiter.acquire(origin, standing).await
        {
            taken.extend(permit);
        }
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn a_destination_has_all_its_permits_once_it_has_answered_and_until_it_is_idle() {
        let limiter = HostLimiter::new(Some(1000), Duration::from_millis(500));
        let origin = RequestTarget::parse("http://a/").unwrap().origin;
        let first = take(&limiter, &origin, Standing::Unknown, 5000).await;
        assert_eq!(first.len(), UNPROVEN);
        first[0].answered();
        first[1].answered();
        let all = take(&limiter, &origin, Standing::Unknown, 5000).await;
        assert_eq!(first.len() + all.len(), 1000, "and none is added twice");
        drop((first, all));
        assert!(limiter.hosts.lock().unwrap().is_empty());
        assert_eq!(take(&limiter, &origin, Standing::Unknown, 5000).await.len(), UNPROVEN);
        let some = take(&limiter, &origin, Standing::Mute, 5000).await;
        some[0].answered();
        assert_eq!(
            (some.len(), take(&limiter, &origin, Standing::Mute, 5000).await.len()),
            (UNPROVEN, 0),
            "though it has answered"
        );
        drop(some);
        assert_eq!(take(&limiter, &origin, Standing::Answers, 5000).await.len(), 1000);
        let few = HostLimiter::new(Some(3), Duration::ZERO);
        let three = take(&few, &origin, Standing::Unknown, 5000).await;
        three[0].answered();
        assert_eq!((three.len(), take(&few, &origin, Standing::Unknown, 5000).await.len()), (3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_destination_goes_on_as_soon_as_it_answers() {
        let limiter = HostLimiter::new(Some(1000), Duration::from_millis(500));
        let origin = RequestTarget::parse("http://a/").unwrap().origin;
        let first = take(&limiter, &origin, Standing::Unknown, UNPROVEN).await;
        let (next, ()) =
            tokio::join!(limiter.acquire(&origin, Standing::Unknown), async { first[0].answered() });
        assert!(next.is_ok());
    }
}
