//! Every exception that an invariant makes, by name, with a seed that forced it.
//!
//! Each is a place where a fault can hide: they are as few and as narrow as can be. A run of all seeds
//! has to have needed each of them.

use std::time::Duration;

use super::event::{Id, Request};
use super::facts::{Attempts, Knowledge, Leases};
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
    pub fn lease_unknown(&self, attempts: &Attempts, request: &Request, job: usize) -> bool {
        self.grants(
            "excuse: lease unknown",
            attempts.was_in_doubt(request, job) || attempts.stood_still(request),
        )
    }

    /// The process may have received the job anew, by an answer that took too long, while it still worked
    /// on an earlier copy.
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
    pub fn letters_get_lost(&self) -> bool {
        self.grants("excuse: letters get lost", self.plan.kind == Kind::Everything)
    }

    /// The app changed while the job was under way: what one version signed or wanted another does not.
    pub fn app_changed(&self, job: usize) -> bool {
        self.grants("excuse: app changed", self.plan.apps[self.plan.jobs[job].app].len() > 1)
    }

    /// What a process gave up, or SQS moved, before it was ever attempted, may be attempted later if its
    /// delete fails or if its holder does not know that its lease is over: that is no first attempt.
    pub fn attempted_after_its_end(&self, end: Option<Duration>, first_attempt: Duration) -> bool {
        self.grants("excuse: attempted after its end", end.is_some_and(|end| end < first_attempt))
    }

    /// The queue's own `maxReceiveCount` is so low that what waits behind a failing head is moved, or what
    /// was received was never answered.
    pub fn moved_by_right(&self, ended_in_mid_run: bool) -> bool {
        let few = self.plan.rules.max_receive_count.is_some_and(|most| most < 100);
        self.grants(
            "excuse: moved by right",
            match self.plan.kind {
                Kind::Faultless => ended_in_mid_run,
                Kind::Destinations => few,
                Kind::Everything => true,
            },
        )
    }

    /// What a shutdown releases may come back to a poll of the same process that is parked.
    pub fn released_to_a_parked_poll(&self, ended_in_mid_run: bool) -> bool {
        self.grants("excuse: released to a parked poll", ended_in_mid_run)
    }
}
