//! The identity of a webhook, as ledgers and dead letters write it down.

use std::fmt;
use std::sync::Arc;

/// The identity of a webhook within its app: a short hash of its target. Webhooks with one target add a hash of their
/// other members (`3f2a90c41b7e-a1b2c3`), and equal ones a number (`3f2a90c41b7e-a1b2c3-2`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookId(Arc<str>);

impl WebhookId {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for WebhookId {
    /// An identity as it was written down before.
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
