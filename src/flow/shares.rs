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
//! attempts under way half have taken longer than a quick one does is slow at once, not when they time out; so is
//! one with none quick since the first of them began. And who has held a good part of all places with attempts that hang is
//! slow for a while, or else it would fill them anew each time that they have timed out: the quick ones among them end
//! first.
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

/// An app is quick whose slowness is less.
const QUICK: f64 = 0.5;

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
    /// Polls wait for some places to be free.
    freed: Notify,
    /// Attempts wait for room for the bodies that they make.
    bytes_freed: Notify,
}

#[derive(Debug, Default)]
struct Book {
    held: Usage,
    apps: HashMap<Arc<str>, App>,
    /// So many attempts of an app that hang are too many.
    hoard: usize,
    /// Somebody waits until it is over.
    crowded: bool,
    /// Bytes that were made although there was no room left.
    made_beyond: usize,
    /// How many wait for room for what they make.
    waiting: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    messages: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct App {
    held: Usage,
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

/// Smoothed times for which attempts held places, in seconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    all: f64,
    /// Of those that were slow or failed.
    slow: f64,
}

/// How many of the messages of a lane an app may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// All of them.
    All,
    /// The first: there is no room for those that would only wait for it.
    Head,
    /// None.
    Nothing,
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
            drop(timeout(SLOW / 2, freed).await);
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

    /// How many of a lane's messages an app may hold more, by the sizes of their bodies in bytes.
    #[must_use]
    pub fn admits(&self, app: &str, sizes: &[usize]) -> Admitted {
        if !self.enough {
            return Admitted::All;
        }
        let mut book = self.lock();
        let taken = self.part(book.held);
        let all = self.part(Usage { messages: sizes.len(), bytes: sizes.iter().sum() });
        let slowness = book.slowness(app);
        let known = book.apps.get(app);
        if taken + all <= PRESSURE {
            return Admitted::All;
        }
        let free = 1.0 - taken;
        let head = self.part(Usage { messages: 1, bytes: sizes.first().copied().unwrap_or_default() });
        if is_quick(slowness) {
            // Its places are free again at once, unless it stops answering.
            return if free > SCARCE { Admitted::All } else { Admitted::Head };
        }
        if slowness.is_none() {
            let attempted = known.map_or(0, |app| app.held.messages);
            let room = free - RESERVED / 2.0 - head;
            #[allow(clippy::cast_precision_loss, reason = "some thousands")]
            let more = room > 0.0 && (attempted == 0 || (attempted as f64) < room * UNKNOWN);
            return if more { Admitted::Head } else { Admitted::Nothing };
        }
        let (own, most) = (self.held(known), share(free));
        match () {
            () if own + all <= most => Admitted::All,
            () if own + head <= most => Admitted::Head,
            () => Admitted::Nothing,
        }
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
        let held = &mut book.apps.entry(Arc::clone(&name)).or_default().held;
        held.messages += 1;
        held.bytes += bytes;
        Share { shares: Arc::clone(self), app: name, bytes }
    }

    /// Whether an app may make so many bytes more. Messages do not count here: many small ones leave memory enough.
    fn grant(&self, book: &mut Book, app: &str, bytes: usize) -> Grant {
        let part = |bytes| self.part(Usage { messages: 0, bytes });
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
        book.apps.entry(Arc::clone(app)).or_default().held.bytes += bytes;
        Made { shares: Arc::clone(self), app: Arc::clone(app), bytes, beyond }
    }

    fn give_back(&self, app: &str, usage: Usage, beyond: usize) {
        let mut book = self.lock();
        book.held.messages -= usage.messages;
        book.held.bytes -= usage.bytes;
        book.made_beyond -= beyond;
        let many = book.apps.len() > MAX_APPS;
        if book.crowded && !self.is_crowded(&book) {
            book.crowded = false;
            self.freed.notify_waiters();
        }
        if book.waiting > 0 {
            self.bytes_freed.notify_waiters();
        }
        if let Some(held) = book.apps.get_mut(app) {
            held.held.messages -= usage.messages;
            held.held.bytes -= usage.bytes;
            let holds = held.held.messages > 0 || held.held.bytes > 0;
            if !holds && (many || held.times.is_none()) {
                book.apps.remove(app);
            }
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

    /// The same, waiting so long for it.
    pub async fn make_within(&self, bytes: usize, longest: Duration) -> Option<Made> {
        if let Some(made) = self.make(bytes) {
            return Some(made);
        }
        let _waiting = Waiting::begin(&self.shares);
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

    /// The same for what has no other chance, whether there is room or not.
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

    /// Those of the attempts under way that are slow by now are fresh no more.
    fn count_hanging(&mut self, now: Instant) {
        while self.fresh.front().is_some_and(|began| now.duration_since(*began) > SLOW) {
            self.fresh.pop_front();
            self.hanging += 1;
        }
    }

    /// An attempt has ended.
    fn attempted(&mut self, began: Instant, took: Duration, quick: bool) {
        let held = took.max(LEAST_HELD).as_secs_f64();
        let new = Times { all: held, slow: if quick { 0.0 } else { held } };
        let before = self.times.unwrap_or(new);
        let smoothed = |before: f64, new: f64| before + (new - before) * WEIGHT;
        let times = Times { all: smoothed(before.all, new.all), slow: smoothed(before.slow, new.slow) };
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
        #[allow(clippy::cast_precision_loss, reason = "some thousands")]
        let hanging = self.hanging as f64 / self.attempting().max(1) as f64;
        self.times.map(|times| hanging.max(times.slow / times.all))
    }
}

impl Book {
    /// That of an app, if anything is known of it.
    fn slowness(&mut self, app: &str) -> Option<f64> {
        self.apps.get_mut(app)?.slowness(Instant::now(), self.hoard)
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

/// Somebody waits for room.
struct Waiting<'a>(&'a Shares);

impl<'a> Waiting<'a> {
    fn begin(shares: &'a Shares) -> Self {
        shares.lock().waiting += 1;
        Self(shares)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
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
mod tests {
    use super::*;

    /// Fills in turns with every app that may, ten messages at a time, until none may.
    fn fill(shares: &Arc<Shares>, apps: &[String], held: &mut Vec<Share>) {
        loop {
            let before = held.len();
            for app in apps {
                let count = match shares.admits(app, &[0; 10]) {
                    Admitted::All => 10,
                    Admitted::Head => 1,
                    Admitted::Nothing => 0,
                };
                // The permits bound it all.
                let count = count.min(shares.messages.saturating_sub(held.len()));
                held.extend((0..count).map(|_| shares.take(app, 0)));
            }
            if held.len() == before {
                return;
            }
        }
    }

    async fn ended(share: &Share, took: Duration, delivered: bool) {
        let attempting = share.begin_attempt();
        tokio::time::advance(took).await;
        attempting.ended(delivered);
    }

    fn apps(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("hostile{n}")).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_slow_apps_there_are_a_quick_one_finds_room() {
        for count in [1, 2, 70, 500] {
            let shares = Arc::new(Shares::new(2000, 1 << 26));
            ended(&shares.take("healthy", 0), Duration::from_millis(5), true).await;
            let again = shares.take("healthy", 0);
            ended(&again, Duration::from_millis(5), true).await;
            let mut held = Vec::new();
            let hostile = apps(count);
            for app in &hostile {
                let first = shares.take(app, 0);
                ended(&first, Duration::from_secs(4), false).await;
                held.push(first);
            }
            fill(&shares, &hostile, &mut held);
            assert!(held.len() <= 1750, "{count} apps hold {}", held.len());
            assert_eq!(shares.admits("healthy", &[0; 10]), Admitted::All, "{count}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_apps_still_get_most_of_the_places_when_there_are_many_of_them() {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let hostile = apps(70);
        let mut held: Vec<Share> = hostile.iter().map(|app| shares.take(app, 0)).collect();
        for share in &held {
            ended(share, Duration::from_secs(4), true).await;
        }
        fill(&shares, &hostile, &mut held);
        assert!(held.len() >= 1000, "{}", held.len());
    }

    #[tokio::test(start_paused = true)]
    async fn polls_wait_for_quick_apps_until_there_is_room_or_they_are_quick_no_more() {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let waits = async || timeout(Duration::from_millis(1), shares.wait_for_the_quick()).await.is_err();
        let first = shares.take("busy", 0);
        ended(&first, Duration::from_millis(5), true).await;
        let mut held = vec![first];
        fill(&shares, &["busy".to_owned()], &mut held);
        assert!(held.len() > 1900, "{}", held.len());
        assert_eq!(shares.admits("new", &[0; 10]), Admitted::Nothing);
        assert!(waits().await);
        let waiting = async {
            shares.wait_for_the_quick().await;
            Instant::now()
        };
        let now = Instant::now();
        let (went_on, ()) = tokio::join!(waiting, async { held.truncate(1300) });
        assert_eq!(went_on, now, "at once");
        assert_eq!(shares.admits("new", &[0; 10]), Admitted::Head);
        fill(&shares, &["busy".to_owned()], &mut held);
        let _attempting = held[0].begin_attempt();
        assert!(waits().await);
        tokio::time::advance(SLOW * 2).await;
        assert!(!waits().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_app_that_holds_too_much_gives_way_and_a_quick_one_does_not() {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let slow: Vec<_> = (0..1500).map(|_| shares.take("slow", 0)).collect();
        let quick = shares.take("quick", 0);
        ended(&quick, Duration::from_millis(5), true).await;
        assert!(slow[0].gives_way());
        ended(&slow[0], Duration::from_secs(4), true).await;
        assert!(slow[0].gives_way() && !quick.gives_way());
        drop(slow);
        let slow = shares.take("slow", 0);
        assert!(!slow.gives_way(), "without pressure nobody does");
    }

    /// Plays for so many seconds an app of which one attempt in `one_in` hangs for 4 s and all others take 5 ms, and
    /// which has more jobs than there are places; gives the least part of the places that was free past the first two
    /// seconds, and how often none of a quick app's would have been admitted.
    async fn free_beside(one_in: u64, seconds: u64) -> (f64, usize) {
        const STEP: Duration = Duration::from_millis(5);
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let (healthy, begun) = (shares.take("healthy", 0), Instant::now());
        // Lanes of jobs, the heads attempted until then.
        let (mut lanes, mut attempts) = (Vec::<(Vec<Share>, Instant, Instant)>::new(), 0_u64);
        let mut next_end = |now: Instant| {
            attempts += 1;
            // Not in turns: a row of quick ones must not hide those that hang.
            let hash = attempts.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            now + if hash.is_multiple_of(one_in) { Duration::from_secs(4) } else { STEP }
        };
        let (mut least, mut refused) = (1.0_f64, 0);
        while begun.elapsed() < Duration::from_secs(seconds) {
            tokio::time::advance(STEP).await;
            healthy.begin_attempt().ended(true);
            let now = Instant::now();
            let mut kept = Vec::new();
            for (mut jobs, began, ends) in std::mem::take(&mut lanes) {
                if now < ends {
                    kept.push((jobs, began, ends));
                    continue;
                }
                let share = jobs.pop().unwrap();
                let quick = now - began <= SLOW;
                {
                    let mut book = shares.lock();
                    let app = book.apps.get_mut("mixed").unwrap();
                    app.attempted(began, now - began, quick);
                    app.leaves(began, now);
                }
                if !jobs.is_empty() && !share.gives_way() {
                    shares.lock().apps.get_mut("mixed").unwrap().begins(now);
                    kept.push((jobs, now, next_end(now)));
                }
            }
            lanes = kept;
            // Six full receives a step.
            for _ in 0..6 {
                if shares.is_crowded_by_the_quick() {
                    break;
                }
                let count = match shares.admits("mixed", &[0; 10]) {
                    Admitted::All => 10,
                    Admitted::Head => 1,
                    Admitted::Nothing => 0,
                };
                let jobs: Vec<_> = (0..count).map(|_| shares.take("mixed", 0)).collect();
                if !jobs.is_empty() {
                    shares.lock().apps.get_mut("mixed").unwrap().begins(now);
                    lanes.push((jobs, now, next_end(now)));
                }
            }
            if begun.elapsed() > Duration::from_secs(2) {
                least = least.min(1.0 - shares.part(shares.lock().held));
                let held_up = shares.is_crowded_by_the_quick();
                refused += usize::from(held_up || shares.admits("healthy", &[0; 10]) != Admitted::All);
            }
        }
        (least, refused)
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_of_whose_attempts_some_hang_leaves_as_much_as_one_of_which_all_do() {
        for one_in in [1, 2, 4, 8, 32] {
            let (least, refused) = free_beside(one_in, 30).await;
            assert!(least > RESERVED && refused == 0, "1 in {one_in}: {least:.3} free, {refused} refused");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_with_a_slow_attempt_now_and_then_is_quick() {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let held: Vec<_> = (0..1500).map(|_| shares.take("a", 0)).collect();
        for n in 0..400 {
            let took = if n % 20 == 10 { 1000 } else { 5 };
            ended(&held[0], Duration::from_millis(took), true).await;
            assert!(took > 500 || !held[0].gives_way(), "{n}");
        }
        for _ in 0..20 {
            ended(&held[0], Duration::from_secs(4), false).await;
        }
        assert!(held[0].gives_way());
        for _ in 0..40 {
            ended(&held[0], Duration::from_millis(5), true).await;
        }
        assert!(!held[0].gives_way(), "it has recovered");
    }

    #[tokio::test(start_paused = true)]
    async fn hundreds_of_new_apps_are_attempted_at_once_and_leave_room_for_one_more() {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let (new, mut held) = (apps(500), Vec::new());
        fill(&shares, &new, &mut held);
        let attempted: std::collections::HashSet<_> =
            held.iter().map(|share| Arc::clone(&share.app)).collect();
        assert_eq!(attempted.len(), 500);
        assert_eq!(shares.admits("new", &[0; 10]), Admitted::Head);
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_of_which_no_attempt_ends_is_slow_before_one_has() {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let first = shares.take("a", 0);
        ended(&first, Duration::from_millis(5), true).await;
        let mut held = Vec::new();
        fill(&shares, &["a".to_owned()], &mut held);
        let attempting = first.begin_attempt();
        assert!(!first.gives_way());
        tokio::time::advance(SLOW * 2).await;
        assert!(first.gives_way());
        attempting.ended(true);
        assert!(first.gives_way());
        ended(&first, Duration::from_millis(5), true).await;
        assert!(!first.gives_way());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_count_as_messages_do() {
        let shares = Arc::new(Shares::new(2000, 10 << 20));
        let held: Vec<_> = (0..5).map(|_| shares.take("large", 1 << 20)).collect();
        for share in &held {
            ended(share, Duration::from_secs(4), true).await;
        }
        assert_eq!(shares.admits("large", &[1 << 20]), Admitted::Nothing);
        drop(held);
        assert_eq!(shares.admits("large", &[1 << 20]), Admitted::All);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_made_counts_in_its_apps_share_and_waits_for_room() {
        const MB: usize = 1 << 20;
        let shares = Arc::new(Shares::new(2000, 100 * MB));
        let (slow, quick) = (shares.take("slow", MB), shares.take("quick", MB));
        ended(&slow, Duration::from_secs(4), false).await;
        ended(&quick, Duration::from_millis(5), true).await;
        let mut made: Vec<Made> = std::iter::from_fn(|| slow.make(MB)).collect();
        assert_eq!(made.len(), 49, "half of all, as with messages");
        assert_eq!(shares.admits("slow", &[MB]), Admitted::Nothing);
        assert!(slow.gives_way());
        let all: Vec<Made> = std::iter::from_fn(|| quick.make(MB)).take(1000).collect();
        assert_eq!(all.len(), 39 + 10, "until little is left, and that little at a time beyond it");
        let longest = Duration::from_millis(500);
        assert!(slow.make_within(MB, longest).await.is_none());
        let now = Instant::now();
        let (more, ()) = tokio::join!(slow.make_within(MB, longest), async { drop((all, made.pop())) });
        assert!(more.is_some() && now.elapsed() < longest);
        drop((made, more, slow, quick));
        let book = shares.lock();
        assert_eq!((book.held.bytes, book.made_beyond, book.waiting), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn many_small_messages_keep_no_small_body_from_being_made() {
        let shares = Arc::new(Shares::new(200, 8 << 20));
        let held: Vec<_> = (0..190).map(|_| shares.take("slow", 100)).collect();
        ended(&held[0], Duration::from_secs(4), false).await;
        assert!(held[0].gives_way());
        assert!(held[0].make(100).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_filled_by_what_is_to_be_worked_still_makes_something() {
        for (messages, bytes) in [(2000, 64 << 20), (10, 1 << 20)] {
            let shares = Arc::new(Shares::new(messages, bytes));
            let held = shares.take("quick", bytes);
            ended(&held, Duration::from_millis(5), true).await;
            let made = held.make(bytes / 50);
            assert!(made.is_some());
            assert!(held.make(bytes / 2).is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_places_are_not_shared() {
        let shares = Arc::new(Shares::new(MIN_MESSAGES - 1, 1 << 26));
        let held: Vec<_> = (0..MIN_MESSAGES - 10).map(|_| shares.take("large", 0)).collect();
        for share in &held {
            ended(share, Duration::from_secs(4), false).await;
        }
        assert_eq!(shares.admits("large", &[0; 9]), Admitted::All);
    }
}
