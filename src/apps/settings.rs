//! What the sources have to be told, checked: plain values, known to configuration and adapters.

use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;

/// The longest name of a table, schema or database; MySQL allows 64 characters, PostgreSQL 63 bytes.
const MAX_NAME: usize = 64;

/// A table's name, with the schema or database it lies in if one is given: `apps`, `soketi.apps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table(Vec<String>);

/// Why a text is no table name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no table name: one to three parts with a dot between them, each of 1 to 64 characters")]
pub struct TableError;

impl FromStr for Table {
    type Err = TableError;

    fn from_str(text: &str) -> Result<Self, TableError> {
        let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        let sound = |part: &String| {
            (1..=MAX_NAME).contains(&part.chars().count()) && !part.chars().any(char::is_control)
        };
        if parts.len() > 3 || !parts.iter().all(sound) {
            return Err(TableError);
        }
        Ok(Self(parts))
    }
}

impl Table {
    /// The name for a statement, each part between quotes; a quote within is doubled, so that nothing
    /// in a name is ever read as SQL.
    #[must_use]
    pub fn quoted(&self, quote: char) -> String {
        let part =
            |part: &String| format!("{quote}{}{quote}", part.replace(quote, &format!("{quote}{quote}")));
        self.0.iter().map(part).collect::<Vec<_>>().join(".")
    }
}

/// Whether the way to a database is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Where the server offers it; its certificate is not checked, and without an offer it is plain.
    Prefer,
    /// Always; its certificate is not checked.
    Require,
    /// Always, with a certificate for the server's host name, by an authority that the system or the public
    /// trusts or, if there is a file, by one of that.
    Verify(Option<PathBuf>),
    /// Never.
    Off,
}

/// How to reach a table of apps.
#[derive(Clone, Debug)]
pub struct Sql {
    /// The server's host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: SecretString,
    /// The database.
    pub database: String,
    /// Whether the way there is encrypted.
    pub tls: Tls,
    /// The table.
    pub table: Table,
    /// The least and the most connections at once.
    pub connections: (u32, u32),
}

/// How to reach a DynamoDB table of apps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamoDb {
    /// The table's name or ARN.
    pub table: String,
    /// Its region.
    pub region: String,
    /// Another endpoint than the region's.
    pub endpoint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_is_quoted_whatever_is_in_it() {
        for (text, quoted) in [
            ("apps", "\"apps\""),
            ("soketi.apps", "\"soketi\".\"apps\""),
            ("a.b.c", "\"a\".\"b\".\"c\""),
            ("my apps;--", "\"my apps;--\""),
            ("apps\" WHERE 1=1 --", "\"apps\"\" WHERE 1=1 --\""),
        ] {
            assert_eq!(text.parse::<Table>().unwrap().quoted('"'), quoted);
        }
        assert_eq!("a`b".parse::<Table>().unwrap().quoted('`'), "`a``b`");
    }

    #[test]
    fn what_is_no_table_name_is_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "a.b.c.d", "a\0", "a\nb", &"x".repeat(65)] {
            assert_eq!(text.parse::<Table>(), Err(TableError), "{text:?}");
        }
    }
}
