//! Making jobs as soketi makes them.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use secrecy::SecretString;

use super::event::Event;
use crate::hash;
use crate::job::{Job, QueueType, group_id, sign};
use crate::queue::NewMessage;

/// Makes an app's jobs: stamps, signs, and names group and deduplication id.
///
/// The deduplication id is a hash of the body, so that two equal events of one millisecond would be one job
/// to SQS, in whatever groups they are where the queue's `DeduplicationScope` is `queue`. No two equal events
/// of an app therefore get the same `time_ms` within a process, however many signers it has: the second gets
/// the next millisecond, and an app's `time_ms` never goes back: 50,000 equal events of one second end 49 s in the
/// future, and so does what follows them. Processes do not know of each other; events
/// that may be equal there need a member that tells them apart ([`Event::with`]).
#[derive(Clone, Debug)]
pub struct Signer {
    app_id: String,
    app_key: String,
    secret: SecretString,
}

/// The last millisecond given, and what was given it.
#[derive(Debug, Default)]
struct Clock {
    at_ms: u64,
    given: HashSet<u64>,
}

/// The process's clocks. An app has the one of its hash, so that every signer of it has the same; apps that
/// share one get a later time than they need at the worst.
static CLOCKS: LazyLock<[Mutex<Clock>; 256]> = LazyLock::new(|| std::array::from_fn(|_| Mutex::default()));

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
        let time_ms = self.stamp(&events, now_ms());
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

    /// The most bytes that the body of a job has beside its events and the commas between them.
    pub(super) fn bytes_beside_events(&self) -> usize {
        let none = format!(r#"{{"time_ms":{},"events":[]}}"#, u64::MAX);
        self.payload_in(String::new(), none).body.len()
    }

    /// The `time_ms` for these events: now, or as much later as they need to be told from equal ones. The
    /// group is no part of what makes them equal, since it is no part of the body.
    fn stamp(&self, events: &str, now_ms: u64) -> u64 {
        let app = hash::of((&self.app_id, &self.app_key));
        let clock = usize::try_from(app % CLOCKS.len() as u64).ok().and_then(|place| CLOCKS.get(place));
        // There is one at every place.
        let Some(clock) = clock else { return now_ms };
        let events = hash::of((app, events));
        clock.lock().unwrap_or_else(PoisonError::into_inner).stamp(events, now_ms)
    }
}

impl Clock {
    fn stamp(&mut self, hash: u64, now_ms: u64) -> u64 {
        if now_ms > self.at_ms {
            self.at_ms = now_ms;
            self.given.clear();
        }
        if self.given.len() >= MAX_A_MILLISECOND || !self.given.insert(hash) {
            self.at_ms += 1;
            self.given.clear();
            self.given.insert(hash);
        }
        self.at_ms
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
    fn equal_events_of_one_millisecond_get_several_and_time_never_goes_back() {
        let mut clock = Clock::default();
        let stamps =
            [(7, 1), (7, 2), (7, 1), (7, 2), (3, 1), (100, 1)].map(|(now, print)| clock.stamp(print, now));
        assert_eq!(stamps, [7, 7, 8, 8, 9, 100]);
    }

    #[test]
    fn equal_events_are_several_jobs_whatever_their_groups_and_signers() {
        let event = Event::own("order.paid").unwrap();
        let ids: BTreeSet<_> = (0..1000)
            .map(|n| {
                let signer = Signer::new("an-app", "a-key", "s");
                signer.job(&event.clone().in_group(format!("order-{n}"))).deduplication
            })
            .collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn a_millisecond_remembers_a_bounded_number_of_events() {
        let mut clock = Clock::default();
        for print in 0..25_000 {
            clock.stamp(print, 1);
        }
        assert_eq!((clock.at_ms, clock.given.len() <= MAX_A_MILLISECOND), (3, true));
    }

    #[test]
    fn what_a_body_has_beside_its_events_is_never_more_than_is_counted_for_it() {
        let signer = Signer::new("é\"", "k", "s");
        let events = [Event::own("a").unwrap(), Event::own("bb").unwrap()];
        let of_events = events[0].json().len() + events[1].json().len() + 1;
        let beside = signer.job_of("g", &events).body.len() - of_events;
        assert!(beside <= signer.bytes_beside_events() && beside + 8 > signer.bytes_beside_events());
    }

    #[test]
    fn the_secret_is_not_printed() {
        assert!(!format!("{:?}", Signer::new("a", "k", "hush")).contains("hush"));
    }
}
