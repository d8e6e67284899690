//! The requests that are under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::event::{Event, Request};
use super::Leases;

/// The requests that have set out and are not over.
#[derive(Debug, Default)]
pub struct Attempts {
    under_way: BTreeMap<usize, UnderWay>,
    stills: usize,
}

#[derive(Debug)]
struct UnderWay {
    request: Arc<Request>,
    arrived: bool,
    stills_before: usize,
    /// Its jobs whose lease was in doubt when it arrived.
    doubtful: BTreeSet<usize>,
}

impl Attempts {
    pub fn see(&mut self, event: &Event, leases: &Leases) {
        match event {
            Event::SetOut(request) => {
                let (request, stills_before) = (Arc::clone(request), self.stills);
                let entry = UnderWay { request, arrived: false, stills_before, doubtful: BTreeSet::new() };
                self.under_way.insert(entry.request.number, entry);
            }
            Event::Arrived(request) => {
                if let Some(entry) = self.under_way.get_mut(&request.number) {
                    entry.arrived = true;
                    let doubtful = |job: &&usize| leases.in_doubt(**job, request.process);
                    entry.doubtful = request.jobs.iter().filter(doubtful).copied().collect();
                }
            }
            // One that gets no further than the way there is over with its answer.
            Event::Over { request, .. } | Event::InVain(request) => {
                self.under_way.remove(&request.number);
            }
            Event::StoodStill { .. } => self.stills += 1,
            _ => {}
        }
    }

    /// Everything stood still since it set out.
    pub fn stood_still(&self, request: &Request) -> bool {
        self.under_way.get(&request.number).is_some_and(|entry| self.stills > entry.stills_before)
    }

    /// The lease of one of its jobs was in doubt when it arrived.
    pub fn was_in_doubt(&self, request: &Request, job: usize) -> bool {
        self.under_way.get(&request.number).is_some_and(|entry| entry.doubtful.contains(&job))
    }

    /// Those that have arrived and hold a job.
    pub fn arrived_with(&self, job: usize) -> impl Iterator<Item = &Request> {
        let arrived = self.under_way.values().filter(|entry| entry.arrived);
        arrived.map(|entry| &*entry.request).filter(move |request| request.jobs.contains(&job))
    }

    /// All that have arrived.
    pub fn arrived(&self) -> impl Iterator<Item = &Request> {
        self.under_way.values().filter(|entry| entry.arrived).map(|entry| &*entry.request)
    }
}
