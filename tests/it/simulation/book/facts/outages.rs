//! When a process could take a destination for dead, by what it asked and what it was told.

use std::collections::HashMap;
use std::time::Duration;

use super::super::event::{Event, Id};

/// Each process's outages of each URL.
#[derive(Debug, Default)]
pub struct Outages {
    /// When each request that is under way set out.
    set_out: HashMap<usize, Duration>,
    /// Since when it has been failing, and when it last did.
    current: HashMap<(Id, String), (Duration, Duration)>,
    /// Those that a success ended: since when, and until when.
    past: HashMap<(Id, String), Vec<(Duration, Duration)>>,
}

impl Outages {
    pub fn see(&mut self, at: Duration, event: &Event) {
        match event {
            Event::SetOut(request) => drop(self.set_out.insert(request.number, at)),
            Event::InVain(request) => {
                let began = self.set_out.remove(&request.number).unwrap_or(at);
                self.failed((began, at), request.process, &request.url);
            }
            Event::Told(request) => self.succeeded(at, request.process, &request.url),
            _ => {}
        }
    }

    fn failed(&mut self, (began, ended): (Duration, Duration), process: Id, url: &str) {
        self.current.entry((process, url.to_owned())).or_insert((began, ended)).1 = ended;
    }

    fn succeeded(&mut self, now: Duration, process: Id, url: &str) {
        let asked = (process, url.to_owned());
        if let Some((since, _)) = self.current.remove(&asked) {
            self.past.entry(asked).or_default().push((since, now));
        }
    }

    /// Whether an outage was older than `window` at some time between `from` and `to`, and its last failure
    /// no longer than `forgotten` before that.
    pub fn overlap(
        &self,
        process: Id,
        url: &str,
        window: Duration,
        forgotten: Duration,
        (from, to): (Duration, Duration),
    ) -> bool {
        let asked = (process, url.to_owned());
        let is = self.current.get(&asked).map(|(since, last)| (*since, *last + forgotten));
        let was = self.past.get(&asked).into_iter().flatten().copied();
        was.chain(is).any(|(since, end)| since + window < to.min(end) && from <= end)
    }
}
