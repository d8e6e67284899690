//! The bound on invocations at endpoints of apps: the SDK's client takes 400 KiB of an answer's head, and nothing
//! makes it take less.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

/// Under way at one endpoint.
const MOST: usize = 16;
/// Under way at all of them.
const MOST_OF_ALL: usize = 64;

/// How many are under way at each host.
#[derive(Debug, Default)]
pub(super) struct Foreign(Mutex<HashMap<String, usize>>);

/// Leave for one of them, given back when dropped.
#[derive(Debug)]
pub(super) struct Leave<'a> {
    foreign: &'a Foreign,
    host: String,
}

impl Foreign {
    /// Leave for an invocation there; the error is how many are under way.
    pub(super) fn enter(&self, endpoint: &Url) -> Result<Leave<'_>, usize> {
        let host = endpoint.host_str().unwrap_or_default().to_owned();
        let mut hosts = self.hosts();
        let all = hosts.values().sum::<usize>();
        let own = hosts.get(&host).copied().unwrap_or_default();
        if own >= MOST {
            return Err(own);
        }
        if all >= MOST_OF_ALL {
            return Err(all);
        }
        hosts.insert(host.clone(), own + 1);
        Ok(Leave { foreign: self, host })
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut hosts = self.foreign.hosts();
        let left = hosts.get(&self.host).copied().unwrap_or_default().saturating_sub(1);
        if left > 0 {
            hosts.insert(self.host.clone(), left);
        } else {
            hosts.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests;
