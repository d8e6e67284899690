//! Apps in a table of a SQL database, as soketi's `postgres` and `mysql` drivers read them.
//!
//! The table is soketi's own: a column `key` that names the app, `id`, `secret` and `webhooks`, in any
//! of the spellings that soketi takes; every other column is left alone. Nothing is written. A connection is
//! made when it is first needed, so that a database which is down delays nothing but its own answers.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use sqlx::pool::PoolOptions;

use super::LookUpError;
use super::reading::Reading;
use super::settings::Sql;
use crate::app::{self, App, Origin};
use crate::shown::cut;
#[cfg(feature = "mysql")]
pub use mysql::MySql;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;

/// A connection that nobody needed for so long is closed.
const IDLE: Duration = Duration::from_secs(300);
/// The columns of keys, in lower case.
const KEYS: [&str; 3] = ["key", "appkey", "app_key"];
/// Characters of a database's own words that are shown.
const MAX_WORDS: usize = 150;

/// Where the apps are, in words and in names of variables.
#[derive(Debug)]
struct Place {
    database: &'static str,
    /// What the names of its variables have in common.
    variables: &'static str,
    address: String,
    deadline: Duration,
    reading: Reading,
}

impl Place {
    fn new(database: &'static str, variables: &'static str, settings: &Sql, deadline: Duration) -> Self {
        let address = format!("{}:{}", settings.host, settings.port);
        Self { database, variables, address, deadline, reading: Reading::default() }
    }

    /// What failed, and which variable may mend it. The database's own words name users and tables,
    /// never a password.
    fn unreachable(&self, error: &sqlx::Error) -> LookUpError {
        let v = self.variables;
        let (words, operator_hint) = match error {
            sqlx::Error::PoolTimedOut => (
                format!("no connection within {} ms", self.deadline.as_millis()),
                format!("is it up? check DB_{v}_HOST and DB_{v}_PORT, and DB_POOLING_MAX"),
            ),
            sqlx::Error::Io(error)
                if error
                    .get_ref()
                    .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) =>
            {
                (format!("TLS failed: {error}"), format!("check DB_{v}_TLS and DB_{v}_CA_FILE"))
            }
            sqlx::Error::Io(error) => (error.to_string(), format!("check DB_{v}_HOST and DB_{v}_PORT")),
            sqlx::Error::Tls(error) => {
                (format!("TLS failed: {error}"), format!("check DB_{v}_TLS and DB_{v}_CA_FILE"))
            }
            sqlx::Error::Database(error) => {
                (error.message().to_owned(), self.operator_hint(error.code().as_deref().unwrap_or_default()))
            }
            other => (other.to_string(), format!("check the variables DB_{v}_*")),
        };
        let words = cut(&words, MAX_WORDS);
        LookUpError::Unreachable(format!("{} at {}: {words} ({operator_hint})", self.database, self.address))
    }

    /// What to check, by the SQLSTATE of either database.
    fn operator_hint(&self, state: &str) -> String {
        let v = self.variables;
        match state {
            "28P01" | "28000" => format!("check DB_{v}_USERNAME and DB_{v}_PASSWORD"),
            "3D000" => format!("check DB_{v}_DATABASE"),
            "42P01" | "42S02" | "3F000" => format!("check APP_MANAGER_{v}_TABLE and DB_{v}_DATABASE"),
            "42703" | "42S22" => format!("is APP_MANAGER_{v}_TABLE soketi's table of apps?"),
            "42501" => format!("grant SELECT on the table to DB_{v}_USERNAME"),
            "53300" | "08004" => "lower DB_POOLING_MAX".to_owned(),
            _ => format!("check DB_{v}_DATABASE, DB_{v}_USERNAME and APP_MANAGER_{v}_TABLE"),
        }
    }

    /// An app from its row, which `row` gives or cannot. A column of a fixed length has blanks behind a shorter key, which is sent without them.
    async fn app<R: FnOnce() -> Result<Map<String, Value>, String> + Send + 'static>(
        &self,
        key: &str,
        row: R,
    ) -> Result<Arc<App>, LookUpError> {
        let named = key.to_owned();
        let read = self.reading.apart(move || {
            let mut row = row()?;
            let own = |name: &str| KEYS.iter().any(|known| known.eq_ignore_ascii_case(name));
            for (_, value) in row.iter_mut().filter(|(name, _)| own(name)) {
                if value.as_str().is_some_and(|own| own.trim_end_matches(' ') == named) {
                    *value = named.as_str().into();
                }
            }
            app::read(row.into(), Origin::Row).map_err(|error| error.why)
        });
        read.await.map(Arc::new).map_err(|why| self.unusable(key, &why))
    }

    /// One app's row cannot be used: which, and why.
    fn unusable(&self, key: &str, why: &str) -> LookUpError {
        let key = app::shown(key);
        LookUpError::Unusable(format!("{}: the app with the key {key} cannot be read: {why}", self.database))
    }

    /// A look-up that failed: the database's trouble, or that of one row.
    fn failed(&self, key: &str, error: &sqlx::Error) -> LookUpError {
        // Class 22 is for data of the wrong kind.
        let data = |error: &dyn sqlx::error::DatabaseError| {
            error.code().is_some_and(|state| state.starts_with("22"))
        };
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                self.unusable(key, "a column of its row is of the wrong type")
            }
            sqlx::Error::Database(error) if data(error.as_ref()) => {
                self.unusable(key, "the database cannot give its row")
            }
            other => self.unreachable(other),
        }
    }
}

/// The certificates of the system's authorities and of those in `file`, in PEM; whom the public trusts is
/// built in. A file that cannot be read was told of at start; a certificate that rustls does not take would
/// fail every connection, and is left out.
fn authorities(file: Option<&Path>) -> Vec<u8> {
    let mut pem = file.and_then(|file| std::fs::read(file).ok()).unwrap_or_default();
    let mut taken = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        if taken.add(certificate.clone()).is_ok() {
            let text = BASE64_STANDARD.encode(&certificate);
            pem.extend_from_slice(b"\n-----BEGIN CERTIFICATE-----\n");
            for line in text.as_bytes().chunks(64) {
                pem.extend_from_slice(line);
                pem.push(b'\n');
            }
            pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
        }
    }
    pem
}

fn pool<DB: sqlx::Database>(settings: &Sql, deadline: Duration) -> PoolOptions<DB> {
    let (least, most) = settings.connections;
    PoolOptions::new()
        .min_connections(least)
        .max_connections(most)
        .acquire_timeout(deadline)
        // Told here in words when it fails; not by the pool before.
        .acquire_slow_threshold(deadline * 2)
        .idle_timeout(IDLE)
}

/// The ways to compare a table's key, and which of them was the last that worked.
#[derive(Debug)]
struct Conditions {
    sql: &'static [&'static str],
    last: AtomicUsize,
}

impl Conditions {
    fn new(sql: &'static [&'static str]) -> Self {
        Self { sql, last: AtomicUsize::new(0) }
    }

    /// All of them, beginning with the one that worked last.
    fn in_turn(&self) -> impl Iterator<Item = (usize, &'static str)> {
        let all = self.sql.iter().copied().enumerate();
        all.cycle().skip(self.last.load(Ordering::Relaxed)).take(self.sql.len())
    }

    fn worked(&self, which: usize) {
        self.last.store(which, Ordering::Relaxed);
    }
}

/// The first of several columns, or conditions, with which the database can be asked, and what it answers.
///
/// # Errors
/// What is no matter of the column; or where none will do, what the first of them met.
async fn first_that_works<T, F: Future<Output = Result<T, sqlx::Error>>>(
    all: impl Iterator<Item = (usize, &'static str)>,
    ask: impl Fn(usize, &'static str) -> F,
) -> Result<(usize, T), sqlx::Error> {
    let mut failed = None;
    for (n, one) in all {
        match ask(n, one).await {
            Ok(answer) => return Ok((n, answer)),
            Err(error) if another_may_do(&error) => failed = failed.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or(sqlx::Error::RowNotFound))
}

/// Whether another way to compare the key may do: the column is not there, or of another type.
fn another_may_do(error: &sqlx::Error) -> bool {
    let state = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    state.is_some_and(|state| matches!(state.as_ref(), "42703" | "42883" | "42S22"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_key_of_a_fixed_length_has_no_blanks_and_a_secret_keeps_its_own() {
        let place = Place {
            database: "PostgreSQL",
            variables: "POSTGRES",
            address: String::new(),
            deadline: Duration::ZERO,
            reading: Reading::default(),
        };
        let webhooks = json!([{"url": "https://h/"}]);
        for name in ["key", "AppKey", "APP_KEY", "appKey"] {
            let row = json!({"id": "a", "key": "other", "secret": "s ", "webhooks": webhooks});
            let Value::Object(mut row) = row else { panic!() };
            row.remove("key");
            row.insert(name.to_owned(), "k    ".into());
            let read = place.app("k", || Ok(row)).await;
            if name == "APP_KEY" {
                assert!(read.is_err(), "no column of that name is read");
                continue;
            }
            let app = read.unwrap();
            assert_eq!(app.key, "k");
            assert!(!app.remarks.iter().any(|remark| remark.text.contains("key")), "{:?}", app.remarks);
        }
    }
}
