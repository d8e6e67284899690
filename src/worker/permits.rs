//! How much may be in memory at once: messages and bytes of their bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The longest that a poll waits for room for a whole batch once there is some.
const LINGER: Duration = Duration::from_millis(50);

/// The bounds, and what is left of them.
#[derive(Clone, Debug)]
pub struct Permits {
    slots: Arc<Semaphore>,
    bytes: Arc<Bytes>,
    turn: Arc<Mutex<()>>,
    total: usize,
}

#[derive(Debug)]
struct Bytes {
    held: AtomicUsize,
    bound: usize,
    freed: Notify,
}

/// The place of messages that a poll may receive.
#[derive(Debug)]
pub struct Reserved(OwnedSemaphorePermit);

/// The place of one message, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    _slot: Option<OwnedSemaphorePermit>,
    bytes: Arc<Bytes>,
    size: usize,
}

impl Permits {
    /// Bounds of so many messages and so many bytes. The bytes may be overshot by one receive a
    /// poller: how large a message is shows only when it is here.
    #[must_use]
    pub fn new(messages: usize, bytes: usize) -> Self {
        let bytes = Bytes { held: AtomicUsize::new(0), bound: bytes, freed: Notify::new() };
        Self {
            slots: Arc::new(Semaphore::new(messages)),
            bytes: Arc::new(bytes),
            turn: Arc::default(),
            total: messages,
        }
    }

    /// Takes `most` places, or fewer if there are no more: at least one. While there is little room the
    /// polls queue up for it, and the first waits for company, up to `LINGER` (50 ms): a call for one
    /// message costs as much as a call for ten.
    pub async fn reserve(&self, most: usize) -> Reserved {
        let _turn = self.turn.lock().await;
        loop {
            let freed = self.bytes.freed.notified();
            if self.bytes.held.load(Ordering::Acquire) < self.bytes.bound {
                break;
            }
            freed.await;
        }
        let most = most.clamp(1, self.total.max(1));
        // So that a small bound is not emptied before it is filled again.
        let company = most.min(self.total.div_ceil(4)).max(1);
        let mut reserved = match timeout(LINGER, self.acquire(company)).await {
            Ok(slots) => slots,
            Err(_) => self.acquire(1).await,
        };
        let more = self.slots.available_permits().min(most.saturating_sub(reserved.num_permits()));
        if let Ok(more) = Arc::clone(&self.slots).try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            reserved.merge(more);
        }
        Reserved(reserved)
    }

    async fn acquire(&self, count: usize) -> OwnedSemaphorePermit {
        match Arc::clone(&self.slots).acquire_many_owned(u32::try_from(count).unwrap_or(1)).await {
            Ok(slots) => slots,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Takes one place out of those reserved for a message whose body has `size` bytes.
    #[must_use]
    pub fn take(&self, reserved: &mut Reserved, size: usize) -> Permit {
        self.bytes.held.fetch_add(size, Ordering::AcqRel);
        Permit { _slot: reserved.0.split(1), bytes: Arc::clone(&self.bytes), size }
    }

    /// How many places are taken, reserved ones included.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.total.saturating_sub(self.slots.available_permits())
    }
}

impl Reserved {
    /// How many messages may be asked for.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.num_permits()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.bytes.held.fetch_sub(self.size, Ordering::AcqRel);
        if before >= self.bytes.bound {
            self.bytes.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn a_poll_gets_what_is_free_and_waits_while_nothing_is() {
        let permits = Permits::new(12, 100);
        let mut ten = permits.reserve(10).await;
        assert_eq!(ten.count(), 10);
        let two = permits.reserve(10).await;
        assert_eq!(two.count(), 2);
        assert!(timeout(LINGER * 10, permits.reserve(10)).await.is_err());
        let held = permits.take(&mut ten, 5);
        drop((ten, two));
        assert_eq!(permits.taken(), 1);
        assert_eq!(permits.reserve(100).await.count(), 11);
        drop(held);
        assert_eq!(permits.taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn while_there_is_little_room_a_poll_waits_for_a_batch_but_not_for_long() {
        for (every_ms, expected) in [(1, 10), (20, 2)] {
            let permits = Permits::new(40, 100);
            let mut all: Vec<_> = (0..4).map(|_| permits.reserve(10).now_or_never().unwrap()).collect();
            let freeing = async {
                for _ in 0..20 {
                    tokio::time::sleep(Duration::from_millis(every_ms)).await;
                    all.iter_mut().find_map(|reserved| reserved.0.split(1)).unwrap();
                }
            };
            let (count, ()) = tokio::join!(async { permits.reserve(10).await.count() }, freeing);
            assert_eq!(count, expected, "one every {every_ms} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_gives_up_lets_the_next_have_its_turn() {
        let permits = Permits::new(1, 100);
        let one = permits.reserve(10).await;
        assert!(timeout(LINGER / 2, permits.reserve(10)).await.is_err());
        assert!(timeout(LINGER * 2, permits.reserve(10)).await.is_err());
        drop(one);
        assert_eq!(permits.reserve(10).now_or_never().map(|one| one.count()), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_hold_a_poll_back_too() {
        let permits = Permits::new(10, 100);
        let mut one = permits.reserve(1).await;
        let big = permits.take(&mut one, 100);
        assert!(permits.reserve(1).now_or_never().is_none());
        drop(big);
        assert!(permits.reserve(1).now_or_never().is_some());
    }
}
