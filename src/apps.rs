//! The port to the app sources: which app has this key?

pub mod array;
pub mod cache;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
mod reading;
pub mod settings;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub mod sql;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::app::{App, Remark, Severity};

/// How long an answer that the source itself gave is given again to whoever asks past the memory: many
/// jobs of one app fail together, and their verdicts cost the source one look-up a second.
pub const FRESH_FOR: Duration = Duration::from_secs(1);

/// By how much a database may lag behind what was written to it: a read replica, or an index of DynamoDB, which is
/// never consistent at once. Both are behind by less than a second but for when they are in trouble. A job whose
/// signature or key seems wrong waits for that; one that the filters let no webhook have does not, since such jobs
/// are an app's everyday, and each would keep its group waiting.
#[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
pub const DATABASE_LAG: Duration = Duration::from_secs(5);

/// Why an app could not be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookUpError {
    /// The source cannot be asked: why, and what to do about it. It would be so for every app, so no
    /// job is given up for it.
    #[error("the app source is unreachable: {0}")]
    Unreachable(String),
    /// The source answers, and this one app's record cannot be used: which, and what is wrong with it.
    /// Its jobs are given up once their retry window is over.
    #[error("{0}")]
    Unusable(String),
}

/// What the source itself said of an app, and when it was asked.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// The app; `None` if the source said that there is none.
    pub app: Option<Arc<App>>,
    /// When the source was asked: a change made before that is in the answer.
    pub asked_at: Instant,
}

/// What a look-up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// Answered from memory.
    Remembered,
    /// The source was asked, and answered.
    Asked,
    /// The source did not answer, and what is remembered had to do.
    Stale,
    /// The source did not answer.
    Failed,
}

impl LookUp {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Remembered, Self::Asked, Self::Stale, Self::Failed];

    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Remembered => "remembered",
            Self::Asked => "asked",
            Self::Stale => "stale",
            Self::Failed => "failed",
        }
    }
}

/// Who is told of every look-up; nobody, by default.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<dyn Fn(LookUp) + Send + Sync>>);

impl Observer {
    /// One that is called with each.
    #[must_use]
    pub fn new(told: impl Fn(LookUp) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    fn tell(&self, look_up: LookUp) {
        if let Some(told) = &self.0 {
            told(look_up);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "nobody" })
    }
}

/// Somewhere apps are kept.
pub trait Apps: Send + Sync + 'static {
    /// Finds the app with this key; `None` if the source says that there is none. What is remembered
    /// may answer.
    fn find_by_key(&self, key: &str) -> impl Future<Output = Result<Option<Arc<App>>, LookUpError>> + Send;

    /// Finds it by asking the source itself, past everything that is remembered: for verdicts that give
    /// a job up. What remembers bounds this to one look-up of a key in [`FRESH_FOR`], and gives that
    /// answer with its time to whoever asks again within it. As it stands here it is for a source that
    /// remembers nothing.
    fn find_fresh(&self, key: &str) -> impl Future<Output = Result<Fresh, LookUpError>> + Send {
        async move {
            let asked_at = Instant::now();
            Ok(Fresh { app: self.find_by_key(key).await?, asked_at })
        }
    }

    /// Why the app with this id cannot be used, where the source knows it without knowing its key.
    fn unusable(&self, _app_id: &str) -> Option<String> {
        None
    }

    /// By how much an answer may be older than when it was asked for.
    fn lag(&self) -> Duration {
        Duration::ZERO
    }
}

/// Says what is to be said of an app.
fn log(remark: &Remark) {
    match remark.severity {
        Severity::Error => error!("{}", remark.text),
        Severity::Warning => warn!("{}", remark.text),
        Severity::Note => info!("{}", remark.text),
    }
}
