//! Where messages stand: in their group, among the hidden ones, among the ready groups. Every change
//! of a place goes through here, so that the three never disagree.

use std::sync::Arc;

use super::{Hidden, Message, Queue, Sequence};

impl Queue {
    pub(super) fn enqueue(&mut self, name: &Arc<str>, message: Message) {
        let place = self.next;
        self.next += 1;
        let hidden = message.hidden;
        self.places.insert(place, Arc::clone(name));
        let group = self.groups.entry(Arc::clone(name)).or_default();
        let first = group.messages.is_empty();
        group.messages.insert(place, message);
        if let Some(hidden) = hidden {
            self.hidden.insert((hidden.until, place));
        }
        if first {
            self.refresh(name);
        }
    }

    pub(super) fn hide(&mut self, group: &Arc<str>, place: Sequence, hidden: Hidden) {
        let Some(message) = self.message(group, place) else { return };
        let before = message.hidden.replace(hidden);
        if let Some(before) = before {
            self.hidden.remove(&(before.until, place));
            self.in_flight -= usize::from(before.in_flight);
        }
        self.in_flight += usize::from(hidden.in_flight);
        self.hidden.insert((hidden.until, place));
        self.refresh(group);
    }

    pub(super) fn reveal(&mut self, place: Sequence) {
        let Some(group) = self.places.get(&place).cloned() else { return };
        let Some(hidden) = self.message(&group, place).and_then(|message| message.hidden.take()) else {
            return;
        };
        self.hidden.remove(&(hidden.until, place));
        self.in_flight -= usize::from(hidden.in_flight);
        self.refresh(&group);
    }

    pub(super) fn remove(&mut self, name: &Arc<str>, place: Sequence) -> Option<Message> {
        self.places.remove(&place);
        let group = self.groups.get_mut(name)?;
        let message = group.messages.remove(&place)?;
        if let Some(hidden) = message.hidden {
            self.hidden.remove(&(hidden.until, place));
            self.in_flight -= usize::from(hidden.in_flight);
        }
        self.refresh(name);
        Some(message)
    }

    /// Puts a group among the ready ones if its head is visible, and out of them if not.
    pub(super) fn refresh(&mut self, name: &Arc<str>) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let head = group.messages.first_key_value();
        let ready = head.filter(|(_, message)| message.hidden.is_none()).map(|(place, _)| *place);
        if ready != group.ready {
            if let Some(before) = group.ready {
                self.ready.remove(&before);
            }
            if let Some(place) = ready {
                self.ready.insert(place, Arc::clone(name));
            }
            group.ready = ready;
        }
        if group.messages.is_empty() {
            self.groups.remove(name);
        }
    }

    pub(super) fn message(&mut self, group: &Arc<str>, place: Sequence) -> Option<&mut Message> {
        self.groups.get_mut(group)?.messages.get_mut(&place)
    }
}
