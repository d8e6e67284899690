//! Who may work a message, by the queue's own clock.

use std::time::Duration;

use super::super::event::{Event, Id};
use super::Each;

#[derive(Debug, Default)]
pub struct Leases(Each<Message>);

#[derive(Debug, Default)]
struct Message {
    holder: Option<(Id, Duration)>,
    doubtful: Vec<Id>,
    ever_doubtful: Vec<Id>,
}

impl Leases {
    pub fn see(&mut self, at: Duration, event: &Event) {
        match event {
            Event::HandedOver { process, message, until, .. } => {
                let message = self.0.of(*message);
                message.holder = Some((*process, *until));
                message.doubtful.retain(|doubtful| doubtful != process);
            }
            Event::HandedOverLate { process, message } => {
                let message = self.0.of(*message);
                message.doubtful.push(*process);
                message.ever_doubtful.push(*process);
            }
            Event::Hidden { message, timeout, .. } => {
                if let Some((_, until)) = &mut self.0.of(*message).holder {
                    *until = at + *timeout;
                }
            }
            _ => {}
        }
    }

    /// Who holds a message, and until when.
    pub fn holder(&self, message: usize) -> Option<(Id, Duration)> {
        self.0.get(message).and_then(|message| message.holder)
    }

    /// All messages that have been handed over, with who holds them and until when.
    pub fn holders(&self) -> impl Iterator<Item = (usize, Id, Duration)> {
        self.0.iter().filter_map(|(n, message)| message.holder.map(|(id, until)| (n, id, until)))
    }

    /// Whether a process cannot know when its lease of a message began: the answer took longer than the
    /// safety margin.
    pub fn in_doubt(&self, message: usize, process: Id) -> bool {
        self.0.get(message).is_some_and(|message| message.doubtful.contains(&process))
    }

    /// Whether that was so at any time: another receive of the same process may come while it works on.
    pub fn ever_in_doubt(&self, message: usize, process: Id) -> bool {
        self.0.get(message).is_some_and(|message| message.ever_doubtful.contains(&process))
    }
}
