//! One attempt at the head of a lane, and at what goes out with it.
//!
//! What came of it is on the record of each job that was in it before anything is decided. Which webhooks are attempted is
//! told beforehand, by `gates`: not those that have the job, and of those that are down only a probe. Retries nothing, and
//! calls the queue only to extend the lease.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, timeout};

use super::prepare::{Batch, Parcel, Prepared};
use super::window::{failed_elsewhere, is_past, next_number, next_number_at};
use super::{Lane, SETTLE_MARGIN, own_rules};
use crate::app::{App, Host, Target, Webhook, WebhookId};
use crate::apps::Apps;
use crate::board;
use crate::delivery::Transport;
use crate::flow::breaker::{self, Failure, Job, destination};
use crate::flow::room::Memory;
use crate::flow::shares::Share;
use crate::in_flight::InFlight;
use crate::outcome::{Outcome, Reason};
use crate::queue::Queue;
use crate::shown::Label;
use crate::telemetry::traces::{About, AttemptSpan, Destination, Ending};

/// Deliveries of one job at once. More would let one event of one tenant take a good part of the sockets
/// there are; as each ends, the next of a job's other webhooks follows.
const AT_ONCE: usize = 16;

/// What has no other chance is not attempted in less: few receivers in another region answer sooner.
const LEAST_ATTEMPT: Duration = Duration::from_millis(250);

/// What is left then for the letter of each job behind it.
const LETTER: Duration = Duration::from_millis(200);

/// What was tried for the jobs at the head of the lane, and what it came to.
pub(super) struct Attempted {
    /// How many jobs it was for.
    pub jobs: usize,
    /// Whose they are, if that could be found out.
    pub app: Option<Arc<App>>,
    /// The number of the attempt.
    pub number: u32,
    /// Each webhook with what it came to; or one outcome alone, if there was nothing to send.
    pub tried: Vec<Tried>,
    /// The worker ended before all of it had: what had is on the jobs' records.
    pub cut_off: bool,
}

/// What an attempt at one webhook came to.
pub(super) struct Tried {
    pub webhook: Option<WebhookId>,
    /// The number of the attempt at this webhook.
    pub number: u32,
    /// Its host or function.
    pub destination: Label,
    /// Whether it has been failing for a window.
    pub down: bool,
    pub began: Instant,
    pub outcome: Outcome,
}

impl Tried {
    /// The app's webhook that it was at.
    pub(super) fn registered<'a>(&self, app: &'a App) -> Option<&'a Webhook> {
        app.webhook(self.webhook.as_ref()?)
    }
}

impl Attempted {
    pub(super) fn without_any(number: u32, app: Option<Arc<App>>) -> Self {
        Self { jobs: 1, app, number, tried: Vec::new(), cut_off: false }
    }

    /// Whether anything was sent, or could not be for good.
    pub(super) fn was_tried(&self) -> bool {
        let is_final = |tried: &Tried| matches!(tried.outcome, Outcome::Permanent(_));
        self.tried
            .iter()
            .any(|tried| tried.webhook.is_some() && (tried.outcome.was_made() || is_final(tried)))
    }

    /// Whether all that was to be sent was deferred, and nothing failed.
    pub(super) fn all_deferred(&self) -> bool {
        let failed = self.tried.iter().any(|tried| tried.outcome.is_transient());
        self.app.is_some() && !self.was_tried() && !failed
    }

    /// Whether some of it was deferred for what passes soon, and nothing failed: it lacks a place, or what is known of
    /// its app is older than it.
    pub(super) fn may_go_on_soon(&self) -> bool {
        let lacks = |tried: &Tried| matches!(&tried.outcome, Outcome::Deferred(reason) if tried.webhook.is_none() || reason.is_for_want_of_a_place());
        self.tried.iter().any(lacks) && !self.tried.iter().any(|tried| tried.outcome.is_transient())
    }
}

/// What is done about a webhook, by what is known of its destination.
struct Gate {
    key: u64,
    way: Way,
}

/// How a webhook's destination is gone about. It is down if it is certain to fail, or has been failing for a window: the
/// reason says which.
enum Way {
    /// It is attempted.
    Open,
    /// It is down, and attempted all the same.
    Failing(Reason),
    /// It is down, and a webhook that is not would wait: if this attempt fails, it is the last one.
    Probe(Reason),
    /// It is down, and not attempted: another webhook would wait, or the job is past its window, and it is not time for a
    /// probe.
    Skipped(Reason),
}

impl Gate {
    /// Why the destination is down, if it is.
    fn down(&self) -> Option<&Reason> {
        match &self.way {
            Way::Open => None,
            Way::Failing(why) | Way::Probe(why) | Way::Skipped(why) => Some(why),
        }
    }

    fn skipped(&self) -> Option<&Reason> {
        match &self.way {
            Way::Skipped(why) => Some(why),
            Way::Open | Way::Failing(_) | Way::Probe(_) => None,
        }
    }
}

/// Attempts what was prepared; `None` if the lane had to be abandoned. What came of it is on the record of
/// every job that was in it.
pub(super) async fn attempt<Q: Queue, T: Transport, A: Apps>(
    lane: &mut Lane<Q, T, A>,
    prepared: Prepared,
) -> Option<Attempted> {
    let number = next_number(lane.jobs.front()?);
    let batch = match prepared {
        Prepared::AlreadyDone => return Some(Attempted::without_any(number, None)),
        Prepared::Unmatched(app) => {
            let is_first = lane.shared.metrics.unmatched(&app.id);
            let head = lane.jobs.front_mut()?;
            let (message_id, shown_app) = (&head.message.id, head.shown_app());
            let app_id = shown_app.as_str();
            if is_first {
                tracing::info!(%message_id, app_id,
                    "done without a delivery: no webhook's filter lets its channels pass (others of the app's are told at debug alone)");
            } else {
                tracing::debug!(%message_id, app_id, "done without a delivery: no webhook's filter lets its channels pass");
            }
            head.span.ends(Ending::Unmatched, number, None);
            return Some(Attempted::without_any(number, Some(app)));
        }
        Prepared::Undeliverable(outcome) => {
            let tried = vec![without_delivery(lane, number, outcome)];
            let ended = lane.ensure_lease(SETTLE_MARGIN).await;
            return ended.then_some(Attempted { jobs: 1, app: None, number, tried, cut_off: false });
        }
        Prepared::Ready(batch) => batch,
    };
    let head = lane.jobs.front_mut()?;
    lane.shared.undeliverable.succeeded(group(head));
    head.claim.record_mut().mark_deliverable(Instant::now());
    for held in lane.jobs.iter_mut().take(batch.jobs) {
        held.begin_span(&lane.shared.traces);
    }
    let gates = gates(lane, &batch);
    goes_to(lane, &batch);
    let mut tried = Vec::with_capacity(batch.parcels.len());
    let mut left: VecDeque<_> = batch.parcels.iter().zip(&gates).collect();
    while !left.is_empty() {
        let mut limits = Limits { least: lane.shared.rules.attempt_timeout, settling: SETTLE_MARGIN };
        if let Err(why) = lane.extend_lease(limits.needed()).await {
            // What has no other chance is attempted in what is left of its lease.
            let behind = u32::try_from(lane.jobs.len() - batch.jobs).unwrap_or(u32::MAX);
            limits = Limits { least: LEAST_ATTEMPT, settling: SETTLE_MARGIN + LETTER.saturating_mul(behind) };
            if !lane.holds_a_last_chance() || !lane.lease.fits(Instant::now(), limits.needed()) {
                lane.abandon(why).await;
                return None;
            }
        }
        let began = Instant::now();
        let ended = send(lane, &batch, &mut left, limits).await;
        record(lane, &batch, number, &ended.tried, began);
        tried.extend(ended.tried);
        if ended.cut_off {
            return Some(Attempted { jobs: batch.jobs, app: Some(batch.app), number, tried, cut_off: true });
        }
    }
    settle_skipped(lane, &batch, &gates, &mut tried);
    tell_skipped(lane, &batch, &gates, &tried);
    Some(Attempted { jobs: batch.jobs, app: Some(batch.app), number, tried, cut_off: false })
}

/// Puts the webhooks that the batch goes to on the record of every job in it.
fn goes_to<Q, T, A>(lane: &mut Lane<Q, T, A>, batch: &Batch) {
    for held in lane.jobs.iter_mut().take(batch.jobs).filter(|held| held.claim.record().knows_webhooks()) {
        let ids = batch.parcels.iter().filter_map(|parcel| batch.webhook(parcel));
        let to: Vec<_> = ids.filter_map(|(id, _)| batch.app.webhook(id)).collect();
        held.claim.record_mut().set_webhooks(&to, &batch.listing());
    }
}

/// Records that there was nothing to send for the head. It is failing from now on, although nothing was sent;
/// where its group has been so for a window, it is given up as what waits for a destination that is down. While the
/// app source does not answer nothing is known of the app: what it says of it later counts from then on.
fn without_delivery<Q, T, A>(lane: &mut Lane<Q, T, A>, number: u32, outcome: Outcome) -> Tried {
    let Lane { shared, jobs, .. } = lane;
    let mut down = false;
    if matches!(outcome, Outcome::Deferred(_)) {
        for held in jobs.iter_mut() {
            held.claim.record_mut().waits_for_app_since.get_or_insert_with(Instant::now);
        }
    }
    if let Some(head) = jobs.front_mut() {
        let (now, key, id) = (Instant::now(), group(head), Arc::clone(head.known_as()));
        let elsewhere = failed_elsewhere(head, &shared.rules.retry);
        let record = head.claim.record_mut();
        record.count_fruitless();
        if let Outcome::Transient { reason, .. } = &outcome {
            record.unsent_since.get_or_insert(now);
            if reason.gives_up() {
                down = shared.undeliverable.is_down(key, now);
                record.failed_elsewhere = elsewhere;
                let job = Job::new(&id, *record.undeliverable_since.get_or_insert(now));
                let app_id = &*head.app_id;
                shared.undeliverable.failed(key, &Failure { app_id, job, began: now, ended: now, why: "" });
            } else {
                record.undeliverable_since = None;
                shared.undeliverable.succeeded(key);
            }
        }
    }
    Tried { webhook: None, number, destination: Label::default(), down, began: Instant::now(), outcome }
}

/// An app's jobs of one message group, for which there may be nothing to send.
fn group(head: &InFlight) -> u64 {
    breaker::group(&head.message.group, &head.app_id)
}

/// Which destinations are down, and which of those this job does not wait for: because it is past its window,
/// or because a webhook that is not down has it or is about to get it, and would wait.
fn gates<Q, T, A>(lane: &Lane<Q, T, A>, batch: &Batch) -> Vec<Gate> {
    let now = Instant::now();
    let Lane { shared, jobs, times, .. } = lane;
    let gate = |parcel| {
        let webhook = batch.webhook(parcel);
        let key = webhook.map_or(0, |(id, _)| destination(&batch.app.id, id));
        let down = match webhook {
            // No window has to pass to find that out.
            Some((_, Target::Unusable { why, .. })) => Some(Reason::WebhookUnusable(why.clone())),
            _ => shared.breaker.why_down(key, now).map(Reason::DestinationDown),
        };
        Gate { key, way: down.map_or(Way::Open, Way::Failing) }
    };
    let mut gates: Vec<Gate> = batch.parcels.iter().map(gate).collect();
    if gates.iter().all(|gate| gate.down().is_none()) {
        return gates;
    }
    let past = jobs.iter().take(batch.jobs).all(|held| is_past(held, *times, &shared.rules.retry));
    let sibling = gates.iter().any(|gate| gate.down().is_none()) || jobs.front().is_some_and(has_it);
    let is_redriven = jobs.front().is_some_and(|head| head.message.redriven.is_some());
    if !past && !sibling {
        return gates;
    }
    let waits_beside = gates.iter().any(|gate| gate.down().is_none());
    for gate in &mut gates {
        let Some(why) = gate.down().cloned() else { continue };
        let is_skipped = match &why {
            // An operator redrives after the destination was repaired, so a redriven job is attempted.
            Reason::DestinationDown(_) if is_redriven => false,
            // A probe goes alone: what it answers to several jobs may be the doing of one.
            Reason::DestinationDown(_) => batch.jobs > 1 || !shared.breaker.takes_probe(gate.key, now),
            _ => true,
        };
        gate.way = match (is_skipped, past) {
            (true, _) => Way::Skipped(why),
            // Past its window the job is given up after this attempt in any case: it needs no probe.
            (false, true) if !waits_beside => Way::Failing(why),
            (false, _) => Way::Probe(why),
        };
    }
    gates
}

/// Whether one of its webhooks has a job.
fn has_it(held: &InFlight) -> bool {
    let by_redrive = held.message.redriven.as_ref().is_some_and(|redriven| !redriven.delivered.is_empty());
    by_redrive || held.claim.record().settled.iter().any(|settled| settled.failed.is_none())
}

/// What a lane's lease has to leave.
#[derive(Clone, Copy)]
struct Limits {
    /// For an attempt, at the least.
    least: Duration,
    /// For settling, behind the attempt.
    settling: Duration,
}

impl Limits {
    fn needed(self) -> Duration {
        self.least + self.settling
    }
}

/// What came of some deliveries.
struct Ended {
    /// In the order of their parcels.
    tried: Vec<Tried>,
    /// The worker ended before all of those that were begun had.
    cut_off: bool,
}

/// Makes deliveries of a batch, some at the same time, each within what the worker or its webhook allows: as many of those
/// that are `left` as may be begun before the lease leaves less than `limits`, or a job's last chance comes. Where a
/// job of the lane has no other chance, those that have not ended when the worker does are missing from the answer: its
/// letter says who has it.
async fn send<Q: Queue, T: Transport, A: Apps>(
    lane: &Lane<Q, T, A>,
    batch: &Batch,
    left: &mut VecDeque<(&Parcel, &Gate)>,
    limits: Limits,
) -> Ended {
    let (urgent, deferrable) = (lane.holds_a_last_chance(), lane.may_be_deferred());
    let round = Round { lane, batch, urgent, deferrable, settling: limits.settling };
    let goes_on =
        || lane.lease.fits(Instant::now(), limits.needed()) && lane.holds_a_last_chance() == round.urgent;
    let (mut under_way, mut ended) = (FuturesUnordered::new(), Vec::new());
    let mut cut_off = false;
    loop {
        while under_way.len() < AT_ONCE && !cut_off && !left.is_empty() && goes_on() {
            let Some((parcel, gate)) = left.pop_front() else { break };
            under_way.push(round.attempt(under_way.len() + ended.len(), parcel, gate));
        }
        let Some((place, tried)) = under_way.next().await else { break };
        cut_off |= tried.is_none();
        ended.push((place, tried));
    }
    ended.sort_unstable_by_key(|(place, _)| *place);
    Ended { tried: ended.into_iter().filter_map(|(_, tried)| tried).collect(), cut_off }
}

/// What the tries that are made at the same time have in common.
struct Round<'a, Q, T, A> {
    lane: &'a Lane<Q, T, A>,
    batch: &'a Batch,
    /// A job of the lane has no other chance.
    urgent: bool,
    /// Every job of the lane may go back untried.
    deferrable: bool,
    /// What is left of the lease for settling.
    settling: Duration,
}

impl<Q: Queue, T: Transport, A: Apps> Round<'_, Q, T, A> {
    /// Makes one delivery, unless the worker ends before it has; with its place among them.
    async fn attempt(&self, place: usize, parcel: &Parcel, gate: &Gate) -> (usize, Option<Tried>) {
        let attempt = Try::begin(self, parcel, gate);
        if !self.urgent {
            return (place, Some(attempt.run().await));
        }
        let tried = tokio::select! {
            biased;
            tried = attempt.run() => Some(tried),
            () = self.lane.shared.closing.cancelled() => None,
        };
        (place, tried)
    }
}

/// One parcel on its way to its webhook.
struct Try<'a, Q, T, A> {
    round: &'a Round<'a, Q, T, A>,
    parcel: &'a Parcel,
    gate: &'a Gate,
    webhook: Option<&'a WebhookId>,
    target: Option<&'a Target>,
    /// The app's webhook, for what it says itself of its attempts.
    own: Option<&'a Webhook>,
    /// The target's host or function.
    destination: Label,
    began: Instant,
    /// When the head was tried first at this webhook.
    first: Instant,
    /// The webhook's identity then, if it is another now: its receiver knows the job by that.
    known_as: Option<&'a WebhookId>,
    /// The number of the attempt at this webhook.
    number: u32,
    /// What it may take.
    longest: Duration,
    /// That is less than its webhook has otherwise.
    is_cut_short: bool,
}

impl<'a, Q: Queue, T: Transport, A: Apps> Try<'a, Q, T, A> {
    fn begin(round: &'a Round<'a, Q, T, A>, parcel: &'a Parcel, gate: &'a Gate) -> Self {
        let began = Instant::now();
        let (webhook, target) = round.batch.webhook(parcel).unzip();
        let own = webhook.and_then(|id| round.batch.app.webhook(id));
        let head = round.lane.jobs.front().zip(own);
        let tries = head.and_then(|(head, own)| head.claim.record().tries_at(own));
        let own_timeout = own_rules::timeout(own, round.lane.shared.rules.attempt_timeout);
        // Less than that is left where the lease of a last chance could not be extended.
        let left = round.lane.lease.until().saturating_duration_since(began).saturating_sub(round.settling);
        Self {
            round,
            parcel,
            gate,
            webhook,
            target,
            own,
            destination: Label::new(&Host(target).to_string()),
            began,
            first: tries.map_or(began, |tries| tries.first),
            known_as: tries.map(|tries| &tries.webhook.id).filter(|id| Some(*id) != webhook),
            // Those that go together are at their first.
            number: head.map_or(1, |(head, own)| next_number_at(head, own)),
            longest: own_timeout.min(left),
            is_cut_short: left < own_timeout,
        }
    }

    /// Makes the attempt, if it is not to be skipped, and tells the board and the app's share what came of it.
    async fn run(self) -> Tried {
        let shared = &self.round.lane.shared;
        let attempting = self.share().map(Share::begin_attempt);
        let outcome = match self.gate.skipped() {
            Some(why) => Outcome::Deferred(why.clone()),
            None => self.traced().await,
        };
        let took = self.began.elapsed();
        // What becomes of one that is skipped is known when all are through.
        if self.gate.skipped().is_none() {
            shared.metrics.board.attempted(&board::Attempt {
                app_id: &self.round.batch.app.id,
                webhook: self.webhook_id(),
                destination: self.destination.as_str(),
                outcome: &outcome,
                took,
                failing: self.failing(self.first),
            });
        }
        if let Some(attempting) = attempting
            && !matches!(outcome, Outcome::Deferred(_))
        {
            attempting.ended(outcome == Outcome::Delivered);
        }
        self.judged(outcome)
    }

    /// Makes the attempt, and a span of it.
    async fn traced(&self) -> Outcome {
        let Round { batch, lane, .. } = self.round;
        let about = About {
            webhook: self.webhook_id(),
            destination: match self.target {
                Some(Target::Lambda(_)) => Destination::Function(self.destination.as_str()),
                _ => Destination::Host(self.destination.as_str()),
            },
            number: self.number,
            jobs: batch.jobs,
        };
        let spans = lane.jobs.iter().take(batch.jobs).map(|held| &held.span);
        let span = AttemptSpan::begin(&lane.shared.traces, spans, &about);
        let outcome = self.deliver(&span).await;
        span.ends(&outcome);
        outcome
    }

    /// Makes one attempt that takes no longer than it may.
    async fn deliver(&self, span: &AttemptSpan) -> Outcome {
        let Self { round: Round { batch, lane, .. }, parcel, gate, longest, .. } = *self;
        let shared = &lane.shared;
        let began = Instant::now();
        let _leave = match shared.throttle.enter(gate.key, began) {
            Ok(leave) => Some(leave),
            // It, or one behind it, has no other chance.
            Err(_) if self.round.urgent => None,
            Err(under_way) => return Outcome::Deferred(Reason::Throttled(under_way)),
        };
        let memory = Memory { share: self.share(), deferrable: self.round.deferrable };
        let attempt = async {
            let bytes = batch.rendered_bytes(parcel);
            let Ok(_room) = memory.wait(&shared.permits, bytes, longest).await else {
                return Outcome::Deferred(Reason::NoRoom(bytes));
            };
            let Some(mut delivery) = batch.render(parcel) else {
                return Outcome::Permanent(Reason::NoWebhook);
            };
            if let Some((known_as, head)) = self.known_as.zip(lane.jobs.front()) {
                delivery.keep_id(head.known_as(), known_as);
            }
            span.carry(&mut delivery.headers);
            delivery.timeout = Some(longest);
            shared.transport.attempt(&delivery, self.number).await
        };
        // One webhook at which our own code fails must not take the others' outcomes with it.
        let attempt = AssertUnwindSafe(timeout(longest, attempt)).catch_unwind();
        let outcome = match attempt.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::transient(Reason::Timeout(longest)),
            Err(_) => Outcome::transient(Reason::Panicked),
        };
        self.count(&outcome, began);
        outcome
    }

    /// Tells metrics, breaker and throttle what came of an attempt that began then.
    fn count(&self, outcome: &Outcome, began: Instant) {
        let Lane { shared, jobs, times, .. } = self.round.lane;
        let (key, now, took) = (self.gate.key, Instant::now(), began.elapsed());
        shared.metrics.attempted(outcome, took);
        match outcome {
            Outcome::Delivered => {
                shared.breaker.succeeded(key);
                shared.throttle.took(key);
                for age in jobs.iter().take(self.round.batch.jobs).map(|held| held.age(*times)) {
                    shared.metrics.age_at_delivery.observe(age.as_secs_f64());
                    shared.metrics.board.delivered(age);
                }
            }
            outcome if outcome.asks_for_fewer() => {
                shared.breaker.succeeded(key);
                shared.throttle.too_many(key, now);
            }
            // It may have been about to answer.
            Outcome::Transient { reason: Reason::Timeout(_), .. } if self.is_cut_short => {}
            Outcome::Transient { reason, .. } if !matches!(reason, Reason::WebhookUnusable(_)) => {
                let id = jobs.front().map_or("", |head| head.known_as());
                let job = Job::new(id, self.first);
                let app_id = &*self.round.batch.app.id;
                shared
                    .breaker
                    .failed(key, &Failure { app_id, job, began, ended: now, why: &reason.to_string() });
            }
            // Neither sign of life nor of failure: the destination was not asked, cannot be, or is not asked again
            // for this job.
            Outcome::Transient { .. } | Outcome::Deferred(_) | Outcome::Permanent(_) => {}
        }
    }

    /// What it came to, by the webhook's own rules too.
    fn judged(self, outcome: Outcome) -> Tried {
        // What failed together goes on alone first.
        let outcome = match self.round.lane.jobs.front().filter(|_| self.round.batch.jobs == 1) {
            Some(head) => {
                let record = head.claim.record();
                let first =
                    if outcome.was_made() { self.first } else { record.first_attempt.unwrap_or(self.began) };
                own_rules::judged(outcome, self.own, self.number, self.failing(first))
            }
            None => outcome,
        };
        let Self { webhook, number, destination, gate, began, .. } = self;
        Tried { webhook: webhook.cloned(), number, destination, down: gate.down().is_some(), began, outcome }
    }

    /// For how long the job has been failing, if it was attempted first then: it alone, as what failed together may be
    /// another's doing.
    fn failing(&self, first: Instant) -> Duration {
        let Lane { shared, jobs, .. } = self.round.lane;
        let head = jobs.front().filter(|_| self.round.batch.jobs == 1);
        head.map_or(Duration::ZERO, |head| {
            shared.absences.present_since(first) + failed_elsewhere(head, &shared.rules.retry)
        })
    }

    fn webhook_id(&self) -> &'a str {
        self.webhook.map_or("", WebhookId::as_str)
    }

    fn share(&self) -> Option<&'a Share> {
        self.round.lane.jobs.front().and_then(|head| head.share.as_ref())
    }
}

/// Puts what came of some deliveries on the record of every job that was in them.
fn record<Q, T, A>(lane: &mut Lane<Q, T, A>, batch: &Batch, number: u32, ended: &[Tried], began: Instant) {
    let failed_or_made = ended.iter().any(|tried| !matches!(tried.outcome, Outcome::Deferred(_)));
    let made = ended.iter().any(|tried| tried.outcome.was_made());
    let Lane { shared, jobs, .. } = lane;
    for held in jobs.iter_mut().take(batch.jobs) {
        let elsewhere = failed_elsewhere(held, &shared.rules.retry);
        let record = held.claim.record_mut();
        if failed_or_made {
            record.failed_elsewhere = elsewhere;
            record.first_attempt.get_or_insert(began);
        }
        if made {
            (record.attempts, record.fruitless_receives) = (number, 0);
        } else if failed_or_made {
            record.count_fruitless();
        }
        record.tries.retain(|tries| batch.app.webhooks.iter().any(|webhook| tries.webhook.is(webhook)));
        for tried in ended {
            let Some(webhook) = tried.registered(&batch.app) else { continue };
            if tried.outcome.was_made() {
                record.tried(webhook, tried.began);
            }
            match &tried.outcome {
                // It may be another job's doing: each is asked for alone.
                Outcome::Permanent(_) if batch.jobs > 1 => record.wait_for(webhook),
                outcome => record.settle(webhook, outcome),
            }
        }
    }
}

/// A webhook that is down, and was not attempted or failed the probe, is given up for where no other one waits and one has
/// the job; else it waits with them.
fn settle_skipped<Q, T, A>(lane: &mut Lane<Q, T, A>, batch: &Batch, gates: &[Gate], tried: &mut [Tried]) {
    let past =
        lane.jobs.iter().take(batch.jobs).all(|held| is_past(held, lane.times, &lane.shared.rules.retry));
    let now = Instant::now();
    let unsettled = |tried: &Tried| matches!(tried.outcome, Outcome::Transient { .. } | Outcome::Deferred(_));
    let given_up = |tried: &Tried, gate: &Gate| match gate.way {
        Way::Skipped(_) => true,
        // After a probe it may no longer be down, whatever it answered.
        Way::Probe(_) => unsettled(tried) && lane.shared.breaker.is_down(gate.key, now),
        Way::Open | Way::Failing(_) => false,
    };
    let waits = tried.iter().zip(gates).any(|(tried, gate)| unsettled(tried) && !given_up(tried, gate));
    if !past && (waits || !lane.jobs.front().is_some_and(has_it)) {
        return;
    }
    let given_up: Vec<bool> = tried.iter().zip(gates).map(|(tried, gate)| given_up(tried, gate)).collect();
    for ((tried, gate), given_up) in tried.iter_mut().zip(gates).zip(given_up) {
        let Some(why) = gate.down().filter(|_| given_up).cloned() else { continue };
        tried.outcome = Outcome::Permanent(why);
        // Several jobs go on alone.
        if let (1, Some(head), Some(webhook)) =
            (batch.jobs, lane.jobs.front_mut(), tried.registered(&batch.app))
        {
            head.claim.record_mut().settle(webhook, &tried.outcome);
        }
    }
}

/// Tells the board of the webhooks that were not attempted: the job waits for them, or is given up for them.
fn tell_skipped<Q, T, A>(lane: &Lane<Q, T, A>, batch: &Batch, gates: &[Gate], tried: &[Tried]) {
    let (board, app_id) = (&lane.shared.metrics.board, &*batch.app.id);
    for (tried, _) in tried.iter().zip(gates).filter(|(_, gate)| gate.skipped().is_some()) {
        let webhook = tried.webhook.as_ref().map_or("", WebhookId::as_str);
        let (destination, outcome) = (&tried.destination.as_str(), &tried.outcome);
        match outcome {
            Outcome::Deferred(_) => {
                let (took, failing) = (Duration::ZERO, Duration::ZERO);
                board.attempted(&board::Attempt { app_id, webhook, destination, outcome, took, failing });
            }
            _ => board.passed_over(app_id, webhook),
        }
    }
}
