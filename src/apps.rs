//! The port to the app sources: which app has this key?

pub mod array;
pub mod cache;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
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

/// The sources that there are, those but the array with a memory.
#[derive(Clone, Debug)]
pub enum Sources {
    /// The environment and a file.
    Array(array::Array),
    /// A DynamoDB table.
    #[cfg(feature = "dynamodb")]
    DynamoDb(cache::Cache<dynamodb::DynamoDb>),
    /// A table in MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    MySql(cache::Cache<sql::MySql>),
    /// A table in PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(cache::Cache<sql::Postgres>),
}

impl Sources {
    /// Reads the file again, or forgets that what a database said is new: it is asked again, and what it said
    /// before serves while it is down.
    pub async fn reload(&self) {
        match self {
            Self::Array(array) => array.reload().await,
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(cache) => cache.expire(),
            #[cfg(feature = "mysql")]
            Self::MySql(cache) => cache.expire(),
            #[cfg(feature = "postgres")]
            Self::Postgres(cache) => cache.expire(),
        }
    }
}

impl Sources {
    /// What is wrong with the apps of the environment and of a file: the first of it, and how much there is. Of a
    /// database's apps it is known when they are looked up, and logged then.
    #[must_use]
    pub fn warnings(&self) -> (Vec<String>, usize) {
        match self {
            Self::Array(array) => array.warnings(),
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(_) => (Vec::new(), 0),
            #[cfg(feature = "mysql")]
            Self::MySql(_) => (Vec::new(), 0),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => (Vec::new(), 0),
        }
    }

    /// All apps that can be used, as they are now, where that is known: those of the environment and of a file.
    #[must_use]
    pub fn all(&self) -> Option<Vec<Arc<App>>> {
        match self {
            Self::Array(array) => Some(array.all()),
            #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
            _ => None,
        }
    }

    /// The keys of some apps of a database, for people to see.
    ///
    /// # Errors
    /// The database's.
    #[cfg_attr(
        not(any(feature = "dynamodb", feature = "mysql", feature = "postgres")),
        allow(unused_variables, clippy::unused_async, reason = "there is no database to be asked")
    )]
    pub async fn keys(&self, most: usize) -> Result<Vec<String>, LookUpError> {
        match self {
            Self::Array(_) => Ok(Vec::new()),
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(cache) => cache.source().keys(most).await,
            #[cfg(feature = "mysql")]
            Self::MySql(cache) => cache.source().keys(most).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(cache) => cache.source().keys(most).await,
        }
    }
}

impl Apps for Sources {
    fn unusable(&self, app_id: &str) -> Option<String> {
        match self {
            Self::Array(array) => array.unusable(app_id),
            #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
            _ => None,
        }
    }

    fn lag(&self) -> Duration {
        match self {
            Self::Array(array) => array.lag(),
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(cache) => cache.lag(),
            #[cfg(feature = "mysql")]
            Self::MySql(cache) => cache.lag(),
            #[cfg(feature = "postgres")]
            Self::Postgres(cache) => cache.lag(),
        }
    }

    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        match self {
            Self::Array(array) => array.find_by_key(key).await,
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(cache) => cache.find_by_key(key).await,
            #[cfg(feature = "mysql")]
            Self::MySql(cache) => cache.find_by_key(key).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(cache) => cache.find_by_key(key).await,
        }
    }

    async fn find_fresh(&self, key: &str) -> Result<Fresh, LookUpError> {
        match self {
            Self::Array(array) => array.find_fresh(key).await,
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(cache) => cache.find_fresh(key).await,
            #[cfg(feature = "mysql")]
            Self::MySql(cache) => cache.find_fresh(key).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(cache) => cache.find_fresh(key).await,
        }
    }
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
