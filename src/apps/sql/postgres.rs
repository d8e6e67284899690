//! Apps in a table of PostgreSQL.
//!
//! The key is looked up by one of several columns, whichever the table has. The database gives the row as JSON, so that
//! numbers, UUIDs and JSON columns need no reading of their own. A row past a bound is refused.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, PgPool};

use super::{Conditions, Place, authorities, first_that_works, pool};
use crate::app::App;
use crate::app::limits::MAX_WEBHOOKS_BYTES;
use crate::apps::settings::{Sql, Tls};
use crate::apps::{Apps, DATABASE_LAG, LookUpError};
use crate::json::describe_json_error;

/// `key` is the column's name with soketi. As text where it is a number or a UUID: only then is there
/// no operator for it, and an index on it is of no use.
const CONDITIONS: [&str; 8] = [
    "\"key\" = $1",
    "\"key\"::text = $1",
    "\"AppKey\" = $1",
    "\"AppKey\"::text = $1",
    "\"app_key\" = $1",
    "\"app_key\"::text = $1",
    "\"appKey\" = $1",
    "\"appKey\"::text = $1",
];

/// The longest row that is read, in bytes of JSON: an app's webhooks have an eighth at most, and in a text column each
/// of their quotes is two bytes.
const MAX_ROW: usize = 8 * MAX_WEBHOOKS_BYTES;

/// The columns of those conditions.
const COLUMNS: [&str; 4] = ["key", "AppKey", "app_key", "appKey"];

/// Apps in a PostgreSQL table.
#[derive(Debug)]
pub struct Postgres {
    pool: PgPool,
    table: String,
    conditions: Conditions,
    place: Place,
}

impl Postgres {
    /// Connects when it is first asked; a connection that takes longer than `deadline` is given up.
    #[must_use]
    pub fn new(settings: &Sql, deadline: Duration) -> Self {
        Self {
            pool: pool(settings, deadline).connect_lazy_with(options(settings)),
            table: settings.table.quoted('"'),
            conditions: Conditions::new(&CONDITIONS),
            place: Place::new("PostgreSQL", "POSTGRES", settings, deadline),
        }
    }

    /// The keys of some apps, for people to see.
    ///
    /// # Errors
    /// The database's.
    pub async fn keys(&self, most: usize) -> Result<Vec<String>, LookUpError> {
        let ask = |_, column| async move {
            let sql = format!("SELECT \"{column}\"::text FROM {} LIMIT {most}", self.table);
            let query = sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(sql)).persistent(false);
            query.fetch_all(&self.pool).await
        };
        let answer = first_that_works(COLUMNS.into_iter().enumerate(), ask).await;
        let (_, keys) = answer.map_err(|error| self.place.unreachable(&error))?;
        Ok(keys.into_iter().flatten().collect())
    }

    /// The row as JSON: so the database itself writes numbers, UUIDs and JSON columns in one form.
    async fn row(&self, condition: &str, key: &str) -> Result<Option<String>, sqlx::Error> {
        let table = &self.table;
        let sql = format!(
            "SELECT row_to_json(hookferry)::text FROM {table} AS hookferry WHERE {condition} LIMIT 1"
        );
        // In a transaction and by an unnamed statement, which a pooler such as PgBouncer keeps on one
        // connection of its own.
        let mut transaction = self.pool.begin().await?;
        let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(key).persistent(false);
        let row = query.fetch_optional(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(row)
    }
}

impl Apps for Postgres {
    fn lag(&self) -> Duration {
        DATABASE_LAG
    }

    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        // No text of PostgreSQL's has one; to ask for it is an error.
        if key.contains('\0') {
            return Ok(None);
        }
        let ask = |_, condition| self.row(condition, key);
        let answer = first_that_works(self.conditions.in_turn(), ask).await;
        let (which, row) = answer.map_err(|error| self.place.failed(key, &error))?;
        self.conditions.worked(which);
        let Some(row) = row else { return Ok(None) };
        self.place.app(key, move || members(&row)).await.map(Some)
    }
}

/// What a row has in its columns.
fn members(row: &str) -> Result<Map<String, Value>, String> {
    if row.len() > MAX_ROW {
        return Err(format!("its row has more than {MAX_ROW} bytes as JSON"));
    }
    serde_json::from_str(row).map_err(|error| describe_json_error(&error))
}

fn options(settings: &Sql) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&settings.host)
        .port(settings.port)
        .username(&settings.username)
        .password(settings.password.expose_secret())
        .database(&settings.database)
        .application_name("hookferry")
        // Poolers refuse start-up parameters that they do not know; no float is read here.
        .extra_float_digits(None)
        .disable_statement_logging();
    match &settings.tls {
        Tls::Prefer => options.ssl_mode(PgSslMode::Prefer),
        Tls::Require => options.ssl_mode(PgSslMode::Require),
        Tls::Verify(file) => {
            let authorities = authorities(file.as_deref());
            options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(authorities)
        }
        Tls::Off => options.ssl_mode(PgSslMode::Disable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_other_columns_beyond_measure_is_not_read() {
        let row = |bytes: usize| format!(r#"{{"id":"a","notes":"{}"}}"#, "x".repeat(bytes));
        assert_eq!(members(&row(10)).unwrap()["id"], "a");
        assert!(members(&row(MAX_ROW)).unwrap_err().contains("8388608 bytes"));
        assert!(members("{").unwrap_err().contains("too early"));
    }
}
