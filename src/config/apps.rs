//! `APP_MANAGER_*`, `DEFAULT_APP_*`, `DB_*` and `APPS_FILE`: where the apps are.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::variables::{Raw, Reader, Server};
use crate::app::{App, parse_webhooks};
use crate::apps::array;
use crate::apps::cache::CacheTtl;
use crate::apps::settings::{DynamoDb, Sql, Tls};
use crate::json::describe_json_error;

/// The most connections where no pool is configured, as with soketi.
const CONNECTIONS: (u32, u32) = (0, 10);
/// How long an app is remembered, in seconds.
const TTL: i64 = 60;
/// The longest that one is remembered but for ever: a year.
const MAX_TTL: i64 = 31_536_000;

/// Where the apps are.
#[derive(Clone, Debug)]
pub struct AppsConfig {
    /// Which source is asked.
    pub source: Source,
    /// How long a database's answers are kept.
    pub keep: CacheTtl,
    /// The app of `DEFAULT_APP_*`.
    pub default: App,
    /// Whether that app still has one of soketi's well-known defaults.
    pub well_known: bool,
    /// The apps of the file.
    pub more: Vec<App>,
    /// The file.
    pub file: Option<PathBuf>,
}

/// The drivers whose features this build does not have.
pub(super) const LEFT_OUT: &[&str] = &[
    #[cfg(not(feature = "dynamodb"))]
    "dynamodb",
    #[cfg(not(feature = "mysql"))]
    "mysql",
    #[cfg(not(feature = "postgres"))]
    "postgres",
];

/// A source of apps.
#[derive(Clone, Debug)]
pub enum Source {
    /// The environment and a file.
    Array,
    /// A DynamoDB table.
    DynamoDb(DynamoDb),
    /// A table in PostgreSQL.
    Postgres(Sql),
    /// A table in MySQL or MariaDB.
    MySql(Sql),
}

pub(super) fn read(raw: &Raw, reader: &mut Reader) -> Option<AppsConfig> {
    let source = read_source(raw, reader);
    let keep = read_keep(raw, reader);
    let file = raw.plain.apps_file.clone().map(PathBuf::from);
    let given = &raw.default_app;
    let value = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
    let secret = value(&given.secret, "app-secret");
    let well_known = given.id.is_none() || given.key.is_none() || secret == "app-secret";
    let mut default = App {
        id: value(&given.id, "app-id"),
        key: value(&given.key, "app-key"),
        secret: SecretString::from(secret),
        webhooks: Vec::new(),
    };
    if let Some(source @ (Source::DynamoDb(_) | Source::Postgres(_) | Source::MySql(_))) = source {
        if file.is_some() || given.webhooks.is_some() {
            reader
                .warn("APPS_FILE and DEFAULT_APP_* are for APP_MANAGER_DRIVER=array and ignored".to_owned());
        }
        return Some(AppsConfig { source, keep, default, well_known: false, more: Vec::new(), file: None });
    }
    let webhooks = parse_webhooks(given.webhooks.as_deref().unwrap_or_default());
    let webhooks = reader.result(
        "DEFAULT_APP_WEBHOOKS",
        webhooks.map_err(|error| format!("is not a JSON array of webhooks: {}", describe_json_error(&error))),
    );
    default.webhooks = webhooks.unwrap_or_default();
    reader.result("DEFAULT_APP_WEBHOOKS", array::check(&default));
    let more = match &file {
        None => Vec::new(),
        Some(path) => {
            let read = array::read(path).map_err(|error| format!("{:?} {error}", path.to_string_lossy()));
            reader.result("APPS_FILE", read).unwrap_or_default()
        }
    };
    #[cfg(not(feature = "lambda"))]
    for app in std::iter::once(&default).chain(&more) {
        if app.webhooks.iter().any(|webhook| matches!(webhook.target, crate::app::Target::Lambda(_))) {
            reader.error(format!(
                "DEFAULT_APP_WEBHOOKS or APPS_FILE: app {:?} has a lambda_function; build with the cargo feature lambda",
                app.id
            ));
        }
    }
    Some(AppsConfig { source: source?, keep, default, well_known, more, file })
}

/// What to do about a driver that was not compiled in.
#[must_use]
pub fn left_out_of_this_build(driver: &str) -> String {
    format!("APP_MANAGER_DRIVER: {driver} was left out of this build; build with the cargo feature {driver}")
}

fn read_source(raw: &Raw, reader: &mut Reader) -> Option<Source> {
    let driver = raw.app_manager.driver.as_deref();
    if let Some(left_out) = driver.filter(|driver| LEFT_OUT.contains(driver)) {
        reader.error(left_out_of_this_build(left_out));
        return None;
    }
    match driver {
        None | Some("array") => Some(Source::Array),
        Some("dynamodb") => Some(Source::DynamoDb(read_dynamodb(raw, reader))),
        Some("postgres") => {
            let defaults = Defaults { port: 5432, username: "postgres" };
            let table = raw.app_manager.postgres_table.as_deref();
            read_sql("POSTGRES", &raw.postgres, table, raw, defaults, reader).map(Source::Postgres)
        }
        Some("mysql") => {
            let defaults = Defaults { port: 3306, username: "root" };
            let table = raw.app_manager.mysql_table.as_deref();
            read_sql("MYSQL", &raw.mysql, table, raw, defaults, reader).map(Source::MySql)
        }
        Some(other) => {
            reader.error(format!(
                "APP_MANAGER_DRIVER: {other:?} is unknown; there are array, dynamodb, postgres and mysql"
            ));
            None
        }
    }
}

/// Where soketi does not cache unless told to, here a minute is the default; what it was told explicitly
/// means the same, and a TTL of 0 or less is for ever.
fn read_keep(raw: &Raw, reader: &mut Reader) -> CacheTtl {
    let cache = &raw.app_manager;
    let enabled = reader.truth("APP_MANAGER_CACHE_ENABLED", cache.cache_enabled.as_ref());
    let ttl = reader.number("APP_MANAGER_CACHE_TTL", cache.cache_ttl.as_ref(), TTL, -1, MAX_TTL);
    match (enabled, u64::try_from(ttl)) {
        (Some(false), _) => CacheTtl::Nothing,
        (_, Ok(seconds @ 1..)) => CacheTtl::For(Duration::from_secs(seconds)),
        (Some(true), _) => {
            reader.warn(format!(
                "APP_MANAGER_CACHE_TTL: {ttl} is for ever, as with soketi: a changed app counts after a restart"
            ));
            CacheTtl::Always
        }
        (None, _) => CacheTtl::For(Duration::from_secs(TTL.unsigned_abs())),
    }
}

fn read_dynamodb(raw: &Raw, reader: &mut Reader) -> DynamoDb {
    let given = &raw.app_manager;
    let endpoint = given.dynamodb_endpoint.as_deref().and_then(|endpoint| {
        reader.result("APP_MANAGER_DYNAMODB_ENDPOINT", super::queue::http_url(endpoint))?;
        Some(endpoint.to_owned())
    });
    let region = given.dynamodb_region.as_deref().unwrap_or("us-east-1");
    let region = reader
        .result("APP_MANAGER_DYNAMODB_REGION", super::endpoint::named_region(region, endpoint.is_none()));
    DynamoDb {
        table: given.dynamodb_table.clone().unwrap_or_else(|| "apps".to_owned()),
        region: region.unwrap_or_default(),
        endpoint,
    }
}

/// What soketi takes where nothing is set, besides the password `password` and the database `main`.
#[derive(Clone, Copy)]
struct Defaults {
    port: u16,
    username: &'static str,
}

fn read_sql(
    name: &str,
    given: &Server,
    table: Option<&str>,
    raw: &Raw,
    defaults: Defaults,
    reader: &mut Reader,
) -> Option<Sql> {
    let text = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
    let table =
        table.unwrap_or("apps").parse().map_err(|error| format!("{:?} {error}", table.unwrap_or_default()));
    let table = reader.result(&format!("APP_MANAGER_{name}_TABLE"), table);
    let pooling = &raw.pooling;
    let connections = if reader.truth("DB_POOLING_ENABLED", pooling.enabled.as_ref()) == Some(true) {
        let most = reader.number("DB_POOLING_MAX", pooling.max.as_ref(), 7, 1, 1000);
        (reader.number("DB_POOLING_MIN", pooling.min.as_ref(), 0, 0, most), most)
    } else {
        CONNECTIONS
    };
    Some(Sql {
        host: text(&given.host, "127.0.0.1"),
        port: reader.number(&format!("DB_{name}_PORT"), given.port.as_ref(), defaults.port, 1, u16::MAX),
        username: text(&given.username, defaults.username),
        password: SecretString::from(text(&given.password, "password")),
        database: text(&given.database, "main"),
        tls: read_tls(name, given, reader),
        table: table?,
        connections,
    })
}

fn read_tls(name: &str, given: &Server, reader: &mut Reader) -> Tls {
    let file = given.ca_file.clone().map(PathBuf::from);
    if let Some(file) = &file
        && let Err(error) = std::fs::read(file)
    {
        reader.error(format!("DB_{name}_CA_FILE: {:?} cannot be read: {error}", file.to_string_lossy()));
    }
    match (given.tls.as_deref(), file) {
        (None | Some("prefer"), None) => Tls::Prefer,
        (Some("require"), None) => Tls::Require,
        (Some("off"), None) => Tls::Off,
        (None | Some("prefer" | "require"), Some(file)) => Tls::Verify(file),
        (Some("off"), Some(_)) => {
            reader.error(format!("DB_{name}_TLS: off contradicts DB_{name}_CA_FILE"));
            Tls::Off
        }
        (Some(other), _) => {
            reader.error(format!("DB_{name}_TLS: {other:?} is none of prefer, require and off"));
            Tls::Prefer
        }
    }
}
