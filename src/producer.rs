//! Making jobs as soketi makes them, in order.

use secrecy::SecretString;

use crate::job::{Job, QueueType, group_id, sign};
use crate::queue::NewMessage;

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
    ) -> NewMessage {
        let mut event = serde_json::Map::from_iter([("name".to_owned(), kind.event_name().into())]);
        event.extend(fields);
        let payload = serde_json::json!({"time_ms": time_ms, "events": [event]}).to_string();
        self.payload(kind, payload)
    }

    /// A job with that payload.
    #[must_use]
    pub fn payload(&self, kind: QueueType, payload: String) -> NewMessage {
        let signature = sign(&self.secret, [payload.as_bytes()]);
        let job = Job {
            app_key: self.app_key.clone(),
            app_id: self.app_id.clone(),
            payload: payload.into(),
            signature,
        };
        NewMessage::new(group_id(&self.app_id, kind), job.encode())
    }
}
