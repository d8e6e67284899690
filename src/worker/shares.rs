//! Who may hold how many places: under pressure they are shared among the apps.
//!
//! Three designs were weighed on paper against the loads that were seen to stop everyone (one app with a
//! thousand groups for a host that hangs; seventy and five hundred apps that answer after 3.8 s):
//! - a fixed quota an app: wastes nearly all of the places of a worker with one busy app, and five hundred
//!   slow apps still fill them;
//! - a fair share with borrowing, taken back from the greedy when others come: a place is held until its
//!   attempt ends, so that what is lent to slow destinations comes back after seconds only;
//! - a threshold that moves with what is free (Choudhury and Hahne's for shared-memory switches): an app
//!   may hold as much as is free. One greedy app leaves half of the places free, k of them a (k+1)th, and
//!   there is always room for one who comes new, without configuration and without taking back.
//!
//! The third, with two additions. A quarter of the places is out of reach of apps whose attempts fail or take
//! long, so that any number of those together leave room for the quick. And a lane of ten that turns out to be a
//! slow app's gives up what it has not begun: it would hold its places for ten attempts.
//!
//! How much of what is free an app may hold is a factor: with three, one quick app alone gets three quarters of all
//! places; with two, one slow app alone half. An app of which nothing is known is taken for a slow one, but may hold
//! its first batch as long as half of the reserved quarter is left.
//!
//! What counts is the larger part of the two bounds, messages and bytes. Whoever is over its share is
//! deferred: hidden, untried, for a backoff that grows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An attempt that takes longer makes an app a slow one: half a second is beyond what a receiver that
/// puts jobs on a queue of its own takes.
const SLOW: Duration = Duration::from_millis(500);

/// The part of all places that slow apps leave to the quick.
const RESERVED: f64 = 0.25;

/// How many times of what is free a quick app may hold, and any other of what is free beyond the reserve.
const QUICK: f64 = 3.0;
const OTHERS: f64 = 2.0;

/// While less than this part of the places is taken there is no pressure and nobody gives way.
const PRESSURE: f64 = 0.5;

/// How much of the new there is in an app's smoothed slowness after each attempt.
const WEIGHT: f64 = 0.2;

/// With fewer places than this there is nothing to share: a receive alone may bring ten messages of one group.
const MIN_MESSAGES: usize = 100;

/// With fewer bytes than this, too: a single message may have a mebibyte.
const MIN_BYTES: usize = 8 << 20;

/// Apps of which the speed is remembered while they hold nothing; past it those are forgotten.
const MAX_APPS: usize = 20_000;

/// The shares of all apps.
#[derive(Debug)]
pub struct Shares {
    messages: usize,
    bytes: usize,
    /// Whether there are enough places to be shared at all.
    enough: bool,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    held: Usage,
    apps: HashMap<Arc<str>, App>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    messages: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct App {
    held: Usage,
    /// From 0, every attempt quick and taken, to 1, every one slow or failed; `None` before the first.
    slowness: Option<f64>,
}

/// One message's part of its app's share, given back when dropped.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    app: Arc<str>,
    bytes: usize,
}

impl Shares {
    /// Of so many messages and so many bytes.
    #[must_use]
    pub fn new(messages: usize, bytes: usize) -> Self {
        let enough = messages >= MIN_MESSAGES && bytes >= MIN_BYTES;
        Self { messages: messages.max(1), bytes: bytes.max(1), enough, book: Mutex::default() }
    }

    /// Whether an app may hold so many messages and bytes more.
    #[must_use]
    pub fn admits(&self, app: &str, messages: usize, bytes: usize) -> bool {
        if !self.enough {
            return true;
        }
        let book = self.lock();
        let (taken, more) = (self.part(book.held), self.part(Usage { messages, bytes }));
        if taken + more <= PRESSURE {
            return true;
        }
        let known = book.apps.get(app);
        let own = known.map_or(0.0, |app| self.part(app.held));
        let slowness = known.and_then(|app| app.slowness);
        // Its first jobs show what it is like.
        let first = own == 0.0 && slowness.is_none() && 1.0 - taken > RESERVED / 2.0 + more;
        first || own + more <= share(slowness, 1.0 - taken).max(if is_quick(slowness) { more } else { 0.0 })
    }

    /// Whether an app holds more than its share, of what it has not begun yet, too.
    fn is_over(&self, app: &str) -> bool {
        let book = self.lock();
        let taken = self.part(book.held);
        let Some(app) = book.apps.get(app).filter(|_| self.enough && taken > PRESSURE) else { return false };
        !is_quick(app.slowness) && self.part(app.held) > share(app.slowness, 1.0 - taken)
    }

    /// Takes what a message of an app holds.
    #[must_use]
    pub fn take(self: &Arc<Self>, app: &str, bytes: usize) -> Share {
        let mut book = self.lock();
        book.held.messages += 1;
        book.held.bytes += bytes;
        let name = book.apps.get_key_value(app).map_or_else(|| Arc::from(app), |(name, _)| Arc::clone(name));
        let held = &mut book.apps.entry(Arc::clone(&name)).or_default().held;
        held.messages += 1;
        held.bytes += bytes;
        Share { shares: Arc::clone(self), app: name, bytes }
    }

    /// The larger part of the two bounds.
    fn part(&self, usage: Usage) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a part of some thousands or of some megabytes")]
        let part = |of: usize, all: usize| of as f64 / all as f64;
        part(usage.messages, self.messages).max(part(usage.bytes, self.bytes))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Whether its app holds more than it may, so that what it has not begun has to wait.
    #[must_use]
    pub fn gives_way(&self) -> bool {
        self.shares.is_over(&self.app)
    }

    /// An attempt of the app took so long and was taken or not.
    pub fn observe(&self, took: Duration, delivered: bool) {
        let now = if delivered && took <= SLOW { 0.0 } else { 1.0 };
        if let Some(app) = self.shares.lock().apps.get_mut(&self.app) {
            let before = app.slowness.unwrap_or(now);
            app.slowness = Some(before + (now - before) * WEIGHT);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut book = self.shares.lock();
        book.held.messages -= 1;
        book.held.bytes -= self.bytes;
        let many = book.apps.len() > MAX_APPS;
        if let Some(app) = book.apps.get_mut(&self.app) {
            app.held.messages -= 1;
            app.held.bytes -= self.bytes;
            if app.held.messages == 0 && (many || app.slowness.is_none()) {
                book.apps.remove(&self.app);
            }
        }
    }
}

fn is_quick(slowness: Option<f64>) -> bool {
    slowness.is_some_and(|slowness| slowness < 0.5)
}

/// What an app may hold of all places when this part of them is free.
fn share(slowness: Option<f64>, free: f64) -> f64 {
    if is_quick(slowness) { free * QUICK } else { (free - RESERVED).max(0.0) * OTHERS }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills in turns with every app that may, ten messages at a time, until none may.
    fn fill(shares: &Arc<Shares>, apps: &[String], held: &mut Vec<Share>) {
        loop {
            let before = held.len();
            for app in apps {
                if shares.admits(app, 10, 0) {
                    held.extend((0..10).map(|_| shares.take(app, 0)));
                }
            }
            if held.len() == before {
                return;
            }
        }
    }

    fn apps(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("hostile{n}")).collect()
    }

    #[test]
    fn however_many_slow_apps_there_are_a_quick_one_finds_room() {
        for count in [1, 2, 70, 500] {
            let shares = Arc::new(Shares::new(2000, 1 << 26));
            shares.take("healthy", 0).observe(Duration::from_millis(5), true);
            let again = shares.take("healthy", 0);
            again.observe(Duration::from_millis(5), true);
            let mut held = Vec::new();
            let hostile = apps(count);
            for app in &hostile {
                let first = shares.take(app, 0);
                first.observe(Duration::from_secs(4), false);
                held.push(first);
            }
            fill(&shares, &hostile, &mut held);
            assert!(held.len() <= 1750, "{count} apps hold {}", held.len());
            assert!(shares.admits("healthy", 100, 0), "{count}");
        }
    }

    #[test]
    fn slow_apps_still_get_most_of_the_places_when_there_are_many_of_them() {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let hostile = apps(70);
        let mut held: Vec<Share> = hostile.iter().map(|app| shares.take(app, 0)).collect();
        for share in &held {
            share.observe(Duration::from_secs(4), true);
        }
        fill(&shares, &hostile, &mut held);
        assert!(held.len() >= 1000, "{}", held.len());
    }

    #[test]
    fn a_quick_app_alone_may_hold_three_quarters_and_one_that_is_not_known_gets_its_first_jobs_in() {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let first = shares.take("busy", 0);
        first.observe(Duration::from_millis(5), true);
        let mut held = vec![first];
        fill(&shares, &["busy".to_owned()], &mut held);
        assert!((1490..=1510).contains(&held.len()), "{}", held.len());
        assert!(shares.admits("new", 10, 0));
    }

    #[test]
    fn a_slow_app_that_holds_too_much_gives_way_and_a_quick_one_does_not() {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let slow: Vec<_> = (0..1500).map(|_| shares.take("slow", 0)).collect();
        let quick = shares.take("quick", 0);
        quick.observe(Duration::from_millis(5), true);
        assert!(slow[0].gives_way());
        slow[0].observe(Duration::from_secs(4), true);
        assert!(slow[0].gives_way() && !quick.gives_way());
        drop(slow);
        let slow = shares.take("slow", 0);
        assert!(!slow.gives_way(), "without pressure nobody does");
    }

    #[test]
    fn bytes_count_as_messages_do() {
        let shares = Arc::new(Shares::new(2000, 10 << 20));
        let held: Vec<_> = (0..5).map(|_| shares.take("large", 1 << 20)).collect();
        for share in &held {
            share.observe(Duration::from_secs(4), true);
        }
        assert!(!shares.admits("large", 1, 1 << 20));
        drop(held);
        assert!(shares.admits("large", 1, 1 << 20));
    }

    #[test]
    fn a_few_places_are_not_shared() {
        let shares = Arc::new(Shares::new(MIN_MESSAGES - 1, 1 << 26));
        let held: Vec<_> = (0..MIN_MESSAGES - 10).map(|_| shares.take("large", 0)).collect();
        for share in &held {
            share.observe(Duration::from_secs(4), false);
        }
        assert!(shares.admits("large", 9, 0));
    }
}
