//! Every exception that an invariant makes, by name, with a seed that forced it.
//!
//! Each is a place where a fault can hide: they are as few and as narrow as can be. A run of all seeds
//! has to have needed each of them.

use std::time::Duration;

use super::event::{Id, Request};
use super::facts::{Attempts, Knowledge, LastReceive, Leases};
use super::invariants::Record;
use crate::simulation::plan::Kind;

impl Record<'_> {
    /// Notes that an excuse was needed.
    fn grants(&self, excuse: &'static str, granted: bool) -> bool {
        if granted {
            self.granted.borrow_mut().insert(excuse);
        }
        granted
    }

    /// The process cannot know that its lease of the job is over: the queue's answer took longer than the
    /// safety margin, or everything stood still during the attempt.
    /// Forced by seed 1.
    pub fn lease_unknown(&self, attempts: &Attempts, request: &Request, job: usize) -> bool {
        self.grants(
            "excuse: lease unknown",
            attempts.was_in_doubt(request, job) || attempts.stood_still(request),
        )
    }

    /// The process may have received the job anew, by an answer that took too long, while it still worked
    /// on an earlier copy.
    /// Forced by seed 13694; by none of those that a plain run has.
    pub fn copies_unknown(
        &self,
        attempts: &Attempts,
        leases: &Leases,
        request: &Request,
        job: usize,
    ) -> bool {
        self.grants(
            "excuse: copies unknown",
            leases.ever_in_doubt(job, request.process) || attempts.stood_still(request),
        )
    }

    /// A process whose shutdown ran out of its grace, before the dead-letter queue's answer came, leaves its
    /// letter to be sent again by another.
    /// Forced by seed 53.
    pub fn letter_unanswered(
        &self,
        ended_in_mid_run: bool,
        knowledge: &Knowledge,
        message: usize,
        by: Id,
    ) -> bool {
        self.grants("excuse: letter unanswered", ended_in_mid_run && !knowledge.lettered(message, by))
    }

    /// Calls to the dead-letter queue fail in these worlds, on the way there and on the way back: a letter
    /// may be sent twice.
    /// Forced by seed 4.
    pub fn letters_get_lost(&self) -> bool {
        self.grants("excuse: letters get lost", self.plan.kind == Kind::Everything)
    }

    /// The app changed between the job's making and its first attempt: it had nowhere to go until then.
    /// Forced by seed 65.
    pub fn app_changed(&self, job: usize, first_attempt: Duration) -> bool {
        let planned = self.plan.job(job);
        let versions = self.plan.versions_between(planned.app, planned.at, first_attempt);
        self.grants("excuse: app changed", versions.count() > 1)
    }

    /// What a process gave up, or SQS moved, before it was ever attempted, may be attempted later if its
    /// delete fails or if its holder does not know that its lease is over: that is no first attempt.
    /// Forced by seed 51.
    pub fn attempted_after_its_end(&self, end: Option<Duration>, first_attempt: Duration) -> bool {
        self.grants("excuse: attempted after its end", end.is_some_and(|end| end < first_attempt))
    }

    /// The last receive of a message that SQS moved or deleted came to nothing, for a reason that its worker can do
    /// nothing about: the answer never came, the process was interrupted, or a call about that very message failed.
    /// Forced by seed 4.
    pub fn last_receive_lost(&self, receive: &LastReceive) -> bool {
        self.grants("excuse: last receive lost", receive.was_in_vain())
    }

    /// SQS hands over a message for the last time to a process that is still at an earlier copy, as a call about that
    /// takes longer than its lease: the new copy is not worked until then, and its lease may be over, too.
    /// Forced by seed 161.
    pub fn refused_behind_a_copy(&self, receive: &LastReceive) -> bool {
        self.grants("excuse: refused behind a copy", receive.was_behind_a_copy())
    }

    /// SQS deleted a message for its age that could have been handed over in time to be given up, and was not: it
    /// waits behind others of its group, or no worker runs.
    /// Forced by seed 190.
    pub fn not_handed_over_in_time(&self, it_was_late: bool) -> bool {
        self.grants("excuse: not handed over in time", it_was_late)
    }

    /// What an app has no use for is put off until the app has been asked for later than the job was sent: the
    /// shortest backoff, during which its process may end.
    /// Forced by seed 405.
    pub fn put_off(&self, hidden_for_the_shortest_backoff: bool) -> bool {
        self.grants("excuse: put off", hidden_for_the_shortest_backoff)
    }
}
