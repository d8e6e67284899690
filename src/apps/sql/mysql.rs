//! Apps in a table of MySQL or MariaDB.
//!
//! The key is looked up by one of several columns, whichever the table has. A column's collation may take different keys for
//! the same: of the rows found the one with the very key is taken.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, MySqlPool, Row, TypeInfo, ValueRef};

use super::{Conditions, Place, authorities, first_that_works, pool};
use crate::app::{App, is_column};
use crate::apps::settings::{Sql, Tls};
use crate::apps::{Apps, DATABASE_LAG, LookUpError};
use crate::json::scalar_text;

/// `key` is the column's name with soketi, and a reserved word here. Names of columns are the same in
/// upper and lower case, and numbers are compared with texts.
const CONDITIONS: [&str; 3] = ["`key` = ?", "`AppKey` = ?", "`app_key` = ?"];

/// The columns of those conditions.
const COLUMNS: [&str; 3] = ["key", "AppKey", "app_key"];

/// As many rows are looked at whose keys are the same to the column's collation.
const MAX_ALIKE: usize = 10;

/// A comparison of texts that have no character set in common, because one holds a character that the other's does not
/// know: `ER_CANT_AGGREGATE_2COLLATIONS`, `_3COLLATIONS` and `_NCOLLATIONS`, and since MySQL 8
/// `ER_CANNOT_CONVERT_STRING` and `ER_IMPOSSIBLE_STRING_CONVERSION`.
const NO_COMMON_CHARACTERS: [u16; 5] = [1267, 1270, 1271, 3854, 3988];

/// Whether an error says that the column can hold no such key.
fn cannot_hold(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| NO_COMMON_CHARACTERS.contains(&error.number()))
}

/// Apps in a MySQL or MariaDB table.
#[derive(Debug)]
pub struct MySql {
    pool: MySqlPool,
    table: String,
    conditions: Conditions,
    place: Place,
}

impl MySql {
    /// Connects when it is first asked; a connection that takes longer than `deadline` is given up.
    #[must_use]
    pub fn new(settings: &Sql, deadline: Duration) -> Self {
        Self {
            pool: pool(settings, deadline).connect_lazy_with(options(settings)),
            table: settings.table.quoted('`'),
            conditions: Conditions::new(&CONDITIONS),
            place: Place::new("MySQL", "MYSQL", settings, deadline),
        }
    }

    /// The keys of some apps, for people to see.
    ///
    /// # Errors
    /// The database's.
    pub async fn keys(&self, most: usize) -> Result<Vec<String>, LookUpError> {
        let ask = |_, column| async move {
            let sql = format!("SELECT CAST(`{column}` AS CHAR) FROM {} LIMIT {most}", self.table);
            sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.pool).await
        };
        let answer = first_that_works(COLUMNS.into_iter().enumerate(), ask).await;
        let (_, rows) = answer.map_err(|error| self.place.unreachable(&error))?;
        let key = |row: &MySqlRow| match value(row, 0) {
            Ok(Value::String(key)) => Some(key),
            _ => None,
        };
        Ok(rows.iter().filter_map(key).collect())
    }

    /// The row with this key. To most collations upper and lower case are the same, and accents none: of rows whose
    /// keys differ in that alone it is the one with the very key. Where none has it, it is the first, as with soketi: a
    /// number that is written otherwise, or blanks at its end.
    async fn row(
        &self,
        condition: &str,
        column: &str,
        key: &str,
    ) -> Result<Option<Map<String, Value>>, sqlx::Error> {
        let sql = format!("SELECT * FROM {} WHERE {condition} LIMIT {MAX_ALIKE}", self.table);
        let rows = match sqlx::query(AssertSqlSafe(sql)).bind(key).fetch_all(&self.pool).await {
            Err(error) if cannot_hold(&error) => return Ok(None),
            rows => rows?,
        };
        let has_key = |row: &&MySqlRow| {
            let own = row.columns().iter().find(|own| own.name().eq_ignore_ascii_case(column));
            own.and_then(|own| value(row, own.ordinal()).ok()).and_then(scalar_text).as_deref() == Some(key)
        };
        rows.iter().find(has_key).or(rows.first()).map(object).transpose()
    }
}

impl Apps for MySql {
    fn lag(&self) -> Duration {
        DATABASE_LAG
    }

    async fn find_by_key(&self, key: &str) -> Result<Option<Arc<App>>, LookUpError> {
        let ask = |n: usize, condition| self.row(condition, COLUMNS.get(n).copied().unwrap_or_default(), key);
        let answer = first_that_works(self.conditions.in_turn(), ask).await;
        let (which, row) = answer.map_err(|error| self.place.failed(key, &error))?;
        self.conditions.worked(which);
        let Some(row) = row else { return Ok(None) };
        self.place.app(key, || Ok(row)).await.map(Some)
    }
}

/// The columns that are looked at, whatever their types.
fn object(row: &MySqlRow) -> Result<Map<String, Value>, sqlx::Error> {
    let columns = row.columns().iter().filter(|column| is_column(column.name()));
    columns.map(|column| Ok((column.name().to_owned(), value(row, column.ordinal())?))).collect()
}

fn value(row: &MySqlRow, column: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(column)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let name = raw.type_info().name().to_owned();
    Ok(match name.as_str() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            row.try_get_unchecked::<i64, _>(column)?.into()
        }
        "FLOAT" => row.try_get_unchecked::<f32, _>(column)?.into(),
        "DOUBLE" => row.try_get_unchecked::<f64, _>(column)?.into(),
        unsigned if unsigned.ends_with("UNSIGNED") => row.try_get_unchecked::<u64, _>(column)?.into(),
        // Texts, JSON and decimals are sent as text; a binary column may hold one.
        _ => match String::from_utf8(row.try_get_unchecked::<Vec<u8>, _>(column)?) {
            Ok(text) => text.into(),
            Err(_) => Value::Null,
        },
    })
}

fn options(settings: &Sql) -> MySqlConnectOptions {
    let options = MySqlConnectOptions::new()
        .host(&settings.host)
        .port(settings.port)
        .username(&settings.username)
        .password(settings.password.expose_secret())
        .database(&settings.database)
        // Nothing of the session matters to one SELECT, and some proxies take no such settings.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .disable_statement_logging();
    match &settings.tls {
        Tls::Prefer => options.ssl_mode(MySqlSslMode::Preferred),
        Tls::Require => options.ssl_mode(MySqlSslMode::Required),
        Tls::Verify(file) => {
            let authorities = authorities(file.as_deref());
            options.ssl_mode(MySqlSslMode::VerifyIdentity).ssl_ca_from_pem(authorities)
        }
        Tls::Off => options.ssl_mode(MySqlSslMode::Disabled),
    }
}
