//! Duplicates, and what explains each.
//!
//! A duplicate is an attempt at a delivery that began after an earlier attempt at it had taken effect
//! at the receiver. If none of those earlier ones was answered with a whole 2xx, it is an ordinary
//! retry to the worker ([`Cause::AnswerLost`]). Otherwise every earlier 2xx needs a cause of its own:
//! something that was done, at that time, to the process that got it, to its call that deletes the
//! job, or to the lease under which it worked. Within one process the ledger is held to its promise:
//! there only a stop, or an answer that came at the very deadline, is a cause. A stall of the machine
//! counts as a cause only where there is no other, and stalls are counted in the table.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Evidence, Violations, shown};
use crate::history::{Attempt, Delivery};
use crate::timing::ATTEMPT_TIMEOUT;

/// An attempt that took this long may have been given up by the worker just as it was accepted. No
/// receiver takes so long on purpose over a 2xx that is to count; a loaded machine may.
const AT_THE_DEADLINE: Duration = Duration::from_millis(800);

/// How long after an answer the job may not be deleted yet, if nothing is in the way: the rest of an
/// attempt at another webhook, and the delete itself with what it waits for company, on a loaded
/// machine.
const UNCONFIRMED: Duration = Duration::from_millis(1500);

/// From one side's last byte until the other has surely read it, on a loaded machine.
const READ: Duration = Duration::from_millis(300);

/// From a worker's SIGCONT until what was on its way when it was stopped has reached the receiver.
const RESUMING: Duration = Duration::from_millis(500);

/// Why a job was delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The receiver's answer was cut, reset or too late.
    AnswerLost,
    /// The process was killed before its delete was confirmed.
    Killed,
    /// The process was stopped, in mid-attempt or before its delete was confirmed.
    Stopped,
    /// A stopped process finished, when it was resumed, the attempt that it was about to make.
    SentOnResuming,
    /// The delete met a fault on its way, and another process received the job.
    DeleteFaulted,
    /// The queue was gone, and another process received the job.
    QueueGone,
    /// The receive's answer was so slow that the lease was over before the worker knew.
    ReceiveSlow,
    /// Another webhook of the job failed, and another process received the job.
    OtherWebhookFailed,
    /// The answer came at the deadline.
    AtTheDeadline,
    /// The machine stalled for longer than the worker's margins.
    Stalled,
}

impl Cause {
    pub const ALL: [Self; 10] = [
        Self::AnswerLost,
        Self::Killed,
        Self::Stopped,
        Self::SentOnResuming,
        Self::DeleteFaulted,
        Self::QueueGone,
        Self::ReceiveSlow,
        Self::OtherWebhookFailed,
        Self::AtTheDeadline,
        Self::Stalled,
    ];

    pub fn text(self) -> &'static str {
        match self {
            Self::AnswerLost => "the receiver's answer was cut, reset or too late",
            Self::Killed => "the worker was killed before its delete",
            Self::Stopped => "the worker was stopped before its delete",
            Self::SentOnResuming => "a resumed worker sent what it was about to send",
            Self::DeleteFaulted => "the delete met a fault, another worker got the job",
            Self::QueueGone => "the queue was gone, another worker got the job",
            Self::ReceiveSlow => "the receive's answer was slow, the lease shorter than known",
            Self::OtherWebhookFailed => "another webhook failed, another worker got the job",
            Self::AtTheDeadline => "the answer came at the deadline",
            Self::Stalled => "the machine stalled for longer than the worker's margins",
        }
    }
}

/// Counts duplicates by cause; one without a cause is a violation.
pub fn count(evidence: &Evidence, violations: &mut Violations) -> BTreeMap<Cause, u64> {
    let mut causes = BTreeMap::new();
    let attempts = evidence.by_delivery();
    for tries in attempts.values() {
        for (place, duplicate) in tries.iter().enumerate() {
            let earlier: Vec<&Attempt> =
                tries[..place].iter().copied().filter(|earlier| earlier.took_effect()).collect();
            if earlier.is_empty() {
                continue;
            }
            let mut cause = Cause::AnswerLost;
            for accepted in earlier.iter().filter(|earlier| earlier.accepted().is_some()) {
                let explained = Question { evidence, attempts: &attempts, accepted, duplicate }.cause();
                match explained {
                    Some(explained) => cause = explained,
                    None => violations.add("unexplained duplicate", story(evidence, accepted, duplicate)),
                }
            }
            *causes.entry(cause).or_default() += 1;
        }
    }
    causes
}

fn story(evidence: &Evidence, accepted: &Attempt, duplicate: &Attempt) -> String {
    let Delivery { group, n, .. } = accepted.delivery;
    let id = evidence.sent(group, n).map_or("", |sent| sent.id.as_str());
    let deletes = evidence.notes.deletes(&accepted.worker, id);
    let mut life = evidence.lives.get(&accepted.worker).cloned().unwrap_or_default();
    life.stops.retain(|(from, to)| *from <= duplicate.began.at && *to + ATTEMPT_TIMEOUT >= accepted.began.at);
    format!("{}, after {}; its deletes: {deletes}; its worker: {life:?}", shown(duplicate), shown(accepted))
}

/// Why did `accepted` not end the matter?
struct Question<'a> {
    evidence: &'a Evidence,
    attempts: &'a BTreeMap<Delivery, Vec<&'a Attempt>>,
    accepted: &'a Attempt,
    duplicate: &'a Attempt,
}

impl Question<'_> {
    fn cause(&self) -> Option<Cause> {
        let (began, ended) = (self.accepted.began.at, self.accepted.accepted()?.at);
        let (by, again) = (&self.accepted.worker, &self.duplicate.worker);
        let life = self.evidence.lives.get(by)?;
        let same = by == again;
        // What happens to the first process matters until its delete must be confirmed, and not past
        // the duplicate itself.
        let until = if same { ended + READ } else { (ended + UNCONFIRMED).min(self.duplicate.began.at) };
        let since = began.saturating_sub(ATTEMPT_TIMEOUT);
        if self.evidence.stopped(by, since, until) {
            return Some(Cause::Stopped);
        }
        if ended.saturating_sub(began) >= AT_THE_DEADLINE {
            return Some(Cause::AtTheDeadline);
        }
        if same {
            return None;
        }
        if life.killed.is_some_and(|at| at + READ >= began && at <= until) {
            return Some(Cause::Killed);
        }
        let Delivery { group, n, .. } = self.accepted.delivery;
        let id = &self.evidence.sent(group, n)?.id;
        let notes = &self.evidence.notes;
        if notes.delete_was_faulted(by, id, self.duplicate.began.at) {
            return Some(Cause::DeleteFaulted);
        }
        if notes.outage.is_some_and(|(from, to)| from <= until && to >= began) {
            return Some(Cause::QueueGone);
        }
        if notes.arrived_late(by, id) || notes.arrived_late(again, id) {
            return Some(Cause::ReceiveSlow);
        }
        if self.other_webhook_failed(ended) {
            return Some(Cause::OtherWebhookFailed);
        }
        if self.sent_on_resuming() {
            return Some(Cause::SentOnResuming);
        }
        self.evidence.stalled(since, until).then_some(Cause::Stalled)
    }

    /// Whether the first process did not know the job to be accepted by all its webhooks when it got
    /// this one accepted. What was accepted while it was stopped it did not learn of.
    fn other_webhook_failed(&self, ended: Duration) -> bool {
        let Delivery { group, n, webhook } = self.accepted.delivery;
        let by = &self.accepted.worker;
        let learnt = |attempt: &&Attempt| {
            let (from, to) = (attempt.began.at, attempt.accepted().map_or(Duration::MAX, |at| at.at));
            attempt.worker == *by
                && to <= ended + ATTEMPT_TIMEOUT
                && to.saturating_sub(from) < AT_THE_DEADLINE
                && !self.evidence.stopped(by, from, to + READ)
        };
        let accepted = |webhook| {
            let tries = self.attempts.get(&Delivery { group, n, webhook });
            tries.into_iter().flatten().any(learnt)
        };
        (0..self.evidence.webhooks[group]).any(|other| other != webhook && !accepted(other))
    }

    /// Whether the duplicate is the one attempt at its group that its process had begun when it was
    /// stopped: nothing else of the group was sent by it since, or was under way when it stopped.
    fn sent_on_resuming(&self) -> bool {
        let again = self.duplicate;
        let Some(life) = self.evidence.lives.get(&again.worker) else { return false };
        life.stops.iter().any(|(from, to)| {
            let resumed = again.began.at >= *from && again.began.at <= *to + RESUMING;
            let others = self.evidence.attempts.iter().filter(|other| {
                other.worker == again.worker
                    && other.delivery.group == again.delivery.group
                    && other.delivery.n != again.delivery.n
            });
            let mut in_between = others.filter(|other| {
                let ended = other.ended.map_or(Duration::MAX, |(at, _)| at.at);
                ended >= *from && other.began.at <= again.began.at
            });
            resumed && in_between.next().is_none()
        })
    }
}
