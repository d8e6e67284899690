//! The bound on requests to one destination at a time, which apps share.
//!
//! An attempt holds one permit at most, waits for it for a while at most, and gives it back whichever way it
//! ends, so no lane waits for ever and none can wait for another in a circle. Where there is no permit in
//! time the attempt is deferred: the job goes back to the queue untried.
//!
//! A host may be many apps': a gateway of webhooks, a function host. An app holds a multiple of what is free there
//! ([`FACTOR`]), so that one whose requests take long leaves some to the others. A permit that comes back goes to the first
//! that waits and holds no more than that. Of each app's that wait only the first is looked at, and only where a permit came
//! back: thousands may wait, and all destinations share a lock.
//!
//! A destination of which nothing is known has few permits, and one more with each answer. An app that it leaves
//! unanswered has fewer still there, which says nothing of other apps: they are taken of those withheld, so that however
//! many such apps there are at a host, they leave the first permits to the others. A response's head may take much memory
//! (`MAX_WITHOUT_ANSWER` in `admission` says how much), and who never answers could fill as much with each of its requests.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::unanswered::{MOST_WHILE_MUTE, Standing};
use crate::hash;

/// Requests to a destination that has not answered yet: enough that one that works has answered before many wait.
const FIRST_PERMITS: usize = 16;
/// How many times of what is free at a destination an app may hold there: alone it has three in four of all permits.
const FACTOR: usize = 3;
/// Requests to a destination at a time from which on others go over HTTP/1.1. They share one connection over HTTP/2, and
/// past the streams that the receiver allows, a hundred mostly, they would wait in it until their attempts' deadlines.
const MAX_STREAMS: usize = 64;
/// Attempts of an app that wait for a permit at a destination; others are deferred at once.
const MAX_WAITING: usize = 256;
/// A wait for a permit is at most this many times the configured one: half of an attempt, so that what takes no longer than
/// the wait fits into the rest.
pub(super) const LONGEST_WAIT: u32 = 4;

/// The permits of every destination that has requests under way or waiting.
#[derive(Debug)]
pub(crate) struct HostLimiter {
    bound: Option<usize>,
    wait: Duration,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    /// By the hashes of their origins.
    hosts: HashMap<u64, Host>,
    apps: HashMap<AppThere, Held>,
}

/// An app at a destination, by the hashes of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct AppThere {
    app: u64,
    origin: u64,
}

#[derive(Debug)]
struct Host {
    free: usize,
    /// All permits, those that are taken included.
    total: usize,
    /// The permits that it gets with its answers.
    withheld: usize,
    /// Permits of those withheld that apps hold for which it is mute.
    apart: usize,
    /// The apps with attempts that wait, by the number of the first of each.
    waiting: BTreeMap<u64, AppThere>,
    /// The number of the next that waits.
    next: u64,
}

/// The permits that an app holds at a destination.
#[derive(Debug, Default)]
struct Held {
    /// Of those that apps share.
    shared: usize,
    /// While it was mute for the app, shared or not.
    mute: usize,
    /// Its attempts that wait for one, in the order in which they came; the permit is an attempt's once it is told.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// Leave for one request, or a place among those that wait for it; given back when dropped.
#[derive(Debug)]
pub(crate) struct HostPermit {
    app: AppThere,
    mute: bool,
    /// The destination's permits grow with its answers.
    grows: bool,
    /// [`MAX_STREAMS`] requests or more were under way.
    crowded: bool,
    table: Arc<Mutex<Table>>,
    hold: Hold,
}

/// What a permit is.
#[derive(Debug)]
enum Hold {
    /// None yet: it is told when there is one; with its number among those that wait.
    Waiting(u64, oneshot::Receiver<()>),
    /// One of those that apps share.
    Shared,
    /// One of those withheld.
    Apart,
}

impl HostLimiter {
    pub(crate) fn new(bound: Option<usize>, wait: Duration) -> Self {
        Self { bound, wait, table: Arc::default() }
    }

    /// Takes a permit for an app; the error is the bound. Where there is none it waits, as long as the destination's
    /// last answer took if that is known and leaves enough time for the request. Nobody waits for a destination that left
    /// the app's last attempts unanswered. `most`: what an attempt with a time-out of its own waits where that is not
    /// known.
    pub(crate) async fn acquire(
        &self,
        app_id: &str,
        origin: impl Hash,
        standing: Standing,
        last_took: impl FnOnce() -> Option<Duration>,
        most: Duration,
    ) -> Result<Option<HostPermit>, usize> {
        let Some(bound) = self.bound else { return Ok(None) };
        let app = AppThere { app: hash::of(app_id), origin: hash::of(origin) };
        let (mut permit, total) = self.enter(app, standing, bound)?;
        if let Hold::Waiting(_, turn) = &mut permit.hold {
            let told = timeout(self.patience(last_took(), most), turn).await;
            if !matches!(told, Ok(Ok(()))) {
                return Err(total);
            }
            permit.hold = Hold::Shared;
        }
        Ok(Some(permit))
    }

    /// A permit, or a place among those that wait for one, and how many permits there are.
    fn enter(&self, app: AppThere, standing: Standing, bound: usize) -> Result<(HostPermit, usize), usize> {
        let mute = standing == Standing::Mute;
        let mut table = lock(&self.table);
        let Table { hosts, apps } = &mut *table;
        let own = apps.get(&app);
        if mute && own.is_some_and(|own| own.mute >= MOST_WHILE_MUTE) {
            return Err(MOST_WHILE_MUTE);
        }
        let host = hosts.entry(app.origin).or_insert_with(|| Host::new(bound, standing));
        let crowded = host.total - host.free + host.apart >= MAX_STREAMS;
        let hold = if mute && host.withheld > 0 {
            host.withheld -= 1;
            host.apart += 1;
            Hold::Apart
        } else if host.may_take(own.map_or(0, |own| own.shared)) {
            host.free -= 1;
            apps.entry(app).or_default().shared += 1;
            Hold::Shared
        } else if mute || own.is_some_and(|own| own.waiting.len() >= MAX_WAITING) {
            return Err(host.total);
        } else {
            let (turn, told) = oneshot::channel();
            let number = host.next;
            host.next += 1;
            let waiting = &mut apps.entry(app).or_default().waiting;
            if waiting.is_empty() {
                host.waiting.insert(number, app);
            }
            waiting.insert(number, turn);
            Hold::Waiting(number, told)
        };
        if mute {
            apps.entry(app).or_default().mute += 1;
        }
        let grows = host.withheld > 0;
        let table = Arc::clone(&self.table);
        Ok((HostPermit { app, mute, grows, crowded, table, hold }, host.total))
    }

    /// How long to wait at a destination whose last answer took so long. The first of those under way have ended a little
    /// later than that.
    fn patience(&self, last_took: Option<Duration>, most: Duration) -> Duration {
        let least = self.wait.min(most);
        let longest = least * LONGEST_WAIT;
        match last_took.map(|took| took + took / 4) {
            Some(wait) if wait <= longest => wait.max(least),
            Some(_) | None => least,
        }
    }
}

impl Host {
    fn new(bound: usize, standing: Standing) -> Self {
        let total = if standing.answers() { bound } else { bound.min(FIRST_PERMITS) };
        Self { free: total, total, withheld: bound - total, apart: 0, waiting: BTreeMap::new(), next: 0 }
    }

    fn is_idle(&self) -> bool {
        self.free == self.total && self.apart == 0 && self.waiting.is_empty()
    }

    /// Whether an app that holds so many may have one more.
    fn may_take(&self, shared: usize) -> bool {
        shared < self.free.saturating_mul(FACTOR)
    }

    /// Gives what is free to those that wait for it and may have it, the first of them first.
    fn hand_over(&mut self, apps: &mut HashMap<AppThere, Held>) {
        while self.free > 0 {
            let may = |app: &AppThere| apps.get(app).is_some_and(|held| self.may_take(held.shared));
            let next = self.waiting.iter().find(|(_, app)| may(app)).map(|(number, app)| (*number, *app));
            let Some((number, app)) = next else { return };
            let held = apps.entry(app).or_default();
            // Who has stopped waiting is passed over.
            if self.leaves(number, app, held).is_some_and(|turn| turn.send(()).is_ok()) {
                self.free -= 1;
                held.shared += 1;
            }
        }
    }

    /// An attempt of an app's waits no more.
    fn leaves(&mut self, number: u64, app: AppThere, held: &mut Held) -> Option<oneshot::Sender<()>> {
        let turn = held.waiting.remove(&number);
        if self.waiting.remove(&number).is_some()
            && let Some(first) = held.waiting.keys().next()
        {
            self.waiting.insert(*first, app);
        }
        turn
    }
}

impl HostPermit {
    /// Whether there are too many requests under way for all of them to share a connection.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// The destination answered: one request more may be under way.
    pub(crate) fn answered(&self) {
        if !self.grows {
            return;
        }
        let mut table = lock(&self.table);
        let Table { hosts, apps } = &mut *table;
        if let Some(host) = hosts.get_mut(&self.app.origin)
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
        let Some(host) = hosts.get_mut(&self.app.origin) else { return };
        if let Hold::Waiting(_, turn) = &mut self.hold {
            turn.close();
            // It may have been told while it stopped waiting.
            if turn.try_recv().is_ok() {
                self.hold = Hold::Shared;
            }
        }
        let held = apps.entry(self.app).or_default();
        let came_back = match self.hold {
            Hold::Waiting(number, _) => {
                host.leaves(number, self.app, held);
                false
            }
            Hold::Shared => {
                host.free += 1;
                held.shared -= 1;
                true
            }
            Hold::Apart => {
                (host.apart, host.withheld) = (host.apart - 1, host.withheld + 1);
                false
            }
        };
        held.mute -= usize::from(self.mute);
        if held.shared + held.mute + held.waiting.len() == 0 {
            apps.remove(&self.app);
        }
        if came_back {
            host.hand_over(apps);
        }
        if host.is_idle() {
            hosts.remove(&self.app.origin);
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
