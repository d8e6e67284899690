//! What goes out next: decode, find, verify, plan.
//!
//! Three verdicts hang on knowledge that may be old: a signature that does not match, a key that no app has,
//! and that no webhook wants the job. None is passed before the source itself was asked, later than the job
//! was sent; until then the job is put off.
//!
//! Jobs of a lane that go out together are the longest beginning of it whose jobs are of one app, have the
//! same webhooks left, all of them HTTP, and fit into the limits. Only jobs that were never attempted go
//! together: what failed together goes on alone, so that one event that its receiver cannot take gets no other
//! job dead-lettered. A job that ends such a run is worked next, as any other.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::window::{attempts_for_backoff, next_number};
use super::{Lane, Shared};
use crate::app::{App, Retry, Target, Webhook, WebhookId};
use crate::apps::{Apps, Fresh, LookUpError};
use crate::delivery::Transport;
use crate::flow::room::{self, Room};
use crate::flow::turns::Turns;
use crate::in_flight::{InFlight, Times};
use crate::job::{Job, SignatureError};
use crate::ledger::{Known, Settled};
use crate::outcome::{Outcome, Reason};
use crate::plan::{Coalescer, Delivery, Outline, Pieces, Plan, Planning, Selection, Wanted};
use crate::queue::{MessageId, Queue};
use crate::shown::Label;

/// What is to be done about the head of a lane.
#[allow(clippy::large_enum_variant, reason = "nearly every job is ready, and it is moved once")]
pub(super) enum Prepared {
    /// It was done before: it is only deleted again.
    AlreadyDone,
    /// Nothing can be sent for it, now or ever.
    Undeliverable(Outcome),
    /// The app's filters let no webhook have it.
    Unmatched(Arc<App>),
    /// There is something to send.
    Ready(Batch),
}

/// What goes out at once, for one job or for several.
#[derive(Debug)]
pub(super) struct Batch {
    /// How many jobs it is for, from the head on.
    pub jobs: usize,
    /// Whose they are.
    pub app: Arc<App>,
    /// One for each webhook.
    pub parcels: Vec<Parcel>,
    /// What the parcels are rendered from, where they are not yet.
    planned: Option<Planned>,
    /// For the parcels, where they are.
    _room: Vec<Room>,
}

/// How far a job's age may be wrong: the queue's clock is read off answers that count in whole seconds, and a
/// difference of two is not corrected.
const CLOCK_ERROR: Duration = Duration::from_secs(3);

/// What one webhook gets.
#[derive(Debug)]
pub(super) enum Parcel {
    /// Rendered only when it is sent: a job may have many webhooks.
    Selected(Selection),
    /// Of several jobs.
    Rendered(Delivery),
}

/// A job of which is known what goes to whom.
#[derive(Debug)]
pub(super) struct Planned {
    app: Arc<App>,
    id: MessageId,
    job: Job,
    pieces: Pieces,
    selected: Vec<Selection>,
    /// The app's webhooks, by their index, that are for no such job.
    unlisted: Vec<usize>,
}

/// Why nothing is to be sent by what is known of the app.
enum NothingToSend {
    /// It would be so whatever the app was.
    ByTheJobAlone(Outcome),
    /// It may be the app's former state; what it is if it is not.
    IfTheAppIsCurrent(Outcome),
    /// The app's filters let no webhook have it, and the app may have others by now.
    UnmatchedIfTheAppIsCurrent(Arc<App>),
    /// It was not worked out in time, and so much of that was its own.
    Late(Outcome, Duration),
}

impl Batch {
    /// The webhook that a parcel is for.
    pub(super) fn webhook<'a>(&'a self, parcel: &'a Parcel) -> Option<(&'a WebhookId, &'a Target)> {
        match parcel {
            Parcel::Selected(selection) => {
                self.app.webhooks.get(selection.index).map(|webhook| (&webhook.id, &webhook.target))
            }
            Parcel::Rendered(delivery) => Some((&delivery.webhook, &delivery.target)),
        }
    }

    /// The app's webhooks that are for such jobs, whatever their filters say.
    pub(super) fn listing(&self) -> Vec<&Webhook> {
        let unlisted = self.planned.as_ref().map_or(&[][..], |planned| &planned.unlisted);
        listing(&self.app, unlisted)
    }

    /// How many bytes of memory it takes to render a parcel. A function gets its own copy of what an HTTP receiver shares
    /// with all others.
    pub(super) fn rendered_bytes(&self, parcel: &Parcel) -> usize {
        match (parcel, &self.planned) {
            (Parcel::Selected(selection), Some(planned)) => {
                let rendered = selection.rendered_bytes(&planned.pieces);
                let webhook = self.app.webhooks.get(selection.index);
                match webhook.map(|webhook| &webhook.target) {
                    Some(Target::Lambda(_)) if rendered == 0 => planned.job.payload.len(),
                    Some(Target::Lambda(_)) => rendered * 2,
                    Some(Target::Http(_) | Target::Missing | Target::Unusable { .. }) | None => rendered,
                }
            }
            (Parcel::Selected(_), None) | (Parcel::Rendered(_), _) => 0,
        }
    }

    /// Makes what is sent.
    pub(super) fn render(&self, parcel: &Parcel) -> Option<Delivery> {
        match parcel {
            Parcel::Selected(selection) => self.planned.as_ref()?.render(selection),
            Parcel::Rendered(delivery) => Some(delivery.clone()),
        }
    }
}

impl Planned {
    fn render(&self, selection: &Selection) -> Option<Delivery> {
        selection.render(&self.job, &self.pieces, &self.app, &self.id)
    }

    /// How many bytes it adds to what goes out together, of which each webhook gets a copy.
    fn rendered_bytes(&self) -> usize {
        let size = |selection: &Selection| match selection.rendered_bytes(&self.pieces) {
            0 => self.job.payload.len(),
            rendered => rendered,
        };
        self.selected.iter().map(size).sum()
    }
}

/// Finds out what is to be done about the head, and what goes out with it.
pub(super) async fn prepare<Q: Queue, T: Transport, A: Apps>(lane: &mut Lane<Q, T, A>) -> Prepared {
    let Lane { shared, jobs, ahead, times, .. } = lane;
    let Some(head) = jobs.front_mut() else { return Prepared::AlreadyDone };
    head.begin_span(&shared.traces);
    if head.claim.record().done {
        return Prepared::AlreadyDone;
    }
    let sent = sent_by(head, *times);
    let planned = match ahead.take() {
        Some(planned) => Ok(planned),
        // A fault of ours at one job must not end the lane with nothing learnt of it.
        None => AssertUnwindSafe(plan(shared, head, sent))
            .catch_unwind()
            .await
            .unwrap_or(Err(Prepared::Undeliverable(Outcome::transient(Reason::Panicked)))),
    };
    match planned {
        Ok(planned) => {
            head.set_app(&planned.app.id);
            Prepared::Ready(batch(lane, planned).await)
        }
        Err(prepared) => prepared,
    }
}

/// The moment by which a job had been sent, however wrong this process is about the queue's clock.
fn sent_by(held: &InFlight, times: Times) -> Option<Instant> {
    let by_age = times.received_at.checked_sub(held.message.age.saturating_sub(CLOCK_ERROR))?;
    Some(held.claim.record().waits_for_app_since.map_or(by_age, |since| since.min(by_age)))
}

async fn plan<Q: Queue, T: Transport, A: Apps>(
    shared: &Shared<Q, T, A>,
    held: &mut InFlight,
    sent: Option<Instant>,
) -> Result<Planned, Prepared> {
    let job = Job::decode(&held.message.body)
        .map_err(|error| Prepared::Undeliverable(Outcome::Permanent(Reason::Malformed(error.to_string()))))?;
    if !job.app_id.is_empty() {
        held.set_app(&job.app_id);
    }
    // A letter is put back once its app was mended: what is remembered of it may be from before that.
    if held.message.redriven.is_none() {
        let planned = match look_up(shared, shared.apps.find_by_key(&job.app_key)).await {
            Ok(known) => verify_and_plan(shared, held, job.clone(), known).await,
            Err(outcome @ Outcome::Transient { reason: Reason::AppUnusable(_), .. }) => {
                Err(NothingToSend::IfTheAppIsCurrent(outcome))
            }
            Err(outcome) => return Err(Prepared::Undeliverable(outcome)),
        };
        match planned {
            Ok(planned) => return Ok(planned),
            Err(NothingToSend::ByTheJobAlone(outcome)) => return Err(Prepared::Undeliverable(outcome)),
            Err(NothingToSend::Late(outcome, took)) => return Err(late(held, outcome, took)),
            Err(NothingToSend::IfTheAppIsCurrent(_) | NothingToSend::UnmatchedIfTheAppIsCurrent(_)) => {}
        }
    }
    let fresh = look_up(shared, shared.apps.find_fresh(&job.app_key)).await;
    let Fresh { app, asked_at } = fresh.map_err(Prepared::Undeliverable)?;
    if app.is_none()
        && let Some(why) = shared.apps.unusable(&job.app_id)
    {
        return Err(Prepared::Undeliverable(Outcome::transient(Reason::AppUnusable(why))));
    }
    // An answer that is older than the job may lack what the job was made for; so may, for a while, one of a source
    // that lags behind what is written to it.
    let is_old = sent.is_some_and(|sent| asked_at < sent);
    let may_lag = sent.is_some_and(|sent| asked_at < sent + shared.apps.lag());
    let asked = app.clone();
    match verify_and_plan(shared, held, job.clone(), app).await {
        Ok(_) if is_old && held.message.redriven.is_some() => {
            let why = "its last answer is from before the job was put back".to_owned();
            Err(unsettled(Outcome::transient(Reason::Apps(why))))
        }
        Ok(planned) => Ok(planned),
        Err(NothingToSend::IfTheAppIsCurrent(outcome)) if is_old || may_lag && is_final(&outcome) => {
            Err(unsettled(outcome))
        }
        Err(NothingToSend::UnmatchedIfTheAppIsCurrent(_)) if is_old => {
            Err(unsettled(Outcome::transient(Reason::NoWebhook)))
        }
        Err(NothingToSend::IfTheAppIsCurrent(Outcome::Permanent(Reason::Signature(_)))) => {
            let why = asked.and_then(|app| why_unverified(&job, &app)).unwrap_or(SignatureError::Mismatch);
            Err(Prepared::Undeliverable(Outcome::Permanent(why.into())))
        }
        Err(NothingToSend::ByTheJobAlone(outcome) | NothingToSend::IfTheAppIsCurrent(outcome)) => {
            Err(Prepared::Undeliverable(outcome))
        }
        Err(NothingToSend::UnmatchedIfTheAppIsCurrent(app)) => Err(Prepared::Unmatched(app)),
        Err(NothingToSend::Late(outcome, took)) => Err(late(held, outcome, took)),
    }
}

/// When it may next be looked for what a signature is.
static NEXT_SEARCH: Mutex<Option<std::time::Instant>> = Mutex::new(None);

/// A search takes milliseconds, and who changes a secret has thousands of jobs that do not match: one twentieth of a
/// processor's time goes there, and the first of a flood says what the others are too.
const SEARCH_PAUSE: u32 = 20;

/// What a signature that does not match is of, unless that was looked for a moment ago.
#[allow(clippy::disallowed_methods, reason = "the processor's time is not that of a paused clock")]
fn why_unverified(job: &Job, app: &App) -> Option<SignatureError> {
    let mut next = NEXT_SEARCH.try_lock().ok()?;
    let began = std::time::Instant::now();
    if next.is_some_and(|next| began < next) {
        return None;
    }
    let why = job.why_unverified(&app.secret);
    *next = began.checked_add(began.elapsed() * (SEARCH_PAUSE + 1));
    Some(why)
}

/// It is worked at from the beginning the next time: what that takes in all is counted.
fn late(held: &mut InFlight, outcome: Outcome, took: Duration) -> Prepared {
    held.claim.record_mut().planning += took;
    Prepared::Undeliverable(outcome)
}

fn is_final(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Permanent(_))
}

/// A verdict that is not passed yet: the job waits for a newer answer about its app.
fn unsettled(outcome: Outcome) -> Prepared {
    Prepared::Undeliverable(match outcome {
        Outcome::Transient { reason, .. } | Outcome::Permanent(reason) | Outcome::Deferred(reason) => {
            Outcome::Deferred(reason)
        }
        Outcome::Delivered => Outcome::Delivered,
    })
}

pub(super) async fn look_up<Q, T, A, F>(
    shared: &Shared<Q, T, A>,
    answer: impl Future<Output = Result<F, LookUpError>>,
) -> Result<F, Outcome> {
    let failed = match timeout(shared.rules.attempt_timeout, answer).await {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(LookUpError::Unreachable(why))) => Reason::Apps(why),
        Ok(Err(LookUpError::Unusable(why))) => Reason::AppUnusable(why),
        Err(_) => Reason::Apps("it did not answer in time".into()),
    };
    Err(Outcome::transient(failed))
}

/// Verifies and plans a job by an app as it is known.
async fn verify_and_plan<Q, T, A>(
    shared: &Shared<Q, T, A>,
    held: &InFlight,
    job: Job,
    app: Option<Arc<App>>,
) -> Result<Planned, NothingToSend> {
    let Some(app) = app else {
        let key = Label::new(&job.app_key).as_str().to_owned();
        return Err(NothingToSend::IfTheAppIsCurrent(Outcome::Permanent(Reason::UnknownApp(key))));
    };
    let job = app
        .verified(job)
        .map_err(|error| NothingToSend::IfTheAppIsCurrent(Outcome::Permanent(error.into())))?;
    shared.metrics.board.met(&held.message.group, &app.id);
    let longest = shared.rules.attempt_timeout;
    let mut turns = Turns::begin(&app.id);
    let Ok(selected) = timeout(longest, select(&job, &app, &mut turns)).await else {
        let outcome = turns.over(longest, held.claim.record().planning);
        return Err(NothingToSend::Late(outcome, turns.took));
    };
    let Plan { wanted, selected, pieces, unlisted } = selected?;
    match wanted {
        // sockudo has all apps' jobs in one group, and ends such a one itself: nobody waits for it, and a letter keeps it.
        Wanted::Unlisted if job.sender_secret.is_some() => {
            return Err(NothingToSend::IfTheAppIsCurrent(Outcome::Permanent(Reason::NoWebhook)));
        }
        Wanted::Unlisted => {
            return Err(NothingToSend::IfTheAppIsCurrent(Outcome::transient(Reason::NoWebhook)));
        }
        // A job that no webhook gets is done only where a filter says so, and only if no webhook that it waited for was removed.
        Wanted::Filtered if is_owed(held, &app, &unlisted) => {
            return Err(NothingToSend::IfTheAppIsCurrent(Outcome::Permanent(Reason::NoWebhook)));
        }
        Wanted::Filtered => return Err(NothingToSend::UnmatchedIfTheAppIsCurrent(app)),
        Wanted::Events => {}
    }
    let selected = pending(selected, held, &app);
    // The webhook that it waited for, or that its letter was for, is no more: a letter keeps the job for its
    // owner, who may have put another in its place.
    if selected.is_empty() && waits_for_none(held, &app, &unlisted) {
        return Err(NothingToSend::IfTheAppIsCurrent(Outcome::Permanent(Reason::NoWebhook)));
    }
    // By its filter, what waited for it does not want it any more.
    if selected.is_empty() && !held.claim.record().waiting.is_empty() {
        return Err(NothingToSend::UnmatchedIfTheAppIsCurrent(app));
    }
    Ok(Planned { id: Arc::clone(held.known_as()), app, job, pieces, selected, unlisted })
}

/// What each webhook gets, a little at a time with others' work in between: there may be many events and many
/// webhooks.
async fn select(job: &Job, app: &App, turns: &mut Turns) -> Result<Plan, NothingToSend> {
    let malformed = |error: crate::plan::Error| {
        NothingToSend::ByTheJobAlone(Outcome::Permanent(Reason::Malformed(error.to_string())))
    };
    let outline = Outline::read(job).map_err(malformed)?;
    // Only a filter makes a job done that nobody gets.
    if outline.is_empty() {
        let why = "it has no events: \"events\" in its payload is an empty list".to_owned();
        return Err(NothingToSend::ByTheJobAlone(Outcome::Permanent(Reason::Malformed(why))));
    }
    let mut planning = Planning::new(&outline, app);
    while !planning.advance(&mut turns.left) {
        turns.next().await;
    }
    planning.finish().map_err(malformed)
}

/// The app's webhooks that are for such a job, whatever their filters say.
fn listing<'a>(app: &'a App, unlisted: &[usize]) -> Vec<&'a Webhook> {
    let webhooks = app.webhooks.iter().enumerate();
    webhooks.filter(|(index, _)| unlisted.binary_search(index).is_err()).map(|(_, webhook)| webhook).collect()
}

/// Whether a webhook that was to get the job, and has not, is none of the app's for such jobs any more.
fn is_owed(held: &InFlight, app: &App, unlisted: &[usize]) -> bool {
    let (record, listing) = (held.claim.record(), listing(app, unlisted));
    let is_gone = |known: &Known| !listing.iter().any(|webhook| known.is(webhook));
    let has_failed = |settled: &Settled| settled.failed.is_some() && is_gone(&settled.webhook);
    // What a letter was for is known of the job until it has been attempted anew.
    let letter = held.message.redriven.as_ref().and_then(|redriven| redriven.webhook.as_ref());
    let was_for = letter.filter(|_| !record.knows_webhooks());
    !record.owed.is_empty()
        || record.waiting.iter().any(is_gone)
        || record.settled.iter().any(has_failed)
        || was_for.is_some_and(|id| !listing.iter().any(|webhook| webhook.is(id)))
}

/// Whether what a job waited for, or its letter was for, is none of the app's webhooks for such jobs any more.
fn waits_for_none(held: &InFlight, app: &App, unlisted: &[usize]) -> bool {
    held.message.redriven.is_some() && held.claim.record().settled.is_empty() || is_owed(held, app, unlisted)
}

/// What is still to be sent, given what this process and a redrive know.
fn pending(selected: Vec<Selection>, held: &InFlight, app: &App) -> Vec<Selection> {
    let settled = &held.claim.record().settled;
    let delivered = held.message.redriven.as_ref().map_or(&[][..], |redriven| &redriven.delivered);
    let lacks = |selection: &Selection| {
        let has_it = |webhook: &Webhook| {
            delivered.iter().any(|id| webhook.is(id))
                || settled.iter().any(|settled| settled.webhook.is(webhook))
        };
        app.webhooks.get(selection.index).is_some_and(|webhook| !has_it(webhook))
    };
    selected.into_iter().filter(lacks).collect()
}

/// The batch that begins with the head, which is planned.
async fn batch<Q: Queue, T: Transport, A: Apps>(lane: &mut Lane<Q, T, A>, head: Planned) -> Batch {
    let together = coalesced(lane, &head).await;
    let app = Arc::clone(&head.app);
    if let Some((jobs, deliveries, room)) = together {
        let parcels = deliveries.into_iter().map(Parcel::Rendered).collect();
        return Batch { jobs, app, parcels, planned: None, _room: room };
    }
    let parcels = head.selected.iter().cloned().map(Parcel::Selected).collect();
    Batch { jobs: 1, app, parcels, planned: Some(head), _room: Vec::new() }
}

/// The number of jobs that go out together, what is sent for them, and the room that it takes; `None` if the head goes
/// alone.
async fn coalesced<Q: Queue, T: Transport, A: Apps>(
    lane: &mut Lane<Q, T, A>,
    head: &Planned,
) -> Option<(usize, Vec<Delivery>, Vec<Room>)> {
    let Lane { shared, jobs, ahead, going_alone, .. } = lane;
    let limits = shared.rules.coalesce.filter(|_| jobs.len() > 1 && *going_alone == 0)?;
    // What failed together is tried once more, alone: a webhook that gets each job once gets it alone at once.
    let webhooks = head.selected.iter().filter_map(|selection| head.app.webhooks.get(selection.index));
    if webhooks.map(|webhook| &webhook.retry).any(Retry::ends_at_once) {
        return None;
    }
    // Nothing is known of it but that it came. What was put back is planned by what its app is now, and not by what
    // is remembered of it for the head.
    let is_fresh = |held: &&InFlight| {
        let record = held.claim.record();
        attempts_for_backoff(held, next_number(held)) == 1
            && !record.done
            && !record.knows_webhooks()
            && held.message.redriven.is_none()
    };
    let mut fresh = jobs.iter().take_while(is_fresh);
    let mut coalescer = Coalescer::new(&head.app, limits);
    let first = fresh.next()?;
    let find =
        |planned: &Planned| room::find(&shared.permits, first.share.as_ref(), planned.rendered_bytes());
    let mut rooms = vec![find(head)?];
    if !coalescer.add(first.known_as(), &head.job, &head.pieces, &head.selected) {
        return None;
    }
    for held in fresh {
        let job = Job::decode(&held.message.body).ok().filter(|job| job.app_key == head.app.key);
        let Some(job) = job else { break };
        let Ok(next) = verify_and_plan(shared, held, job, Some(Arc::clone(&head.app))).await else { break };
        let room = find(&next);
        if room.is_none() || !coalescer.add(held.known_as(), &next.job, &next.pieces, &next.selected) {
            *ahead = Some(next);
            break;
        }
        rooms.extend(room);
    }
    (coalescer.jobs() > 1).then(|| (coalescer.jobs(), coalescer.finish(), rooms))
}
