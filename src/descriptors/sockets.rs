//! The bound on connections of deliveries, kept ones included: what they take of the descriptors is lacked by SQS,
//! app sources and whoever else has receivers.
//!
//! Of what is free a host gets as much as it holds already, at the most: one takes half of all, a hundred leave a
//! hundredth each and one for the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections there may be, and are.
#[derive(Clone, Debug)]
pub struct Sockets {
    most: usize,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    hosts: HashMap<String, usize>,
}

/// Leave for one connection, given back when dropped.
#[derive(Debug)]
pub struct Socket {
    sockets: Sockets,
    host: String,
}

impl Sockets {
    /// So many at the most.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, held: Arc::default() }
    }

    /// Leave for a connection to a host, if there is any.
    #[must_use]
    pub fn take(&self, host: &str) -> Option<Socket> {
        let mut held = self.held();
        let own = held.hosts.get(host).copied().unwrap_or_default();
        if own >= self.most.saturating_sub(held.all) {
            return None;
        }
        held.all += 1;
        held.hosts.insert(host.to_owned(), own + 1);
        Some(Socket { sockets: self.clone(), host: host.to_owned() })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut held = self.sockets.held();
        held.all -= 1;
        let left = held.hosts.get(&self.host).copied().unwrap_or_default().saturating_sub(1);
        if left > 0 {
            held.hosts.insert(self.host.clone(), left);
        } else {
            held.hosts.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests;
