//! Making jobs as soketi makes them.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use secrecy::SecretString;

use super::event::Event;
use crate::job::{Job, QueueType, group_id, sign};
use crate::queue::NewMessage;

/// Makes an app's jobs: stamps, signs, and names group and deduplication id. Its clones share one clock.
///
/// The deduplication id is a hash of the body, so that two equal events of one millisecond would be one job
/// to SQS. A signer therefore never gives two equal events the same `time_ms`: the second gets the next
/// millisecond, and `time_ms` never goes back. Signers in several processes do not know of each other;
/// events that may be equal there need a member that tells them apart ([`Event::with`]).
#[derive(Clone, Debug)]
pub struct Signer {
    app_id: String,
    app_key: String,
    secret: SecretString,
    clock: Arc<Mutex<Clock>>,
}

/// The last millisecond given, and what was given it.
#[derive(Debug, Default)]
struct Clock {
    at_ms: u64,
    given: HashSet<u64>,
}

/// The most that one millisecond is given to: past it the clock goes on, so that the set stays small.
const MAX_A_MILLISECOND: usize = 10_000;

impl Signer {
    /// A signer for the app of that id and key, under its secret.
    #[must_use]
    pub fn new(
        app_id: impl Into<String>,
        app_key: impl Into<String>,
        secret: impl Into<SecretString>,
    ) -> Self {
        Self { app_id: app_id.into(), app_key: app_key.into(), secret: secret.into(), clock: Arc::default() }
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
        let time_ms = self.stamp(group, &events, now_ms());
        self.payload_in(group.to_owned(), format!(r#"{{"time_ms":{time_ms},"events":[{events}]}}"#))
    }

    /// The message group of an event: its own, or that of its app and queue type.
    #[must_use]
    pub fn group(&self, event: &Event) -> String {
        event.group(&self.app_id)
    }

    /// A job of one event, `fields` beside its name, at `time_ms` since the Unix epoch.
    #[must_use]
    pub fn event(
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

    /// The `time_ms` for these events: now, or as much later as they need to be told from equal ones.
    fn stamp(&self, group: &str, events: &str, now_ms: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (group, events).hash(&mut hasher);
        let print = hasher.finish();
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms > clock.at_ms {
            clock.at_ms = now_ms;
            clock.given.clear();
        }
        if clock.given.len() >= MAX_A_MILLISECOND || !clock.given.insert(print) {
            clock.at_ms += 1;
            clock.given.clear();
            clock.given.insert(print);
        }
        clock.at_ms
    }
}

/// The time as soketi writes it into `time_ms`.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn equal_events_of_one_millisecond_are_several_jobs_and_time_never_goes_back() {
        let signer = Signer::new("a", "k", "s");
        let stamps: Vec<u64> = [(7, "x"), (7, "y"), (7, "x"), (7, "y"), (3, "x"), (100, "x")]
            .map(|(now, events)| signer.clone().stamp("g", events, now))
            .into();
        assert_eq!(stamps, [7, 7, 8, 8, 9, 100]);
        assert_eq!(signer.stamp("another", "x", 100), 100, "another group is another job");
        let event = Event::channel_occupied("lobby").unwrap();
        let ids: BTreeSet<_> = (0..1000).map(|_| signer.job(&event).deduplication).collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn a_millisecond_remembers_a_bounded_number_of_events() {
        let signer = Signer::new("a", "k", "s");
        for n in 0..25_000 {
            signer.stamp("g", &n.to_string(), 1);
        }
        let clock = signer.clock.lock().unwrap();
        assert_eq!((clock.at_ms, clock.given.len() <= MAX_A_MILLISECOND), (3, true));
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert!(!format!("{:?}", Signer::new("a", "k", "hush")).contains("hush"));
    }
}
