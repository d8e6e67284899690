//! What must never happen: a file an invariant, each a pure function over all that happened.

mod alone;
mod endings;
mod faultless;
mod identity;
mod leases;
mod letters;
mod loss;
mod moved;
mod numbers;
mod order;
mod receives;
mod repeats;
mod rest;
mod together;

use super::super::plan::Plan;
use super::event::Entry;

/// Something that must not have happened, at one of the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub entry: usize,
    pub what: String,
}

/// What violates one invariant, found in time that is linear in the events.
type Invariant = fn(&Plan, &[Entry]) -> Vec<Violation>;

const INVARIANTS: [Invariant; 14] = [
    alone::violations,
    endings::violations,
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
    rest::violations,
    together::violations,
];

pub fn violations(plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    INVARIANTS.iter().flat_map(|invariant| invariant(plan, entries)).collect()
}
