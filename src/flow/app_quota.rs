//! A number of things of one kind, shared among apps: whoever may register webhooks decides on how many are asked for.
//!
//! - An app gets no more than a part of what is free, so that a hundred that take all they can leave some for the next.
//! - A part is out of reach of apps without an answer in the last minute, however many those are.
//! - The last part is for apps that hold none, and for what is known to be given back quickly: hundreds of apps that answer
//!   late would hold all of it with their second one each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::hash;

/// For how long an answer counts.
const MEMORY: Duration = Duration::from_secs(60);
/// Apps remembered for their answers while they hold nothing, a hundred bytes each; past it those are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// How many there may be, and are.
#[derive(Debug)]
pub struct AppQuota {
    most: usize,
    /// How many permits are left to apps that have answered lately.
    reserved: usize,
    /// How many permits are left to apps that hold none.
    firsts: usize,
    portion: Portion,
    held: Arc<Mutex<Held>>,
}

/// The largest part of the free permits that one app may hold.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// One that has answered lately, of all that is free.
    pub answering: fn(usize) -> usize,
    /// Another one, of what is free beyond the reserve.
    pub other: fn(usize) -> usize,
}

/// What one is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What has been quick for a while: it is given back soon.
    Quick,
    /// Anything of an app's: what the app has had answered counts.
    Any,
    /// What may go unanswered, whatever else the app has had answered.
    Doubtful,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// By the hash of an app's id: two that share one share their part.
    apps: HashMap<u64, App>,
    /// When the apps that have not answered lately were forgotten.
    swept: Option<Instant>,
}

#[derive(Debug, Default)]
struct App {
    held: usize,
    answered: Option<Instant>,
}

/// Leave for one, given back when dropped.
#[derive(Debug)]
pub struct AppPermit {
    held: Arc<Mutex<Held>>,
    app: u64,
}

impl AppQuota {
    /// A quota of at most `most` permits: `reserved` of them for apps that have answered lately, `firsts` for those that hold
    /// none.
    #[must_use]
    pub fn new(most: usize, reserved: usize, firsts: usize, portion: Portion) -> Self {
        Self { most, reserved, firsts, portion, held: Arc::default() }
    }

    /// How many an app may take more.
    #[must_use]
    pub fn left(&self, app: &str, purpose: Purpose) -> usize {
        self.left_of(&lock(&self.held), hash::of(app), purpose)
    }

    /// How many there may be.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Leave for one of an app's, if there is any.
    #[must_use]
    pub fn take(&self, app: &str, purpose: Purpose) -> Option<AppPermit> {
        let app = hash::of(app);
        let mut held = lock(&self.held);
        if self.left_of(&held, app, purpose) == 0 {
            return None;
        }
        held.all += 1;
        held.apps.entry(app).or_default().held += 1;
        Some(AppPermit { held: Arc::clone(&self.held), app })
    }

    /// Something of an app's was answered that needed no leave.
    pub fn answered(&self, app: &str) {
        let mut held = lock(&self.held);
        if held.apps.len() < MAX_REMEMBERED || held.apps.contains_key(&hash::of(app)) {
            held.apps.entry(hash::of(app)).or_default().answered = Some(Instant::now());
        }
    }

    /// Whether an app has had an answer lately.
    #[must_use]
    pub fn answers(&self, app: &str) -> bool {
        lock(&self.held).apps.get(&hash::of(app)).is_some_and(App::answers)
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        lock(&self.held).all
    }

    /// How many apps are remembered.
    #[cfg(test)]
    pub fn apps(&self) -> usize {
        lock(&self.held).apps.len()
    }

    fn left_of(&self, held: &Held, app: u64, purpose: Purpose) -> usize {
        let free = self.most.saturating_sub(held.all);
        let known = held.apps.get(&app);
        let (own, answers) = known.map_or((0, false), |known| (known.held, known.answers()));
        let most = match purpose {
            Purpose::Quick if answers => (self.portion.answering)(free),
            Purpose::Any if answers && own == 0 => {
                (self.portion.answering)(free.saturating_sub(self.firsts)).max(1)
            }
            Purpose::Any if answers => (self.portion.answering)(free.saturating_sub(self.firsts)),
            Purpose::Quick | Purpose::Any | Purpose::Doubtful => {
                (self.portion.other)(free.saturating_sub(self.reserved))
            }
        };
        most.saturating_sub(own).min(free)
    }
}

impl AppPermit {
    /// What it was taken for was answered.
    pub fn answered(&self) {
        if let Some(own) = lock(&self.held).apps.get_mut(&self.app) {
            own.answered = Some(Instant::now());
        }
    }
}

impl App {
    fn answers(&self) -> bool {
        self.answered.is_some_and(|answered| answered.elapsed() < MEMORY)
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for AppPermit {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        held.all -= 1;
        let many = held.apps.len() > MAX_REMEMBERED;
        let Some(own) = held.apps.get_mut(&self.app) else { return };
        own.held -= 1;
        let (is_idle, has_answered) = (own.held == 0, own.answered.is_some());
        if many && held.swept.is_none_or(|swept| swept.elapsed() >= MEMORY) {
            held.swept = Some(Instant::now());
            held.apps.retain(|_, app| app.held > 0 || app.answers());
        }
        if is_idle && (!has_answered || held.apps.len() > MAX_REMEMBERED) {
            held.apps.remove(&self.app);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(quota: &AppQuota, app: &str) {
        quota.take(app, Purpose::Any).unwrap().answered();
    }

    #[tokio::test(start_paused = true)]
    async fn apps_that_hold_nothing_are_remembered_up_to_a_bound() {
        let quota = AppQuota::new(4, 1, 0, Portion { answering: |free| free, other: |free| free });
        (0..MAX_REMEMBERED + 100).for_each(|n| answering(&quota, &n.to_string()));
        assert_eq!(quota.apps(), MAX_REMEMBERED);
        // Those of long ago keep no new one out.
        tokio::time::advance(MEMORY).await;
        answering(&quota, "one");
        answering(&quota, "another");
        assert_eq!(quota.apps(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserve_is_for_apps_that_have_answered_within_a_minute() {
        let quota = AppQuota::new(8, 2, 0, Portion { answering: |free| free, other: |free| free });
        answering(&quota, "answers");
        let all = |app: &str| std::iter::from_fn(|| quota.take(app, Purpose::Any)).collect::<Vec<_>>();
        let others: Vec<_> = (0..100_u32).flat_map(|n| all(&n.to_string())).collect();
        assert_eq!((others.len(), quota.taken()), (6, 6));
        assert_eq!((quota.left("answers", Purpose::Any), quota.left("new", Purpose::Any)), (2, 0));
        assert_eq!(quota.left("answers", Purpose::Doubtful), 0, "whatever else of the app's was answered");
        tokio::time::advance(MEMORY).await;
        assert_eq!(quota.left("answers", Purpose::Any), 0, "an answer counts for a while");
        drop(others);
        assert_eq!((quota.taken(), quota.apps()), (0, 1), "those that answered are remembered");
    }
}
