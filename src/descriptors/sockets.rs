//! The bound on connections that deliveries use at a time: what they take of the descriptors is lacked by SQS,
//! app sources and whoever else has receivers. And the bounds on requests that may cost more than a connection.
//!
//! They are shared among apps ([`AppQuota`]): whoever may register webhooks decides on how many hosts there are.
//! - A quarter is out of reach of apps without an answer in the last minute. Those that had one may have twice of what is
//!   free: one alone gets two thirds of that.
//! - Of the last sixteenth an app gets its first one alone, and what quick destinations are sent: those come back soon.
//! - A host is refused once it holds as many as its app may still open: one host of an answering app ends at half of
//!   all.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crate::flow::app_quota::Purpose;
use crate::flow::app_quota::{AppPermit, AppQuota, Portion};
use crate::hash;

/// The part that apps without recent answers leave to others: one in so many.
const RESERVED: usize = 4;
/// The part that is left to apps that hold none: one in so many.
const FIRSTS: usize = 16;
/// How many times of what is free an app may hold that has answered lately.
const FACTOR: usize = 2;
/// Where requests cost much, an app without recent answers holds at most this part of what is free (one in so many), so
/// that about thirty apps with slow receivers can have a first request under way, rather than the first twelve taking all.
const FIRST_PART: usize = 8;

/// How many connections there may be, and are.
#[derive(Debug)]
pub struct Sockets {
    quota: AppQuota,
    hosts: Arc<Mutex<Hosts>>,
}

/// How many connections there are to a host of an app, by the hashes of both.
type Hosts = HashMap<(u64, u64), usize>;

/// Leave for one connection, given back when dropped.
#[derive(Debug)]
pub struct Socket {
    permit: AppPermit,
    hosts: Arc<Mutex<Hosts>>,
    host: (u64, u64),
}

impl Sockets {
    /// At most this many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self::with(most, most / FIRSTS, |free| free)
    }

    /// At most this many, of which apps without recent answers hold smaller parts, and so many are left to apps that hold none.
    #[must_use]
    pub fn costly(most: usize, firsts: usize) -> Self {
        Self::with(most, firsts, |free| free.div_ceil(FIRST_PART))
    }

    fn with(most: usize, firsts: usize, other: fn(usize) -> usize) -> Self {
        let portion = Portion { answering: |free| free.saturating_mul(FACTOR), other };
        Self { quota: AppQuota::new(most, most / RESERVED, firsts, portion), hosts: Arc::default() }
    }

    /// How many there may be.
    #[must_use]
    pub fn most(&self) -> usize {
        self.quota.most()
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.quota.taken()
    }

    /// Leave for a connection of an app to a host, if there is any.
    #[must_use]
    pub fn take(&self, app: &str, host: impl Hash, purpose: Purpose) -> Option<Socket> {
        let host = (hash::of(app), hash::of(host));
        // Held until the permit is taken: none of another host's may come between.
        let mut hosts = lock(&self.hosts);
        let to_host = hosts.get(&host).copied().unwrap_or_default();
        if to_host >= self.quota.left(app, purpose) {
            return None;
        }
        let permit = self.quota.take(app, purpose)?;
        hosts.insert(host, to_host + 1);
        Some(Socket { permit, hosts: Arc::clone(&self.hosts), host })
    }

    /// Something of an app's was answered that needed no leave.
    pub fn app_answered(&self, app: &str) {
        self.quota.answered(app);
    }

    /// Whether something of an app's was answered in the last minute.
    #[must_use]
    pub fn app_answers(&self, app: &str) -> bool {
        self.quota.answers(app)
    }
}

impl Socket {
    /// What it was taken for was answered.
    pub fn answered(&self) {
        self.permit.answered();
    }
}

fn lock(hosts: &Mutex<Hosts>) -> MutexGuard<'_, Hosts> {
    hosts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut hosts = lock(&self.hosts);
        if let Some(to_host) = hosts.get_mut(&self.host) {
            *to_host -= 1;
            if *to_host == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests;
