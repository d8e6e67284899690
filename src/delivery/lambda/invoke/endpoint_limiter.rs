//! The bound on invocations at endpoints of apps: the SDK's client takes 400 KiB of an answer's head, and nothing
//! makes it take less.
//!
//! They are shared among apps: of what is left an app holds half as much at the most, and a quarter is out of reach of apps
//! without an answer in the last minute, however many those are. An endpoint that has left its last attempts unanswered
//! has two at a time until it answers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

/// Under way at one endpoint.
const MOST: usize = 16;
/// Under way at all of them.
const MOST_OF_ALL: usize = 64;
/// Of these, so many are left to apps whose endpoints answer.
const RESERVED: usize = 16;
/// Under way at one that has left attempts unanswered.
const MUTE: usize = 2;
/// So many in a row: one or two happen to good endpoints.
const IN_A_ROW: u32 = 3;
/// How long that counts after the last of them, and how long an answer does.
const MEMORY: Duration = Duration::from_secs(60);
/// A failure that comes within it has cost nobody anything.
const SOON: Duration = Duration::from_secs(1);
/// Endpoints, and apps, remembered while nothing of theirs is under way, some hundred bytes each. Past it those are
/// forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// How many are under way for each app and at each host.
#[derive(Debug, Default)]
pub(super) struct EndpointLimiter(Mutex<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    all: usize,
    apps: HashMap<String, App>,
    endpoints: HashMap<String, Endpoint>,
}

#[derive(Debug, Default)]
struct App {
    under_way: usize,
    answered: Option<Instant>,
}

#[derive(Debug, Default)]
struct Endpoint {
    under_way: usize,
    /// Attempts since its last answer, and when the last of them ended.
    unanswered: Option<(u32, Instant)>,
}

/// Leave for one invocation, given back when dropped; it went unanswered then, unless it was told otherwise.
#[derive(Debug)]
pub(super) struct EndpointPermit<'a> {
    limiter: &'a EndpointLimiter,
    app_id: String,
    host: String,
    begun: Instant,
    answered: bool,
}

impl EndpointLimiter {
    /// Leave for an invocation of an app's there; the error is how many are under way.
    pub(super) fn enter(&self, app_id: &str, endpoint: &Url) -> Result<EndpointPermit<'_>, usize> {
        let host = endpoint.host_str().unwrap_or_default();
        let mut under_way = self.under_way();
        let UnderWay { all, apps, endpoints } = &mut *under_way;
        let own = apps.get(app_id).map_or(0, |app| app.under_way);
        let reserved = if apps.get(app_id).is_some_and(App::answers) { 0 } else { RESERVED };
        if own >= (MOST_OF_ALL - *all).saturating_sub(reserved).div_ceil(2) {
            return Err(*all);
        }
        let there = endpoints.get(host).map_or(0, |endpoint| endpoint.under_way);
        let most = if endpoints.get(host).is_some_and(Endpoint::is_mute) { MUTE } else { MOST };
        if there >= most {
            return Err(there);
        }
        *all += 1;
        apps.entry(app_id.to_owned()).or_default().under_way += 1;
        endpoints.entry(host.to_owned()).or_default().under_way += 1;
        let (app_id, host) = (app_id.to_owned(), host.to_owned());
        Ok(EndpointPermit { limiter: self, app_id, host, begun: Instant::now(), answered: false })
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    fn answers(&self) -> bool {
        self.answered.is_some_and(|answered| answered.elapsed() < MEMORY)
    }
}

impl Endpoint {
    fn is_mute(&self) -> bool {
        self.unanswered.is_some_and(|(attempts, last)| attempts >= IN_A_ROW && last.elapsed() < MEMORY)
    }
}

impl EndpointPermit<'_> {
    /// The endpoint answered.
    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for EndpointPermit<'_> {
    fn drop(&mut self) {
        let mut under_way = self.limiter.under_way();
        let UnderWay { all, apps, endpoints } = &mut *under_way;
        *all -= 1;
        let many = apps.len() > MAX_REMEMBERED;
        if let Some(app) = apps.get_mut(&self.app_id) {
            app.under_way -= 1;
            if self.answered {
                app.answered = Some(Instant::now());
            }
            if app.under_way == 0 && app.answered.is_none() {
                apps.remove(&self.app_id);
            }
        }
        if many {
            apps.retain(|_, app| app.under_way > 0 || app.answers());
        }
        let many = endpoints.len() > MAX_REMEMBERED;
        let Some(endpoint) = endpoints.get_mut(&self.host) else { return };
        endpoint.under_way -= 1;
        if self.answered {
            endpoint.unanswered = None;
        } else if self.begun.elapsed() >= SOON {
            let before = endpoint.unanswered.map_or(0, |(attempts, _)| attempts);
            endpoint.unanswered = Some((before.saturating_add(1), Instant::now()));
        }
        if endpoint.under_way == 0 && (many || endpoint.unanswered.is_none()) {
            endpoints.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests;
