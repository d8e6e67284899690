//! The bound on connections that deliveries use at a time: what they take of the descriptors is lacked by SQS,
//! app sources and whoever else has receivers.
//!
//! They are shared among apps, as places are: whoever may register webhooks decides on how many hosts there are.
//! - An app gets no more than a part of what is free, so that a hundred that take all they can leave some for the next.
//! - A quarter is out of reach of apps without an answer in the last minute. Those that had one may have twice of what is
//!   free: one alone gets two thirds of all.
//! - A host is refused once it holds as many as its app may still open: one host of an answering app ends at half of
//!   all.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::hash;

/// The part that apps without recent answers leave to others: one in so many.
const RESERVED: usize = 4;
/// How many times of what is free an app may hold that has answered lately.
const FACTOR: usize = 2;
/// For how long an answer counts.
const MEMORY: Duration = Duration::from_secs(60);
/// Apps remembered for their answers while they hold nothing, a hundred bytes each; past it those are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// How many connections there may be, and are.
#[derive(Debug)]
pub struct Sockets {
    most: usize,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// By the hash of an app's id: two that share one share their part.
    apps: HashMap<u64, App>,
    /// When the apps that have not answered lately were forgotten.
    swept: Option<Instant>,
}

#[derive(Debug, Default)]
struct App {
    all: usize,
    /// By the hash of a host.
    hosts: HashMap<u64, usize>,
    answered: Option<Instant>,
}

/// Leave for one connection, given back when dropped.
#[derive(Debug)]
pub struct Socket {
    held: Arc<Mutex<Held>>,
    app: u64,
    host: u64,
}

impl Sockets {
    /// So many at the most.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, held: Arc::default() }
    }

    /// Leave for a connection of an app to a host, if there is any.
    #[must_use]
    pub fn take(&self, app: &str, host: impl Hash) -> Option<Socket> {
        let (app, host) = (hash::of(app), hash::of(host));
        let mut held = lock(&self.held);
        let free = self.most.saturating_sub(held.all);
        let known = held.apps.get(&app);
        let most = match known {
            Some(known) if known.answers() => free.saturating_mul(FACTOR),
            Some(_) | None => free.saturating_sub(self.most / RESERVED),
        };
        let left = most.saturating_sub(known.map_or(0, |known| known.all)).min(free);
        let to_host = known.and_then(|known| known.hosts.get(&host)).copied().unwrap_or_default();
        if to_host >= left {
            return None;
        }
        held.all += 1;
        let own = held.apps.entry(app).or_default();
        own.all += 1;
        own.hosts.insert(host, to_host + 1);
        Some(Socket { held: Arc::clone(&self.held), app, host })
    }
}

impl Socket {
    /// What it was taken for was answered.
    pub fn answered(&self) {
        if let Some(own) = lock(&self.held).apps.get_mut(&self.app) {
            own.answered = Some(Instant::now());
        }
    }
}

impl App {
    fn answers(&self) -> bool {
        self.answered.is_some_and(|answered| answered.elapsed() < MEMORY)
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        held.all -= 1;
        let many = held.apps.len() > MAX_REMEMBERED;
        let Some(own) = held.apps.get_mut(&self.app) else { return };
        own.all -= 1;
        let left = own.hosts.get(&self.host).copied().unwrap_or_default().saturating_sub(1);
        if left > 0 {
            own.hosts.insert(self.host, left);
        } else {
            own.hosts.remove(&self.host);
        }
        let (is_idle, has_answered) = (own.all == 0, own.answered.is_some());
        if many && held.swept.is_none_or(|swept| swept.elapsed() >= MEMORY) {
            held.swept = Some(Instant::now());
            held.apps.retain(|_, app| app.all > 0 || app.answers());
        }
        if is_idle && (!has_answered || held.apps.len() > MAX_REMEMBERED) {
            held.apps.remove(&self.app);
        }
    }
}

#[cfg(test)]
mod tests;
