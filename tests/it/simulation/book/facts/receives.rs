//! The last receive of each message.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::super::plan::{Incident, Plan};
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
    /// Its process was still at an earlier copy of it.
    behind_a_copy: bool,
    /// Its process was killed, stood still or ran out of its grace, or a call about it failed, or one about a job of its
    /// lane took long.
    interrupted: bool,
}

/// A call that takes long.
#[derive(Clone, Copy, Debug)]
struct LongCall {
    by: Id,
    until: Duration,
}

/// The last receive of each message.
#[derive(Debug)]
pub struct LastReceives {
    receives: Each<LastReceive>,
    messages: BTreeSet<usize>,
    groups: Each<String>,
    long_calls: Each<Option<LongCall>>,
    dead: BTreeSet<Id>,
    /// Until when each replica is frozen.
    frozen: BTreeMap<usize, Duration>,
    /// Until when a receive may be parked that everything stood still during: its process takes the lease for one that
    /// began before.
    parked: Duration,
    grace: Duration,
    wait: Duration,
}

/// What the ways there and back take, and settling.
const MARGIN: Duration = Duration::from_secs(1);

/// So much before the end of its grace a process cuts off what it has not done.
const CUT_OFF: Duration = Duration::from_secs(4);

impl LastReceive {
    /// Whether its process could do nothing with it: the answer never came, the process was interrupted, or a call about
    /// it failed.
    pub fn was_in_vain(&self) -> bool {
        !self.answered || self.interrupted
    }

    /// Whether its process could not take it up, as it was still at an earlier copy.
    pub fn was_behind_a_copy(&self) -> bool {
        self.behind_a_copy
    }
}

impl LastReceives {
    pub fn new(plan: &Plan) -> Self {
        Self {
            receives: Each::default(),
            messages: BTreeSet::new(),
            groups: Each::default(),
            long_calls: Each::default(),
            dead: BTreeSet::new(),
            frozen: BTreeMap::new(),
            parked: Duration::ZERO,
            grace: plan.bounds.grace,
            wait: plan.bounds.wait,
        }
    }

    pub fn see(&mut self, at: Duration, event: &Event) {
        match event {
            Event::HandedOver { process, message, until, .. } => {
                self.messages.insert(*message);
                let long = *self.long_calls.of(*message);
                *self.receives.of(*message) = LastReceive {
                    by: Some(*process),
                    at,
                    hidden_until: *until,
                    behind_a_copy: long.is_some_and(|call| call.by == *process && at <= call.until + MARGIN),
                    interrupted: at < self.parked
                        || self.dead.contains(process)
                        || self.frozen.get(&process.replica).is_some_and(|until| at <= *until),
                    ..LastReceive::default()
                };
            }
            Event::Sent { message, group, .. } => self.groups.of(*message).clone_from(group),
            // Too late to do anything about it, and its process may know that.
            // It may be the answer to an earlier receive, by another process.
            Event::Received { process, message } => {
                let receive = self.receives.of(*message);
                if receive.by == Some(*process) {
                    receive.answered = at + MARGIN < receive.hidden_until;
                }
            }
            Event::HandedOverLate { process, message } => self.came_to_nothing(*process, *message),
            Event::Hidden { process, message, timeout } => {
                let receive = self.receives.of(*message);
                if receive.by == Some(*process) {
                    receive.hidden_until = at + *timeout;
                }
            }
            Event::CallFailed { process, message, after } => {
                self.came_to_nothing(*process, *message);
                if !after.is_zero() {
                    let call = Some(LongCall { by: *process, until: at + *after });
                    *self.long_calls.of(*message) = call;
                    // Those that came with it in its group are of its lane, and wait for it.
                    let (group, came) = (self.groups.of(*message).clone(), self.receives.of(*message).at);
                    let messages = self.messages.clone();
                    let lane = messages.into_iter().filter(|other| {
                        *self.groups.of(*other) == group && self.receives.of(*other).at == came
                    });
                    let lane: Vec<_> = lane.collect();
                    for other in lane {
                        self.came_to_nothing(*process, other);
                        *self.long_calls.of(other) = call;
                    }
                }
            }
            Event::Died { process } => {
                self.dead.insert(*process);
                self.interrupt(|by| by == *process);
            }
            Event::Ended { process, took } if *took + CUT_OFF >= self.grace => {
                self.interrupt(|by| by == *process);
            }
            Event::Incident(Incident::Freeze(replica, lasts)) => {
                let until = self.frozen.entry(*replica).or_default();
                *until = (*until).max(at + *lasts);
                self.interrupt(|by| by.replica == *replica);
            }
            Event::StoodStill { lasts } => {
                self.parked = at + *lasts + self.wait + Duration::from_millis(20);
                self.interrupt(|_| true);
            }
            _ => {}
        }
    }

    fn came_to_nothing(&mut self, process: Id, message: usize) {
        let receive = self.receives.of(message);
        receive.interrupted |= receive.by == Some(process);
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
