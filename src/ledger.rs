//! What this process knows of messages that may come back: that it held them, its attempts, webhooks already
//! settled, jobs that are done but whose delete is not confirmed.
//!
//! Bounded and expiring, in memory only. It narrows duplicates (a partial failure does not repeat
//! the healthy webhooks; a delivered job whose delete failed is only deleted again); it never makes
//! a guarantee stronger than at least once. It also keeps two copies of one message from being
//! worked at the same time by one process, should a lease be lost.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::app::{Webhook, WebhookId};
use crate::outcome::{Outcome, Reason};
use crate::queue::MessageId;

/// How long an entry outlives its last use at the least. An hour is far beyond the default retry window of
/// five minutes; what is forgotten costs a duplicate, never a loss.
const MIN_EXPIRY: Duration = Duration::from_secs(3600);

/// How many messages that are not being worked are remembered.
const MAX_ENTRIES: usize = 100_000;

/// Bytes of memory that they take: as many where each has one webhook. One with a hundred takes some ten kilobytes.
const MAX_BYTES: usize = 40 << 20;

/// Places in the line of idle entries that may be out of date before they are taken out: few enough to cost nothing.
const MAX_STALE: usize = 1000;

/// The ledger of one process.
#[derive(Debug)]
pub struct Ledger {
    book: Mutex<Book>,
    expiry: Duration,
}

/// What is known of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Attempts that this process made, each at one or more webhooks.
    pub attempts: u32,
    /// Attempts at each webhook that still is to get it.
    pub tries: Vec<Tries>,
    /// When the first of them began.
    pub first_attempt: Option<Instant>,
    /// For how long others had been failing with it, presumably, when this process first did.
    pub failed_elsewhere: Duration,
    /// Since when there has been nothing to send for it: its app cannot be used or has no webhook for it.
    pub undeliverable_since: Option<Instant>,
    /// Since when nothing could be sent for it, for that reason or because the app source did not answer.
    pub unsent_since: Option<Instant>,
    /// Since when its lane waits for an answer about its app that is not older than its jobs.
    pub waits_for_app_since: Option<Instant>,
    /// Receives at which nothing could be sent for it, since something last was: the backoff of such receives grows with
    /// them.
    pub fruitless_receives: u32,
    /// How often it was deferred for want of room or of a place: so does that of deferrals.
    pub deferrals: u32,
    /// How often the dead-letter queue did not take its letter: so does that of letters.
    pub refused_letters: u32,
    /// How long it has been worked at what is to be sent, at receives at which that came to nothing.
    pub planning: Duration,
    /// Why it was given up, if the dead-letter queue has not confirmed it.
    pub given_up: Option<Reason>,
    /// It was told that the queue removes it, as the dead-letter queue took no letter of it.
    pub end_was_told: bool,
    /// Nothing is left but the delete: delivered, unwanted, or its letter confirmed.
    pub done: bool,
    /// The webhooks that need no further attempt.
    pub settled: Vec<Settled>,
    /// The webhooks that were to get it, and still are.
    pub waiting: Vec<Known>,
    /// The webhooks that were to get it and are none of the app's any more, without another that came in their stead.
    pub owed: Vec<Known>,
}

/// A webhook as it was known: by its identity, and by the one among webhooks with the same target, which is its own once
/// the app gets another of those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its identity then.
    pub id: WebhookId,
    /// Its identity among webhooks with the same target.
    pub precise: WebhookId,
}

/// What was tried at one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Which of the app's webhooks, as it was at the first of them: its receiver knows the job by that.
    pub webhook: Known,
    /// Attempts that this process made.
    pub attempts: u32,
    /// When the first of them began.
    pub first: Instant,
}

/// One webhook that needs no further attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Which of the app's webhooks.
    pub webhook: Known,
    /// Why it will never be delivered; `None` if it has been.
    pub failed: Option<Reason>,
}

impl Record {
    /// What was tried at a webhook.
    #[must_use]
    pub fn tries_at(&self, webhook: &Webhook) -> Option<&Tries> {
        self.tries.iter().find(|tries| tries.webhook.is(webhook))
    }

    /// Counts an attempt at a webhook that began then.
    pub fn tried(&mut self, webhook: &Webhook, began: Instant) {
        match self.tries.iter_mut().find(|tries| tries.webhook.is(webhook)) {
            Some(tries) => tries.attempts = tries.attempts.saturating_add(1),
            None => self.tries.push(Tries { webhook: Known::of(webhook), attempts: 1, first: began }),
        }
    }

    /// Counts a receive at which nothing could be sent for it.
    pub fn count_fruitless(&mut self) {
        self.fruitless_receives = self.fruitless_receives.saturating_add(1);
    }

    /// Counts a deferral for want of room or of a place; gives how many they are.
    pub fn count_deferral(&mut self) -> u32 {
        self.deferrals = self.deferrals.saturating_add(1);
        self.deferrals
    }

    /// There is something to send for it. While there was not, no destination was failing with it.
    pub fn mark_deliverable(&mut self, now: Instant) {
        self.undeliverable_since = None;
        let Some(unsent) = self.unsent_since.take().map(|since| now.duration_since(since)) else { return };
        let firsts = self.tries.iter_mut().map(|tries| &mut tries.first).chain(&mut self.first_attempt);
        firsts.for_each(|first| *first = now.min(*first + unsent));
    }

    /// Records an outcome: delivered and permanent end the webhook's part in the job, with anything else it still waits.
    pub fn settle(&mut self, webhook: &Webhook, outcome: &Outcome) {
        let failed = match outcome {
            Outcome::Delivered => None,
            Outcome::Permanent(reason) => Some(reason.clone()),
            Outcome::Transient { .. } | Outcome::Deferred(_) => return self.wait_for(webhook),
        };
        self.waiting.retain(|waiting| !waiting.is(webhook));
        self.tries.retain(|tries| !tries.webhook.is(webhook));
        self.settled.push(Settled { webhook: Known::of(webhook), failed });
    }

    /// A webhook that it was given up for may take it now: its owner has changed it.
    pub fn may_take_it_now(&mut self, webhook: &Webhook) {
        if self
            .settled
            .extract_if(.., |settled| settled.failed.is_some() && settled.webhook.is(webhook))
            .count()
            > 0
        {
            self.wait_for(webhook);
        }
    }

    /// Whether it was attempted before, at webhooks that may have changed since.
    #[must_use]
    pub fn knows_webhooks(&self) -> bool {
        !(self.waiting.is_empty() && self.settled.is_empty() && self.owed.is_empty())
    }

    /// It is about to go to the webhooks `to`; `all` are those that its app has for such jobs. One that came since the last attempt
    /// stands for one that went: a URL was corrected.
    pub fn set_webhooks(&mut self, to: &[&Webhook], all: &[&Webhook]) {
        let is_new = |webhook: &&&Webhook| !self.waiting.iter().any(|known| known.is(webhook));
        let new: Vec<&Webhook> = to.iter().filter(is_new).copied().collect();
        let is_gone = |known: &Known| !all.iter().any(|webhook| known.is(webhook));
        let failed =
            self.settled.extract_if(.., |settled| settled.failed.is_some() && is_gone(&settled.webhook));
        self.owed.extend(failed.map(|settled| settled.webhook));
        self.owed.extend(self.waiting.extract_if(.., |known| is_gone(known)));
        for webhook in new {
            let came_back = self.owed.iter().position(|known| known.is(webhook));
            if !self.owed.is_empty() {
                self.owed.remove(came_back.unwrap_or_default());
            }
            self.wait_for(webhook);
        }
    }

    /// About how many bytes of memory it takes, what it points to included.
    fn weight(&self) -> usize {
        let words = |reason: Option<&Reason>| reason.map_or(0, |reason| reason.to_string().len());
        let tries = self.tries.iter().map(|tries| size_of::<Tries>() + tries.webhook.text());
        let settled = self
            .settled
            .iter()
            .map(|settled| size_of::<Settled>() + settled.webhook.text() + words(settled.failed.as_ref()));
        let known = self.waiting.iter().chain(&self.owed).map(|known| size_of::<Known>() + known.text());
        let all = tries.chain(settled).chain(known).sum::<usize>();
        size_of::<Self>() + words(self.given_up.as_ref()) + all
    }

    /// A webhook needs a further attempt.
    pub fn wait_for(&mut self, webhook: &Webhook) {
        if !self.waiting.iter().any(|known| known.is(webhook)) {
            self.waiting.push(Known::of(webhook));
        }
    }
}

impl Known {
    /// A webhook as it is now.
    #[must_use]
    pub fn of(webhook: &Webhook) -> Self {
        Self { id: webhook.id.clone(), precise: webhook.precise_id.clone() }
    }

    /// Whether it is this webhook, as that is now.
    #[must_use]
    pub fn is(&self, webhook: &Webhook) -> bool {
        webhook.is(&self.id) || webhook.is(&self.precise)
    }

    /// All that it may be known by later.
    pub fn identities(&self) -> impl Iterator<Item = WebhookId> + use<> {
        let precise = Some(&self.precise).filter(|precise| **precise != self.id);
        std::iter::once(self.id.clone()).chain(precise.cloned())
    }

    /// Bytes of text.
    fn text(&self) -> usize {
        self.id.as_str().len() + self.precise.as_str().len()
    }
}

/// A message that is being worked. Dropping it puts the record back into the ledger, with what was changed of it.
#[derive(Debug)]
pub struct Claim {
    ledger: Arc<Ledger>,
    id: MessageId,
    held_before: bool,
    /// It was done when it was claimed.
    came_back_done: bool,
    record: Record,
    forgotten: bool,
}

#[derive(Debug, Default)]
struct Book {
    entries: HashMap<MessageId, Entry>,
    /// Idle entries in the order in which they became so; some are out of date.
    idle: VecDeque<(Instant, MessageId)>,
    /// How many entries are idle, and what they weigh.
    remembered: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Entry {
    Claimed,
    Idle { since: Instant, record: Box<Record>, bytes: usize },
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Duration::ZERO)
    }
}

impl Ledger {
    /// An empty one, where a message is `hidden` for no longer than that between two receives: as long again, and an
    /// hour at the least, it is remembered.
    #[must_use]
    pub fn new(hidden: Duration) -> Self {
        Self { book: Mutex::default(), expiry: MIN_EXPIRY.max(hidden.saturating_mul(2)) }
    }

    /// Claims a message for work; `None` while another copy of it is being worked here.
    pub fn claim(self: &Arc<Self>, id: &MessageId) -> Option<Claim> {
        let mut book = self.lock();
        let (held_before, record) = match book.entries.insert(Arc::clone(id), Entry::Claimed) {
            Some(Entry::Claimed) => return None,
            Some(Entry::Idle { record, bytes, .. }) => {
                book.is_idle_no_more(bytes);
                (true, *record)
            }
            None => (false, Record::default()),
        };
        let came_back_done = record.done;
        let (ledger, id) = (Arc::clone(self), Arc::clone(id));
        Some(Claim { ledger, id, held_before, came_back_done, record, forgotten: false })
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// What is known of the message.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What is known of the message, to be added to.
    pub fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Whether this process has held the message before: then it knows of every attempt that it made,
    /// and what it held untried is at its first.
    #[must_use]
    pub fn held_before(&self) -> bool {
        self.held_before
    }

    /// The delete is confirmed. `in_time` says that the lease had not ended, so that no other copy was handed out: then the
    /// record is forgotten, unless the message was done already when it was claimed, since a third copy may be on its way.
    /// Otherwise it is kept, as done.
    pub fn deleted(mut self, in_time: bool) {
        self.forgotten = in_time && !self.came_back_done;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let record = std::mem::take(&mut self.record);
        let now = Instant::now();
        let mut book = self.ledger.lock();
        if self.forgotten {
            book.entries.remove(&self.id);
            return;
        }
        let bytes = size_of::<(MessageId, Entry)>() + size_of::<(Instant, MessageId)>() + record.weight();
        book.idle.push_back((now, Arc::clone(&self.id)));
        book.entries
            .insert(Arc::clone(&self.id), Entry::Idle { since: now, record: Box::new(record), bytes });
        book.remembered += 1;
        book.bytes += bytes;
        book.expire(now, self.ledger.expiry);
    }
}

impl Book {
    fn expire(&mut self, now: Instant, expiry: Duration) {
        while let Some((since, id)) = self.idle.front() {
            let is_full = self.remembered > MAX_ENTRIES || self.bytes > MAX_BYTES;
            // One that was claimed since then has, if at all, a later place in the line.
            let bytes = match self.entries.get(id) {
                Some(Entry::Idle { since: own, bytes, .. }) if own == since => Some(*bytes),
                Some(Entry::Idle { .. } | Entry::Claimed) | None => None,
            };
            if let Some(bytes) = bytes {
                if !is_full && now.duration_since(*since) <= expiry {
                    break;
                }
                self.entries.remove(id);
                self.is_idle_no_more(bytes);
            }
            self.idle.pop_front();
        }
        if self.idle.len() > 2 * self.remembered + MAX_STALE {
            let Self { entries, idle, .. } = self;
            idle.retain(
                |(since, id)| matches!(entries.get(id), Some(Entry::Idle { since: own, .. }) if own == since),
            );
        }
    }

    fn is_idle_no_more(&mut self, bytes: usize) {
        self.remembered -= 1;
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Target;

    fn id(n: usize) -> MessageId {
        n.to_string().into()
    }

    #[tokio::test(start_paused = true)]
    async fn two_copies_of_a_message_are_never_worked_at_once() {
        let ledger = Arc::new(Ledger::default());
        let claim = ledger.claim(&id(1)).unwrap();
        assert!(ledger.claim(&id(1)).is_none());
        assert!(ledger.claim(&id(2)).is_some());
        drop(claim);
        assert!(ledger.claim(&id(1)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_outlives_its_claim_until_it_is_forgotten_or_expires() {
        let ledger = Arc::new(Ledger::default());
        let mut claim = ledger.claim(&id(1)).unwrap();
        claim.record_mut().attempts = 3;
        drop(claim);
        let claim = ledger.claim(&id(1)).unwrap();
        assert_eq!((claim.record().attempts, claim.held_before()), (3, true));
        claim.deleted(true);
        let claim = ledger.claim(&id(1)).unwrap();
        assert_eq!((claim.record(), claim.held_before()), (&Record::default(), false));

        let mut claim = ledger.claim(&id(2)).unwrap();
        claim.record_mut().done = true;
        drop(claim);
        tokio::time::advance(MIN_EXPIRY + Duration::from_secs(1)).await;
        let mut other = ledger.claim(&id(3)).unwrap();
        other.record_mut().attempts = 1;
        drop(other);
        assert!(!ledger.claim(&id(2)).unwrap().record().done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_comes_after_the_delete_is_known_to_be_done_where_there_may_be_one() {
        let ledger = Arc::new(Ledger::default());
        let deleted = |id: &MessageId, in_time| {
            let mut claim = ledger.claim(id).unwrap();
            claim.record_mut().done = true;
            claim.deleted(in_time);
        };
        deleted(&id(1), true);
        assert!(!ledger.claim(&id(1)).unwrap().held_before());
        deleted(&id(2), false);
        assert!(ledger.claim(&id(2)).unwrap().record().done);
        // Only deleted again, in time: there may be a third.
        deleted(&id(2), true);
        assert!(ledger.claim(&id(2)).unwrap().record().done);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_hidden_for_longer_than_an_hour_is_remembered_when_it_comes_back() {
        let hidden = MIN_EXPIRY * 10;
        let ledger = Arc::new(Ledger::new(hidden));
        ledger.claim(&id(1)).unwrap().record_mut().attempts = 3;
        for n in 2..4 {
            tokio::time::advance(hidden / 2 + Duration::from_secs(1)).await;
            drop(ledger.claim(&id(n)).unwrap());
        }
        assert_eq!(ledger.claim(&id(1)).unwrap().record().attempts, 3);
        tokio::time::advance(hidden * 2 + Duration::from_secs(1)).await;
        drop(ledger.claim(&id(4)).unwrap());
        assert!(!ledger.claim(&id(1)).unwrap().held_before());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_held_untried_is_known_to_have_been_held() {
        let ledger = Arc::new(Ledger::default());
        let claim = ledger.claim(&id(1)).unwrap();
        assert!(!claim.held_before());
        drop(claim);
        assert!(ledger.claim(&id(1)).unwrap().held_before());
    }

    #[tokio::test(start_paused = true)]
    async fn past_its_bound_the_entry_idle_longest_is_forgotten() {
        let ledger = Arc::new(Ledger::default());
        for n in 0..MAX_ENTRIES + 10 {
            ledger.claim(&id(n)).unwrap().record_mut().attempts = 1;
        }
        assert!(!ledger.claim(&id(0)).unwrap().held_before());
        assert!(ledger.claim(&id(MAX_ENTRIES)).unwrap().held_before());
    }

    #[tokio::test(start_paused = true)]
    async fn what_records_of_many_webhooks_take_is_bounded() {
        let ledger = Arc::new(Ledger::default());
        let webhook = |n| Webhook::of(Target::Http(format!("http://host-{n}/")));
        let webhooks: Vec<Webhook> = (0..100).map(webhook).collect();
        for n in 0..20_000 {
            let mut claim = ledger.claim(&id(n)).unwrap();
            for webhook in &webhooks {
                claim.record_mut().wait_for(webhook);
            }
        }
        let remembered = ledger.lock().remembered;
        assert!((1000..MAX_BYTES / 2500).contains(&remembered), "{remembered}");
        assert!(ledger.claim(&id(19_999)).unwrap().held_before());
        assert_eq!(ledger.claim(&id(19_998)).unwrap().record().waiting.len(), 100);
        assert!(!ledger.claim(&id(0)).unwrap().held_before());
        for n in 0..20_000 {
            ledger.claim(&id(n)).unwrap().deleted(true);
        }
        let book = ledger.lock();
        assert_eq!((book.remembered, book.bytes, book.entries.len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_message_that_comes_again_and_again_makes_no_other_forgotten() {
        let ledger = Arc::new(Ledger::default());
        drop(ledger.claim(&id(1)).unwrap());
        for _ in 0..MAX_ENTRIES * 2 {
            drop(ledger.claim(&id(2)).unwrap());
            tokio::time::advance(Duration::from_micros(1)).await;
        }
        assert!(ledger.lock().idle.len() <= MAX_STALE + 10);
        assert!(ledger.claim(&id(1)).unwrap().held_before());
    }
}
