//! The configured app source, and the tasks that go with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::app::App;
use crate::apps::array::Array;
#[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
use crate::apps::cache::Cache;
use crate::apps::cache::CacheTtl;
use crate::apps::{Apps, Fresh, LookUpError, Observer};
use crate::config::{AppsConfig, Errors, Source};

/// The longest look-up, where half an attempt is not shorter.
const LOOK_UP: Duration = Duration::from_secs(5);
/// The wait between attempts to reach a source at start.
const START_WAIT: Duration = Duration::from_secs(5);
/// The key by which a source is tried out at start; what it answers is not used.
const TRIAL: &str = "hookferry-start-up";

/// The sources that there are.
#[derive(Clone, Debug)]
pub(crate) enum Sources {
    /// The environment and a file.
    Array(Array),
    /// A database, with a memory.
    #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
    Database(Cache<Database>),
}

/// The databases that there are.
#[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
#[derive(Debug)]
pub(crate) enum Database {
    /// A DynamoDB table.
    #[cfg(feature = "dynamodb")]
    DynamoDb(crate::apps::dynamodb::DynamoDb),
    /// A table in MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    MySql(crate::apps::sql::MySql),
    /// A table in PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(crate::apps::sql::Postgres),
}

impl Sources {
    /// Reads the file again, or forgets that what a database said is new: it is asked again, and what it said
    /// before serves while it is down.
    pub(crate) async fn reload(&self) {
        match self {
            Self::Array(array) => array.reload().await,
            #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
            Self::Database(cache) => cache.expire(),
        }
    }

    /// What is wrong with the apps of the environment and of a file: the first of it, and how much there is. Of a
    /// database's apps it is known when they are looked up, and logged then.
    pub(crate) fn warnings(&self) -> (Vec<String>, usize) {
        match self {
            Self::Array(array) => array.warnings(),
            #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
            Self::Database(_) => (Vec::new(), 0),
        }
    }

    /// All apps that can be used, as they are now, where that is known: those of the environment and of a file.
    #[cfg_attr(
        not(any(feature = "dynamodb", feature = "mysql", feature = "postgres")),
        allow(clippy::unnecessary_wraps, reason = "of a database's apps it is not known")
    )]
    pub(crate) fn all(&self) -> Option<Vec<Arc<App>>> {
        match self {
            Self::Array(array) => Some(array.all()),
            #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
            Self::Database(_) => None,
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
    pub(crate) async fn keys(&self, most: usize) -> Result<Vec<String>, LookUpError> {
        match self {
            Self::Array(_) => Ok(Vec::new()),
            #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
            Self::Database(cache) => cache.source().keys(most).await,
        }
    }
}

#[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
impl Database {
    async fn keys(&self, most: usize) -> Result<Vec<String>, LookUpError> {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(table) => table.keys(most).await,
            #[cfg(feature = "mysql")]
            Self::MySql(table) => table.keys(most).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(table) => table.keys(most).await,
        }
    }
}

#[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
impl Apps for Database {
    fn lag(&self) -> Duration {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(table) => table.lag(),
            #[cfg(feature = "mysql")]
            Self::MySql(table) => table.lag(),
            #[cfg(feature = "postgres")]
            Self::Postgres(table) => table.lag(),
        }
    }

    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(table) => table.find_by_key(key).await,
            #[cfg(feature = "mysql")]
            Self::MySql(table) => table.find_by_key(key).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(table) => table.find_by_key(key).await,
        }
    }
}

impl Apps for Sources {
    fn unusable(&self, app_id: &str) -> Option<String> {
        match self {
            Self::Array(array) => array.unusable(app_id),
            #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
            Self::Database(cache) => cache.unusable(app_id),
        }
    }

    fn lag(&self) -> Duration {
        match self {
            Self::Array(array) => array.lag(),
            #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
            Self::Database(cache) => cache.lag(),
        }
    }

    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        match self {
            Self::Array(array) => array.find_by_key(key).await,
            #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
            Self::Database(cache) => cache.find_by_key(key).await,
        }
    }

    async fn find_fresh(&self, key: &str) -> Result<Fresh, LookUpError> {
        match self {
            Self::Array(array) => array.find_fresh(key).await,
            #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
            Self::Database(cache) => cache.find_fresh(key).await,
        }
    }
}

/// Where the apps are, in words.
pub(crate) fn describe(config: &AppsConfig) -> String {
    match &config.source {
        Source::Array => format!("{} of the environment and APPS_FILE", config.known().apps.len()),
        Source::DynamoDb(settings) => format!("DynamoDB table {:?} in {}", settings.table, settings.region),
        Source::Postgres(settings) => format!("PostgreSQL at {}:{}", settings.host, settings.port),
        Source::MySql(settings) => format!("MySQL at {}:{}", settings.host, settings.port),
    }
}

/// Opens the source; its tasks end at `shutdown`. A database that is down stops nothing: that is said,
/// and it is tried again until it answers.
pub(crate) async fn open(
    config: AppsConfig,
    timeout: Duration,
    observer: Observer,
    shutdown: &CancellationToken,
) -> Result<(Sources, JoinSet<()>), Errors> {
    let mut tasks = JoinSet::new();
    if matches!(config.source, Source::Array) {
        let apps = Array::with_file(config.of_environment(), config.file).observed_by(observer);
        tasks.spawn(apps.clone().watch(shutdown.clone()));
        return Ok((Sources::Array(apps), tasks));
    }
    let name = describe(&config);
    // What is left of an attempt's time has to do for serving what is remembered.
    let deadline = (timeout / 2).min(LOOK_UP);
    // The SDK's loader is a large future.
    let sources = Box::pin(database(config.source, &name, config.keep, deadline, observer)).await?;
    let (tried, shutdown) = (sources.clone(), shutdown.clone());
    tasks.spawn(async move {
        shutdown.run_until_cancelled(until_it_answers(tried, name)).await;
    });
    Ok((sources, tasks))
}

#[cfg_attr(
    not(all(feature = "dynamodb", feature = "mysql", feature = "postgres")),
    allow(
        unused_variables,
        clippy::unused_async,
        reason = "what was left out takes nothing and awaits nothing"
    )
)]
async fn database(
    source: Source,
    name: &str,
    keep: CacheTtl,
    deadline: Duration,
    observer: Observer,
) -> Result<Sources, Errors> {
    // A source's own deadline comes first: it knows what it was waiting for.
    let inner = deadline * 4 / 5;
    #[cfg(any(feature = "dynamodb", feature = "mysql", feature = "postgres"))]
    let remembered =
        |database| Ok(Sources::Database(Cache::observed(database, name, keep, deadline, observer)));
    match source {
        Source::Array => Ok(Sources::Array(Array::new([]))),
        #[cfg(feature = "dynamodb")]
        Source::DynamoDb(settings) => {
            remembered(Database::DynamoDb(crate::apps::dynamodb::DynamoDb::load(settings, inner).await))
        }
        #[cfg(feature = "postgres")]
        Source::Postgres(settings) => {
            remembered(Database::Postgres(crate::apps::sql::Postgres::new(&settings, inner)))
        }
        #[cfg(feature = "mysql")]
        Source::MySql(settings) => {
            remembered(Database::MySql(crate::apps::sql::MySql::new(&settings, inner)))
        }
        #[cfg(not(feature = "dynamodb"))]
        Source::DynamoDb(_) => Err(left_out("dynamodb")),
        #[cfg(not(feature = "postgres"))]
        Source::Postgres(_) => Err(left_out("postgres")),
        #[cfg(not(feature = "mysql"))]
        Source::MySql(_) => Err(left_out("mysql")),
    }
}

#[cfg(not(all(feature = "dynamodb", feature = "mysql", feature = "postgres")))]
fn left_out(driver: &str) -> Errors {
    Errors(vec![crate::config::left_out_of_this_build(driver)])
}

/// The cache says why it does not.
async fn until_it_answers(sources: Sources, name: String) {
    while sources.find_by_key(TRIAL).await.is_err() {
        sleep(START_WAIT).await;
    }
    info!(apps = name, "the app source answers");
}
