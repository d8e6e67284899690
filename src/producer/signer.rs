//! Making jobs as soketi makes them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use secrecy::SecretString;

use super::event::Event;
use crate::hash;
use crate::job::{Job, QueueType, deduplication_id, group_id, sign};
use crate::queue::NewMessage;
use crate::random::Random;
use crate::wall;

/// Makes an app's jobs: stamps, signs, and names group and deduplication id.
///
/// soketi's deduplication id is a hash of the body, so that two equal events of one millisecond are one job to
/// SQS, in whatever groups they are where the queue's `DeduplicationScope` is `queue`. Of equal events of an app that
/// a process makes in one millisecond the first one therefore has soketi's id, and each later one an id that no
/// other job has, however many signers there are. Processes do not know of each other: where two of them make equal
/// events in the same millisecond, SQS takes the first ones of both for one job. Events that may be equal there
/// need a member that tells them apart ([`Event::with`]), or an id of yours
/// ([`NewMessage::deduplication`]).
#[derive(Clone, Debug)]
pub struct Signer {
    app_id: String,
    app_key: String,
    secret: SecretString,
}

/// The last millisecond in which events were made, and hashes of those of them that have soketi's id.
#[derive(Debug, Default)]
struct Made {
    at_ms: u64,
    events: HashSet<u64>,
}

/// What this process has made. An app has the place of its hash, so that every signer of it has the same.
static MADE: LazyLock<[Mutex<Made>; 256]> = LazyLock::new(|| std::array::from_fn(|_| Mutex::default()));

/// Deduplication ids that no other job has.
#[derive(Debug)]
struct OwnIds {
    process: String,
    count: AtomicU64,
}

static OWN_IDS: LazyLock<OwnIds> = LazyLock::new(OwnIds::new);

/// At most this many events of a millisecond are remembered, so that the set stays small: what comes after them gets an id of
/// its own.
const MAX_A_MILLISECOND: usize = 10_000;

impl Signer {
    /// A signer for the app of that id and key, under its secret.
    #[must_use]
    pub fn new(
        app_id: impl Into<String>,
        app_key: impl Into<String>,
        secret: impl Into<SecretString>,
    ) -> Self {
        Self { app_id: app_id.into(), app_key: app_key.into(), secret: secret.into() }
    }

    /// A job of one event, stamped with the time.
    #[must_use]
    pub fn job(&self, event: &Event) -> NewMessage {
        self.job_of(&self.group(event), std::slice::from_ref(event))
    }

    /// A job of several events in a message group of any name, stamped with the time. All of them are
    /// delivered together, in this order.
    #[must_use]
    pub fn job_of(&self, group: &str, events: &[Event]) -> NewMessage {
        let events: Vec<&str> = events.iter().map(Event::json).collect();
        let events = events.join(",");
        let (time_ms, is_first) = self.stamp(&events);
        let payload = format!(r#"{{"time_ms":{time_ms},"events":[{events}]}}"#);
        let mut job = self.payload_in(group.to_owned(), payload);
        if !is_first {
            job.deduplication = OWN_IDS.next(&job.body);
        }
        job
    }

    /// The message group of an event: its own, or that of its app and queue type.
    #[must_use]
    pub fn group(&self, event: &Event) -> String {
        event.group(&self.app_id)
    }

    /// A job of one event, `fields` beside its name, at `time_ms` since the Unix epoch. For tests and demonstrations: by
    /// none of Pusher's rules, and with its members in another order than soketi's.
    #[cfg(feature = "worker")]
    #[must_use]
    pub(crate) fn event(
        &self,
        kind: QueueType,
        fields: serde_json::Map<String, serde_json::Value>,
        time_ms: u64,
    ) -> NewMessage {
        let mut event = serde_json::Map::from_iter([("name".to_owned(), kind.event_name().into())]);
        event.extend(fields);
        let payload = serde_json::json!({"time_ms": time_ms, "events": [event]}).to_string();
        self.payload(kind, payload)
    }

    /// A job with that payload, JSON text, which is signed and sent as it stands.
    #[must_use]
    pub fn payload(&self, kind: QueueType, payload: String) -> NewMessage {
        self.payload_in(group_id(&self.app_id, kind), payload)
    }

    /// A job with that payload in a message group of any name.
    #[must_use]
    pub fn payload_in(&self, group: String, payload: String) -> NewMessage {
        let signature = sign(&self.secret, [payload.as_bytes()]);
        let job = Job {
            app_key: self.app_key.clone(),
            app_id: self.app_id.clone(),
            payload: payload.into(),
            signature,
            sender_secret: None,
        };
        NewMessage::new(group, job.encode())
    }

    /// The most bytes that the body of a job has beside its events and the commas between them.
    pub(super) fn bytes_beside_events(&self) -> usize {
        let none = format!(r#"{{"time_ms":{},"events":[]}}"#, u64::MAX);
        self.payload_in(String::new(), none).body.len()
    }

    /// The `time_ms` for these events, and whether no equal ones of the app have it. The group is no part of what
    /// makes them equal, since it is no part of the body.
    fn stamp(&self, events: &str) -> (u64, bool) {
        let app = hash::of((&self.app_id, &self.app_key));
        let made = usize::try_from(app % MADE.len() as u64).ok().and_then(|place| MADE.get(place));
        // There is one at every place.
        let Some(made) = made else { return (now_ms(), false) };
        let events = hash::of((app, events));
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = now_ms();
        (now_ms, made.is_first(events, now_ms))
    }
}

impl Made {
    /// Whether it is known that no equal events have that millisecond. Of those before the last one, which a clock
    /// that is set back gives again, nothing is known.
    fn is_first(&mut self, events: u64, now_ms: u64) -> bool {
        if now_ms > self.at_ms {
            self.at_ms = now_ms;
            self.events.clear();
        }
        now_ms == self.at_ms && self.events.len() < MAX_A_MILLISECOND && self.events.insert(events)
    }
}

impl OwnIds {
    fn new() -> Self {
        Self { process: Random::from_system().uuid().to_string(), count: AtomicU64::new(0) }
    }

    /// The next one, in the form of soketi's.
    fn next(&self, body: &str) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        deduplication_id(format!("{body}{}{count}", self.process).as_bytes())
    }
}

/// The time as soketi writes it into `time_ms`.
pub(crate) fn now_ms() -> u64 {
    let now = wall::since_epoch();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
