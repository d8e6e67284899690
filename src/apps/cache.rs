//! What a source said, remembered: hits without I/O, one look-up for many that wait, and the last
//! good answer while the source is down.
//!
//! Invariants:
//! - a hit awaits nothing; the lock is never held across an await;
//! - of one key there is at most one look-up under way. It lives as long as anyone waits for it: a
//!   caller that gives up takes nothing from the others, and the last one ends it;
//! - while the source is down the last answer about an app serves, if the source gave it within an hour before it last
//!   answered at all: an older one may be of an app that has changed many times since;
//! - every look-up ends within a deadline of its own, shorter than an attempt's, so that a source
//!   which hangs still leaves time to serve what is remembered;
//! - that an app does not exist is remembered briefly, and never served once that is over: a job is
//!   given up for it;
//! - a record that cannot be used is remembered as briefly, and nothing older is served in its place: the
//!   source is not down, and says what it says to every replica;
//! - who asks past the memory gets what the source itself said, and when it was asked; of one key that is
//!   at most one look-up in [`FRESH_FOR`], shared with those that may be answered from memory;
//! - the number of entries is bounded, and so is the memory that their apps take; apps that exist outlive keys that
//!   do not.
//!
//! A small map and not one of the cache libraries: none of them serves stale entries on error, and
//! their clocks cannot be paused in a test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::time::{Instant, timeout};
use tracing::{error, info};

use super::{Apps, FRESH_FOR, Fresh, LookUp, LookUpError, Observer, log};
use crate::app::App;
use crate::hash;

/// Entries kept; some 10 MB of ordinary apps.
const MAX_ENTRIES: usize = 10_000;
/// Bytes of memory that the apps in them take: ten times that, for apps are as large as their owners like. The source
/// is asked more often where they take more.
const MAX_BYTES: usize = 32 << 20;
/// How long it is remembered that an app does not exist: long enough for a burst of jobs, short enough
/// for an app that is being set up.
const NEGATIVE: Duration = Duration::from_secs(5);
/// How long a stale entry is served before the source is asked again.
const STALE: Duration = Duration::from_secs(5);
/// By how much an answer may be older than the source's last one, about whichever app, to be served while the source
/// is down: an app with few jobs has to get over a short outage, and not by its webhooks of last week.
const OLDEST_STALE: Duration = Duration::from_secs(3600);
/// How often the same complaint is logged.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Complaints of apps logged within that time. The last half of them are for apps that nothing was said of within it.
const MAX_COMPLAINTS: usize = 200;
/// Complaints of one app within that time, and of the source, which fails in few ways.
const MAX_COMPLAINTS_OF_ONE: usize = 20;
/// No app's key is longer, in bytes; DynamoDB's limit, and eight times soketi's column. A longer one is
/// not looked up: it could only fill the memory.
const MAX_KEY: usize = 2048;
/// Look-ups noted before those that were given up are swept.
const MANY_FLIGHTS: usize = 1000;
/// Answers of the last second kept for those that ask past the memory; past it an answer is not kept, and
/// the source is asked once more often. A source that gives more than so many in a second bears that.
const MAX_FRESH: usize = 10_000;
/// Bytes of memory that the apps among them take, which may be others than those that are remembered.
const MAX_FRESH_BYTES: usize = 8 << 20;
/// An answer that takes more of them than this is large. Large ones have half of the room, so that they leave the other
/// to those of everyone else.
const LARGE_FRESH: usize = MAX_FRESH_BYTES / 32;

/// How long answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheTtl {
    /// Not at all: every look-up asks the source, except while another one waits for the same answer.
    Nothing,
    /// For so long.
    For(Duration),
    /// For ever, as soketi understands a TTL of −1.
    Always,
}

/// A source with a memory; a clone shares it.
#[derive(Debug)]
pub struct Cache<A> {
    source: Arc<A>,
    name: Arc<str>,
    state: Arc<State>,
    deadline: Duration,
}

type Answer = Result<Option<Arc<App>>, LookUpError>;
type Flight = BoxFuture<'static, Told>;

/// What came of one look-up.
#[derive(Clone, Debug)]
struct Told {
    /// What the source itself said.
    fresh: Answer,
    asked_at: Instant,
    /// What is told to those that a remembered answer serves.
    served: Answer,
}

#[derive(Debug)]
struct State {
    keep: CacheTtl,
    observer: Observer,
    kept: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    entries: HashMap<String, Entry>,
    /// What the entries weigh.
    bytes: usize,
    /// What the source said within the last second.
    fresh: HashMap<String, Told>,
    fresh_bytes: usize,
    /// What the large ones among these weigh.
    large_fresh_bytes: usize,
    flights: HashMap<String, WeakShared<Flight>>,
    complaints: Complaints,
    /// What was complained of the source, whatever was said of apps.
    outages: Complaints,
    down: bool,
    /// When the source last answered, whatever it was asked for.
    answered_at: Option<Instant>,
}

/// What was complained of lately: when, and of whom.
#[derive(Debug, Default)]
struct Complaints(HashMap<String, (Instant, u64)>);

#[derive(Debug)]
struct Entry {
    /// What the source said: an app, none, or a record that cannot be used.
    answer: Answer,
    /// When it said so.
    answered_at: Instant,
    /// `None` is for ever.
    until: Option<Instant>,
    used: Instant,
    /// What it weighs.
    bytes: usize,
}

/// What an answer weighs under its key.
fn weight(key: &str, answer: &Answer) -> usize {
    let answer = match answer {
        Ok(Some(app)) => app.weight(),
        Ok(None) => 0,
        Err(LookUpError::Unreachable(why) | LookUpError::Unusable(why)) => why.len(),
    };
    size_of::<Entry>() + key.len() + answer
}

impl<A> Clone for Cache<A> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            name: Arc::clone(&self.name),
            state: Arc::clone(&self.state),
            deadline: self.deadline,
        }
    }
}

impl<A: Apps> Cache<A> {
    /// Remembers what `source` says; asks it at most `deadline` long, and tells `observer` of every look-up. `name` is
    /// what it is called when it does not answer.
    #[must_use]
    pub fn observed(source: A, name: &str, keep: CacheTtl, deadline: Duration, observer: Observer) -> Self {
        let state = State { keep, observer, kept: Mutex::default() };
        Self { source: Arc::new(source), name: name.into(), state: Arc::new(state), deadline }
    }

    /// The source itself.
    #[must_use]
    pub fn source(&self) -> &Arc<A> {
        &self.source
    }

    /// From now on every key is looked up again when it is next asked for.
    pub fn expire(&self) {
        let now = Instant::now();
        let mut kept = self.state.lock();
        kept.fresh.clear();
        (kept.fresh_bytes, kept.large_fresh_bytes) = (0, 0);
        for entry in kept.entries.values_mut() {
            entry.until = Some(now);
        }
    }

    /// What is remembered, or the look-up to wait for.
    fn look(&self, key: &str) -> Result<Answer, Shared<Flight>> {
        let now = Instant::now();
        let mut kept = self.state.lock();
        if let Some(entry) = kept.entries.get_mut(key)
            && entry.until.is_none_or(|until| now < until)
        {
            entry.used = now;
            self.state.observer.tell(LookUp::Remembered);
            return Ok(entry.answer.clone());
        }
        Err(self.flight(&mut kept, key))
    }

    /// What the source said within the last second, or the look-up to wait for.
    fn look_afresh(&self, key: &str) -> Result<Told, Shared<Flight>> {
        let now = Instant::now();
        let mut kept = self.state.lock();
        match kept.fresh.get(key) {
            Some(told) if now.duration_since(told.asked_at) < FRESH_FOR => Ok(told.clone()),
            Some(_) | None => Err(self.flight(&mut kept, key)),
        }
    }

    /// The look-up of a key that is under way, or a new one.
    fn flight(&self, kept: &mut Remembered, key: &str) -> Shared<Flight> {
        if let Some(flight) = kept.flights.get(key).and_then(WeakShared::upgrade) {
            return flight;
        }
        if kept.flights.len() >= MANY_FLIGHTS {
            kept.flights.retain(|_, flight| flight.upgrade().is_some());
        }
        let flight = self.ask(key.to_owned()).shared();
        kept.flights.extend(flight.downgrade().map(|weak| (key.to_owned(), weak)));
        flight
    }

    fn ask(&self, key: String) -> Flight {
        let (source, state) = (Arc::clone(&self.source), Arc::clone(&self.state));
        let (name, deadline) = (Arc::clone(&self.name), self.deadline);
        let asked_at = Instant::now();
        Box::pin(async move {
            let answer = timeout(deadline, source.find_by_key(&key)).await;
            let late = || {
                let why = format!("{name} did not answer within {} ms", deadline.as_millis());
                Err(LookUpError::Unreachable(why))
            };
            state.settle(&key, answer.unwrap_or_else(|_| late()), asked_at)
        })
    }
}

impl<A: Apps> Apps for Cache<A> {
    fn lag(&self) -> Duration {
        self.source.lag()
    }

    async fn find_by_key(&self, key: &str) -> Answer {
        if key.is_empty() || key.len() > MAX_KEY {
            return Ok(None);
        }
        match self.look(key) {
            Ok(answer) => answer,
            Err(flight) => flight.await.served,
        }
    }

    async fn find_fresh(&self, key: &str) -> Result<Fresh, LookUpError> {
        if key.is_empty() || key.len() > MAX_KEY {
            return Ok(Fresh { app: None, asked_at: Instant::now() });
        }
        let told = match self.look_afresh(key) {
            Ok(told) => told,
            Err(flight) => flight.await,
        };
        Ok(Fresh { app: told.fresh?, asked_at: told.asked_at })
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what the source said, or falls back on what it said before.
    fn settle(&self, key: &str, fresh: Answer, asked_at: Instant) -> Told {
        let now = Instant::now();
        let mut kept = self.lock();
        kept.flights.remove(key);
        let (mut recovered, mut complain) = (false, false);
        let served = match &fresh {
            Ok(_) | Err(LookUpError::Unusable(_)) => {
                recovered = std::mem::take(&mut kept.down);
                kept.answered_at = Some(now);
                if let Err(failure) = &fresh {
                    complain = kept.complaints.is_new(key, &failure.to_string(), now);
                }
                kept.remark(key, &fresh, now);
                match self.until(matches!(fresh, Ok(Some(_))), now) {
                    Some(until) => {
                        let bytes = weight(key, &fresh);
                        let entry =
                            Entry { answer: fresh.clone(), answered_at: now, until, used: now, bytes };
                        kept.insert(key.to_owned(), entry);
                    }
                    None => kept.remove(key),
                }
                fresh.clone()
            }
            Err(failure @ LookUpError::Unreachable(_)) => {
                kept.down = true;
                complain = kept.outages.is_new("", &failure.to_string(), now);
                kept.stale(key, self.oldest_stale(), now).map_or_else(|| fresh.clone(), |app| Ok(Some(app)))
            }
        };
        let told = Told { fresh, asked_at, served };
        kept.note(key, told.clone(), now);
        drop(kept);
        self.observer.tell(match (&told.fresh, &told.served) {
            (Ok(_) | Err(LookUpError::Unusable(_)), _) => LookUp::Asked,
            (Err(LookUpError::Unreachable(_)), Ok(_)) => LookUp::Stale,
            (Err(LookUpError::Unreachable(_)), Err(_)) => LookUp::Failed,
        });
        if recovered {
            info!("the app source answers again");
        }
        if let (true, Err(failure)) = (complain, &told.fresh) {
            let serving = if told.served.is_ok() { "the last good answer" } else { "nothing" };
            error!(serving, "an app cannot be looked up: {failure}");
        }
        told
    }

    /// By how much an answer may be older than the source's last one to be served while that is down.
    fn oldest_stale(&self) -> Duration {
        match self.keep {
            CacheTtl::Nothing => OLDEST_STALE,
            CacheTtl::For(ttl) => ttl.max(OLDEST_STALE),
            CacheTtl::Always => Duration::MAX,
        }
    }

    /// Until when an answer is kept, `Some(None)` being for ever; `None` if it is not kept.
    #[allow(clippy::option_option, reason = "not kept, kept for ever and kept until are three things")]
    fn until(&self, exists: bool, now: Instant) -> Option<Option<Instant>> {
        match (self.keep, exists) {
            (CacheTtl::Nothing, _) => None,
            (CacheTtl::For(ttl), true) => Some(Some(now + ttl)),
            (CacheTtl::Always, true) => Some(None),
            (CacheTtl::For(ttl), false) => Some(Some(now + ttl.min(NEGATIVE))),
            (CacheTtl::Always, false) => Some(Some(now + NEGATIVE)),
        }
    }
}

impl Remembered {
    fn insert(&mut self, key: String, entry: Entry) {
        self.remove(&key);
        if self.entries.len() >= MAX_ENTRIES || self.bytes + entry.bytes > MAX_BYTES {
            self.make_room(entry.bytes);
        }
        self.bytes += entry.bytes;
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    /// Logs what is to be said of how an app is registered, unless it was said of the app as it was known.
    fn remark(&mut self, key: &str, fresh: &Answer, now: Instant) {
        let Ok(Some(app)) = fresh else { return };
        let known = match self.entries.get(key) {
            Some(Entry { answer: Ok(Some(known)), .. }) => Some(Arc::clone(known)),
            Some(_) | None => None,
        };
        if known.is_some_and(|known| known.remarks == app.remarks) {
            return;
        }
        for remark in &app.remarks {
            if self.complaints.is_new(key, &remark.text, now) {
                log(remark);
            }
        }
    }

    /// The app that the source told of not long before it last answered, for a while longer. That there is none, or
    /// none that can be used, is not said for a source that is down.
    fn stale(&mut self, key: &str, oldest: Duration, now: Instant) -> Option<Arc<App>> {
        let entry = self.entries.get_mut(key)?;
        let is_old =
            self.answered_at.is_some_and(|last| last.saturating_duration_since(entry.answered_at) > oldest);
        if let Ok(Some(app)) = &entry.answer
            && !is_old
        {
            entry.until = Some(now + STALE);
            return Some(Arc::clone(app));
        }
        self.remove(key);
        None
    }

    /// Keeps an answer for those that ask past the memory within the next second.
    fn note(&mut self, key: &str, told: Told, now: Instant) {
        let bytes = weight(key, &told.fresh);
        let is_large = bytes > LARGE_FRESH;
        let is_full = |kept: &Self| {
            let many = kept.fresh.len() >= MAX_FRESH && !kept.fresh.contains_key(key);
            let large = is_large && kept.large_fresh_bytes + bytes > MAX_FRESH_BYTES / 2;
            many || large || kept.fresh_bytes + bytes > MAX_FRESH_BYTES
        };
        if is_full(self) {
            self.fresh.retain(|_, told| now.duration_since(told.asked_at) < FRESH_FOR);
            let weights = || self.fresh.iter().map(|(key, told)| weight(key, &told.fresh));
            let bytes = weights().sum();
            let large_bytes = weights().filter(|bytes| *bytes > LARGE_FRESH).sum();
            (self.fresh_bytes, self.large_fresh_bytes) = (bytes, large_bytes);
        }
        if is_full(self) {
            return;
        }
        let before = self.fresh.get(key).map_or(0, |before| weight(key, &before.fresh));
        self.fresh_bytes = (self.fresh_bytes + bytes).saturating_sub(before);
        let large = |bytes: usize| if bytes > LARGE_FRESH { bytes } else { 0 };
        self.large_fresh_bytes = (self.large_fresh_bytes + large(bytes)).saturating_sub(large(before));
        self.fresh.insert(key.to_owned(), told);
    }

    /// Drops what is known not to exist, else what was not asked for the longest: a tenth of the room there is, and
    /// enough for so many bytes more. Where it is bytes that lack, what takes more than its part of them goes first.
    fn make_room(&mut self, bytes: usize) {
        self.entries.retain(|_, entry| matches!(entry.answer, Ok(Some(_))));
        self.bytes = self.entries.values().map(|entry| entry.bytes).sum();
        if self.entries.len() < MAX_ENTRIES && self.bytes + bytes <= MAX_BYTES {
            return;
        }
        let lacks_bytes = self.bytes + bytes > MAX_BYTES;
        let part = MAX_BYTES / (self.entries.len() + 1);
        let mut entries: Vec<(bool, Instant, &String, usize)> = self
            .entries
            .iter()
            .map(|(key, entry)| (!lacks_bytes || entry.bytes <= part, entry.used, key, entry.bytes))
            .collect();
        entries.sort_unstable();
        let (mut left, mut all) = (entries.len(), self.bytes);
        let (few, light) = (MAX_ENTRIES / 10 * 9, MAX_BYTES / 10 * 9);
        let goes = entries.iter().take_while(|(.., own)| {
            let is_full = left > few || all + bytes > light;
            left -= 1;
            all -= own;
            is_full
        });
        let goes: Vec<String> = goes.map(|(_, _, key, _)| (*key).clone()).collect();
        for key in goes {
            self.remove(&key);
        }
    }
}

impl Complaints {
    /// Whether this has not been said of one lately, and there is room to say it.
    fn is_new(&mut self, one: &str, text: &str, now: Instant) -> bool {
        self.0.retain(|_, (said, _)| now.duration_since(*said) < COMPLAIN_EVERY);
        let one = hash::of(one);
        let own = self.0.values().filter(|(_, of)| *of == one).count();
        let room = if own == 0 { MAX_COMPLAINTS } else { MAX_COMPLAINTS / 2 };
        if own >= MAX_COMPLAINTS_OF_ONE || self.0.len() >= room || self.0.contains_key(text) {
            return false;
        }
        self.0.insert(text.to_owned(), (now, one));
        true
    }
}

#[cfg(test)]
mod tests;
