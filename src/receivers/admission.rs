//! What a request needs before it is sent: a permit at its host, a permit among those that may take much memory, and
//! descriptors. Taken in this order, so that who waits at its host holds nothing that others need.
//!
//! Each is waited for within a bound of its own, and all of them together for half of the attempt: who waits for longer
//! would end as a timeout of a destination that got no request.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::host_limiter::{HostLimiter, HostPermit, LONGEST_WAIT};
use super::unanswered::{Standing, Unanswered};
use crate::descriptors;
use crate::descriptors::sockets::{Purpose, Socket, Sockets};
use crate::outcome::Reason;

/// Requests under way to destinations without a recent answer, at all of them together. A response's head takes up to 900 KB
/// of memory until it is whole: 400 KB that hyper lets pass, in a buffer that grows by doubling. Three in four of these may go to
/// destinations that are mute, or of apps that no destination answers, which is 65 MB. They are shared among apps, as
/// descriptors are.
pub(crate) const MAX_WITHOUT_ANSWER: usize = 96;
/// Of these, how many are left to apps that hold none.
const FIRSTS_WITHOUT_ANSWER: usize = 6;
/// Requests over HTTP/2 to destinations that are not proven, at all of them together: those that speak nothing else. Until its
/// answer such a destination may send informational responses without end, and h2 keeps all of them.
const MAX_UNPROVEN_HTTP2: usize = 16;
/// Of these, how many are left to apps that hold none: eight whose receivers take seconds would hold all of them.
const FIRSTS_UNPROVEN_HTTP2: usize = 4;
/// How long a request waits for one of these, at the longest.
const COSTLY_WAIT: Duration = Duration::from_millis(500);

/// How long to wait after kept connections were evicted: the pool closes them on tasks of its own.
pub(crate) const EVICTION_WAIT: Duration = Duration::from_millis(20);

/// How often one that waits looks again.
const POLL: Duration = Duration::from_millis(100);

/// Descriptors that a look-up may hold: one for either family's addresses, at two name servers at once.
pub(crate) const LOOK_UP: usize = 4;

/// The bounds on requests under way, and what is known of the destinations that they apply to.
#[derive(Debug)]
pub(crate) struct Admission {
    hosts: HostLimiter,
    pub(crate) unanswered: Unanswered,
    /// Requests to destinations without a recent answer.
    pub(crate) without_answer: Sockets,
    /// Requests over HTTP/2 to destinations that are not proven.
    unproven_http2: Sockets,
    /// Connections in use, those to Lambda among them.
    pub(crate) sockets: Arc<Sockets>,
}

/// Who asks to send a request, and where to.
#[derive(Debug)]
pub(crate) struct Ask<'a, Origin, Host> {
    pub app_id: &'a str,
    pub origin: &'a Origin,
    pub host: &'a Host,
    pub https: bool,
    /// The destination has refused HTTP/1.1.
    pub refused_http1: bool,
    /// The host is a name that this process looks up.
    pub is_name: bool,
    /// An eighth of the attempt's time.
    pub wait: Duration,
}

/// How a request is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub standing: Standing,
    /// Without HTTP/2.
    pub http1: bool,
}

/// Leave for one request; all of it is given back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub route: Route,
    host: Option<HostPermit>,
    costly: Option<Socket>,
    sockets: Vec<Socket>,
}

impl Admission {
    pub(crate) fn new(hosts: HostLimiter) -> Self {
        Self {
            hosts,
            unanswered: Unanswered::default(),
            without_answer: Sockets::costly(MAX_WITHOUT_ANSWER, FIRSTS_WITHOUT_ANSWER),
            unproven_http2: Sockets::costly(MAX_UNPROVEN_HTTP2, FIRSTS_UNPROVEN_HTTP2),
            sockets: Arc::new(Sockets::new(descriptors::for_deliveries(descriptors::limit()))),
        }
    }

    /// Takes all that a request needs; the error says what there was none of. `evict` begins to close kept connections.
    pub(crate) async fn enter<O: Hash, H: Hash>(
        &self,
        ask: &Ask<'_, O, H>,
        evict: impl FnOnce(),
    ) -> Result<Admitted, Reason> {
        let asked = Instant::now();
        let standing = self.unanswered.standing(ask.app_id, ask.origin);
        let last_took = || self.unanswered.last_took(ask.app_id, ask.origin);
        let host = self.hosts.acquire(ask.app_id, ask.origin, standing, last_took, ask.wait).await;
        let host = host.map_err(Reason::Busy)?;
        let is_crowded = host.as_ref().is_some_and(HostPermit::is_crowded);
        let route = Route { standing, http1: ask.speaks_http1_alone(standing, is_crowded) };
        let left = ask.wait.saturating_mul(LONGEST_WAIT).saturating_sub(asked.elapsed());
        let costly = self.costly(ask, route, left).await.map_err(Reason::UnprovenBusy)?;
        let sockets = self.sockets(ask, standing, evict).await.ok_or(Reason::NoDescriptor)?;
        Ok(Admitted { route, host, costly, sockets })
    }

    /// Leave for one request to a destination without a recent answer, or over HTTP/2 to one that is not proven; the
    /// error is the bound. Nobody waits for a destination that is mute.
    async fn costly<O: Hash, H>(
        &self,
        ask: &Ask<'_, O, H>,
        Route { standing, http1 }: Route,
        left: Duration,
    ) -> Result<Option<Socket>, usize> {
        let Ask { app_id, origin, .. } = *ask;
        let permits = match standing {
            Standing::Proven => return Ok(None),
            // It has only been quiet.
            _ if !http1 && self.unanswered.was_proven(app_id, origin) => return Ok(None),
            _ if !http1 => &self.unproven_http2,
            Standing::Answers => return Ok(None),
            Standing::Unknown | Standing::Mute => &self.without_answer,
        };
        // Answers of destinations that need no leave here are known from their connections.
        if self.sockets.app_answers(app_id) {
            permits.app_answered(app_id);
        }
        // One webhook that answers says nothing of those that do not.
        let is_doubtful = match standing {
            Standing::Proven | Standing::Answers => false,
            Standing::Unknown => self.unanswered.has_left_some(app_id),
            Standing::Mute => true,
        };
        let purpose = if is_doubtful { Purpose::Doubtful } else { Purpose::Any };
        let wait =
            if standing == Standing::Mute { Duration::ZERO } else { COSTLY_WAIT.min(ask.wait).min(left) };
        let taken = take_within(wait, || permits.take(app_id, origin, purpose)).await;
        taken.map(Some).ok_or_else(|| permits.most())
    }

    /// Leave for one connection, and for the look-up before it where that may go unanswered; waits a moment where
    /// there is none, and evicts kept ones where descriptors are few and it is not the app that has as many as it may.
    async fn sockets<O, H: Hash>(
        &self,
        ask: &Ask<'_, O, H>,
        standing: Standing,
        evict: impl FnOnce(),
    ) -> Option<Vec<Socket>> {
        let wanted = if ask.is_name && !standing.answers() { LOOK_UP } else { 1 };
        let purpose = if standing == Standing::Proven { Purpose::Quick } else { Purpose::Any };
        let one = |_| self.sockets.take(ask.app_id, ask.host, purpose);
        let take = || (0..wanted).map(one).collect::<Option<Vec<_>>>();
        let taken = take();
        if taken.is_some() {
            return taken;
        }
        // Those that are kept are none of these, and may be few of the descriptors.
        if self.sockets.taken() + wanted > self.sockets.most() && descriptors::are_few() {
            evict();
        }
        take_within(EVICTION_WAIT, take).await
    }
}

impl<O, H> Ask<'_, O, H> {
    /// Whether the destination is not offered HTTP/2; `is_crowded`: many requests to it are under way. Without TLS there is
    /// no HTTP/2 to be agreed on.
    fn speaks_http1_alone(&self, standing: Standing, is_crowded: bool) -> bool {
        let offers_http2 = standing == Standing::Proven && !is_crowded || self.refused_http1;
        !(self.https && offers_http2)
    }
}

impl Admitted {
    /// The request was answered.
    pub(crate) fn answered(&self) {
        self.sockets.iter().chain(&self.costly).for_each(Socket::answered);
        if let Some(host) = &self.host {
            host.answered();
        }
    }
}

/// Takes what there is, and looks again until so much time has passed: what is free to one app depends on what others
/// hold, so no semaphore could wake it.
async fn take_within<T>(wait: Duration, mut take: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + wait;
    loop {
        if let Some(taken) = take() {
            return Some(taken);
        }
        let now = Instant::now();
        if now >= until {
            return None;
        }
        sleep_until(until.min(now + POLL)).await;
    }
}

#[cfg(test)]
mod tests;
