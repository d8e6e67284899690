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
//! The third, with three additions. A quarter of the places is out of reach of apps whose attempts fail or take
//! long, so that any number of those together leave room for the quick. A lane of a slow app holds its head alone
//! where there is no room for all of it: it would hold ten places for the time of ten attempts, and use one; and one
//! that was begun with more gives up what it has not begun. And an app of which nothing is known yet has a few heads
//! attempted as long as half of the reserved quarter is left, more of them the more is free: hundreds of apps that come
//! at once are all known after one attempt each.
//!
//! How much of what is free beyond that quarter a slow app may hold is a factor: with two, one alone gets half of all
//! places.
//!
//! An app is slow that holds its places mostly for attempts that fail or take long. What counts is for how long they were
//! held, not how many there were: where one attempt in four hangs, nearly all places are held by those. An app of whose
//! attempts under way half have taken many times what they usually take is slow at once, not when they time out; so is
//! one with none quick since the first of them began. And who has held a good part of all places with attempts that hang is
//! slow for a while, or else it would fill them anew each time that they have timed out: the quick ones among them end
//! first.
//!
//! A quick app's lanes are no longer than what it works off in a second: else their jobs would hold the places that one
//! slow attempt each would.
//!
//! A worker that is as busy as it can be fills all places with quick apps' jobs. These are not deferred, which would cost
//! a call and a second: no poll begins until some are done, or until they turn out not to be quick any more.
//!
//! What counts is the larger part of the two bounds, messages and bytes. Bodies that are made for a message while it is
//! worked count among its app's bytes as well, and are made only where there is room for them: for a slow app within its
//! share, for a quick one until little is left, and then a few of them at a time. What is not admitted is deferred: hidden,
//! untried, for a backoff that grows; what is behind a head that is, only until the head is done.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// An attempt that takes longer makes an app a slow one: half a second is beyond what a receiver that
/// puts jobs on a queue of its own takes.
const SLOW: Duration = Duration::from_millis(500);

/// The part of all places that slow apps leave to the quick.
const RESERVED: f64 = 0.25;

/// While less than this part is free, and much of what is taken is quick apps', polls wait. Those under way bring up to
/// a sixth of all places.
const CROWDED: f64 = 0.3;

/// While less than this part is free the lanes of quick apps hold their heads alone, too: many may stop answering at
/// once, and nothing takes back what waits behind attempts under way.
const SCARCE: f64 = 0.1;

/// How many times of what is free beyond the reserve a slow app may hold.
const FACTOR: f64 = 2.0;

/// How many heads of an app of which nothing is known are attempted at once: this many times what is free beyond half
/// of the reserve. soketi's jobs of an app are in six groups.
const UNKNOWN: f64 = 16.0;

/// While less than this part of the places is taken there is no pressure and nobody gives way.
const PRESSURE: f64 = 0.5;

/// For how long an attempt holds a place at the least, in its app's slowness: what comes before and after it is a part
/// of that, and a single slow attempt among a few hundred of milliseconds each is none that holds most.
const LEAST_HELD: Duration = Duration::from_millis(250);

/// How much of the new there is in an app's smoothed times after each attempt. A tenth remembers some twenty of them: of
/// fewer, none may be one of a quarter that hang.
const WEIGHT: f64 = 0.1;

/// More attempts at once that hang than this part of the places make an app slow for a while.
const HOARD: f64 = 0.05;
/// For how long: longer than most backoffs, so that what hung is attempted again before it is over.
const HOARD_MEMORY: Duration = Duration::from_secs(10);

/// As long as a lane of a quick app may take under pressure. A place is held until all that is before it has been
/// attempted: ten attempts of 450 ms would hold ten places for as long as a slow app's one.
const LANE: Duration = Duration::from_secs(1);

/// An attempt that has been under way for this many times what its app's attempts take hangs, as far as can be told
/// before it is slow.
const LATE: f64 = 8.0;
/// But for less than that none does: receivers pause, and so does this process.
const LEAST_LATE: Duration = Duration::from_millis(100);

/// An app is quick whose slowness is less.
const QUICK: f64 = 0.5;

/// With fewer places than this there is nothing to share: a receive alone may bring ten messages of one group.
const MIN_MESSAGES: usize = 100;

/// With fewer bytes than this, too: a single message may have a mebibyte.
const MIN_BYTES: usize = 8 << 20;

/// Apps of which the speed is remembered while they hold nothing; past it those used longest ago are forgotten.
const MAX_APPS: usize = 20_000;
/// What is older is forgotten first.
const APP_MEMORY: Duration = Duration::from_secs(600);

/// Attempts that wait for room for the bodies that they make, and those of one app among them; others are deferred at once.
/// All of them look again whenever bytes are given back, under a lock that everyone shares.
const MAX_WAITING: usize = 256;
const MAX_WAITING_OF_APP: usize = 32;

/// The shares of all apps.
#[derive(Debug)]
pub struct Shares {
    messages: usize,
    bytes: usize,
    /// Whether there are enough places to be shared at all.
    enough: bool,
    book: Mutex<Book>,
    /// Polls wait for some places to be free.
    freed: Notify,
    /// Attempts wait for room for the bodies that they make.
    bytes_freed: Notify,
}

#[derive(Debug, Default)]
struct Book {
    held: Usage,
    apps: HashMap<Arc<str>, App>,
    /// From this many hanging attempts on an app has too many.
    hoard: usize,
    /// Somebody waits until it is over.
    crowded: bool,
    /// Bytes that were made although there was no room left.
    made_beyond: usize,
    /// How many wait for room for what they make.
    waiting: usize,
    /// How often it was looked whether there is room.
    #[cfg(test)]
    looks: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    messages: usize,
    bytes: usize,
}

#[derive(Debug)]
struct App {
    held: Usage,
    /// When it held something last.
    last: Instant,
    /// How many of its attempts wait for room.
    waiting: usize,
    /// For how long attempts that have ended held places; `None` before the first has.
    times: Option<Times>,
    /// One was slow, and none has been quick since it began.
    stalled: bool,
    /// When those under way began that are not known to be slow yet, in order.
    fresh: VecDeque<Instant>,
    /// How many under way take longer than a quick one does.
    hanging: usize,
    /// When they were too many last.
    hoarded: Option<Instant>,
    /// When an attempt was quick last, or the first of those under way began.
    progressed: Option<Instant>,
}

/// Smoothed times, in seconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// That an attempt took.
    attempt: f64,
    /// For which attempts held places.
    all: f64,
    /// Of those that were slow or failed.
    slow: f64,
}

/// One message's part of its app's share, given back when dropped.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    app: Arc<str>,
    bytes: usize,
}

/// Bytes made for a message while it is worked, a part of its app's share; given back when dropped.
#[derive(Debug)]
pub struct Made {
    shares: Arc<Shares>,
    app: Arc<str>,
    bytes: usize,
    beyond: bool,
}

/// Whether something may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    /// Its app has room for it.
    Within,
    /// There is none left, but so few bytes are made that nobody else is held up.
    Beyond,
    /// It may not, for now.
    Nowhere,
}

impl Shares {
    /// Of so many messages and so many bytes.
    #[must_use]
    pub fn new(messages: usize, bytes: usize) -> Self {
        let enough = messages >= MIN_MESSAGES && bytes >= MIN_BYTES;
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of some thousands"
        )]
        let hoard = (messages as f64 * HOARD) as usize;
        Self {
            messages: messages.max(1),
            bytes: bytes.max(1),
            enough,
            book: Mutex::new(Book { hoard, ..Book::default() }),
            freed: Notify::new(),
            bytes_freed: Notify::new(),
        }
    }

    /// Waits while little is free and quick apps have much of what is taken: they give it back soon.
    pub async fn wait_for_the_quick(&self) {
        loop {
            let freed = self.freed.notified();
            if !self.enough || !self.is_crowded_by_the_quick() {
                return;
            }
            // By then they may be quick no longer.
            drop(timeout(LEAST_LATE / 2, freed).await);
        }
    }

    fn is_crowded_by_the_quick(&self) -> bool {
        let mut book = self.lock();
        let before = book.crowded;
        book.crowded = self.is_crowded(&book) && {
            let now = Instant::now();
            let mut quick = Usage::default();
            let hoard = book.hoard;
            for app in book.apps.values_mut().filter(|app| app.held.messages > 0) {
                if is_quick(app.slowness(now, hoard)) {
                    quick.messages += app.held.messages;
                    quick.bytes += app.held.bytes;
                }
            }
            self.part(quick) > CROWDED
        };
        if before && !book.crowded {
            self.freed.notify_waiters();
        }
        book.crowded
    }

    fn is_crowded(&self, book: &Book) -> bool {
        self.part(book.held) > 1.0 - CROWDED
    }

    /// How many of a lane's messages an app may hold more, by the sizes of their bodies in bytes: all of them, the first
    /// few where there is no room for those that would only wait for them, or none.
    #[must_use]
    pub fn admits(&self, app: &str, sizes: &[usize]) -> usize {
        if !self.enough {
            return sizes.len();
        }
        let mut book = self.lock();
        let taken = self.part(book.held);
        let all = self.part(Usage { messages: sizes.len(), bytes: sizes.iter().sum() });
        let slowness = book.slowness(app);
        let known = book.apps.get(app);
        if taken + all <= PRESSURE {
            return sizes.len();
        }
        let free = 1.0 - taken;
        let head = self.part(Usage { messages: 1, bytes: sizes.first().copied().unwrap_or_default() });
        if is_quick(slowness) {
            // Its places are free again at once, unless it stops answering.
            let most = known.map_or(sizes.len(), |app| app.in_a_lane(sizes.len()));
            return if free > SCARCE { most } else { 1 };
        }
        if slowness.is_none() {
            let attempted = known.map_or(0, |app| app.held.messages);
            let room = free - RESERVED / 2.0 - head;
            #[allow(clippy::cast_precision_loss, reason = "some thousands")]
            let more = room > 0.0 && (attempted == 0 || (attempted as f64) < room * UNKNOWN);
            return usize::from(more);
        }
        let (own, most) = (self.held(known), share(free));
        if own + all <= most { sizes.len() } else { usize::from(own + head <= most) }
    }

    /// The part of all that an app holds.
    fn held(&self, app: Option<&App>) -> f64 {
        app.map_or(0.0, |app| self.part(app.held))
    }

    /// Whether an app holds more than its share, of what it has not begun yet, too.
    fn is_over(&self, app: &str) -> bool {
        let mut book = self.lock();
        let taken = self.part(book.held);
        if !self.enough || taken <= PRESSURE || is_quick(book.slowness(app)) {
            return false;
        }
        self.held(book.apps.get(app)) > share(1.0 - taken)
    }

    /// Takes what a message of an app holds.
    #[must_use]
    pub fn take(self: &Arc<Self>, app: &str, bytes: usize) -> Share {
        let mut book = self.lock();
        book.held.messages += 1;
        book.held.bytes += bytes;
        let name = book.apps.get_key_value(app).map_or_else(|| Arc::from(app), |(name, _)| Arc::clone(name));
        let held = &mut book.apps.entry(Arc::clone(&name)).or_insert_with(App::new).held;
        held.messages += 1;
        held.bytes += bytes;
        Share { shares: Arc::clone(self), app: name, bytes }
    }

    /// Whether an app may make so many bytes more. Messages do not count here: many small ones leave memory enough.
    fn grant(&self, book: &mut Book, app: &str, bytes: usize) -> Grant {
        let part = |bytes| self.part(Usage { messages: 0, bytes });
        #[cfg(test)]
        {
            book.looks += 1;
        }
        let quick = is_quick(book.slowness(app));
        let own = book.apps.get(app).map_or(0, |app| app.held.bytes);
        let taken = part(book.held.bytes);
        let all = part(book.held.bytes + bytes);
        match () {
            () if !self.enough && all <= 1.0 => Grant::Within,
            () if self.enough && all <= PRESSURE => Grant::Within,
            () if self.enough && quick && all <= 1.0 - SCARCE => Grant::Within,
            () if self.enough && !quick && part(own + bytes) <= share(1.0 - taken) => Grant::Within,
            // Whoever fills all of it with what is still to be worked would make nothing, and give nothing back.
            () if (quick || !self.enough)
                && (book.made_beyond == 0 || part(book.made_beyond + bytes) <= SCARCE) =>
            {
                Grant::Beyond
            }
            () => Grant::Nowhere,
        }
    }

    fn make(self: &Arc<Self>, book: &mut Book, app: &Arc<str>, bytes: usize, beyond: bool) -> Made {
        book.held.bytes += bytes;
        book.made_beyond += if beyond { bytes } else { 0 };
        book.apps.entry(Arc::clone(app)).or_insert_with(App::new).held.bytes += bytes;
        Made { shares: Arc::clone(self), app: Arc::clone(app), bytes, beyond }
    }

    fn give_back(&self, app: &str, usage: Usage, beyond: usize) {
        let mut book = self.lock();
        book.held.messages -= usage.messages;
        book.held.bytes -= usage.bytes;
        book.made_beyond -= beyond;
        if book.crowded && !self.is_crowded(&book) {
            book.crowded = false;
            self.freed.notify_waiters();
        }
        if book.waiting > 0 && usage.bytes > 0 {
            self.bytes_freed.notify_waiters();
        }
        if let Some(held) = book.apps.get_mut(app) {
            held.held.messages -= usage.messages;
            held.held.bytes -= usage.bytes;
            held.last = Instant::now();
            if !held.holds() && held.times.is_none() {
                book.apps.remove(app);
            }
        }
        if book.apps.len() > MAX_APPS {
            book.forget();
        }
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

    /// Room for bytes that are made while the message is worked, if there is any now.
    #[must_use]
    pub fn make(&self, bytes: usize) -> Option<Made> {
        let mut book = self.shares.lock();
        match self.shares.grant(&mut book, &self.app, bytes) {
            Grant::Nowhere => None,
            grant => Some(self.shares.make(&mut book, &self.app, bytes, grant == Grant::Beyond)),
        }
    }

    /// As [`Self::make`], waiting up to `longest` for room.
    pub async fn make_within(&self, bytes: usize, longest: Duration) -> Option<Made> {
        if let Some(made) = self.make(bytes) {
            return Some(made);
        }
        let _waiting = Waiting::begin(self)?;
        let made = async {
            loop {
                let freed = self.shares.bytes_freed.notified();
                if let Some(made) = self.make(bytes) {
                    return made;
                }
                freed.await;
            }
        };
        timeout(longest, made).await.ok()
    }

    /// As [`Self::make`], whether there is room or not: for a job that SQS would not hand over again.
    #[must_use]
    pub fn make_anyway(&self, bytes: usize) -> Made {
        self.shares.make(&mut self.shares.lock(), &self.app, bytes, false)
    }

    /// An attempt of the app begins.
    #[must_use]
    pub fn begin_attempt(&self) -> Attempting<'_> {
        let mut book = self.shares.lock();
        // Under the lock, so that they are on the book in order.
        let began = Instant::now();
        if let Some(app) = book.apps.get_mut(&self.app) {
            app.begins(began);
        }
        drop(book);
        Attempting { share: self, began }
    }
}

/// An attempt under way, as its app's slowness counts it.
#[derive(Debug)]
pub struct Attempting<'a> {
    share: &'a Share,
    began: Instant,
}

impl Attempting<'_> {
    /// It has ended, and the job was taken or not.
    pub fn ended(self, delivered: bool) {
        let took = self.began.elapsed();
        if let Some(app) = self.share.shares.lock().apps.get_mut(&self.share.app) {
            app.attempted(self.began, took, delivered && took <= SLOW);
        }
    }
}

impl Drop for Attempting<'_> {
    fn drop(&mut self) {
        if let Some(app) = self.share.shares.lock().apps.get_mut(&self.share.app) {
            app.leaves(self.began, Instant::now());
        }
    }
}

impl App {
    fn new() -> Self {
        Self {
            held: Usage::default(),
            last: Instant::now(),
            waiting: 0,
            times: None,
            stalled: false,
            fresh: VecDeque::new(),
            hanging: 0,
            hoarded: None,
            progressed: None,
        }
    }

    fn holds(&self) -> bool {
        self.held.messages > 0 || self.held.bytes > 0
    }

    /// An attempt begins.
    fn begins(&mut self, now: Instant) {
        if self.attempting() == 0 {
            self.progressed = Some(now);
        }
        self.fresh.push_back(now);
    }

    /// An attempt that began then is under way no more.
    fn leaves(&mut self, began: Instant, now: Instant) {
        self.count_hanging(now);
        match self.fresh.binary_search(&began) {
            Ok(place) => drop(self.fresh.remove(place)),
            Err(_) => self.hanging = self.hanging.saturating_sub(1),
        }
    }

    fn attempting(&self) -> usize {
        self.fresh.len() + self.hanging
    }

    /// Counts as hanging the attempts under way that have become slow by now.
    fn count_hanging(&mut self, now: Instant) {
        while self.fresh.front().is_some_and(|began| now.duration_since(*began) > SLOW) {
            self.fresh.pop_front();
            self.hanging += 1;
        }
    }

    /// An attempt has ended.
    fn attempted(&mut self, began: Instant, took: Duration, quick: bool) {
        let held = took.max(LEAST_HELD).as_secs_f64();
        let new = Times { attempt: took.as_secs_f64(), all: held, slow: if quick { 0.0 } else { held } };
        let before = self.times.unwrap_or(new);
        let smoothed = |before: f64, new: f64| before + (new - before) * WEIGHT;
        let times = Times {
            attempt: smoothed(before.attempt, new.attempt),
            all: smoothed(before.all, new.all),
            slow: smoothed(before.slow, new.slow),
        };
        self.times = Some(times);
        if quick {
            self.progressed = Some(began + took);
            self.stalled = false;
        } else if self.progressed.is_none_or(|progressed| progressed <= began) {
            // None has been quick meanwhile: it is a slow one until one is.
            self.stalled = true;
        }
    }

    /// From 0, every place held for attempts that are quick and taken, to 1, every one for those that are slow or fail;
    /// `None` where nothing is known.
    fn slowness(&mut self, now: Instant, hoard: usize) -> Option<f64> {
        self.count_hanging(now);
        if self.hanging > hoard {
            self.hoarded = Some(now);
        }
        if self.hoarded.is_some_and(|hoarded| now.duration_since(hoarded) < HOARD_MEMORY) {
            return Some(1.0);
        }
        let stalls = |since: Instant| self.attempting() > 0 && now.duration_since(since) > SLOW;
        if self.stalled || self.progressed.is_some_and(stalls) {
            return Some(1.0);
        }
        let times = self.times?;
        let late_after =
            Duration::from_secs_f64((times.attempt * LATE).min(SLOW.as_secs_f64())).max(LEAST_LATE);
        let late = self.fresh.partition_point(|began| now.duration_since(*began) > late_after);
        #[allow(clippy::cast_precision_loss, reason = "some thousands")]
        let hanging = (self.hanging + late) as f64 / self.attempting().max(1) as f64;
        Some(hanging.max(times.slow / times.all))
    }

    /// How many of its jobs make a lane that does not take long.
    fn in_a_lane(&self, jobs: usize) -> usize {
        let Some(times) = self.times else { return jobs };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to a lane's length")]
        let worked = (LANE.as_secs_f64() / times.attempt.max(1e-6)) as usize;
        worked.clamp(1, jobs.max(1))
    }
}

impl Book {
    /// The slowness of an app, if anything is known of it.
    fn slowness(&mut self, app: &str) -> Option<f64> {
        self.apps.get_mut(app)?.slowness(Instant::now(), self.hoard)
    }

    /// Forgets apps that hold nothing: those of long ago, or else the half that was used longest ago, so that it is not
    /// looked for more at once.
    fn forget(&mut self) {
        self.apps.retain(|_, app| app.holds() || app.last.elapsed() < APP_MEMORY);
        let mut idle: Vec<_> = self.apps.values().filter(|app| !app.holds()).map(|app| app.last).collect();
        if self.apps.len() > MAX_APPS / 2 && !idle.is_empty() {
            let half = idle.len() / 2;
            let (_, last, _) = idle.select_nth_unstable(half);
            let last = *last;
            self.apps.retain(|_, app| app.holds() || app.last > last);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.give_back(&self.app, Usage { messages: 1, bytes: self.bytes }, 0);
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let beyond = if self.beyond { self.bytes } else { 0 };
        self.shares.give_back(&self.app, Usage { messages: 0, bytes: self.bytes }, beyond);
    }
}

/// An attempt that waits for room.
struct Waiting<'a>(&'a Share);

impl<'a> Waiting<'a> {
    /// `None` where there are enough of them.
    fn begin(share: &'a Share) -> Option<Self> {
        let mut book = share.shares.lock();
        let of_all = book.waiting;
        let app = book.apps.get_mut(&share.app)?;
        if of_all >= MAX_WAITING || app.waiting >= MAX_WAITING_OF_APP {
            return None;
        }
        app.waiting += 1;
        book.waiting += 1;
        Some(Self(share))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut book = self.0.shares.lock();
        book.waiting -= 1;
        if let Some(app) = book.apps.get_mut(&self.0.app) {
            app.waiting -= 1;
        }
    }
}

fn is_quick(slowness: Option<f64>) -> bool {
    slowness.is_some_and(|slowness| slowness < QUICK)
}

/// What a slow app may hold of all places when this part of them is free.
fn share(free: f64) -> f64 {
    (free - RESERVED).max(0.0) * FACTOR
}

#[cfg(test)]
mod tests;
