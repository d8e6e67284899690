//! `APP_MANAGER_*`, `DEFAULT_APP_*`, `DB_*` and `APPS_FILE`: where the apps are.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::variables::{DefaultApp, Raw, Reader, Server, default_of, or_default};
use crate::app::limits::{MAX_ID_BYTES, MAX_REMARKS, MAX_SECRETS};
use crate::app::{self, App, Remark, Severity};
use crate::apps::array::{self, AppsFile, Listed, Variables};
use crate::apps::cache::CacheTtl;
use crate::apps::settings::{DynamoDb, Sql, Tls};

/// The most connections where no pool is configured, as with soketi.
const CONNECTIONS: (u32, u32) = (0, 10);
/// soketi's default of `DEFAULT_APP_SECRET`.
pub const WELL_KNOWN_SECRET: &str = "app-secret";
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
    /// Whether a listed app stands in its place: none of its variables is set, and that app has its key or id.
    pub stands_aside: bool,
    /// Whether that app still has one of soketi's well-known defaults, and is worth a word for it: it is the only one, or
    /// one of its variables is set.
    pub well_known: bool,
    /// The apps of `APPS`.
    pub listed: Listed,
    /// The file of `APPS_FILE`, and the apps that it holds.
    pub file: Option<(AppsFile, Listed)>,
}

impl AppsConfig {
    /// The apps of the environment, which no file replaces; none where a database has the apps.
    #[must_use]
    pub fn of_environment(&self) -> Listed {
        if !matches!(self.source, Source::Array) {
            return Listed::default();
        }
        let default = (!self.stands_aside).then(|| self.default.clone());
        Listed { apps: default.into_iter().collect(), ..Listed::default() }.and(self.listed.clone())
    }

    /// Every app that is known without a database, in the order in which they count: of two with one key the
    /// first does.
    #[must_use]
    pub fn known(&self) -> Listed {
        let of_file = self.file.as_ref().map(|(_, listed)| listed.clone());
        self.of_environment().and(of_file.unwrap_or_default())
    }
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

pub(super) fn read(raw: &Raw, variables: Variables, reader: &mut Reader) -> Option<AppsConfig> {
    let source = read_source(raw, reader);
    let keep = read_keep(raw, reader);
    let file = raw.plain.apps_file.clone().map(PathBuf::from);
    if let Some(source @ (Source::DynamoDb(_) | Source::Postgres(_) | Source::MySql(_))) = source {
        if file.is_some() || raw.plain.apps.is_some() || raw.default_app.webhooks.is_some() {
            reader.warn(
                "APPS, APPS_FILE and DEFAULT_APP_* are for APP_MANAGER_DRIVER=array and ignored".to_owned(),
            );
        }
        let default = App::new(String::new(), String::new(), SecretString::default(), Vec::new());
        let listed = Listed::default();
        let (stands_aside, well_known) = (false, false);
        return Some(AppsConfig { source, keep, default, stands_aside, well_known, listed, file: None });
    }
    let (default, well_known) = read_default(raw, reader);
    let listed = raw.plain.apps.as_deref().map(|text| array::parse(text, &variables)).transpose();
    let listed =
        reader.result("APPS", listed.map_err(|error| error.to_string())).flatten().unwrap_or_default();
    let file = file.and_then(|path| {
        let file = AppsFile { path, variables };
        let read = file.read().map_err(|error| format!("{:?} {error}", file.path.to_string_lossy()));
        Some((file, reader.result("APPS_FILE", read)?))
    });
    let stands_aside = is_unset(&raw.default_app)
        && (has(&listed, &default) || file.as_ref().is_some_and(|(_, listed)| has(listed, &default)));
    // Nobody asked for it where others are named: it is known as soketi knows it, and has no webhook.
    let names_others = has_any(&listed) || file.as_ref().is_some_and(|(_, listed)| has_any(listed));
    let well_known = well_known && !(is_unset(&raw.default_app) && names_others);
    Some(AppsConfig { source: source?, keep, default, stands_aside, well_known, listed, file })
}

/// Whether nobody asked for the app of `DEFAULT_APP_*`.
fn is_unset(given: &DefaultApp) -> bool {
    [&given.id, &given.key, &given.secret, &given.previous_secret, &given.webhooks]
        .into_iter()
        .all(Option::is_none)
}

fn has_any(listed: &Listed) -> bool {
    !(listed.apps.is_empty() && listed.unusable.is_empty())
}

/// Whether a list has an app of the same key or id, be it one that cannot be used: its jobs are to wait for it.
fn has(listed: &Listed, app: &App) -> bool {
    let same = |id: Option<&str>, key: Option<&str>| id == Some(&app.id) || key == Some(&app.key);
    listed.apps.iter().any(|other| same(Some(&other.id), Some(&other.key)))
        || listed.unusable.iter().any(|other| same(other.id.as_deref(), other.key.as_deref()))
}

/// Warns of what webhooks ask for and do not get, since the worker's own limits are narrower.
pub(super) fn warn_of_limits(apps: &AppsConfig, timeout: Duration, window: Duration, reader: &mut Reader) {
    let mut said = 0;
    for app in apps.known().apps {
        for (n, webhook) in app.webhooks.iter().enumerate() {
            let limits = [
                ("request_timeout_ms", webhook.timeout, "WEBHOOKS_TIMEOUT_MS", timeout),
                ("retry.max_elapsed_time_ms", webhook.retry.window, "WEBHOOKS_RETRY_WINDOW_SECONDS", window),
            ];
            for (member, asked, variable, most) in limits {
                let Some(asked) = asked.filter(|asked| *asked > most) else { continue };
                said += 1;
                if said <= MAX_REMARKS {
                    reader.warn(format!(
                        "{variable}: app {}: webhooks[{n}].{member}: {} ms is cut to the worker's {} ms; raise {variable}, or lower it",
                        app::shown(&app.id), asked.as_millis(), most.as_millis()
                    ));
                }
            }
        }
    }
    if said > MAX_REMARKS {
        reader.warn(format!("and {} webhooks' limits more are cut to the worker's", said - MAX_REMARKS));
    }
}

/// The app of `DEFAULT_APP_*`, and whether it is soketi's well-known one. What cannot be used of it is an
/// error: nobody but the operator registers here.
fn read_default(raw: &Raw, reader: &mut Reader) -> (App, bool) {
    let given = &raw.default_app;
    let mut value = |name: &str, given: &Option<String>| {
        let value = or_default(name, given.as_ref());
        if value.len() > MAX_ID_BYTES {
            reader.error(format!("{name}: has more than {MAX_ID_BYTES} bytes"));
        }
        value
    };
    let id = value("DEFAULT_APP_ID", &given.id);
    let key = value("DEFAULT_APP_KEY", &given.key);
    let secret = value("DEFAULT_APP_SECRET", &given.secret);
    let mut previous = given.previous_secret.clone().map(app::listed_secrets).unwrap_or_default();
    // Who signs with no secret at all is nobody that this app knows.
    previous.retain(|secret| !secret.is_empty());
    if previous.len() >= MAX_SECRETS {
        reader.error(format!(
            "DEFAULT_APP_PREVIOUS_SECRET: has {} secrets; with DEFAULT_APP_SECRET {MAX_SECRETS} are the most",
            previous.len()
        ));
    }
    let secrets = previous.iter().map(|secret| ("DEFAULT_APP_PREVIOUS_SECRET", secret));
    let parts = [("DEFAULT_APP_ID", &id), ("DEFAULT_APP_KEY", &key), ("DEFAULT_APP_SECRET", &secret)];
    for (name, text) in parts.into_iter().chain(secrets) {
        judge_credential(name, text, reader);
    }
    for (name, written) in &raw.rewritten_numbers {
        reader.warn(format!(
            "{name}: it is a number, which soketi reads as one and writes as {written} in its jobs; put double quotes around it for \
             soketi, or set {name}={written} here"
        ));
    }
    let well_known = given.id.is_none() || given.key.is_none() || secret == WELL_KNOWN_SECRET;
    let webhooks = app::webhooks(given.webhooks.as_deref().unwrap_or_default(), &id);
    let (webhooks, remarks) = reader.result("DEFAULT_APP_WEBHOOKS", webhooks).unwrap_or_default();
    for Remark { severity, text } in remarks {
        match severity {
            Severity::Error => reader.error(format!("DEFAULT_APP_WEBHOOKS: {text}")),
            Severity::Warning => reader.warn(format!("DEFAULT_APP_WEBHOOKS: {text}")),
            Severity::Note => {}
        }
    }
    #[cfg(not(feature = "lambda"))]
    if webhooks.iter().any(|webhook| matches!(webhook.target, app::Target::Lambda(_))) {
        reader.error(
            "DEFAULT_APP_WEBHOOKS: a webhook has a lambda_function; build with the cargo feature lambda"
                .to_owned(),
        );
    }
    let app = App::new(id, key, SecretString::from(secret), webhooks)
        .with_previous(previous.into_iter().map(SecretString::from));
    (app, well_known)
}

/// Says that a value is plainly not the id, key or secret that was meant. Nothing of it is shown.
fn judge_credential(name: &str, text: &str, reader: &mut Reader) {
    let quoted = text.len() > 1 && text.starts_with('\'') && text.ends_with('\'');
    if let Some(what) = app::placeholder(text) {
        reader.error(format!("{name}: is {what}, and not what that stands for: set it to the value itself"));
    } else if app::is_nothing(text) {
        reader.warn(format!("{name}: is the word {text}, which may stand for no value"));
    } else if quoted {
        reader.warn(format!(
            "{name}: has single quotes around it, which count, as with soketi (a file given to docker run --env-file keeps them): \
             take them away in both, unless they are part of it"
        ));
    }
}

/// What to do about a driver that was not compiled in.
#[must_use]
pub fn left_out_of_this_build(driver: &str) -> String {
    format!("APP_MANAGER_DRIVER: {driver} was left out of this build; build with the cargo feature {driver}")
}

/// soketi's name of a driver, which sockudo has other names for too, in any case.
fn soketis_name(driver: &str) -> String {
    let driver = driver.trim().to_ascii_lowercase();
    match driver.as_str() {
        "memory" => "array",
        "pgsql" | "postgresql" => "postgres",
        "mariadb" => "mysql",
        other => other,
    }
    .to_owned()
}

fn read_source(raw: &Raw, reader: &mut Reader) -> Option<Source> {
    let given = raw.app_manager.driver.as_deref();
    let driver = given.map(soketis_name);
    if let Some(left_out) = driver.as_deref().filter(|driver| LEFT_OUT.contains(driver)) {
        reader.error(left_out_of_this_build(left_out));
        return None;
    }
    match driver.as_deref() {
        None | Some("array") => Some(Source::Array),
        Some("dynamodb") => Some(Source::DynamoDb(read_dynamodb(raw, reader))),
        Some("postgres") => {
            let table = raw.app_manager.postgres_table.as_deref();
            read_sql("POSTGRES", &raw.postgres, table, raw, reader).map(Source::Postgres)
        }
        Some("mysql") => {
            let table = raw.app_manager.mysql_table.as_deref();
            read_sql("MYSQL", &raw.mysql, table, raw, reader).map(Source::MySql)
        }
        Some(driver @ ("scylladb" | "surrealdb")) => {
            reader.error(format!(
                "APP_MANAGER_DRIVER: {driver} is not read here: write the apps to a file and name it by APPS_FILE, with APP_MANAGER_DRIVER=array"
            ));
            None
        }
        Some(_) => {
            reader.error(format!(
                "APP_MANAGER_DRIVER: {:?} is unknown; there are array, dynamodb, postgres and mysql",
                given.unwrap_or_default()
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
    let ttl = reader.number("APP_MANAGER_CACHE_TTL", cache.cache_ttl.as_ref(), -1..=MAX_TTL);
    match (enabled, u64::try_from(ttl)) {
        (Some(false), _) => CacheTtl::Nothing,
        (_, Ok(seconds @ 1..)) => CacheTtl::For(Duration::from_secs(seconds)),
        (Some(true), _) => {
            reader.warn(format!(
                "APP_MANAGER_CACHE_TTL: {ttl} is for ever, as with soketi: a changed app counts after a restart"
            ));
            CacheTtl::Always
        }
        // Nobody has asked for ever.
        (None, _) => CacheTtl::For(reader.seconds("APP_MANAGER_CACHE_TTL", None, 1..=MAX_TTL.unsigned_abs())),
    }
}

fn read_dynamodb(raw: &Raw, reader: &mut Reader) -> DynamoDb {
    let given = &raw.app_manager;
    let endpoint = given.dynamodb_endpoint.as_deref().and_then(|text| {
        reader.result("APP_MANAGER_DYNAMODB_ENDPOINT", crate::aws::endpoint::endpoint(text))
    });
    let region = or_default("APP_MANAGER_DYNAMODB_REGION", given.dynamodb_region.as_ref());
    let region = reader.result(
        "APP_MANAGER_DYNAMODB_REGION",
        crate::aws::endpoint::named_region(&region, endpoint.is_none()),
    );
    DynamoDb {
        table: or_default("APP_MANAGER_DYNAMODB_TABLE", given.dynamodb_table.as_ref()),
        region: region.unwrap_or_default(),
        endpoint,
    }
}

fn read_sql(name: &str, given: &Server, table: Option<&str>, raw: &Raw, reader: &mut Reader) -> Option<Sql> {
    let text = |part: &str, given: &Option<String>| or_default(&format!("DB_{name}_{part}"), given.as_ref());
    let variable = format!("APP_MANAGER_{name}_TABLE");
    let table = table.unwrap_or(default_of(&variable));
    let table = reader.result(&variable, table.parse().map_err(|error| format!("{table:?} {error}")));
    let pooling = &raw.pooling;
    let connections = if reader.truth("DB_POOLING_ENABLED", pooling.enabled.as_ref()) == Some(true) {
        let most = reader.number("DB_POOLING_MAX", pooling.max.as_ref(), 1..=1000);
        (reader.number("DB_POOLING_MIN", pooling.min.as_ref(), 0..=most), most)
    } else {
        CONNECTIONS
    };
    Some(Sql {
        host: text("HOST", &given.host),
        port: reader.number(&format!("DB_{name}_PORT"), given.port.as_ref(), 1..=u16::MAX),
        username: text("USERNAME", &given.username),
        password: SecretString::from(text("PASSWORD", &given.password)),
        database: text("DATABASE", &given.database),
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
    let tls = match (given.tls.as_deref(), file) {
        (None | Some("prefer"), None) => Tls::Prefer,
        (Some("require"), None) => Tls::Require,
        (Some("verify-full"), None) => Tls::Verify(None),
        (Some("off"), None) => Tls::Off,
        (None | Some("prefer" | "require" | "verify-full"), Some(file)) => Tls::Verify(Some(file)),
        (Some("off"), Some(_)) => {
            reader.error(format!("DB_{name}_TLS: off contradicts DB_{name}_CA_FILE"));
            Tls::Off
        }
        (Some(other), _) => {
            reader.error(format!("DB_{name}_TLS: {other:?} is none of prefer, require, verify-full and off"));
            Tls::Prefer
        }
    };
    let host = or_default(&format!("DB_{name}_HOST"), given.host.as_ref());
    let what = match &tls {
        Tls::Verify(_) => return tls,
        Tls::Prefer => "prefer is encrypted only where the server offers it, and for whoever answers",
        Tls::Require => "require encrypts for whoever answers",
        Tls::Off => "off sends the apps' secrets in the clear",
    };
    if !is_local(&host) {
        reader.warn(format!(
            "DB_{name}_TLS: {what}, and DB_{name}_HOST is not this machine; set verify-full, with DB_{name}_CA_FILE where the authority is your cloud's or your own"
        ));
    }
    tls
}

/// Whether a server is on this machine.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.starts_with('/') || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
