//! What must never happen: a file an invariant, each a pure function over all that happened.

mod alone;
mod endings;
mod expired;
mod faultless;
mod identity;
mod leases;
mod letters;
mod loss;
mod moved;
mod numbers;
mod order;
mod receives;
mod redrives;
mod repeats;
mod rest;
mod shutdowns;
mod together;

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::super::plan::Plan;
use super::event::Entry;

/// Something that must not have happened, at one of the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub entry: usize,
    pub what: String,
}

/// All that happened in a world.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub plan: &'a Plan,
    pub entries: &'a [Entry],
    /// The excuses that were needed.
    pub granted: &'a RefCell<BTreeSet<&'static str>>,
}

/// What violates one invariant, found in time that is linear in the events.
type Invariant = fn(&Record<'_>) -> Vec<Violation>;

const INVARIANTS: [Invariant; 17] = [
    alone::violations,
    endings::violations,
    expired::violations,
    faultless::violations,
    identity::violations,
    leases::violations,
    letters::violations,
    loss::violations,
    moved::violations,
    numbers::violations,
    order::violations,
    receives::violations,
    repeats::violations,
    redrives::violations,
    rest::violations,
    shutdowns::violations,
    together::violations,
];

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    INVARIANTS.iter().flat_map(|invariant| invariant(record)).collect()
}
