//! Since when a job has been failing, and how often it was tried: as far as is known.

use std::time::Duration;

use crate::app::Webhook;
use crate::in_flight::{InFlight, Times};
use crate::policy::{self, Retry};

/// How many receives of a message that is new to this process count as attempts for its backoff. No more: messages
/// behind a failing head are received with it without being attempted.
const MAX_COUNTED_RECEIVES: u32 = 3;

/// The number of the next attempt: one more than this process knows of.
pub(super) fn next_number(held: &InFlight) -> u32 {
    held.claim.record().attempts.saturating_add(1)
}

/// The number of the next attempt at one webhook, as its receiver is told.
pub(super) fn next_number_at(held: &InFlight, webhook: &Webhook) -> u32 {
    held.claim.record().tries_at(webhook).map_or(0, |tries| tries.attempts).saturating_add(1)
}

/// After how many attempts the backoff is. Of a message that this process has never held before, the receive count
/// may say something of other processes' attempts, and a little of that counts: for the backoff, not for giving up.
pub(super) fn attempts_for_backoff(held: &InFlight, number: u32) -> u32 {
    if held.claim.held_before() {
        number
    } else {
        number.max(held.message.receive_count.min(MAX_COUNTED_RECEIVES))
    }
}

/// For how long others had been failing with a job when this process first did. A job that it never held before was
/// received for the first time so long ago, as far as the backoffs of so many attempts reach: what lay in the queue
/// while no worker ran was not failing, and what waited behind another job has few receives. It may have been received
/// and never attempted, so half of the window is left to it.
pub(super) fn failed_elsewhere(held: &InFlight, retry: &Retry) -> Duration {
    let known = held.claim.record().failed_elsewhere;
    if held.claim.held_before() {
        return known;
    }
    let before = held.message.receive_count.saturating_sub(1);
    known.max(held.message.since_first_receive.min(policy::backoffs(before, retry)).min(retry.window / 2))
}

/// Whether it has waited for longer than the window. That is asked only where everything that it waits for is
/// known to have been failing for all of a window: then its own first failure is not waited for, or a dead
/// destination's backlog would take a window for every ten jobs of a group.
pub(super) fn is_past(held: &InFlight, times: Times, retry: &Retry) -> bool {
    // Every job gets an attempt, where there is no window at all.
    !retry.window.is_zero() && held.age(times) >= retry.window
}
