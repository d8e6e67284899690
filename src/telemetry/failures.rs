//! Which failures are worth a line of the log: an app decides how many there are.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines of one kind, which is a webhook and a reason, and of one app, in a period.
const OF_A_KIND: u32 = 3;
const OF_AN_APP: u32 = 20;
/// Lines of all apps in a period: as many as a disk and a bill bear, whatever the number of apps.
const OF_ALL: u32 = 200;
/// Of what is left of these, an app may hold the part that this divides it into: those that fail first leave some.
const SHARE: u32 = 8;
/// After so long a kind is new again.
const PERIOD: Duration = Duration::from_secs(10);
/// Apps told apart; past it they share what one has.
const MAX_APPS: usize = 1000;

/// What was said of each app lately.
#[derive(Debug, Default)]
pub struct Failures(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    since: Option<Instant>,
    lines: u32,
    apps: HashMap<String, Logged>,
}

#[derive(Debug)]
struct Logged {
    since: Instant,
    lines: u32,
    /// By webhook and reason; no more than have lines.
    kinds: HashMap<(String, &'static str), u32>,
    left_out: u64,
    /// Of earlier periods, which no line has told of yet.
    untold: u64,
}

/// Whether a failure has a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Of its own; before it so many of the app's had none.
    Own(u64),
    /// None.
    None,
}

impl Failures {
    pub(crate) fn line(&self, app_id: &str, webhook: &str, reason: &'static str, now: Instant) -> Line {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let All { since, lines, apps } = &mut *all;
        if since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            (*since, *lines) = (Some(now), 0);
        }
        if apps.len() >= MAX_APPS && !apps.contains_key(app_id) {
            apps.retain(|_, said| now.duration_since(said.since) < PERIOD);
        }
        let app = if apps.len() < MAX_APPS || apps.contains_key(app_id) { app_id } else { "" };
        let said = apps.entry(app.to_owned()).or_insert_with(|| Logged::new(now));
        if now.duration_since(said.since) >= PERIOD {
            *said = Logged { untold: said.untold + said.left_out, ..Logged::new(now) };
        }
        let kind = (webhook.to_owned(), reason);
        let most = OF_AN_APP.min((OF_ALL - *lines).div_ceil(SHARE));
        if said.lines >= most || said.kinds.get(&kind).is_some_and(|lines| *lines >= OF_A_KIND) {
            said.left_out += 1;
            return Line::None;
        }
        *lines += 1;
        said.lines += 1;
        *said.kinds.entry(kind).or_default() += 1;
        Line::Own(std::mem::take(&mut said.untold))
    }
}

impl Logged {
    fn new(since: Instant) -> Self {
        Self { since, lines: 0, kinds: HashMap::new(), left_out: 0, untold: 0 }
    }
}

#[cfg(test)]
mod tests;
