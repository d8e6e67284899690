//! Message groups that hold jobs of several apps, as sockudo's one group does.
//!
//! A group is one line: what one app's receiver does not take, all apps behind it wait for. That is said once
//! a group. Remembers a bounded number of groups, and says a bounded number of times.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use crate::hash;

/// Groups that are remembered, 24 bytes each; past it all are forgotten, and come back with their next jobs.
const GROUPS: usize = 10_000;
/// At most this many groups are logged by one process: further lines would say nothing new.
const TOLD: usize = 10;

/// Which message groups hold jobs of several apps, as far as that was seen; it is said once of each.
#[derive(Debug, Default)]
pub(super) struct SharedGroups(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the group's hash, the hash of the app that it was first seen with.
    first: HashMap<u64, u64>,
    told: HashSet<u64>,
}

impl SharedGroups {
    /// A job of that app came in that group.
    pub(super) fn met(&self, group: &str, app_id: &str) {
        let several = self.0.lock().unwrap_or_else(PoisonError::into_inner).met(group, app_id);
        if several {
            warn!(
                group = %group.escape_debug(),
                "jobs of several apps are in one message group: they are delivered one after the other, and a receiver that fails \
                 holds up all of them. With sockudo this is so, see docs/producing.md; WEBHOOKS_COALESCE=true helps"
            );
        }
    }
}

impl Known {
    /// Whether this is to be told: the first time that the group is seen with a second app.
    fn met(&mut self, group: &str, app_id: &str) -> bool {
        let (group, app) = (hash::of(group), hash::of(app_id));
        if self.first.len() >= GROUPS && !self.first.contains_key(&group) {
            self.first.clear();
        }
        let first = *self.first.entry(group).or_insert(app);
        first != app && self.told.len() < TOLD && self.told.insert(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_told_of_once_when_a_second_app_comes_in_it() {
        let mut known = Known::default();
        let told: Vec<bool> = [
            ("default", "a"),
            ("default", "a"),
            ("other", "b"),
            ("default", "b"),
            ("default", "c"),
            ("other", "b"),
        ]
        .map(|(group, app)| known.met(group, app))
        .into();
        assert_eq!(told, [false, false, false, true, false, false]);
    }

    #[test]
    fn what_is_remembered_and_what_is_said_are_bounded() {
        let mut known = Known::default();
        let mut told = 0;
        for n in 0..3 * GROUPS {
            known.met(&n.to_string(), "a");
            told += usize::from(known.met(&n.to_string(), "b"));
        }
        assert!(known.first.len() <= GROUPS && known.told.len() <= TOLD);
        assert_eq!(told, TOLD);
    }
}
