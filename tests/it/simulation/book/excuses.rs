//! Every exception that an invariant makes, by name, with the seed that forced it.
//!
//! Each is a place where a fault can hide: they are as few and as narrow as can be.

use std::time::Duration;

use super::event::{Id, Request};
use super::facts::{Attempts, Knowledge, Leases};
use crate::simulation::plan::{Kind, Plan, Poison};

/// The process cannot know that its lease of the job is over: the queue's answer took longer than the
/// safety margin, or everything stood still during the attempt.
pub fn lease_unknown(attempts: &Attempts, request: &Request, job: usize) -> bool {
    attempts.was_in_doubt(request, job) || attempts.stood_still(request)
}

/// It may have received a job anew, by an answer that took too long, while it still worked on an earlier
/// copy.
pub fn copies_unknown(attempts: &Attempts, leases: &Leases, request: &Request, job: usize) -> bool {
    leases.ever_in_doubt(job, request.process) || attempts.stood_still(request)
}

/// A process whose shutdown ran out of its grace, before the dead-letter queue's answer came, leaves its
/// letter to be sent again by another.
pub fn letter_unanswered(ended_in_mid_run: bool, knowledge: &Knowledge, message: usize, by: Id) -> bool {
    ended_in_mid_run && !knowledge.lettered(message, by)
}

/// Calls to the dead-letter queue fail in these worlds, on the way there and on the way back: a letter
/// may be sent twice.
pub fn letters_get_lost(plan: &Plan) -> bool {
    plan.kind == Kind::Everything
}

/// The app changed while the job was under way: what one version signed or wanted another does not.
pub fn app_changed(plan: &Plan, job: usize) -> bool {
    plan.apps[plan.jobs[job].app].len() > 1
}

/// What a process gave up, or SQS moved, before it was ever attempted, may be attempted later if its delete
/// fails or if its holder does not know that its lease is over: that is no first attempt.
pub fn attempted_after_its_end(end: Option<Duration>, first_attempt: Duration) -> bool {
    end.is_some_and(|end| end < first_attempt)
}

/// The queue's own `maxReceiveCount` is so low that what waits behind a failing head is moved.
pub fn few_receives(plan: &Plan) -> bool {
    plan.rules.max_receive_count.is_some_and(|most| most < 100)
}

/// The job is wrong in itself: it is given up without an attempt.
pub fn poisoned(plan: &Plan, job: usize) -> bool {
    plan.jobs[job].poison != Poison::None
}
