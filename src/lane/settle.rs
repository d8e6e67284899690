//! What follows from an attempt: the decision, its log lines, and the calls to the queue.
//!
//! Invariants:
//! - `decide` changes nothing; what becomes of a job is on its record before the queue is called;
//! - a job leaves a lane that goes on only through `acknowledge_at`, after every webhook has it or its letter was confirmed
//!   (or there is no dead-letter queue);
//! - a function that takes the lane by value ends it, and hides all that is left of it in one call.
//!
//! Knows neither how an attempt was made nor any adapter.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{debug, error, warn};

use super::attempt::{Attempted, Tried};
use super::window::attempts_for_backoff;
use super::{AMPLE_RECEIVES, Lane, Rules, SETTLE_MARGIN, Shared, own_rules};
use crate::app::limits::MAX_ID_BYTES;
use crate::app::{App, Host, Webhook, WebhookId};
use crate::apps::Apps;
use crate::board::GivenUp;
use crate::board::blocked::Blocked;
use crate::delete_batcher::{Deletion, Urgency};
use crate::delivery::Transport;
use crate::in_flight::{InFlight, Times};
use crate::lease::Lease;
use crate::ledger::{Record, Settled};
use crate::outcome::{Outcome, Reason};
use crate::policy::rules::LastChance;
use crate::policy::{self, Disposition, whole_seconds};
use crate::queue::{BatchEntryResult, DeadLetter, Error, MessageId, Queue};
use crate::shown::{self, Label};
use crate::telemetry::failures::{Failures, Line};
use crate::telemetry::metrics::SettleCall;
use crate::telemetry::settling::{report_batch, report_call};
use crate::telemetry::traces::Ending;

/// The backoff of what is deferred for want of room grows no further than after so many times: to about half a
/// minute, so that few of a job's receives go that way.
const MAX_DEFERRALS: u32 = 6;

/// A letter that the dead-letter queue does not take is refused again until an operator has done something about it.
const REFUSED_LETTER_WAIT: Duration = Duration::from_secs(300);

/// Label from a tenant or a producer for a log line: cut, and without what would end or turn the line.
pub(super) fn shown(text: &str) -> String {
    shown::cut_marked(text, Label::MOST)
}

/// Decides what becomes of the head, which was in this attempt; `random` in 0..1 is for its backoff. Changes nothing.
pub(super) fn decide<Q, T, A>(
    shared: &Shared<Q, T, A>,
    head: &InFlight,
    attempted: &Attempted,
    times: Times,
    random: f64,
) -> Disposition {
    let record = head.claim.record();
    if record.done {
        return Disposition::Done;
    }
    // Nothing was attempted since: it is the same letter, sent once more.
    if let Some(reason) = record.given_up.as_ref().filter(|_| attempted.tried.is_empty()) {
        return Disposition::DeadLetter(reason.clone());
    }
    let rules = &shared.rules;
    // What failed for good earlier still decides how the job ends, as long as the app has the webhook.
    let webhooks = attempted.app.as_ref().map_or(&[][..], |app| &app.webhooks);
    let earlier: Vec<_> = record
        .settled
        .iter()
        .filter(|settled| webhooks.iter().any(|webhook| settled.webhook.is(webhook)))
        .filter_map(|settled| settled.failed.clone())
        .map(Outcome::Permanent)
        .collect();
    let outcomes = attempted.tried.iter().map(|tried| &tried.outcome).chain(&earlier);
    let tries = if attempted.was_tried() {
        // Not the job's: a webhook that came later, or in another's stead, is at its own.
        let failed = attempted.tried.iter().filter(|tried| tried.outcome.is_transient());
        attempts_for_backoff(head, failed.map(|tried| tried.number).max().unwrap_or(attempted.number))
    } else {
        // A deferral is counted once that is decided, what could not be sent is by now.
        if attempted.all_deferred() {
            record.deferrals.saturating_add(1)
        } else {
            record.fruitless_receives.max(1)
        }
    };
    let failing = failing(shared, head, attempted, times);
    let retry = own_rules::backoff(&rules.retry, failing_webhooks(attempted));
    match policy::decide(outcomes, tries, failing, &retry, random) {
        Disposition::Retry { reason, backoff } => {
            let backoff =
                if reason.gives_up() { backoff } else { head.sparing_backoff(rules, times, backoff) };
            let backoff = hidden_while_polls_end(shared, backoff);
            match head.last_chance(rules, times, backoff) {
                // Hidden for that long, SQS would move or delete the job by itself, with no letter and no log line.
                Some(last) => Disposition::DeadLetter(last.reason(reason.to_string())),
                None => Disposition::Retry { reason, backoff },
            }
        }
        // The owner of a webhook that is gone may be about to put another in its place, which gets it from the
        // dead-letter queue.
        Disposition::Done if !record.owed.is_empty() => Disposition::DeadLetter(Reason::NoWebhook),
        disposition @ (Disposition::Done | Disposition::DeadLetter(_)) => disposition,
    }
}

/// Whether the jobs of a failed coalesced request are attempted one by one now, instead of being settled. They are if
/// settling would give up one of the lane's jobs: another job of the request may be the cause of the failure.
pub(super) fn goes_on_alone<Q, T, A>(lane: &mut Lane<Q, T, A>, attempted: &Attempted) -> bool {
    if attempted.jobs < 2 || attempted.tried.iter().all(|tried| tried.outcome == Outcome::Delivered) {
        return false;
    }
    // The longest backoff gives up the most.
    let gives_up = |held: &InFlight| {
        matches!(decide(&lane.shared, held, attempted, lane.times, 1.0), Disposition::DeadLetter(_))
    };
    if !lane.jobs.iter().any(gives_up) {
        return false;
    }
    if let Some(head) = lane.jobs.front() {
        for tried in &attempted.tried {
            log(&lane.shared.failures, head, attempted, tried, Some(Duration::ZERO));
        }
    }
    lane.going_alone = attempted.jobs;
    lane.forget_plan();
    true
}

/// The webhooks that have to be tried again.
fn failing_webhooks(attempted: &Attempted) -> impl Iterator<Item = Option<&Webhook>> {
    let app = attempted.app.as_deref();
    let failing = attempted.tried.iter().filter(|tried| tried.outcome.is_transient());
    failing.map(move |tried| tried.registered(app?))
}

/// For how long it has been failing, as the window counts.
fn failing<Q, T, A>(
    shared: &Shared<Q, T, A>,
    head: &InFlight,
    attempted: &Attempted,
    times: Times,
) -> Duration {
    let own = own_failing(shared, head, attempted);
    // Its age counts where all that it waits for had been failing for a window before: a webhook that was not has all of
    // its own. Together none is given up.
    let mut waits_for = attempted.tried.iter().filter(|tried| tried.outcome.is_transient()).peekable();
    let counts = attempted.jobs <= 1 && waits_for.peek().is_some() && waits_for.all(|tried| tried.down);
    if counts { own.max(head.age(times)) } else { own }
}

/// For how long it has been failing itself.
fn own_failing<Q, T, A>(shared: &Shared<Q, T, A>, head: &InFlight, attempted: &Attempted) -> Duration {
    // The failure may be another job's doing: none is given up for it before it has failed alone.
    if attempted.jobs > 1 {
        return Duration::ZERO;
    }
    let record = head.claim.record();
    let since = if let Some(app) = &attempted.app {
        // One of its webhooks may have got it only lately.
        let failing = attempted.tried.iter().filter(|tried| tried.outcome.is_transient());
        let tries = failing.map(|tried| Some(record.tries_at(tried.registered(app)?)?.first));
        tries.collect::<Option<Vec<_>>>().and_then(|firsts| firsts.into_iter().min()).or(record.first_attempt)
    } else {
        record.undeliverable_since
    };
    let here = since.map_or(Duration::ZERO, |since| shared.absences.present_since(since));
    here + record.failed_elsewhere
}

/// Says what came of the attempt, and puts a decision to give up on the record.
pub(super) fn record<Q, T, A>(lane: &mut Lane<Q, T, A>, attempted: &Attempted, disposition: &Disposition) {
    let Some(head) = lane.jobs.front_mut() else { return };
    let next_retry = match disposition {
        Disposition::Retry { backoff, .. } => Some(*backoff),
        Disposition::Done | Disposition::DeadLetter(_) => None,
    };
    for tried in &attempted.tried {
        log(&lane.shared.failures, head, attempted, tried, next_retry);
    }
    match disposition {
        // The transient failures of a job that is given up are final too.
        Disposition::DeadLetter(reason) => {
            head.span.ends(Ending::DeadLettered, attempted.number, Some(reason));
            head.claim.record_mut().given_up = Some(reason.clone());
            for tried in &attempted.tried {
                let webhook = attempted.app.as_ref().and_then(|app| tried.registered(app));
                if let (Some(webhook), Outcome::Transient { reason, .. }) = (webhook, &tried.outcome) {
                    head.claim.record_mut().settle(webhook, &Outcome::Permanent(reason.clone()));
                }
            }
        }
        Disposition::Retry { .. } if attempted.all_deferred() => {
            head.claim.record_mut().count_deferral();
            let app_id = attempted.app.as_ref().map_or("", |app| &app.id);
            lane.shared.metrics.deferred(app_id, attempted.jobs);
        }
        Disposition::Done => head.span.ends(Ending::Delivered, attempted.number, None),
        Disposition::Retry { .. } => {}
    }
}

/// One line a job and attempt: at debug where it succeeded, at warn where it failed, but for what an app has too
/// many of.
fn log(failures: &Failures, head: &InFlight, attempted: &Attempted, tried: &Tried, next: Option<Duration>) {
    let (id, group, jobs) = (&head.message.id, head.message.group.as_ref(), attempted.jobs);
    let (destination, attempt) = (tried.destination.as_str(), tried.number);
    let webhook = tried.webhook.as_ref().map_or("", |webhook| webhook.as_str());
    let next_retry_s = next.map(|backoff| backoff.as_secs());
    match &tried.outcome {
        Outcome::Delivered => {
            debug!(message_id = %id, app_id = head.shown_app().as_str(), group = shown(group), destination, webhook, attempt, jobs, "delivered");
        }
        Outcome::Deferred(reason) => {
            debug!(message_id = %id, app_id = head.shown_app().as_str(), group = shown(group), destination, webhook, jobs, detail = %reason,
                next_retry_s, "delivery deferred");
        }
        Outcome::Transient { reason, .. } | Outcome::Permanent(reason) => {
            match failures.line(&head.app_id, webhook, reason.code(), Instant::now()) {
                Line::Own(left_out) => {
                    // A field that is not there where none was left out.
                    let left_out = Some(left_out).filter(|left_out| *left_out > 0);
                    warn!(message_id = %id, app_id = head.shown_app().as_str(), group = shown(group), destination, webhook, attempt, jobs,
                        reason = reason.code(), detail = shown_reason(reason), next_retry_s, left_out,
                        "delivery failed");
                }
                Line::None => {
                    debug!(message_id = %id, app_id = head.shown_app().as_str(), group = shown(group), destination, webhook, attempt, jobs,
                        reason = reason.code(), detail = shown_reason(reason), next_retry_s, "delivery failed");
                }
            }
        }
    }
}

fn shown_reason(reason: &Reason) -> String {
    shown::cut(&reason.to_string(), 256)
}

/// The head is done: on the ledger first, so that a copy that comes back before the delete is
/// confirmed is only deleted again.
pub(super) async fn acknowledge<Q: Queue, T: Transport, A: Apps>(lane: &mut Lane<Q, T, A>, given_up: bool) {
    let (board, group) =
        (&lane.shared.metrics.board, lane.jobs.front().map_or("", |head| &head.message.group));
    if given_up {
        board.head_given_up(group);
    } else {
        board.unblocked(group);
    }
    acknowledge_at(lane, 0).await;
}

async fn acknowledge_at<Q, T, A>(lane: &mut Lane<Q, T, A>, place: usize) {
    let Some(mut held) = lane.jobs.remove(place) else { return };
    if place < lane.going_alone {
        lane.going_alone -= 1;
    }
    held.claim.record_mut().done = true;
    let urgency = match (lane.jobs.is_empty(), lane.count) {
        (false, _) => Urgency::Later,
        (true, 1) => Urgency::Soon,
        (true, _) => Urgency::Now,
    };
    let is_last = matches!(
        held.last_chance(&lane.shared.rules, lane.times, Duration::ZERO),
        Some(LastChance::Receives(_))
    );
    lane.deletes.send(Deletion { held, lease: lane.lease, urgency, is_last }).await;
}

/// Dead-letters the job at a place of the lane. If the dead-letter queue does not confirm it, the job stays, and
/// `returns` then.
pub(super) async fn dead_letter<Q: Queue, T: Transport, A: Apps>(
    lane: &mut Lane<Q, T, A>,
    place: usize,
    reason: &Reason,
    attempted: &Attempted,
    returns: Return,
) -> Result<(), (Duration, Reason)> {
    let Some(held) = lane.jobs.get_mut(place) else { return Ok(()) };
    let shared = &lane.shared;
    let app = attempted.app.as_deref().filter(|_| place == 0);
    let letter = letter(held, reason, app, lane.times);
    let (age_s, window_s) = (held.age(lane.times).as_secs(), shared.rules.retry.window.as_secs());
    let (app_id, destination) = (held.shown_app(), letter.destination.as_str());
    let app_id = app_id.as_str();
    let webhook = letter.webhook.as_ref().map_or("", |webhook| webhook.as_str());
    let answer = shared.queue.dead_letter(&letter).await;
    let said = report_call(&shared.metrics, &shared.health, SettleCall::DeadLetter, &answer);
    match &answer {
        Ok(()) => {
            warn!(message_id = %letter.id, app_id, group = shown(&letter.group), destination, webhook,
                attempts = letter.attempts, reason = letter.reason, detail = letter.detail, age_s, window_s,
                "job dead-lettered");
        }
        Err(Error::NoDeadLetterQueue) => {
            error!(message_id = %letter.id, app_id, group = shown(&letter.group), destination, webhook,
                attempts = letter.attempts, reason = letter.reason, detail = letter.detail, age_s, window_s,
                "job given up and deleted: there is no dead-letter queue (set QUEUE_SQS_DLQ_URL)");
        }
        Err(failure) => {
            let refused = Refused { letter: &letter, failure, returns, said };
            return Err(refuse(&lane.shared, held, lane.times, &refused));
        }
    }
    let kept = answer.is_ok();
    let others: Vec<_> = failed_webhooks(held.claim.record())
        .filter(|settled| settled.webhook.id.as_str() != webhook)
        .map(|settled| (settled.webhook.id.as_str(), destination_of(&settled.webhook.id, app)))
        .collect();
    let others: Vec<_> =
        others.iter().map(|(webhook, destination)| (*webhook, destination.as_str())).collect();
    shared.metrics.dead_lettered(reason);
    shared.metrics.lost.inc_by(u64::from(!kept));
    shared.metrics.board.dead_lettered(&GivenUp {
        id: &letter.source,
        group: &letter.group,
        app_id: &held.app_id,
        webhook,
        destination,
        others: &others,
        reason: letter.reason,
        detail: &letter.detail,
        attempts: letter.attempts,
        kept,
    });
    Ok(())
}

/// When a job comes back of which the letter was not taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Return {
    /// After a backoff of its own.
    Backoff,
    /// After it was hidden for so long with others.
    After(Duration),
    /// The lane goes on with it.
    InItsLane,
}

/// A letter that the dead-letter queue did not take.
struct Refused<'a> {
    letter: &'a DeadLetter,
    failure: &'a Error,
    /// When its job comes back.
    returns: Return,
    /// The failing call was logged.
    said: bool,
}

/// Says that a letter was not taken, and what becomes of its job; gives the backoff until it is sent again, and why.
fn refuse<Q, T, A>(
    shared: &Shared<Q, T, A>,
    held: &mut InFlight,
    times: Times,
    refused: &Refused<'_>,
) -> (Duration, Reason) {
    let Refused { letter, failure, returns, said } = *refused;
    let reason = Reason::DeadLetterQueue(failure.to_string());
    // What it is given up for is not attempted again.
    let record = held.claim.record_mut();
    record.refused_letters = record.refused_letters.saturating_add(1);
    let tries = record.refused_letters;
    let backoff = policy::backoff(tries, Duration::ZERO, &shared.rules.retry, shared.random.fraction());
    let is_refused = matches!(failure, Error::LetterRefused { .. });
    let backoff = if is_refused { backoff.max(REFUSED_LETTER_WAIT) } else { backoff };
    let ends = match returns {
        Return::Backoff => held.end(&shared.rules, times, backoff),
        Return::After(hidden) => held.end(&shared.rules, times, hidden),
        Return::InItsLane => None,
    };
    shared.metrics.dead_letter_failures.inc();
    shared.metrics.refused_letters.inc_by(u64::from(is_refused));
    let tells_end = ends.is_some() && !std::mem::replace(&mut held.claim.record_mut().end_was_told, true);
    let is_lost = tells_end && matches!(ends, Some(LastChance::Retention(_)));
    shared.metrics.lost.inc_by(u64::from(is_lost));
    let then = match ends {
        Some(LastChance::Receives(_)) => {
            "the queue does not hand it over again: SQS moves it if it can, without what a letter says"
        }
        Some(LastChance::Retention(_)) => {
            "it is lost: SQS deletes it for its age before it is received again"
        }
        None if is_refused => {
            "it stays, and what is behind it in its group waits (said once a minute, whichever the job)"
        }
        None => "the job stays (said once a minute, whichever the job)",
    };
    let (app_id, detail, next_retry_s) = (held.shown_app(), shown_reason(&reason), backoff.as_secs());
    let app_id = app_id.as_str();
    if !said && !tells_end {
        debug!(message_id = %letter.id, app_id, group = shown(&letter.group), detail, next_retry_s,
            "dead-lettering failed; {then}");
    } else if let Error::LetterRefused { too_long, .. } = failure {
        let remedy = if *too_long {
            "raise the dead-letter queue's MaximumMessageSize to the queue's; hookferry check prints the line"
        } else {
            "see what it says; hookferry check looks at the dead-letter queue"
        };
        error!(message_id = %letter.id, app_id, group = shown(&letter.group), bytes = letter.body.len(), detail,
            next_retry_s,
            "the dead-letter queue does not take the letter of a job that is given up: {then} (remedy: {remedy})");
    } else {
        error!(message_id = %letter.id, app_id, group = shown(&letter.group), detail, next_retry_s,
            "dead-lettering failed; {then}");
    }
    (backoff, reason)
}

/// What a job is not to be sent to again although it was not taken there.
fn failed_webhooks(record: &Record) -> impl Iterator<Item = &Settled> {
    record.settled.iter().filter(|settled| settled.failed.is_some())
}

/// A webhook's host or function, if its app has it still: it may have failed for good at an earlier attempt.
fn destination_of(webhook: &WebhookId, app: Option<&App>) -> Label {
    let registered = app.and_then(|app| app.webhook(webhook));
    Label::new(&Host(registered.map(|webhook| &webhook.target)).to_string())
}

fn letter(held: &InFlight, reason: &Reason, app: Option<&App>, times: Times) -> DeadLetter {
    let (record, message) = (held.claim.record(), &held.message);
    let mut delivered =
        message.redriven.as_ref().map(|redriven| redriven.delivered.clone()).unwrap_or_default();
    delivered
        .extend(record.settled.iter().filter(|s| s.failed.is_none()).flat_map(|s| s.webhook.identities()));
    // The webhook that failed for this reason; else the first that failed.
    let failed = || failed_webhooks(record);
    let about = failed().find(|settled| settled.failed.as_ref() == Some(reason)).or_else(|| failed().next());
    let webhook =
        about.map(|settled| &settled.webhook).or_else(|| record.owed.first()).map(|known| &known.id);
    // Or the one that its letter before was for.
    let before = message.redriven.as_ref().and_then(|redriven| redriven.webhook.as_ref());
    let webhook = webhook.or(before).cloned();
    let destination = webhook.as_ref().map(|webhook| destination_of(webhook, app)).unwrap_or_default();
    let destination = destination.as_str().to_owned();
    DeadLetter {
        id: Arc::clone(&message.id),
        source: Arc::clone(held.known_as()),
        group: Arc::clone(&message.group),
        body: message.body.clone(),
        reason: reason.code(),
        detail: shown_reason(reason),
        attempts: record.attempts,
        delivered,
        // SQS refuses control characters.
        app_id: shown::cut(&held.app_id, MAX_ID_BYTES),
        webhook,
        destination,
        first_sent: message.sent,
        given_up: message.sent.and_then(|sent| sent.checked_add(held.age(times))),
    }
}

/// Hides the failed head and the rest, in one call.
pub(super) async fn retry<Q: Queue, T: Transport, A: Apps>(
    mut lane: Lane<Q, T, A>,
    backoff: Duration,
    reason: &Reason,
    attempted: &Attempted,
) {
    let rules = lane.shared.rules.clone();
    // Of all that were in the attempt; what is behind them has no span.
    for held in &mut lane.jobs {
        held.span.ends(Ending::Retry, attempted.number, Some(reason));
    }
    // While the head is hidden or in flight the rest cannot be received: hidden for longer, it does not
    // climb towards the queue's own dead-lettering with the head's retries.
    let own = own_rules::backoff(&rules.retry, failing_webhooks(attempted));
    let is_quicker = own.base < rules.retry.base || own.cap < rules.retry.cap;
    let spare = rules.disposal.max_receive_count().is_some_and(|most| most < AMPLE_RECEIVES || is_quicker);
    let rest =
        if spare { whole_seconds(backoff + rules.attempt_timeout + Duration::from_secs(1)) } else { backoff };
    let why = format!("not attempted, a job before it in its group failed: {reason}");
    if let Err(why) = give_up(&mut lane, Sweep::BehindRetry(rest), &why, attempted).await {
        lane.abandon(why).await;
    }
    let Some(head) = lane.jobs.front() else { return };
    let because = |tried: &&Tried| match &tried.outcome {
        Outcome::Delivered => false,
        Outcome::Transient { reason: other, .. } | Outcome::Deferred(other) | Outcome::Permanent(other) => {
            other == reason
        }
    };
    let destination = attempted.tried.iter().find(because);
    lane.shared.metrics.board.blocked(&Blocked {
        group: &head.message.group,
        app_id: &head.app_id,
        destination: destination.map_or("", |tried| tried.destination.as_str()),
        attempts: head.claim.record().attempts,
        receives: head.message.receive_count,
        failing: own_failing(&lane.shared, head, attempted),
        reason: reason.code(),
        detail: &shown_reason(reason),
        retry_in: backoff,
        lost_after: rules.lost_after(),
        age: head.age(lane.times),
        behind: lane.jobs.len() - 1,
    });
    lane.shared.metrics.retried(reason);
    settle_visibility(lane, backoff, rest).await;
}

/// Which jobs of a lane are given up because SQS would not hand them over again, and when.
#[derive(Clone, Copy, Debug)]
enum Sweep {
    /// Those behind a head that failed, all of which are hidden for so long.
    BehindRetry(Duration),
    /// Those behind a head that is about to be attempted, that SQS would delete for their age meanwhile.
    BehindAttempt,
    /// Any: the lane ends, and its lease is not extended any more.
    Ending,
}

impl Sweep {
    fn first(self) -> usize {
        match self {
            Self::BehindRetry(_) | Self::BehindAttempt => 1,
            Self::Ending => 0,
        }
    }

    /// Why a job would not be handed over again.
    fn chance(self, job: &InFlight, rules: &Rules, times: Times) -> Option<LastChance> {
        match self {
            Self::BehindRetry(hidden) => job.last_chance(rules, times, hidden),
            Self::BehindAttempt => rules.expires_waiting(job.age(times)),
            Self::Ending => job.last_chance(rules, times, Duration::ZERO),
        }
    }

    /// When a job comes back whose letter is refused.
    fn returns(self, lease: &Lease) -> Return {
        match self {
            Self::BehindRetry(hidden) => Return::After(hidden),
            Self::BehindAttempt => Return::InItsLane,
            Self::Ending => Return::After(lease.until().saturating_duration_since(Instant::now())),
        }
    }
}

/// Gives up those jobs, and returns the ids of those that are left: without a letter, as it was refused or there was no time
/// for it. The error says why the lease could not be extended for one; the rest is left as well then.
async fn give_up<Q: Queue, T: Transport, A: Apps>(
    lane: &mut Lane<Q, T, A>,
    sweep: Sweep,
    why: &str,
    attempted: &Attempted,
) -> Result<Vec<MessageId>, &'static str> {
    let (mut place, mut left) = (sweep.first(), Vec::new());
    while let Some(job) = lane.jobs.get(place) {
        // What is done is only deleted again.
        let chance = sweep.chance(job, &lane.shared.rules, lane.times);
        let Some(chance) = chance.filter(|_| !job.claim.record().done) else {
            place += 1;
            continue;
        };
        let id = Arc::clone(&job.message.id);
        let end = job.end(&lane.shared.rules, lane.times, Duration::ZERO);
        let is_last_receive = matches!(end, Some(LastChance::Receives(_)));
        let in_time = match sweep {
            Sweep::BehindRetry(_) | Sweep::BehindAttempt => {
                lane.extend_lease(SETTLE_MARGIN).await?;
                true
            }
            // Nobody else gets what was received for the last time, whether or not the lease is over: a letter of ours
            // beside the queue's own copy says who has the job, and a redrive puts it back once.
            Sweep::Ending => is_last_receive || lane.lease.fits(Instant::now(), SETTLE_MARGIN),
        };
        let (reason, returns) = (chance.reason(why.to_owned()), sweep.returns(&lane.lease));
        if !in_time || !give_up_at(lane, place, &reason, attempted, returns).await {
            left.push(id);
            place += 1;
        }
    }
    Ok(left)
}

/// Gives up, behind a head that is about to be attempted, what SQS would delete for its age meanwhile.
pub(super) async fn give_up_expiring<Q: Queue, T: Transport, A: Apps>(lane: &mut Lane<Q, T, A>) {
    let none = Attempted::without_any(0, None);
    let why = "not attempted, the jobs before it in its group took until then";
    if let Err(why) = give_up(lane, Sweep::BehindAttempt, why, &none).await {
        lane.abandon(why).await;
    }
}

/// Dead-letters and deletes the job at a place; `false` if its letter was refused, and it stays there.
async fn give_up_at<Q: Queue, T: Transport, A: Apps>(
    lane: &mut Lane<Q, T, A>,
    place: usize,
    reason: &Reason,
    attempted: &Attempted,
    returns: Return,
) -> bool {
    if dead_letter(lane, place, reason, attempted, returns).await.is_err() {
        return false;
    }
    if let Some(held) = lane.jobs.get_mut(place) {
        held.span.ends(Ending::DeadLettered, attempted.number, Some(reason));
        held.claim.record_mut().given_up = Some(reason.clone());
    }
    acknowledge_at(lane, place).await;
    true
}

/// Dead-letters the jobs that SQS would not hand over again: otherwise they have neither letter nor log line.
pub(super) async fn give_up_without_another_chance<Q: Queue, T: Transport, A: Apps>(
    lane: &mut Lane<Q, T, A>,
    why: &str,
) {
    let none = Attempted::without_any(0, None);
    // It extends no lease, and so has no error.
    let left = give_up(lane, Sweep::Ending, why, &none).await.unwrap_or_default();
    if let Some(head) = lane.jobs.front().filter(|_| !left.is_empty()) {
        report_unlettered(&head.message.group, left.iter(), why);
    }
}

/// Says of which jobs there will be no letter.
pub(crate) fn report_unlettered<'a>(group: &str, ids: impl Iterator<Item = &'a MessageId>, why: &str) {
    let ids: Vec<_> = ids.map(|id| &**id).collect();
    error!(
        group = shown(group),
        jobs = ids.len(),
        message_ids = ids.join(","),
        "SQS will move these to its dead-letter queue, or delete them, without a letter of ours: {why}"
    );
}

/// Ends a lane that would be cut off otherwise.
pub(super) async fn close<Q: Queue, T: Transport, A: Apps>(mut lane: Lane<Q, T, A>) {
    give_up_without_another_chance(&mut lane, "the worker ended (raise SHUTDOWN_GRACE_SECONDS)").await;
    if !lane.jobs.is_empty() {
        release(lane).await;
    }
}

/// Releases the rest of the lane, in one call so that order holds, once this process has no open poll: such a poll would
/// be the first to get the jobs again, and spend another receive of each.
pub(super) async fn release<Q: Queue, T: Transport, A: Apps>(mut lane: Lane<Q, T, A>) {
    let received_last = lane.shared.received_last.clone();
    while !received_last.is_cancelled() {
        if !lane.ensure_lease(SETTLE_MARGIN + Duration::from_secs(1)).await {
            return;
        }
        // Woken in time to extend the lease once more.
        let until = lane.lease.until().checked_sub(SETTLE_MARGIN).unwrap_or_else(Instant::now);
        if timeout_at(until, received_last.cancelled()).await.is_err() {
            debug!(jobs = lane.jobs.len(), "a poll is parked: what is not started waits for its end");
        }
        lane.report_progress();
    }
    put_back(lane, PutBack::Shutdown).await;
}

/// How long a process that ends hides what it gives back. When all workers are replaced at once, the open polls of the
/// others would receive it, and each cost a receive. So a message that such a poll brought (`came_late`), and every
/// message where receives are few, is hidden until those polls have ended; all else is visible at once.
pub(crate) fn hidden_at_shutdown<Q, T, A>(shared: &Shared<Q, T, A>, came_late: bool) -> Duration {
    let are_few = shared.rules.disposal.max_receive_count().is_some_and(|most| most < AMPLE_RECEIVES);
    if came_late || are_few { whole_seconds(shared.longest_poll) } else { Duration::ZERO }
}

/// How long what is to be hidden for so long is hidden: where this process ends, until none of its own polls can be
/// parked any more. Such a poll would be the first to get it again.
fn hidden_while_polls_end<Q, T, A>(shared: &Shared<Q, T, A>, hidden: Duration) -> Duration {
    let ends = shared.shutdown.is_cancelled() && !shared.received_last.is_cancelled();
    if ends { hidden.max(whole_seconds(shared.longest_poll)) } else { hidden }
}

/// Why a lane, or what is left of it, goes back untried.
#[derive(Clone, Copy, Debug)]
pub(super) enum PutBack {
    /// Its app has no room for any of it: for a backoff that grows.
    NoRoom,
    /// Its app holds more than its share: what the lane has not begun, for the shortest backoff.
    OverShare,
    /// It is behind a head for which alone its app has room: it is received again when the head is done.
    BehindHead,
    /// This process ends.
    Shutdown,
}

/// Hides all of a lane for as long as the reason asks, the same for each job, so that it comes back together.
pub(super) async fn put_back<Q: Queue, T: Transport, A: Apps>(mut lane: Lane<Q, T, A>, why: PutBack) {
    let hidden = match why {
        PutBack::NoRoom => {
            let deferrals = count_deferrals(&mut lane).min(MAX_DEFERRALS);
            let (retry, random) = (&lane.shared.rules.retry, lane.shared.random.fraction());
            policy::backoff(deferrals, Duration::ZERO, retry, random)
        }
        PutBack::OverShare => {
            count_deferrals(&mut lane);
            policy::MIN_BACKOFF
        }
        // Not on the jobs' records: they only wait for their turn.
        PutBack::BehindHead => Duration::ZERO,
        PutBack::Shutdown => hidden_at_shutdown(&lane.shared, lane.came_late),
    };
    let jobs = lane.jobs.len();
    let hidden = match why {
        PutBack::NoRoom | PutBack::OverShare | PutBack::BehindHead => {
            let app_id = lane.jobs.front().map_or("", |head| &*head.app_id);
            lane.shared.metrics.deferred(app_id, jobs);
            hidden_while_polls_end(&lane.shared, hidden)
        }
        PutBack::Shutdown => {
            lane.shared.metrics.released.inc_by(jobs as u64);
            hidden
        }
    };
    settle_visibility(lane, hidden, hidden).await;
}

/// Counts a deferral of each job of a lane; returns how many times one of them has been deferred at the most.
fn count_deferrals<Q, T, A>(lane: &mut Lane<Q, T, A>) -> u32 {
    let deferrals = lane.jobs.iter_mut().map(|job| job.claim.record_mut().count_deferral());
    deferrals.max().unwrap_or_default()
}

async fn settle_visibility<Q: Queue, T: Transport, A: Apps>(
    lane: Lane<Q, T, A>,
    head: Duration,
    rest: Duration,
) {
    let most = lane.lease.longest(Instant::now());
    let changes: Vec<_> = lane
        .receipts()
        .enumerate()
        .map(|(n, receipt)| (receipt, if n == 0 { head } else { rest }.min(most)))
        .collect();
    let answer = lane.shared.queue.change_visibility(&changes).await;
    report_batch(&lane.shared.metrics, &lane.shared.health, SettleCall::ChangeVisibility, &answer);
    let failed = match answer {
        Ok(entries) => entries.iter().filter(|entry| **entry != BatchEntryResult::Ok).count(),
        Err(_) => changes.len(),
    };
    if failed > 0 {
        // Nothing is lost: they come back when their visibility timeout ends.
        lane.shared.metrics.late_settlements.inc_by(failed as u64);
    }
}
