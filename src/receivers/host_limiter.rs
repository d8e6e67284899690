//! The bound on requests to one destination at a time, which apps share.
//!
//! An attempt holds one permit at most, waits for it for a while at most, and gives it back whichever way it
//! ends, so no lane waits for ever and none can wait for another in a circle. Where there is no permit in
//! time the attempt is deferred: the job goes back to the queue untried.
//!
//! A host may be many apps': a gateway of webhooks, a function host. An app holds a multiple of what is free there
//! ([`FACTOR`]), so that one whose requests take long leaves some to the others; what it waits for goes to another app
//! first if it holds more than that.
//!
//! A destination of which nothing is known has few permits, and one more with each answer. An app that it leaves
//! unanswered has fewer still there, which says nothing of other apps. A response's head may take 408 KiB of memory
//! (hyper's bound, which reqwest does not pass on), and who never answers could fill as much with each of its requests.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::request::Origin;
use crate::delivery::unanswered::{MOST_WHILE_MUTE, Standing};
use crate::hash;

/// Requests to a destination that has not answered yet: enough that one that works has answered before many wait.
const FIRST_PERMITS: usize = 16;
/// How many times of what is free at a destination an app may hold there: alone it has three in four of all permits.
const FACTOR: usize = 3;
/// A wait for a permit is at most this many times the configured one: half of an attempt, so that what takes no longer than
/// the wait fits into the rest.
const LONGEST_WAIT: u32 = 4;

/// The permits of every destination that has requests under way or waiting.
#[derive(Debug)]
pub(super) struct HostLimiter {
    bound: Option<usize>,
    wait: Duration,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    hosts: HashMap<Arc<Origin>, Host>,
    apps: HashMap<AppThere, Held>,
}

/// An app at a destination, by the hashes of both.
type AppThere = (u64, u64);

#[derive(Debug)]
struct Host {
    free: usize,
    /// All permits, those that are taken included.
    total: usize,
    /// The permits that it gets with its answers.
    withheld: usize,
    waiting: VecDeque<Waiting>,
}

/// The permits that an app holds at a destination.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    all: usize,
    /// Those taken while it was mute for the app.
    mute: usize,
}

/// An attempt that waits; the permit is its own once it is told.
#[derive(Debug)]
struct Waiting {
    app: AppThere,
    turn: oneshot::Sender<()>,
}

/// Leave for one request, or a place among those that wait for it; given back when dropped.
#[derive(Debug)]
pub(super) struct HostPermit {
    app: AppThere,
    mute: bool,
    /// The destination's permits grow with its answers.
    grows: bool,
    origin: Arc<Origin>,
    table: Arc<Mutex<Table>>,
    /// While it waits.
    turn: Option<oneshot::Receiver<()>>,
}

impl HostLimiter {
    pub(super) fn new(bound: Option<usize>, wait: Duration) -> Self {
        Self { bound, wait, table: Arc::default() }
    }

    /// Takes a permit for an app; the error is the bound. Where there is none it waits, as long as the destination's
    /// last answer took if that is known and leaves enough time for the request. Nobody waits for a destination that left
    /// the app's last attempts unanswered.
    pub(super) async fn acquire(
        &self,
        app_id: &str,
        origin: &Arc<Origin>,
        standing: Standing,
        last_took: impl FnOnce() -> Option<Duration>,
    ) -> Result<Option<HostPermit>, usize> {
        let Some(bound) = self.bound else { return Ok(None) };
        let (mut permit, total) = self.enter(app_id, origin, standing, bound)?;
        if let Some(turn) = &mut permit.turn {
            let told = timeout(self.patience(last_took()), turn).await;
            if !matches!(told, Ok(Ok(()))) {
                return Err(total);
            }
            permit.turn = None;
        }
        Ok(Some(permit))
    }

    /// A permit, or a place among those that wait for one, and how many permits there are.
    fn enter(
        &self,
        app_id: &str,
        origin: &Arc<Origin>,
        standing: Standing,
        bound: usize,
    ) -> Result<(HostPermit, usize), usize> {
        let app = (hash::of(app_id), hash::of(origin));
        let mute = standing == Standing::Mute;
        let mut table = lock(&self.table);
        let Table { hosts, apps } = &mut *table;
        let held = apps.get(&app).copied().unwrap_or_default();
        if mute && held.mute >= MOST_WHILE_MUTE {
            return Err(MOST_WHILE_MUTE);
        }
        let host = hosts.entry(Arc::clone(origin)).or_insert_with(|| Host::new(bound, standing));
        let turn = if host.may_take(held) {
            host.free -= 1;
            let held = apps.entry(app).or_default();
            held.all += 1;
            held.mute += usize::from(mute);
            None
        } else if mute {
            return Err(host.total);
        } else {
            let (turn, told) = oneshot::channel();
            host.waiting.push_back(Waiting { app, turn });
            Some(told)
        };
        let grows = host.withheld > 0;
        let (origin, table) = (Arc::clone(origin), Arc::clone(&self.table));
        Ok((HostPermit { app, mute, grows, origin, table, turn }, host.total))
    }

    /// How long to wait at a destination whose last answer took so long. The first of those under way have ended a little
    /// later than that.
    fn patience(&self, last_took: Option<Duration>) -> Duration {
        let longest = self.wait * LONGEST_WAIT;
        match last_took.map(|took| took + took / 4) {
            Some(wait) if wait <= longest => wait.max(self.wait),
            Some(_) | None => self.wait,
        }
    }
}

impl Host {
    fn new(bound: usize, standing: Standing) -> Self {
        let total = if standing.answers() { bound } else { bound.min(FIRST_PERMITS) };
        Self { free: total, total, withheld: bound - total, waiting: VecDeque::new() }
    }

    fn may_take(&self, held: Held) -> bool {
        held.all < self.free.saturating_mul(FACTOR)
    }

    /// Gives what is free to those that wait for it and may have it, the first of them first.
    fn hand_over(&mut self, apps: &mut HashMap<AppThere, Held>) {
        while self.free > 0 {
            let of = |app: &AppThere| apps.get(app).copied().unwrap_or_default();
            let next = self.waiting.iter().position(|waiting| self.may_take(of(&waiting.app)));
            let Some(Waiting { app, turn }) = next.and_then(|next| self.waiting.remove(next)) else { return };
            // Who has stopped waiting is passed over.
            if turn.send(()).is_ok() {
                self.free -= 1;
                apps.entry(app).or_default().all += 1;
            }
        }
    }
}

impl HostPermit {
    /// The destination answered: one request more may be under way.
    pub(super) fn answered(&self) {
        if !self.grows {
            return;
        }
        let mut table = lock(&self.table);
        let Table { hosts, apps } = &mut *table;
        if let Some(host) = hosts.get_mut(&self.origin)
            && host.withheld > 0
        {
            host.withheld -= 1;
            host.total += 1;
            host.free += 1;
            host.hand_over(apps);
        }
    }
}

impl Drop for HostPermit {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        let Table { hosts, apps } = &mut *table;
        let Some(host) = hosts.get_mut(&self.origin) else { return };
        let holds = self.turn.as_mut().is_none_or(|turn| {
            turn.close();
            // It may have been told while it stopped waiting.
            turn.try_recv().is_ok()
        });
        if holds {
            host.free += 1;
            if let Some(held) = apps.get_mut(&self.app) {
                held.all -= 1;
                held.mute -= usize::from(self.mute);
                if held.all == 0 {
                    apps.remove(&self.app);
                }
            }
            host.hand_over(apps);
        } else {
            host.waiting.retain(|waiting| !waiting.turn.is_closed());
        }
        if host.free == host.total && host.waiting.is_empty() {
            hosts.remove(&self.origin);
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
