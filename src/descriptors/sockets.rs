//! The bound on connections that deliveries use at a time: what they take of the descriptors is lacked by SQS,
//! app sources and whoever else has receivers.
//!
//! Of what is free a host gets as much as it holds already, at the most: one takes half of all, a hundred leave a
//! hundredth each and one for the next.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections there may be, and are.
#[derive(Debug)]
pub struct Sockets {
    most: usize,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// By the hash of a host: two that share one share their part.
    hosts: HashMap<u64, usize>,
}

/// Leave for one connection, given back when dropped.
#[derive(Debug)]
pub struct Socket {
    held: Arc<Mutex<Held>>,
    host: u64,
}

impl Sockets {
    /// So many at the most.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, held: Arc::default() }
    }

    /// Leave for a connection to a host, if there is any.
    #[must_use]
    pub fn take(&self, host: impl Hash) -> Option<Socket> {
        let mut hasher = DefaultHasher::new();
        host.hash(&mut hasher);
        let host = hasher.finish();
        let mut held = lock(&self.held);
        let own = held.hosts.get(&host).copied().unwrap_or_default();
        if own >= self.most.saturating_sub(held.all) {
            return None;
        }
        held.all += 1;
        held.hosts.insert(host, own + 1);
        Some(Socket { held: Arc::clone(&self.held), host })
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        held.all -= 1;
        if let Entry::Occupied(mut own) = held.hosts.entry(self.host) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests;
