//! How many requests a destination gets at a time that has asked for fewer.
//!
//! A destination that answers 429, or 503 with `Retry-After`, is alive and has too much to do: it is
//! sent less at a time. Additive increase, multiplicative decrease, as TCP does it: every such answer
//! halves what may be under way (once a second, so that many answers to one burst count once), every success
//! adds one to it for each round. What does not fit is deferred, untried.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Destinations remembered besides those of requests under way: less than a megabyte. Past it those that
/// have not asked for fewer of late are forgotten, and where that leaves no room no more are remembered.
const MAX_DESTINATIONS: usize = 10_000;
/// How often all of them may be looked at for that.
const EXPIRE_EVERY: Duration = Duration::from_secs(2);

/// Answers to one burst come within about so long, and halve once.
const ROUND: Duration = Duration::from_secs(1);

/// A destination that has asked for nothing for so long is no longer held back.
const FORGET: Duration = Duration::from_secs(60);

/// The requests under way by destination, and the destinations that have asked for fewer.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Destinations>);

#[derive(Debug, Default)]
struct Destinations {
    all: HashMap<u64, Held>,
    /// How many have asked for fewer, of those remembered.
    limited: usize,
    /// When it was last looked for those of long ago.
    expired: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    limit: f64,
    under_way: usize,
    last: Instant,
}

/// Leave to make one request; given back when dropped.
#[derive(Debug)]
pub struct Leave<'a> {
    throttle: &'a Throttle,
    destination: u64,
}

impl Throttle {
    /// Asks for leave. Whatever has not asked for fewer gives it.
    ///
    /// # Errors
    /// How many are under way, where that is as many as there may be.
    pub fn enter(&self, destination: u64, now: Instant) -> Result<Leave<'_>, usize> {
        let mut known = self.lock();
        let Destinations { all, limited, .. } = &mut *known;
        let held = all.entry(destination).or_insert(Held { limit: f64::INFINITY, under_way: 0, last: now });
        if held.under_way == 0 && held.limit.is_finite() && now.duration_since(held.last) > FORGET {
            held.limit = f64::INFINITY;
            *limited -= 1;
        }
        if to_number(held.under_way + 1) > held.limit.max(1.0) {
            return Err(held.under_way);
        }
        held.under_way += 1;
        Ok(Leave { throttle: self, destination })
    }

    /// The destination asked for fewer.
    pub fn too_many(&self, destination: u64, now: Instant) {
        let mut known = self.lock();
        let Some(held) = known.all.get(&destination) else { return };
        let is_new = held.limit.is_infinite();
        if is_new && !known.has_room(now) {
            return;
        }
        let Some(held) = known.all.get_mut(&destination) else { return };
        if is_new || now.duration_since(held.last) >= ROUND {
            held.limit = (held.limit.min(to_number(held.under_way)) / 2.0).max(1.0);
            held.last = now;
        }
        known.limited += usize::from(is_new);
    }

    /// The destination took one.
    pub fn took(&self, destination: u64) {
        let mut known = self.lock();
        if let Some(held) = known.all.get_mut(&destination)
            && held.limit.is_finite()
        {
            held.limit += 1.0 / held.limit;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Destinations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Destinations {
    /// Whether one more may be remembered.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.limited < MAX_DESTINATIONS {
            return true;
        }
        if self.expired.is_none_or(|last| now.duration_since(last) >= EXPIRE_EVERY) {
            self.expired = Some(now);
            self.all.retain(|_, held| held.under_way > 0 || now.duration_since(held.last) <= FORGET);
            self.limited = self.all.values().filter(|held| held.limit.is_finite()).count();
        }
        self.limited < MAX_DESTINATIONS
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut known = self.throttle.lock();
        if let Some(held) = known.all.get_mut(&self.destination) {
            held.under_way = held.under_way.saturating_sub(1);
            if held.under_way == 0 && held.limit.is_infinite() {
                known.all.remove(&self.destination);
            }
        }
    }
}

fn to_number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_asks_for_fewer_gets_half_and_one_more_for_each_round_of_successes() {
        let throttle = Throttle::default();
        let now = Instant::now();
        let enter =
            |count: usize, now| (0..count).map(|_| throttle.enter(1, now).unwrap()).collect::<Vec<_>>();
        let eight = enter(8, now);
        throttle.too_many(1, now);
        throttle.too_many(1, now);
        drop(eight);
        let four = enter(4, now);
        assert_eq!(throttle.enter(1, now).unwrap_err(), 4, "one burst halves once");
        assert!(throttle.enter(2, now).is_ok(), "another destination");
        for _ in 0..5 {
            throttle.took(1);
        }
        let fifth = throttle.enter(1, now).unwrap();
        assert!(throttle.enter(1, now).is_err());
        drop((four, fifth));
        let three = enter(3, now);
        throttle.too_many(1, now + ROUND);
        drop(three);
        let one = enter(1, now + ROUND);
        assert!(throttle.enter(1, now + ROUND).is_err());
        drop(one);
        assert_eq!(enter(100, now + ROUND + FORGET + ROUND).len(), 100, "that was long ago");
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "the processor's time is what is tested")]
    async fn many_destinations_that_ask_for_fewer_cost_no_more_than_few() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let begun = std::time::Instant::now();
        let refuse = |destination: u64, now| {
            let leave = throttle.enter(destination, now);
            throttle.too_many(destination, now);
            drop(leave);
        };
        (0..30_000).for_each(|destination| refuse(destination, now));
        (0..30_000).for_each(|destination| refuse(destination, now));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(throttle.lock().all.len(), MAX_DESTINATIONS);
        refuse(1_000_000, now + FORGET + ROUND);
        assert_eq!(throttle.lock().all.len(), 1, "those of long ago keep no new one out");
    }
}
