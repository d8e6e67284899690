//! The redrive: letters back on their queue, in order.
//!
//! Invariants:
//! - of a group a letter is sent only when the one before it has been confirmed, and none behind one that was not taken;
//! - a letter is deleted only after the queue has confirmed its job;
//! - its job's deduplication id is made of the letter's own: repeated within five minutes it adds nothing to the queue.
//!
//! Which letters are wanted, and what a job is to say of who has it, is the caller's ([`Wanted`]).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::walk::{GivenBack, MAX_REPEATS, Step, Walk, repeat_wait};
use super::{Letter, Letters, Source};
use crate::queue::{Cause, Error, MAX_BATCH, MessageId, NewMessage, ReceiveError, Redriven};
use crate::random::Random;

/// The most letters that are named one by one; of more there is only a count.
const NAMED: usize = 20;

/// Letters that are received must go out well before their visibility ends, however low the rate is.
const BATCH_SECONDS: f64 = 20.0;

/// Why a letter is left where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// It was not asked for.
    NotChosen,
    /// It is of another queue.
    OtherQueue,
    /// It does not say which queue it is of, and several share the dead-letter queue.
    Unmarked,
    /// Every webhook that its app has now for its events has it already: the one that lacked it is gone.
    WebhookGone,
    /// The queue refuses it.
    Refused,
    /// The queue could not take it, and may when it is sent again.
    Unsent,
    /// It lies behind one of its group that the queue did not take.
    Behind,
    /// It is no text.
    NoText,
    /// It was sent while the redrive ran.
    Newer,
    /// It was put back, and could not be deleted.
    PutBackNotDeleted,
    /// A purge could not delete it.
    NotPurged,
}

impl Left {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NotChosen => "not chosen",
            Self::OtherQueue => "of another queue",
            Self::Unmarked => {
                "of a queue that it does not name, and several share this dead-letter queue: name its id to put it back"
            }
            Self::WebhookGone => {
                "its webhook is gone: its app has none now that is for its events and lacks it"
            }
            Self::Refused => "refused by the queue",
            Self::Unsent => "the queue has errors of its own, or takes fewer requests: run this again",
            Self::Behind => "behind one of its group that the queue did not take",
            Self::NoText => "its body is no text",
            Self::NotPurged => "it could not be deleted; the backup has it",
            Self::Newer => {
                "sent while this ran: a job that failed again (and with it what lies behind it), or a new letter"
            }
            Self::PutBackNotDeleted => {
                "put back, but could not be deleted: run this again within five minutes"
            }
        }
    }
}

/// What is put back, and how.
pub struct Plan<'a> {
    /// Whether a letter is asked for.
    pub chosen: &'a (dyn Fn(&Letter) -> bool + Send + Sync),
    /// Whether a letter that names no queue is ours.
    pub unmarked: bool,
    /// The most letters to put back.
    pub most: usize,
    /// Letters a second, if that is bounded.
    pub rate: Option<f64>,
    /// Whether nothing is put back, and only said what would be.
    pub dry_run: bool,
    /// The largest message that the queue takes.
    pub most_bytes: usize,
}

/// Whether there is still a webhook for a letter.
pub trait Wanted: Send + Sync {
    /// False only if no webhook that the app has now is for the job and lacks it.
    fn is_wanted(&self, letter: &Letter) -> impl Future<Output = bool> + Send;
}

/// What a redrive did.
#[derive(Debug, Default)]
pub struct Report {
    /// Letters that were put back, or would be.
    pub put_back: usize,
    /// Letters that were left, by why.
    pub left: BTreeMap<Left, usize>,
    /// The first of them: id, group, why.
    pub named: Vec<(MessageId, Arc<str>, Left)>,
    /// Letters left out ahead of one that was chosen, in its group.
    pub overtaken: Vec<(MessageId, Arc<str>)>,
    /// Letters that went without some of their attributes, which would have made them too large.
    pub bare: Vec<MessageId>,
    /// Why the first was not taken, in the queue's own words where it was asked.
    pub refusal: Option<String>,
    /// What came of giving back what it held.
    pub given_back: GivenBack,
    /// Whether it was told to stop before the end.
    pub stopped: bool,
}

impl Report {
    fn leave(&mut self, letter: &Letter, why: Left) {
        *self.left.entry(why).or_default() += 1;
        if self.named.len() < NAMED && why != Left::NotChosen {
            self.named.push((letter.message.id.clone(), Arc::clone(&letter.message.group), why));
        }
    }
}

/// Why a redrive failed. What it had not put back is where it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Letters could not be received.
    #[error("the dead-letter queue: {0}")]
    Receive(#[from] ReceiveError),
    /// Letters could not be deleted.
    #[error("the dead-letter queue: {0}")]
    Delete(Error),
    /// Jobs could not be sent.
    #[error("the queue: {0}")]
    Send(Error),
}

/// Puts letters back on their queue, in order, each once; calls `progress` with how many are back.
///
/// Repeated within five minutes of an interruption it puts nothing back twice: the deduplication id is
/// made of the letter's own.
///
/// # Errors
/// The first failure, after everything that it still held has been given back; the report says how far
/// it came.
pub async fn redrive<L: Letters, S: Source, W: Wanted>(
    ports: (&L, &S, &W),
    plan: &Plan<'_>,
    random: &Random,
    stop: CancellationToken,
    progress: impl FnMut(usize) + Send,
) -> (Report, Result<(), Failure>) {
    let (letters, source, wanted) = ports;
    let walk = Walk::new(letters, random, stop.clone());
    let pace = plan.rate.map(|rate| (Instant::now(), rate.max(f64::MIN_POSITIVE)));
    let mut run = Run {
        walk,
        source,
        wanted,
        plan,
        pace,
        stop,
        progress,
        report: Report::default(),
        back: HashSet::new(),
        again: HashSet::new(),
        refused: HashSet::new(),
        too_large: HashSet::new(),
        skipped: HashMap::new(),
    };
    let ended = run.all().await;
    let Run { walk, mut report, .. } = run;
    if walk.newer() > 0 {
        *report.left.entry(Left::Newer).or_default() += walk.newer();
    }
    report.given_back = walk.end().await;
    (report, ended)
}

struct Run<'a, L, S, W, P> {
    walk: Walk<'a, L>,
    source: &'a S,
    wanted: &'a W,
    plan: &'a Plan<'a>,
    /// When it began, and letters a second.
    pace: Option<(Instant, f64)>,
    stop: CancellationToken,
    progress: P,
    report: Report,
    /// The jobs that were put back, by the ids that a letter of one that failed again may name: how old that letter is
    /// would tell it apart only by clocks that agree.
    back: HashSet<MessageId>,
    /// Groups with such a letter: what lies behind it was sent later still.
    again: HashSet<Arc<str>>,
    /// Groups of which a letter was not taken: what lies behind it must not overtake it.
    refused: HashSet<Arc<str>>,
    /// Groups with a letter that the queue would not take: what is before it goes.
    too_large: HashSet<Arc<str>>,
    /// Letters that were not chosen, by group, until one behind them is.
    skipped: HashMap<Arc<str>, Vec<MessageId>>,
}

impl<L: Letters, S: Source, W: Wanted, P: FnMut(usize) + Send> Run<'_, L, S, W, P> {
    async fn all(&mut self) -> Result<(), Failure> {
        while self.report.put_back < self.plan.most {
            // What waits longer than it is hidden could not be deleted, and others would see it meanwhile.
            if !self.plan.dry_run {
                self.wait(1, Duration::from_secs_f64(BATCH_SECONDS)).await;
            }
            let most = MAX_BATCH.min(self.plan.most - self.report.put_back).min(self.by_rate());
            match self.walk.next(most).await? {
                Step::Letters(letters) => self.batch(letters).await?,
                Step::End => return Ok(()),
                Step::Stopped => {
                    self.report.stopped = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// As many as the rate lets out while their visibility lasts.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    fn by_rate(&self) -> usize {
        self.pace.map_or(MAX_BATCH, |(_, rate)| ((rate * BATCH_SECONDS) as usize).clamp(1, MAX_BATCH))
    }

    async fn batch(&mut self, letters: Vec<Letter>) -> Result<(), Failure> {
        let mut going: Vec<(Letter, NewMessage)> = Vec::with_capacity(letters.len());
        for letter in letters {
            match self.judge(&letter).await {
                Ok(job) => {
                    let group = &letter.message.group;
                    for id in self.skipped.remove(group).unwrap_or_default() {
                        if self.report.overtaken.len() < NAMED {
                            self.report.overtaken.push((id, Arc::clone(group)));
                        }
                    }
                    going.push((letter, job));
                }
                Err(why) => {
                    if why == Left::NotChosen {
                        let skipped = self.skipped.entry(Arc::clone(&letter.message.group)).or_default();
                        if skipped.len() < NAMED {
                            skipped.push(letter.message.id.clone());
                        }
                    }
                    self.report.leave(&letter, why);
                    self.walk.hold(letter);
                }
            }
        }
        if self.plan.dry_run {
            self.report.put_back += going.len();
            self.walk.hold_all(going.into_iter().map(|(letter, _)| letter));
            (self.progress)(self.report.put_back);
            return Ok(());
        }
        if self.wait(going.len(), Duration::ZERO).await {
            self.walk.hold_all(going.into_iter().map(|(letter, _)| letter));
            return Ok(());
        }
        self.put_back(going).await
    }

    /// The job that a letter becomes, or why it stays.
    async fn judge(&mut self, letter: &Letter) -> Result<NewMessage, Left> {
        // Asked of every letter: it may count them.
        let chosen = (self.plan.chosen)(letter);
        if let Some(why) = letter.of_others(self.plan.unmarked) {
            return Err(why);
        }
        if !chosen {
            return Err(Left::NotChosen);
        }
        if self.again.contains(&letter.message.group) {
            return Err(Left::Newer);
        }
        if self.back.contains(first_id(letter)) {
            self.again.insert(Arc::clone(&letter.message.group));
            return Err(Left::Newer);
        }
        let is_behind = |groups: &HashSet<Arc<str>>| groups.contains(&letter.message.group);
        if is_behind(&self.refused) || is_behind(&self.too_large) {
            return Err(Left::Behind);
        }
        if !self.wanted.is_wanted(letter).await {
            return Err(Left::WebhookGone);
        }
        let job = job(letter).ok_or(Left::NoText)?;
        let (job, whole) = job.fitting_in(self.plan.most_bytes);
        if job.size() > self.plan.most_bytes {
            self.too_large.insert(Arc::clone(&letter.message.group));
            let (bytes, most) = (job.size(), self.plan.most_bytes);
            self.report.refusal.get_or_insert(format!(
                "its MaximumMessageSize is {most}, and {} has {bytes} bytes (raise it: hookferry check prints the line)",
                letter.message.id
            ));
            return Err(Left::Refused);
        }
        if !whole {
            self.report.bare.push(letter.message.id.clone());
        }
        Ok(job)
    }

    /// Waits until so many more may go by the pace, or until `before` that; true if it is to stop instead.
    async fn wait(&mut self, count: usize, before: Duration) -> bool {
        let Some((began, rate)) = self.pace else { return self.stop.is_cancelled() };
        #[allow(clippy::cast_precision_loss, reason = "so many letters are in no queue")]
        let due = Duration::try_from_secs_f64((self.report.put_back + count) as f64 / rate);
        let due = due.unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
        let due = began + due.saturating_sub(before);
        self.stop.run_until_cancelled(sleep_until(due)).await.is_none()
    }

    async fn put_back(&mut self, going: Vec<(Letter, NewMessage)>) -> Result<(), Failure> {
        let mut taken = Vec::with_capacity(going.len());
        let mut ended = Ok(());
        for wave in waves(going) {
            if ended.is_err() {
                self.walk.hold_all(wave.into_iter().map(|(letter, _)| letter));
                continue;
            }
            let (may_go, behind): (Vec<_>, Vec<_>) =
                wave.into_iter().partition(|(letter, _)| !self.refused.contains(&letter.message.group));
            for (letter, _) in behind {
                self.report.leave(&letter, Left::Behind);
                self.walk.hold(letter);
            }
            ended = self.send(may_go, &mut taken).await;
        }
        // They are on the queue, whatever comes of the letters.
        self.report.put_back += taken.len();
        (self.progress)(self.report.put_back);
        let deletion = self.walk.delete(taken).await;
        if deletion.left > 0 {
            *self.report.left.entry(Left::PutBackNotDeleted).or_default() += deletion.left;
        }
        ended.and(deletion.error.map_or(Ok(()), |error| Err(Failure::Delete(error))))
    }

    /// Sends jobs of different groups: again what the queue could not take for a passing reason, and with less of what
    /// is known of it what it does not take as it is.
    async fn send(
        &mut self,
        mut going: Vec<(Letter, NewMessage)>,
        taken: &mut Vec<Letter>,
    ) -> Result<(), Failure> {
        let mut resends = 0;
        let mut lessened = HashSet::new();
        while !going.is_empty() {
            let (letters, jobs): (Vec<Letter>, Vec<NewMessage>) = going.into_iter().unzip();
            let sent = match self.source.send_jobs(&jobs).await {
                Ok(sent) => sent,
                Err(error) => {
                    self.walk.hold_all(letters);
                    return Err(Failure::Send(error));
                }
            };
            going = Vec::new();
            let mut is_passing = false;
            for ((letter, job), sent) in letters.into_iter().zip(jobs).zip(sent) {
                let unsent = match sent {
                    Ok(sent) => {
                        // Without its first id, the job is known by the one that it has now.
                        self.back.extend([Arc::clone(first_id(&letter)), MessageId::from(sent)]);
                        let id = &letter.message.id;
                        if lessened.contains(id) && !self.report.bare.contains(id) {
                            self.report.bare.push(id.clone());
                        }
                        taken.push(letter);
                        continue;
                    }
                    Err(unsent) => unsent,
                };
                match unsent.cause {
                    Cause::Passing if resends < MAX_REPEATS => {
                        is_passing = true;
                        going.push((letter, job));
                    }
                    Cause::Message if job.redriven.is_some() => {
                        lessened.insert(letter.message.id.clone());
                        going.push((letter, job.with_less()));
                    }
                    cause => {
                        self.refused.insert(Arc::clone(&letter.message.group));
                        self.report.refusal.get_or_insert(unsent.why);
                        let why = if cause == Cause::Passing { Left::Unsent } else { Left::Refused };
                        self.report.leave(&letter, why);
                        self.walk.hold(letter);
                    }
                }
            }
            if is_passing {
                sleep(repeat_wait(resends)).await;
                resends += 1;
            }
        }
        Ok(())
    }
}

/// Letters in batches of one of each group, in order: of two in one batch the queue may take the second alone.
fn waves(going: Vec<(Letter, NewMessage)>) -> Vec<Vec<(Letter, NewMessage)>> {
    let mut waves: Vec<Vec<(Letter, NewMessage)>> = Vec::new();
    let mut next: HashMap<Arc<str>, usize> = HashMap::new();
    for (letter, job) in going {
        let place = next.entry(Arc::clone(&letter.message.group)).or_default();
        match waves.get_mut(*place) {
            Some(wave) => wave.push((letter, job)),
            None => waves.push(vec![(letter, job)]),
        }
        *place += 1;
    }
    waves
}

/// The id under which receivers know a letter's job.
fn first_id(letter: &Letter) -> &MessageId {
    letter.message.redriven.as_ref().map_or(&letter.message.id, |redriven| &redriven.source)
}

/// A letter as the job that it was.
fn job(letter: &Letter) -> Option<NewMessage> {
    let message = &letter.message;
    let redriven = message.redriven.clone().unwrap_or_else(|| Redriven {
        source: message.id.clone(),
        delivered: Vec::new(),
        webhook: None,
    });
    Some(NewMessage {
        body: std::str::from_utf8(&message.body).ok()?.to_owned(),
        group: message.group.to_string(),
        deduplication: format!("redrive-{}", message.id),
        redriven: Some(redriven),
    })
}

#[cfg(test)]
mod tests;
