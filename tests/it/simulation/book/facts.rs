//! What follows from the events so far: each a fold over the list, for the invariants that need it.

mod attempts;
mod knowledge;
mod leases;
mod outages;
mod receives;

use std::collections::BTreeMap;

pub use attempts::Attempts;
pub use knowledge::{Knowledge, Times, all_have_it, unwanted};
pub use leases::Leases;
pub use outages::Outages;
pub use receives::{LastReceive, LastReceives};

/// Something for each message or job, made when it is first asked for.
#[derive(Debug)]
pub struct Each<T>(BTreeMap<usize, T>);

impl<T> Default for Each<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Default> Each<T> {
    pub fn of(&mut self, number: usize) -> &mut T {
        self.0.entry(number).or_default()
    }

    pub fn get(&self, number: usize) -> Option<&T> {
        self.0.get(&number)
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0.iter().map(|(number, value)| (*number, value))
    }
}
