//! Whether one message group holds the jobs of several apps.
//!
//! A group is worked in one line: there a destination of one app holds up every other app. soketi has a group
//! for each app and type; sockudo has one for all, unless it is told otherwise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Groups that are looked at. Beyond them nothing is said: a producer that mixes apps does so in few groups.
const MAX_GROUPS: usize = 1000;

/// The app that each group was first seen with, until a group is found that has two.
#[derive(Debug)]
pub struct AppsByGroup(Mutex<Option<HashMap<Arc<str>, Arc<str>>>>);

impl Default for AppsByGroup {
    fn default() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }
}

impl AppsByGroup {
    /// Notes a job of that app in that group. True once: at the first group with a second app.
    pub fn is_shared(&self, group: &Arc<str>, app_key: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(groups) = known.as_mut() else { return false };
        match groups.get(group) {
            Some(first) if **first != *app_key => {
                *known = None;
                true
            }
            Some(_) => false,
            None => {
                if groups.len() < MAX_GROUPS {
                    groups.insert(Arc::clone(group), app_key.into());
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_with_a_second_app_is_told_once_and_groups_of_one_app_never() {
        let seen = AppsByGroup::default();
        let group = |name: &str| Arc::<str>::from(name);
        for _ in 0..2 {
            assert!(!seen.is_shared(&group("a_client_event_webhooks"), "a"));
            assert!(!seen.is_shared(&group("b_client_event_webhooks"), "b"));
        }
        assert!(!seen.is_shared(&group("default"), "a"));
        assert!(seen.is_shared(&group("default"), "b"));
        assert!(!seen.is_shared(&group("default"), "a"), "told once");
    }

    #[test]
    fn the_groups_that_are_remembered_are_bounded() {
        let seen = AppsByGroup::default();
        for n in 0..2 * MAX_GROUPS {
            seen.is_shared(&n.to_string().into(), "a");
        }
        assert_eq!(seen.0.lock().unwrap().as_ref().unwrap().len(), MAX_GROUPS);
    }
}
