//! The dead-letter queue and the queue as the walks see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;
use tokio::time::{Duration, timeout};

use crate::app::App;
use crate::apps::{Apps, LookUpError};
use crate::job::{Job, WebhookId};
use crate::letters::redrive::Wanted;
use crate::letters::{Letter, Letters, Origin, Sent, Source};
use crate::plan::{Wanted as WantedBy, select};
use crate::queue::sqs::{RawLetter, Sqs};
use crate::queue::{AttemptId, BatchEntryResult, Error, NewMessage, Receipt, ReceiveError};
use crate::run::sources::Sources;

/// The longest that one look-up of an app may take.
const LOOK_UP: Duration = Duration::from_secs(5);

/// A dead-letter queue, and the accounts and names of the queue that it is looked after for, by its URL and by its ARN:
/// the worker's letters name the former, those that SQS moved the latter.
#[derive(Debug)]
pub(super) struct DeadLetterQueue {
    pub(super) sqs: Sqs,
    pub(super) ours: Vec<String>,
}

impl DeadLetterQueue {
    fn letter(&self, raw: RawLetter) -> Letter {
        let origin = match &raw.source {
            None => Origin::Unmarked,
            Some(source) if self.is_ours(source) => Origin::Ours,
            Some(source) => Origin::Other(Arc::clone(source)),
        };
        Letter { message: raw.message, attributes: raw.attributes, origin }
    }

    pub(super) fn is_ours(&self, source: &str) -> bool {
        self.ours.iter().any(|ours| is_same(ours, source))
    }

    /// As exported letters name it.
    pub(super) fn name(&self) -> Option<&str> {
        self.ours.first().map(String::as_str)
    }
}

/// By account and name; by the name alone where one of the two has no account, as in emulators' URLs.
fn is_same(one: &str, other: &str) -> bool {
    let ((account, name), (of_other, name_of_other)) = (parts(one), parts(other));
    name == name_of_other && account.zip(of_other).is_none_or(|(account, of_other)| account == of_other)
}

/// The account, twelve digits, and the name, which has no dot but that of `.fifo`.
fn parts(queue: &str) -> (Option<&str>, &str) {
    let stem = queue.strip_suffix(".fifo").unwrap_or(queue);
    let Some((account, _)) = stem.rsplit_once('.') else { return (None, queue) };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account.then_some(account), queue.get(account.len() + 1..).unwrap_or_default())
}

impl Letters for DeadLetterQueue {
    async fn receive_letters(&self, max: usize, attempt: &AttemptId) -> Result<Vec<Letter>, ReceiveError> {
        let received = self.sqs.receive_raw(max, attempt).await?;
        Ok(received.into_iter().map(|raw| self.letter(raw)).collect())
    }

    async fn delete_letters(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        crate::queue::Queue::delete(&self.sqs, receipts).await
    }

    async fn give_back(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        self.sqs.release(receipts).await
    }
}

/// The queue that letters go back on.
#[derive(Debug)]
pub(super) struct JobQueue(pub(super) Sqs);

impl Source for JobQueue {
    async fn send_jobs(&self, jobs: &[NewMessage]) -> Result<Vec<Sent>, Error> {
        self.0.send(jobs).await
    }
}

/// Asks the app source whether a letter still has a webhook.
#[derive(Debug)]
pub(super) struct ByApps {
    apps: Sources,
    unreachable: AtomicBool,
    /// What is on the terminal while it is asked.
    bar: ProgressBar,
}

impl ByApps {
    pub(super) fn new(apps: Sources, bar: ProgressBar) -> Self {
        Self { apps, unreachable: AtomicBool::new(false), bar }
    }

    /// Says it once.
    fn tell_unreachable(&self, why: &str) {
        if self.unreachable.swap(true, Ordering::Relaxed) {
            return;
        }
        self.bar.suspend(|| {
            eprintln!(
                "the app source does not answer here: {why}; letters whose webhook is gone are put back too, and the worker gives \
                 them up again"
            );
        });
    }
}

impl Wanted for ByApps {
    /// What cannot be told is for the worker to find out. An app that has no webhook here at all may have
    /// some where the worker looks: this may be another machine.
    async fn is_wanted(&self, letter: &Letter) -> bool {
        let delivered =
            letter.message.redriven.as_ref().map_or(&[][..], |redriven| redriven.delivered.as_slice());
        if self.unreachable.load(Ordering::Relaxed) {
            return true;
        }
        let Ok(job) = Job::decode(&letter.message.body) else { return true };
        match timeout(LOOK_UP, self.apps.find_by_key(&job.app_key)).await {
            Ok(Ok(Some(app))) => app.webhooks.is_empty() || is_lacking(job, &app, delivered),
            Ok(Ok(None) | Err(LookUpError::Unusable(_))) => true,
            Ok(Err(LookUpError::Unreachable(why))) => {
                self.tell_unreachable(&why);
                true
            }
            Err(_) => {
                self.tell_unreachable(&format!("no answer within {} s", LOOK_UP.as_secs()));
                true
            }
        }
    }
}

/// Whether a worker that plans the job by the app as it is now has somebody to send it to who is not among those that have
/// it. What the worker ends otherwise than by a letter of the same kind (no job of the app's, a filter that lets none of it
/// pass) is for the worker.
fn is_lacking(job: Job, app: &App, delivered: &[WebhookId]) -> bool {
    let Ok(job) = app.verified(job) else { return true };
    let Ok(plan) = select(&job, app) else { return true };
    let mut selected = plan.selected.iter().filter_map(|selection| app.webhooks.get(selection.index));
    plan.wanted == WantedBy::Filtered || selected.any(|webhook| !delivered.iter().any(|id| webhook.is(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_told_by_account_and_name_or_by_its_name_where_a_url_has_no_account() {
        let by_arn = "000000000000.w.fifo";
        for same in [by_arn, "queue.w.fifo", "w.fifo"] {
            assert!(
                is_same(same, by_arn) && is_same(by_arn, same) && is_same(same, "queue.w.fifo"),
                "{same}"
            );
        }
        for other in
            ["111111111111.w.fifo", "000000000000.v.fifo", "queue.v.fifo", "000000000000.w", "fifo", ""]
        {
            assert!(!is_same(by_arn, other) && !is_same(other, by_arn), "{other}");
        }
    }
}
