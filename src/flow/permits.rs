//! How much may be in memory at once: messages and bytes of their bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The bounds, and what is left of them.
#[derive(Clone, Debug)]
pub struct Permits {
    slots: Arc<Semaphore>,
    bytes: Arc<Bytes>,
}

#[derive(Debug)]
struct Bytes {
    held: AtomicUsize,
    /// Messages with a place.
    messages: AtomicUsize,
    bound: usize,
    freed: Notify,
}

/// The place of messages that a poll may receive.
#[derive(Debug)]
pub struct Reserved(OwnedSemaphorePermit);

/// The place of one message, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    slot: Option<OwnedSemaphorePermit>,
    bytes: Arc<Bytes>,
    size: usize,
}

impl Permits {
    /// Bounds of so many messages and so many bytes. The bytes may be overshot by one receive a
    /// poller: how large a message is shows only when it is here.
    #[must_use]
    pub fn new(messages: usize, bytes: usize) -> Self {
        let bytes = Bytes {
            held: AtomicUsize::new(0),
            messages: AtomicUsize::new(0),
            bound: bytes,
            freed: Notify::new(),
        };
        Self { slots: Arc::new(Semaphore::new(messages)), bytes: Arc::new(bytes) }
    }

    /// Waits until at least one message may come, and takes up to `most` places.
    pub async fn reserve(&self, most: usize) -> Reserved {
        loop {
            let freed = self.bytes.freed.notified();
            if self.bytes.held.load(Ordering::Acquire) < self.bytes.bound {
                break;
            }
            freed.await;
        }
        let free = self.slots.available_permits().clamp(1, most.max(1));
        let wanted = u32::try_from(free).unwrap_or(1);
        // The semaphore is never closed.
        if let Ok(slots) = Arc::clone(&self.slots).try_acquire_many_owned(wanted) {
            return Reserved(slots);
        }
        loop {
            match Arc::clone(&self.slots).acquire_owned().await {
                Ok(mut slots) => {
                    let more = self.slots.available_permits().min(most.saturating_sub(1));
                    let more = u32::try_from(more).unwrap_or(0);
                    if let Ok(more) = Arc::clone(&self.slots).try_acquire_many_owned(more) {
                        slots.merge(more);
                    }
                    return Reserved(slots);
                }
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Takes one place out of those reserved for a message whose body has `size` bytes.
    #[must_use]
    pub fn take(&self, reserved: &mut Reserved, size: usize) -> Permit {
        self.bytes.held.fetch_add(size, Ordering::AcqRel);
        let slot = reserved.0.split(1);
        if slot.is_some() {
            self.bytes.messages.fetch_add(1, Ordering::AcqRel);
        }
        Permit { slot, bytes: Arc::clone(&self.bytes), size }
    }

    /// Counts bytes that are made for a message while it is worked; nothing waits for them.
    #[must_use]
    pub fn hold(&self, size: usize) -> Permit {
        self.bytes.held.fetch_add(size, Ordering::AcqRel);
        Permit { slot: None, bytes: Arc::clone(&self.bytes), size }
    }

    /// How many bytes are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.held.load(Ordering::Acquire)
    }

    /// How many messages have a place; those that a poll under way has reserved count not.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.bytes.messages.load(Ordering::Acquire)
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
        if self.slot.is_some() {
            self.bytes.messages.fetch_sub(1, Ordering::AcqRel);
        }
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
        assert!(permits.reserve(10).now_or_never().is_none());
        let held = permits.take(&mut ten, 5);
        drop((ten, two));
        assert_eq!(permits.taken(), 1);
        assert_eq!(permits.reserve(100).await.count(), 11);
        drop(held);
        assert_eq!(permits.taken(), 0);
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
