//! Which destinations fail and since when, whether or not they have a row.
//!
//! Rows are few, and where many destinations fail they change hands all the time; how long a destination has been
//! failing must not begin anew with its row. So this is kept by the destination's hash alone.
//!
//! Nor with a replica: each makes a part of the retries. So a failure tells for how long its job has been failing there,
//! and failures that are a window apart add up, as they do for the breaker. Both reach back to the last success here at
//! the most: a job that its receiver cannot take says nothing of the time before that.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Limits;

/// Destinations remembered: 100,000 entries of 100 bytes are some 10 MB at worst.
pub(super) const MAX_TROUBLES: usize = 100_000;

/// How often all entries may be looked at for the sake of a new one.
const EXPIRE_EVERY: Duration = Duration::from_secs(2);

/// A destination has failed lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    /// Whether its last attempt did.
    failing: bool,
    /// Since when it has failed without a success.
    pub(super) since: Instant,
    /// The last attempt, or the last time that a job was not sent because the destination is down.
    heard: Instant,
    /// Since when it has failed without a sign of life either; `None` if its last answer was one.
    silent_since: Option<Instant>,
    /// The last success.
    taken: Option<Instant>,
    /// The last sign of life, a success or another.
    alive: Option<Instant>,
}

/// All of them, by the key of the destination.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    entries: HashMap<u64, Trouble>,
    expired: Option<Instant>,
}

impl Trouble {
    /// Whether it has failed without a sign of life for longer than the retry window, up to when it was last heard of:
    /// what failed once, long ago, is not known to fail all the time.
    pub(super) fn is_down(&self, limits: &Limits) -> bool {
        self.silent_since.is_some_and(|since| self.heard - since > limits.retry_window)
    }

    /// Whether it is known to be failing.
    fn is_known(&self, limits: &Limits, now: Instant) -> bool {
        self.failing && now - self.heard <= limits.forgotten_after
    }

    /// Whether a failure now goes on from it.
    fn is_remembered(&self, limits: &Limits, now: Instant) -> bool {
        let remembered = limits.retry_window + limits.attempt_timeout * 2;
        now - self.heard <= remembered.max(limits.forgotten_after)
    }
}

impl Troubles {
    /// An attempt failed, with a sign of life or without one, at a job that has been failing there for so long. Says since
    /// when attempts have failed.
    pub(super) fn failed(
        &mut self,
        key: u64,
        alive: bool,
        failing: Duration,
        limits: &Limits,
        now: Instant,
    ) -> Instant {
        let known = self.entries.get(&key).filter(|trouble| trouble.is_remembered(limits, now));
        let began = now.checked_sub(failing).unwrap_or(now);
        let from = |known: Option<Instant>, bound: Option<Instant>| {
            let from = known.map_or(began, |known| known.min(began));
            bound.map_or(from, |bound| bound.max(from))
        };
        let taken = known.and_then(|trouble| trouble.taken);
        let since = from(known.filter(|trouble| trouble.failing).map(|trouble| trouble.since), taken);
        let last_alive = known.and_then(|trouble| trouble.alive);
        let silent_since = from(known.and_then(|trouble| trouble.silent_since), last_alive);
        if self.entries.len() >= MAX_TROUBLES && !self.entries.contains_key(&key) {
            self.make_room(limits, now);
        }
        let silent_since = Some(silent_since).filter(|_| !alive);
        let alive = if alive { Some(now) } else { last_alive };
        self.entries.insert(key, Trouble { failing: true, since, heard: now, silent_since, taken, alive });
        since
    }

    /// An attempt was taken. Costs nothing while none fails.
    pub(super) fn delivered(&mut self, key: u64, now: Instant) {
        if let Some(trouble) = self.entries.get_mut(&key) {
            let (taken, alive) = (Some(now), Some(now));
            *trouble = Trouble { failing: false, since: now, heard: now, silent_since: None, taken, alive };
        }
    }

    /// A job that is not sent because the destination is down waits for it.
    pub(super) fn waited_for(&mut self, key: u64, now: Instant) {
        if let Some(trouble) = self.entries.get_mut(&key) {
            trouble.heard = now;
        }
    }

    /// What is known of one, if it was heard of lately.
    pub(super) fn get(&self, key: u64, limits: &Limits, now: Instant) -> Option<&Trouble> {
        self.entries.get(&key).filter(|trouble| trouble.is_known(limits, now))
    }

    /// How many are down, and how many others failed last.
    pub(super) fn count(&mut self, limits: &Limits, now: Instant) -> (usize, usize) {
        self.entries.retain(|_, trouble| trouble.is_remembered(limits, now));
        let known = self.entries.values().filter(|trouble| trouble.is_known(limits, now));
        known.fold(
            (0, 0),
            |(down, failing), trouble| {
                if trouble.is_down(limits) { (down + 1, failing) } else { (down, failing + 1) }
            },
        )
    }

    /// Whether there may be more than are counted.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= MAX_TROUBLES
    }

    /// Forgets those whose keys are not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.entries.retain(|key, _| keep(*key));
    }

    fn make_room(&mut self, limits: &Limits, now: Instant) {
        if self.expired.is_none_or(|at| now - at >= EXPIRE_EVERY) {
            self.expired = Some(now);
            self.entries.retain(|_, trouble| trouble.is_remembered(limits, now));
        }
        if self.is_full()
            && let Some(key) = self.entries.keys().next().copied()
        {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_as_fit_are_remembered_and_the_last_one_is() {
        let limits = Limits {
            retry_window: Duration::from_secs(300),
            attempt_timeout: Duration::from_secs(4),
            forgotten_after: Duration::from_secs(120),
        };
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        for key in 0..MAX_TROUBLES as u64 + 10 {
            troubles.failed(key, false, Duration::ZERO, &limits, now);
            assert!(troubles.get(key, &limits, now).is_some());
        }
        assert_eq!(troubles.count(&limits, now), (0, MAX_TROUBLES));
        assert!(troubles.is_full());
        tokio::time::advance(Duration::from_secs(121)).await;
        assert_eq!(troubles.count(&limits, Instant::now()), (0, 0));
        tokio::time::advance(Duration::from_secs(188)).await;
        assert_eq!(troubles.count(&limits, Instant::now()), (0, 0));
        assert!(!troubles.is_full());
    }
}
