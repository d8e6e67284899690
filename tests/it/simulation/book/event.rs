//! What can happen in a world.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookferry::app::Target;
use hookferry::job::Job;
use hookferry::plan::{Delivery, ID_HEADER};
use hookferry::queue::MessageId;

use super::super::plan::Incident;

/// A process: the replica and how often it has been started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub replica: usize,
    pub start: usize,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The producer has put a job on the queue. A message's number is its job's.
    Sent { message: usize, id: MessageId, group: String },
    /// A receive set out, under this attempt id.
    ReceiveBegan { process: Id, attempt: String },
    /// A process was answered, by messages or an error of the service.
    ReceiveAnswered { attempt: String },
    /// A process gave up a receive before its answer.
    ReceiveGivenUp { process: Id },
    /// The queue handed a message over, hidden until then.
    HandedOver { process: Id, message: usize, until: Duration, count: u32 },
    /// A process has a message.
    Received { process: Id, message: usize },
    /// The answer took so long that the process cannot know when its lease began.
    HandedOverLate { process: Id, message: usize },
    /// The queue has hidden a message anew, for so long.
    Hidden { process: Id, message: usize, timeout: Duration },
    /// A call that was to hide, to delete or to give up a message fails, after so long, whether or not it takes effect.
    CallFailed { process: Id, message: usize, after: Duration },
    /// A delete set out.
    DeleteBegan { process: Id, message: usize },
    /// The queue has deleted a message.
    Deleted { process: Id, message: usize },
    /// A job is given up. The dead-letter queue keeps its letter, unless there is none, or it takes the letter for one
    /// that it had before.
    Lettered {
        process: Id,
        message: usize,
        reason: &'static str,
        attempts: u32,
        delivered: Vec<String>,
        kept: bool,
    },
    /// A process was told that the dead-letter queue has it, or that there is none.
    LetterConfirmed { process: Id, message: usize },
    /// An operator puts a dead letter's job back on the queue, by another message; these webhooks have it, and the letter
    /// was for that one.
    PutBack { message: usize, delivered: Vec<String>, webhook: Option<String> },
    /// An operator has deleted the letter of a message.
    LetterDeleted { message: usize },
    /// SQS itself has moved a message to the dead-letter queue, having seen too many receives.
    Moved { message: usize },
    /// SQS has deleted a message for its age.
    Expired { message: usize },
    /// A request set out.
    SetOut(Arc<Request>),
    /// A request has arrived at its destination.
    Arrived(Arc<Request>),
    /// A destination has taken what was in a request.
    Accepted(Arc<Request>),
    /// A request is over at its destination; its process may be dead.
    Over { request: Arc<Request>, dead: bool },
    /// A process was told that its request was accepted.
    Told(Arc<Request>),
    /// A destination has answered a request with that failure.
    Refused { request: Arc<Request>, reason: &'static str },
    /// A process has no good answer to its request: an error, or it stopped waiting.
    InVain(Arc<Request>),
    /// The app source has told a process of an app, or that there is none.
    AppTold { process: Id, app: usize },
    /// A process was told nothing of an app that it asked the source for, or stopped waiting.
    AppUntold { process: Id, app: usize },
    /// A process has begun to run.
    Started { process: Id },
    /// A process was told to end.
    AskedToEnd { process: Id },
    /// A process was killed.
    Died { process: Id },
    /// A process has ended as it was asked to, in so much time.
    Ended { process: Id, took: Duration },
    /// A process has ended though nobody asked it to.
    EndedUnasked { process: Id },
    /// Something that the plan foresaw.
    Incident(Incident),
    /// Everything stands still from now on, for so long.
    StoodStill { lasts: Duration },
    /// A fault struck, or something else that a run of many seeds has to have seen.
    Fault(&'static str),
    /// The queue was given up on, with these messages in it.
    NotDrained { left: Vec<usize> },
    /// A process with nothing to do counts so many messages in flight.
    AtRest { process: Id, in_flight: i64 },
    /// With nothing to do anywhere there are so many message bodies in memory.
    Bodies { held: usize },
    /// All is over.
    End,
}

/// What a process sends to a destination.
#[derive(Debug)]
pub struct Request {
    /// Its number, in the order of setting out.
    pub number: usize,
    pub process: Id,
    /// The messages of the jobs whose events it holds, in its order.
    pub jobs: Vec<usize>,
    /// The webhook's identity.
    pub webhook: String,
    pub url: String,
    /// `X-Hookferry-Id`.
    pub id: String,
    /// `X-Hookferry-Attempt`.
    pub attempt: u32,
    /// The body, and what signs it.
    pub signed: Job,
}

impl Request {
    /// `message` gives the message of a job that the process holds.
    pub fn of(
        delivery: &Delivery,
        attempt: u32,
        (process, number): (Id, usize),
        mut message: impl FnMut(usize) -> usize,
    ) -> Self {
        let Target::Http(url) = &delivery.target else { panic!("{:?}", delivery.target) };
        let body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
        let jobs = body["events"].as_array().unwrap().iter();
        let jobs =
            jobs.map(|event| message(usize::try_from(event["n"].as_u64().unwrap()).unwrap())).collect();
        let header = |name: &str| delivery.headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
        let (id, webhook) = (header(ID_HEADER), delivery.webhook.to_string());
        let signed = Job {
            app_key: header("X-Pusher-Key"),
            app_id: String::new(),
            // A copy: the body itself counts as held in memory.
            payload: Bytes::copy_from_slice(&delivery.body),
            signature: header("X-Pusher-Signature"),
            sender_secret: None,
        };
        Self { number, process, jobs, webhook, url: url.clone(), id, attempt, signed }
    }
}

/// An event and when it happened, in virtual time since the start.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Duration,
    pub event: Event,
}

impl Entry {
    /// A line of the trace about this moment.
    pub fn line(&self, text: &str) -> String {
        format!("{:>9.3} {text}", self.at.as_secs_f64())
    }

    /// The lines of the trace that tell of this; none of what only invariants need.
    pub fn lines(&self) -> Vec<String> {
        self.event.told().iter().map(|line| self.line(line)).collect()
    }
}

impl Event {
    fn told(&self) -> Vec<String> {
        let line = match self {
            Self::Sent { message, group, .. } => format!("job {message} sent to {group}"),
            Self::HandedOver { process, message, until, count } => {
                let until = until.as_secs_f64();
                format!("job {message} handed to {process:?} until {until:.3}, receive {count}")
            }
            Self::Hidden { process, message, timeout } => {
                format!("job {message} hidden by {process:?} for {} s", timeout.as_secs())
            }
            Self::CallFailed { process, message, .. } => {
                format!("job {message}: a call of {process:?} fails")
            }
            Self::HandedOverLate { process, message } => {
                format!("job {message} comes late to {process:?}")
            }
            Self::Deleted { process, message } => format!("job {message} deleted by {process:?}"),
            Self::Lettered { process, message, reason, attempts, kept, .. } => {
                let unkept = if *kept { "" } else { ", and no letter is kept" };
                format!("job {message} dead-lettered by {process:?}: {reason}, attempts {attempts}{unkept}")
            }
            Self::PutBack { message, delivered, .. } => {
                format!("job {message} put back, delivered to {delivered:?}")
            }
            Self::LetterDeleted { message } => format!("the letter of job {message} deleted"),
            Self::Moved { message } => format!("job {message} moved to the dead-letter queue by SQS"),
            Self::Expired { message } => format!("job {message} deleted for its age by SQS"),
            Self::Arrived(request) => {
                let Request { process, webhook, url, attempt, .. } = &**request;
                let line =
                    |job| format!("job {job} attempt {attempt} by {process:?} at webhook {webhook} {url}");
                return request.jobs.iter().map(line).collect();
            }
            Self::Accepted(request) => {
                let line = |job| format!("job {job} accepted by webhook {}", request.webhook);
                return request.jobs.iter().map(line).collect();
            }
            Self::AskedToEnd { process } => format!("{process:?} is told to end"),
            Self::Started { process } => format!("{process:?} starts"),
            Self::Died { process } => format!("{process:?} is dead"),
            Self::Ended { process, .. } => format!("{process:?} has ended"),
            Self::Incident(incident) => format!("{incident:?}"),
            Self::ReceiveBegan { .. }
            | Self::ReceiveAnswered { .. }
            | Self::ReceiveGivenUp { .. }
            | Self::Received { .. }
            | Self::DeleteBegan { .. }
            | Self::LetterConfirmed { .. }
            | Self::SetOut(_)
            | Self::Over { .. }
            | Self::Told(_)
            | Self::Refused { .. }
            | Self::InVain(_)
            | Self::AppTold { .. }
            | Self::AppUntold { .. }
            | Self::EndedUnasked { .. }
            | Self::StoodStill { .. }
            | Self::Fault(_)
            | Self::NotDrained { .. }
            | Self::AtRest { .. }
            | Self::Bodies { .. }
            | Self::End => return Vec::new(),
        };
        vec![line]
    }

    /// As what it is counted, if it is.
    pub fn counted(&self) -> Option<&'static str> {
        match self {
            Self::Fault(what) => Some(what),
            Self::Lettered { reason, .. } => Some(reason),
            Self::Moved { .. } => Some("moved by SQS"),
            Self::Expired { .. } => Some("deleted for its age"),
            Self::Arrived(_) => Some("attempts"),
            Self::Incident(incident) => incident.counted(),
            _ => None,
        }
    }
}
