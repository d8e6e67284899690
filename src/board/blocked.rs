//! The groups whose head waits for a retry, as far as this process knows.
//!
//! An entry ends when the head is done here, or, since another replica may be the one to deliver it, once
//! the next retry is overdue by more than a receive and an attempt can take. All groups are counted, up
//! to `MAX_GROUPS`; words are kept for `MAX_DETAILS` of them, of which each app that has any has
//! its part. A group whose head was given
//! up is remembered until the next one has had its time: if that fails too, it is the same block.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{app_key, key};
use crate::shown::Label;

/// Groups counted: 100,000 entries of 112 bytes are 15 MB at worst.
pub(super) const MAX_GROUPS: usize = 100_000;

/// Groups with words: half a kilobyte each.
const MAX_DETAILS: usize = 500;

/// How often all entries may be looked at for the sake of a new one.
const EXPIRE_EVERY: Duration = Duration::from_secs(2);

/// A head that was not done, and what it waits for.
#[derive(Clone, Copy, Debug)]
pub struct Blocked<'a> {
    /// The message group.
    pub group: &'a str,
    /// The app's id, as the app source or, if that is not known, the envelope has it.
    pub app_id: &'a str,
    /// The host or function that failed, if it came to an attempt.
    pub destination: &'a str,
    /// How often it was attempted here.
    pub attempts: u32,
    /// How often it was received, here and elsewhere.
    pub receives: u32,
    /// For how long it has been failing, attempts of other replicas included as far as that is known.
    pub failing: Duration,
    /// The reason's code.
    pub reason: &'static str,
    /// The reason in words.
    pub detail: &'a str,
    /// From now to the retry.
    pub retry_in: Duration,
    /// After so long without news beyond the retry another replica has it: visibility timeout and wait.
    pub lost_after: Duration,
    /// The head's age since it was sent.
    pub age: Duration,
    /// Jobs of the same receive behind it.
    pub behind: usize,
}

/// One blocked group in words.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The message group.
    pub group: Label,
    /// The app.
    pub app_id: Label,
    /// What failed.
    pub destination: Label,
    /// Attempts at its head, here.
    pub attempts: u32,
    /// Receives of its head, here and elsewhere.
    pub receives: u32,
    /// Why, as a code.
    pub reason: &'static str,
    /// Why, in words.
    pub detail: Label,
    /// The head's age since it was sent, at `noted`.
    pub age: Duration,
    /// When that was put down.
    pub noted: Instant,
    /// The next retry.
    pub retry_at: Instant,
    /// How many are behind it, at least.
    pub behind: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Groups {
    entries: HashMap<u64, Entry>,
    /// Entries whose head waits.
    waiting: usize,
    details: usize,
    of_app: HashMap<u64, OfApp>,
    expired: Option<Instant>,
}

/// What there is of one app.
#[derive(Clone, Copy, Debug, Default)]
struct OfApp {
    groups: usize,
    /// Groups of the app with words.
    details: usize,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    until: Instant,
    lost_after: Duration,
    app: u64,
    /// The head's age since it was sent, when that was noted.
    age: Duration,
    noted: Instant,
    /// Its head was given up, and nothing is known of the next one.
    given_up: bool,
    words: Option<Box<Waiting>>,
}

impl Groups {
    /// A head was not done.
    pub fn blocked(&mut self, blocked: &Blocked<'_>, now: Instant) {
        let key = key(&[blocked.group]);
        if self.entries.len() >= MAX_GROUPS && !self.entries.contains_key(&key) {
            self.expire_at_times(now);
            if self.entries.len() >= MAX_GROUPS {
                return;
            }
        }
        // Another replica may have made the retries of a while: the head's own failures go on then.
        let began = now.checked_sub(blocked.failing).unwrap_or(now);
        let known = self.remove(key).filter(|entry| entry.until > now);
        let since = known.map_or(began, |entry| entry.since.min(began));
        if self.details >= MAX_DETAILS {
            self.expire_at_times(now);
        }
        let app = app_key(blocked.app_id);
        let apps = self.of_app.len() + usize::from(!self.of_app.contains_key(&app));
        let own = self.of_app.entry(app).or_default();
        own.groups += 1;
        // Each retry asks anew: where another app comes, those that have more than their part lose it to that one.
        let has_words = self.details < MAX_DETAILS && own.details < (MAX_DETAILS / apps).max(1);
        let words = has_words.then(|| Box::new(waiting(blocked, now)));
        own.details += usize::from(has_words);
        self.details += usize::from(has_words);
        let Blocked { lost_after, age, .. } = *blocked;
        let until = now + blocked.retry_in + lost_after;
        self.entries
            .insert(key, Entry { since, until, lost_after, app, age, noted: now, given_up: false, words });
        self.waiting += 1;
    }

    /// The head of a group was given up: it no longer waits, and the group has not recovered.
    pub fn given_up(&mut self, group: &str, now: Instant) {
        let key = key(&[group]);
        if let Some(entry) = self.remove(key) {
            let until = now + entry.lost_after;
            self.of_app.entry(entry.app).or_default().groups += 1;
            self.entries.insert(key, Entry { until, given_up: true, words: None, ..entry });
        }
    }

    /// The head of a group is done.
    pub fn unblocked(&mut self, group: &str) {
        self.remove(key(&[group]));
    }

    /// How many there are, those included that have expired since this was last looked at.
    #[must_use]
    pub fn known(&self) -> usize {
        self.waiting
    }

    /// Whether nothing is remembered of any group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many there are.
    pub fn count(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.waiting
    }

    /// The groups with words, longest blocked first, with the moment from which on they are.
    pub fn longest(&mut self, now: Instant) -> Vec<(Instant, &Waiting)> {
        self.expire(now);
        let mut longest: Vec<_> =
            self.entries.values().filter_map(|entry| Some((entry.since, entry.words.as_deref()?))).collect();
        longest.sort_by(|a, b| (a.0, &a.1.group).cmp(&(b.0, &b.1.group)));
        longest
    }

    /// The age of the oldest head that waits, whether or not it has words.
    pub(super) fn oldest(&mut self, now: Instant) -> Duration {
        self.expire(now);
        let waiting = self.entries.values().filter(|entry| !entry.given_up);
        waiting.map(|entry| entry.age + (now - entry.noted)).max().unwrap_or_default()
    }

    fn remove(&mut self, key: u64) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        let details = usize::from(entry.words.is_some());
        self.details -= details;
        if let Some(own) = self.of_app.get_mut(&entry.app) {
            own.groups -= 1;
            own.details -= details;
            if own.groups == 0 {
                self.of_app.remove(&entry.app);
            }
        }
        self.waiting -= usize::from(!entry.given_up);
        Some(entry)
    }

    /// While there are very many, each failure must not look at all of them.
    fn expire_at_times(&mut self, now: Instant) {
        if self.expired.is_none_or(|last| now.duration_since(last) >= EXPIRE_EVERY) {
            self.expire(now);
        }
    }

    fn expire(&mut self, now: Instant) {
        self.expired = Some(now);
        self.entries.retain(|_, entry| entry.until > now);
        self.of_app.clear();
        for entry in self.entries.values() {
            let own = self.of_app.entry(entry.app).or_default();
            own.groups += 1;
            own.details += usize::from(entry.words.is_some());
        }
        self.details = self.of_app.values().map(|own| own.details).sum();
        self.waiting = self.entries.values().filter(|entry| !entry.given_up).count();
    }
}

fn waiting(blocked: &Blocked<'_>, now: Instant) -> Waiting {
    Waiting {
        group: Label::new(blocked.group),
        app_id: Label::name(blocked.app_id),
        destination: Label::new(blocked.destination),
        attempts: blocked.attempts,
        receives: blocked.receives,
        reason: blocked.reason,
        detail: Label::new(blocked.detail),
        age: blocked.age,
        noted: now,
        retry_at: now + blocked.retry_in,
        behind: blocked.behind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(group: &str) -> Blocked<'_> {
        Blocked {
            group,
            app_id: "shop",
            destination: "example.com",
            attempts: 2,
            receives: 3,
            failing: Duration::ZERO,
            reason: "status",
            detail: "status 500",
            retry_in: Duration::from_secs(4),
            lost_after: Duration::from_secs(15),
            age: Duration::from_secs(9),
            behind: 3,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_is_counted_once_from_its_first_failure_until_its_head_is_done() {
        let (mut groups, start) = (Groups::default(), Instant::now());
        groups.blocked(&blocked("a"), start);
        let later = start + Duration::from_secs(10);
        groups.blocked(&blocked("a"), later);
        groups.blocked(&blocked("b"), later);
        assert_eq!(groups.count(later), 2);
        let longest = groups.longest(later);
        assert_eq!(longest[0].0, start);
        assert_eq!(longest[0].1.group.as_str(), "a");
        groups.unblocked("a");
        assert_eq!(groups.count(later), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_another_replica_has_delivered_is_forgotten() {
        let (mut groups, start) = (Groups::default(), Instant::now());
        groups.blocked(&blocked("a"), start);
        assert_eq!(groups.count(start + Duration::from_millis(18_999)), 1);
        assert_eq!(groups.count(start + Duration::from_secs(19)), 0);
        groups.blocked(&blocked("a"), start + Duration::from_secs(30));
        let (since, _) = groups.longest(start + Duration::from_secs(30))[0];
        assert_eq!(since, start + Duration::from_secs(30), "a new block");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_of_which_another_replica_made_the_retries_is_blocked_since_its_head_failed_first() {
        let (mut groups, start) = (Groups::default(), Instant::now());
        groups.blocked(&blocked("a"), start);
        let later = start + Duration::from_secs(1800);
        groups.blocked(&Blocked { failing: Duration::from_secs(1800), ..blocked("a") }, later);
        assert_eq!(groups.longest(later)[0].0, start);
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_whose_heads_are_given_up_one_after_the_other_is_blocked_since_the_first_failed() {
        let (mut groups, start) = (Groups::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        groups.blocked(&blocked("a"), start);
        groups.given_up("a", at(5));
        assert_eq!((groups.count(at(5)), groups.known(), groups.longest(at(5)).len()), (0, 0, 0));
        groups.blocked(&blocked("a"), at(9));
        assert_eq!((groups.longest(at(9))[0].0, groups.count(at(9))), (start, 1), "the same block");
        groups.given_up("a", at(10));
        groups.unblocked("a");
        groups.blocked(&blocked("a"), at(12));
        assert_eq!(groups.longest(at(12))[0].0, at(12), "a delivery ended it");
        groups.given_up("a", at(13));
        assert!(!groups.is_empty());
        assert_eq!(groups.count(at(28)), 0);
        assert!(groups.is_empty(), "it is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn more_groups_than_there_are_words_for_are_counted_all_the_same() {
        let (mut groups, now) = (Groups::default(), Instant::now());
        for n in 0..MAX_GROUPS + 10 {
            groups.blocked(&blocked(&n.to_string()), now);
        }
        assert_eq!(groups.count(now), MAX_GROUPS);
        assert_eq!(groups.longest(now).len(), MAX_DETAILS);
        let later = now + Duration::from_secs(60);
        groups.blocked(&blocked("late"), later);
        assert_eq!((groups.count(later), groups.longest(later).len()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_fails_late_has_words_though_many_others_fail_and_the_oldest_counts_without() {
        let (mut groups, now) = (Groups::default(), Instant::now());
        let fail = |groups: &mut Groups| {
            for app in 0..100 {
                for group in 0..100 {
                    let (app_id, group) = (format!("app{app}"), format!("{app}.{group}"));
                    groups.blocked(&Blocked { app_id: &app_id, ..blocked(&group) }, now);
                }
            }
        };
        let with_words = |groups: &mut Groups, app_id: &str| {
            groups.longest(now).iter().filter(|(_, waiting)| waiting.app_id.as_str() == app_id).count()
        };
        fail(&mut groups);
        let late = Blocked { app_id: "late", ..blocked("late") };
        // At its retry, when the others have had theirs.
        groups.blocked(&late, now);
        fail(&mut groups);
        groups.blocked(&late, now);
        assert_eq!(with_words(&mut groups, "late"), 1);
        assert!((0..100).all(|app| with_words(&mut groups, &format!("app{app}")) >= 4));
        for n in 0..=1000 {
            groups.blocked(&Blocked { age: Duration::from_secs(n), ..blocked(&n.to_string()) }, now);
        }
        let oldest = Blocked { age: Duration::from_secs(2000), ..blocked("oldest") };
        groups.blocked(&oldest, now);
        assert!(groups.longest(now).iter().all(|(_, waiting)| waiting.group.as_str() != "oldest"));
        assert_eq!(groups.oldest(now + Duration::from_secs(1)), Duration::from_secs(2001));
        groups.given_up("oldest", now);
        assert_eq!(groups.oldest(now), Duration::from_secs(1000));
    }
}
