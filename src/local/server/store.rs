//! How much the queues may hold, all together: whoever reaches the endpoint can send.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::fifo::{Outgoing, size};
use crate::local::protocol::WireError;

/// Bytes of messages: as much as a developer's machine spares.
const MAX_BYTES: usize = 512 << 20;

/// Messages: each takes some hundreds of bytes besides its own.
const MAX_MESSAGES: usize = 500_000;

/// Queues, each of which remembers deduplication ids for five minutes.
pub(super) const MAX_QUEUES: usize = 1_000;

/// What is stored now.
#[derive(Debug, Default)]
pub(super) struct Store {
    bytes: AtomicUsize,
    messages: AtomicUsize,
}

/// A body that is counted for as long as a queue, or an answer, holds it.
struct Counted {
    body: Bytes,
    size: usize,
    store: Arc<Store>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.store.bytes.fetch_sub(self.size, Ordering::Relaxed);
        self.store.messages.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a message in.
pub(super) fn admit(store: &Arc<Store>, mut message: Outgoing) -> Result<Outgoing, WireError> {
    let size = size(&message);
    let bytes = store.bytes.fetch_add(size, Ordering::Relaxed);
    let messages = store.messages.fetch_add(1, Ordering::Relaxed);
    // Counted in before it is looked at: it is counted out again where it is dropped.
    let counted = Counted { body: std::mem::take(&mut message.body), size, store: Arc::clone(store) };
    if bytes.saturating_add(size) > MAX_BYTES || messages >= MAX_MESSAGES {
        return Err(WireError::new(
            "OverLimit",
            format!("The local queue holds {MAX_MESSAGES} messages and {} MiB at the most.", MAX_BYTES >> 20),
        ));
    }
    message.body = Bytes::from_owner(counted);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(size: usize) -> Outgoing {
        Outgoing { body: vec![b'x'; size].into(), ..Outgoing::default() }
    }

    #[test]
    fn what_is_stored_is_bounded_in_bytes_and_what_goes_makes_room() {
        let store = Arc::<Store>::default();
        let mut held: Vec<_> = (0..512).map(|_| admit(&store, message(1 << 20)).unwrap()).collect();
        assert_eq!(admit(&store, message(1)).unwrap_err().shape, "OverLimit");
        held.pop();
        drop(admit(&store, message(1 << 20)).unwrap());
        drop(held);
        assert_eq!((store.bytes.load(Ordering::Relaxed), store.messages.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn what_is_stored_is_bounded_in_number() {
        let store = Arc::<Store>::default();
        store.messages.store(MAX_MESSAGES, Ordering::Relaxed);
        assert_eq!(admit(&store, message(1)).unwrap_err().shape, "OverLimit");
        assert_eq!(store.messages.load(Ordering::Relaxed), MAX_MESSAGES);
    }
}
