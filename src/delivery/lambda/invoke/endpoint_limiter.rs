//! The bound on invocations at endpoints of apps: the SDK's client takes 400 KiB of an answer's head, and nothing
//! makes it take less.
//!
//! They are shared among apps ([`AppQuota`]): of what is left an app holds half as much at the most, and a quarter is out
//! of reach of apps without an answer in the last minute, however many those are. An app whose attempts at an endpoint
//! went unanswered ([`Unanswered`]) is let in there only while few are under way, until it was answered.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

use crate::flow::app_quota::{AppPermit, AppQuota, Portion, Purpose};
use crate::hash;
use crate::receivers::unanswered::{AttemptWatch, MOST_WHILE_MUTE, Standing, Unanswered};

/// Under way at one endpoint.
const MOST: usize = 16;
/// Under way at all of them.
const MOST_OF_ALL: usize = 64;
/// Of these, so many are left to apps whose endpoints answer.
const RESERVED: usize = 16;

/// How many are under way for each app and at each host.
#[derive(Debug)]
pub(super) struct EndpointLimiter {
    quota: AppQuota,
    /// How many are under way at each, by their names.
    hosts: Mutex<HashMap<String, Host>>,
    unanswered: Unanswered,
}

/// How many invocations are under way at a host.
#[derive(Debug, Default)]
struct Host {
    all: usize,
    /// Invocations for apps that it leaves unanswered, by the hashes of their ids.
    mute: HashMap<u64, usize>,
}

/// Leave for one invocation, given back when dropped; it went unanswered then, unless it was told otherwise.
#[derive(Debug)]
pub(super) struct EndpointPermit<'a> {
    limiter: &'a EndpointLimiter,
    permit: AppPermit,
    host: String,
    /// The hash of the app's id, if the host is mute for the app.
    mute: Option<u64>,
    /// `None` once it has ended.
    watch: Option<AttemptWatch<'a>>,
}

impl Default for EndpointLimiter {
    fn default() -> Self {
        let half = |left: usize| left.div_ceil(2);
        let quota = AppQuota::new(MOST_OF_ALL, RESERVED, 0, Portion { answering: half, other: half });
        Self { quota, hosts: Mutex::default(), unanswered: Unanswered::default() }
    }
}

impl EndpointLimiter {
    /// Leave for an invocation of an app's there; the error is how many are under way.
    pub(super) fn enter(&self, app_id: &str, endpoint: &Url) -> Result<EndpointPermit<'_>, usize> {
        let host = endpoint.host_str().unwrap_or_default();
        let permit = self.quota.take(app_id, Purpose::Any).ok_or_else(|| self.quota.taken())?;
        let is_mute = self.unanswered.standing(app_id, host) == Standing::Mute;
        let mute = is_mute.then(|| hash::of(app_id));
        let mut hosts = self.hosts();
        if let Some(there) = hosts.get(host) {
            let own = mute.and_then(|app| there.mute.get(&app)).copied().unwrap_or_default();
            if there.all >= MOST || own >= MOST_WHILE_MUTE {
                return Err(there.all);
            }
        }
        let there = hosts.entry(host.to_owned()).or_default();
        there.all += 1;
        if let Some(app) = mute {
            *there.mute.entry(app).or_default() += 1;
        }
        let watch = Some(self.unanswered.watch(app_id, host));
        Ok(EndpointPermit { limiter: self, permit, host: host.to_owned(), mute, watch })
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndpointPermit<'_> {
    /// The invocation came to something: an answer of the endpoint's, or an error.
    pub(super) fn ended(mut self, answered: bool) {
        if answered {
            self.permit.answered();
        }
        if let Some(watch) = self.watch.take() {
            watch.ended(answered);
        }
    }
}

impl Drop for EndpointPermit<'_> {
    fn drop(&mut self) {
        let mut hosts = self.limiter.hosts();
        if let Some(there) = hosts.get_mut(&self.host) {
            there.all -= 1;
            if let Some(app) = self.mute
                && let Some(own) = there.mute.get_mut(&app)
            {
                *own -= 1;
                if *own == 0 {
                    there.mute.remove(&app);
                }
            }
            if there.all == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests;
