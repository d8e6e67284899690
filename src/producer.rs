//! Making jobs as soketi makes them, in order.

use secrecy::SecretString;

use crate::job::{Job, QueueType, deduplication_id, group_id, sign};
use crate::queue::Redriven;

/// One message to put on the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueue {
    /// The body.
    pub body: String,
    /// The message group.
    pub group: String,
    /// The deduplication id.
    pub deduplication: String,
    /// Set where a dead letter is put back.
    pub redriven: Option<Redriven>,
}

/// Who produces.
#[derive(Clone, Debug)]
pub struct Producer {
    /// The app's id.
    pub app_id: String,
    /// The app's key.
    pub app_key: String,
    /// The app's secret.
    pub secret: SecretString,
}

impl Producer {
    /// A job of one event, `fields` beside its name, at `time_ms` since the Unix epoch.
    #[must_use]
    pub fn event(
        &self,
        kind: QueueType,
        fields: serde_json::Map<String, serde_json::Value>,
        time_ms: u64,
    ) -> Enqueue {
        let mut event = serde_json::Map::from_iter([("name".to_owned(), kind.event_name().into())]);
        event.extend(fields);
        let payload = serde_json::json!({"time_ms": time_ms, "events": [event]}).to_string();
        self.payload(kind, payload)
    }

    /// A job with that payload.
    #[must_use]
    pub fn payload(&self, kind: QueueType, payload: String) -> Enqueue {
        let signature = sign(&self.secret, [payload.as_bytes()]);
        let job = Job {
            app_key: self.app_key.clone(),
            app_id: self.app_id.clone(),
            payload: payload.into(),
            signature,
        };
        Enqueue::new(group_id(&self.app_id, kind), job.encode())
    }
}

impl Enqueue {
    /// A message with soketi's deduplication id.
    #[must_use]
    pub fn new(group: String, body: String) -> Self {
        Self { deduplication: deduplication_id(body.as_bytes()), group, body, redriven: None }
    }
}
