//! The port to the app sources: which app has this key?

pub mod array;
pub mod cache;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
mod record;
pub mod settings;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub mod sql;

use std::sync::Arc;

use crate::app::App;

/// What could not be told. A job whose app cannot be looked up is retried, and never given up for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String, pub Extent);

/// How much of a source a failure takes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The source cannot be asked at all.
    Source,
    /// One app is there but cannot be read.
    App,
}

impl Unreachable {
    /// The source cannot be asked: why, and what to do about it.
    #[must_use]
    pub fn source(why: String) -> Self {
        Self(why, Extent::Source)
    }

    /// An app is there but cannot be read: which one, and what is wrong with it.
    #[must_use]
    pub fn app(why: String) -> Self {
        Self(why, Extent::App)
    }
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

impl Apps for Sources {
    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, Unreachable> {
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
}

/// Somewhere apps are kept.
pub trait Apps: Send + Sync + 'static {
    /// Finds the app with this key; `None` if the source says that there is none.
    fn find_by_key(&self, key: &str) -> impl Future<Output = Result<Option<Arc<App>>, Unreachable>> + Send;
}
