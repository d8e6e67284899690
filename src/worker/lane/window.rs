//! For how long a job has been failing, and how often it was tried: as far as is known.

use std::time::Duration;

use crate::policy::Retry;
use crate::worker::in_flight::{InFlight, Times};

/// A receive count says little of attempts that other processes made: it counts receives behind a failing
/// head too.
const HINT: u32 = 3;

/// The number of the next attempt: one more than this process knows of. What it has held untried is at its
/// first; only of a message that it has never held may the receive count say something.
pub(super) fn next_number(held: &InFlight) -> u32 {
    let record = held.claim.record();
    if record.attempts > 0 || held.claim.held_before() {
        return record.attempts.saturating_add(1);
    }
    held.message.receive_count.clamp(1, HINT)
}

/// For how long a job that has just failed has been failing. From its first attempt where that is known; of
/// a message that this process never held before, since its first receive, as far as so many receives can
/// be attempts: what lay in the queue while no worker ran was not failing.
pub(super) fn failing_for(held: &InFlight, times: Times, retry: &Retry, attempt: Duration) -> Duration {
    let own = held.claim.record().first_attempt.map_or(Duration::ZERO, |first| first.elapsed());
    if held.claim.held_before() {
        return own;
    }
    let before = held.message.receive_count.saturating_sub(1);
    let at_most = (retry.cap + attempt).saturating_mul(before);
    own.max(since_first_receive(held, times).min(at_most))
}

/// How long ago it was received for the first time, by anyone.
fn since_first_receive(held: &InFlight, times: Times) -> Duration {
    held.message.since_first_receive + times.received_at.elapsed()
}

/// Whether it has waited for longer than the window. That is asked only where everything that it waits for is
/// known to have been failing for all of a window: then its own first failure is not waited for, or a dead
/// destination's backlog would take a window for every ten jobs of a group.
pub(super) fn is_past(held: &InFlight, times: Times, retry: &Retry) -> bool {
    // Every job gets an attempt, where there is no window at all.
    !retry.window.is_zero() && held.age(times) >= retry.window
}
