//! What an operator may change of a queue while it is used: where dead letters go, and for how long messages are kept.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::Description;
use crate::queue::ReceiveError;

/// The longest that SQS keeps a message, whatever a queue says.
const MAX_RETENTION: Duration = Duration::from_secs(14 * 86_400);

/// The queue's policies, as it last said. A clone is the same cell.
#[derive(Clone, Debug, Default)]
pub struct Policies(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The dead-letter queue that the configuration names: then the queue's `RedrivePolicy` has no say.
    configured: Option<Arc<str>>,
    /// Of the queue.
    said: RwLock<Said>,
    /// When it was last asked by one who needed to know, if it answered.
    asked: Mutex<Option<Instant>>,
    changed: Notify,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    dead_letter_url: Option<Arc<str>>,
    retention: Option<Duration>,
}

impl Policies {
    /// The policies of a queue that has not been asked yet, with the dead-letter queue that is configured, if one is.
    #[must_use]
    pub fn new(configured: Option<String>) -> Self {
        Self(Arc::new(Inner { configured: configured.map(Arc::from), ..Inner::default() }))
    }

    /// The policies of a queue with this description.
    #[must_use]
    pub fn following(configured: Option<String>, description: &Description) -> Self {
        let policies = Self::new(configured);
        policies.follow(description);
        policies
    }

    /// The queue says this now. Where it names no dead-letter queue any more, the one that it named last is kept: a
    /// policy that is about to be replaced must not make given-up jobs be deleted.
    pub fn follow(&self, description: &Description) {
        let mut said = self.0.said.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(url) = &description.dead_letter_url {
            said.dead_letter_url = Some(Arc::from(url.as_str()));
        }
        said.retention = Some(description.retention().unwrap_or(MAX_RETENTION));
    }

    fn said(&self) -> Said {
        self.0.said.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where jobs go that are given up.
    #[must_use]
    pub fn dead_letter_url(&self) -> Option<Arc<str>> {
        self.0.configured.clone().or_else(|| self.said().dead_letter_url)
    }

    /// How long the queue keeps a message: none is older. Before it has been asked, any age is believed.
    #[must_use]
    pub fn retention(&self) -> Option<Duration> {
        self.said().retention
    }

    /// Where jobs go that are given up, asked of the queue by `describe`: those who wait for an answer that is being asked
    /// for share the next one.
    pub(super) async fn ask_for_dead_letters(
        &self,
        describe: impl Future<Output = Result<Description, ReceiveError>> + Send,
    ) -> Result<Option<Arc<str>>, ReceiveError> {
        if let Some(configured) = &self.0.configured {
            return Ok(Some(Arc::clone(configured)));
        }
        let since = Instant::now();
        let mut asked = self.0.asked.lock().await;
        if asked.is_none_or(|asked| asked < since) {
            let (before, now) = (self.said(), Instant::now());
            self.follow(&describe.await?);
            *asked = Some(now);
            if self.said() != before {
                self.0.changed.notify_one();
            }
        }
        Ok(self.said().dead_letter_url)
    }

    /// Ends when the queue was found to have been changed, by one who needed to know.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
