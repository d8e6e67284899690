//! When this worker could attempt nothing: the queue could not be received from, or the process did not run. That is
//! no time in which a job or a destination has been failing.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A shorter absence is none: backoffs are as long.
const SHORTEST: Duration = Duration::from_secs(10);

/// Absences remembered. Of an earlier one nothing is deducted: what has been failing since then is at the end of its
/// window.
const MAX_REMEMBERED: usize = 64;

/// The absences of a worker: none overlaps another.
#[derive(Debug, Default)]
pub struct Absences(Mutex<VecDeque<(Instant, Instant)>>);

impl Absences {
    /// From `began` to `ended` nothing could be attempted; gives how much of that was not known yet, if it counts. Each poll
    /// under way tells of the same time.
    pub fn add(&self, began: Instant, ended: Instant) -> Option<Duration> {
        let mut absences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let overlap =
            |(from, to): &(Instant, Instant)| ended.min(*to).saturating_duration_since(began.max(*from));
        let known: Duration = absences.iter().map(overlap).sum();
        let new = ended.saturating_duration_since(began).saturating_sub(known);
        if new <= SHORTEST {
            return None;
        }
        let (mut from, mut to) = (began, ended);
        absences.retain(|(began, ended)| {
            let apart = *ended < from || to < *began;
            if !apart {
                (from, to) = (from.min(*began), to.max(*ended));
            }
            apart
        });
        if absences.len() >= MAX_REMEMBERED {
            absences.pop_front();
        }
        absences.push_back((from, to));
        Some(new)
    }

    /// How long this worker has been there since then.
    #[must_use]
    pub fn present_since(&self, since: Instant) -> Duration {
        let absences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let absent = absences.iter().map(|(began, ended)| ended.saturating_duration_since(since.max(*began)));
        since.elapsed().saturating_sub(absent.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn absences_are_deducted_as_far_as_they_lie_in_the_time_that_is_asked_for() {
        let (absences, start) = (Absences::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        tokio::time::advance(Duration::from_secs(300)).await;
        assert_eq!(absences.add(at(5), at(15)), None, "no longer than a backoff");
        assert_eq!(absences.add(at(100), at(150)), Some(Duration::from_secs(50)));
        assert_eq!(absences.add(at(100), at(150)), None, "another poll tells the same");
        assert_eq!(absences.add(at(200), at(215)), Some(Duration::from_secs(15)));
        assert_eq!(absences.add(at(200), at(230)), Some(Duration::from_secs(15)), "the rest of it");
        for (since, present) in [(0, 220), (120, 120), (160, 110), (210, 70), (230, 70), (290, 10)] {
            assert_eq!(absences.present_since(at(since)), Duration::from_secs(present), "{since}");
        }
        let later = |n: u64| at(1000 + 20 * n);
        for n in 0..2 * MAX_REMEMBERED as u64 {
            absences.add(later(n), later(n) + SHORTEST + Duration::from_secs(1));
        }
        assert_eq!(absences.0.lock().unwrap().len(), MAX_REMEMBERED);
    }
}
