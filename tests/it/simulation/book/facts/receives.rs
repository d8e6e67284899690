//! The last receive of each message.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::event::{Event, Id};
use super::Each;

/// A receive of a message, and what became of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastReceive {
    pub by: Option<Id>,
    pub at: Duration,
    /// Until when its process has hidden it.
    pub hidden_until: Duration,
    answered: bool,
    /// Its process was told to end, was killed, or stood still.
    interrupted: bool,
}

/// The last receive of each message.
#[derive(Debug, Default)]
pub struct LastReceives {
    receives: Each<LastReceive>,
    messages: BTreeSet<usize>,
    ending: BTreeSet<Id>,
}

impl LastReceive {
    /// Whether its process could do nothing with it: the answer never came, or the process was interrupted.
    pub fn was_in_vain(&self) -> bool {
        !self.answered || self.interrupted
    }
}

impl LastReceives {
    pub fn see(&mut self, at: Duration, event: &Event) {
        match event {
            Event::HandedOver { process, message, until, .. } => {
                self.messages.insert(*message);
                *self.receives.of(*message) = LastReceive {
                    by: Some(*process),
                    at,
                    hidden_until: *until,
                    interrupted: self.ending.contains(process),
                    ..LastReceive::default()
                };
            }
            Event::Received { message, .. } => self.receives.of(*message).answered = true,
            Event::HandedOverLate { message, .. } => self.receives.of(*message).interrupted = true,
            Event::Hidden { process, message, timeout } => {
                let receive = self.receives.of(*message);
                if receive.by == Some(*process) {
                    receive.hidden_until = at + *timeout;
                }
            }
            Event::AskedToEnd { process } | Event::Died { process } => {
                self.ending.insert(*process);
                self.interrupt(|by| by == *process);
            }
            Event::StoodStill { .. } => self.interrupt(|_| true),
            _ => {}
        }
    }

    fn interrupt(&mut self, whose: impl Fn(Id) -> bool) {
        for message in &self.messages {
            let receive = self.receives.of(*message);
            receive.interrupted |= receive.by.is_some_and(&whose);
        }
    }

    pub fn of(&mut self, message: usize) -> LastReceive {
        *self.receives.of(message)
    }
}
