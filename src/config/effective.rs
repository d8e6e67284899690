//! The values in force, and where each came from: for people, with secrets masked.

use std::collections::HashMap;

use super::VARIABLES;
use super::variables::unquoted;

/// The variable in which a start from `--env-file` names its files to itself.
pub const ENV_FILE: &str = "HOOKFERRY_ENV_FILE";

/// What stands for a value that may be a secret.
const MASK: &str = "********";

/// A variable with its value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its plain name.
    pub name: &'static str,
    /// Its value, masked if it may be a secret; empty if there is none.
    pub value: String,
    /// Where that came from.
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment, by the plain name.
    Environment,
    /// The environment, by the name with `SOKETI_` before it.
    Soketi,
    /// Nothing is set, or nothing but blanks.
    Default,
}

impl Origin {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Soketi => "environment, SOKETI_",
            Self::Default => "default",
        }
    }
}

/// Every variable, in the order of `.env.example`.
#[must_use]
pub fn effective(environment: impl IntoIterator<Item = (String, String)>) -> Vec<Effective> {
    let environment: HashMap<String, String> = environment.into_iter().collect();
    let set = |name: &str| {
        let value = unquoted(environment.get(name)?.clone());
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let of = |(name, default): &(&'static str, &'static str)| {
        let (value, origin) = match (set(name), set(&format!("SOKETI_{name}"))) {
            (Some(value), _) => (value, Origin::Environment),
            (None, Some(value)) => (value, Origin::Soketi),
            (None, None) => ((*default).to_owned(), Origin::Default),
        };
        let value = if origin != Origin::Default && may_be_secret(name, &value) {
            MASK.to_owned()
        } else {
            value.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
        };
        Effective { name, value, origin }
    };
    VARIABLES.iter().map(of).collect()
}

/// Whether a value is a secret, or can hold one: webhooks have headers and tokens in their URLs, and a URL may
/// have user info or a query.
fn may_be_secret(name: &str, value: &str) -> bool {
    let named = ["SECRET", "PASSWORD", "TOKEN", "HEADERS"].iter().any(|word| name.contains(word));
    let holds = ["QUEUE_SQS_CLIENT_OPTIONS", "DEFAULT_APP_WEBHOOKS", "APPS"].contains(&name) && value != "[]";
    named && name != "WEBHOOKS_STANDARD_HEADERS"
        || holds
        // Where the scheme was forgotten, too: `user:password@proxy:3128`.
        || value.contains('@')
        || (value.contains("://") && value.contains(['?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_force_is_shown_with_its_origin_and_no_secret_is() {
        let environment = [
            ("QUEUE_SQS_URL", "\"https://sqs.eu-west-1.amazonaws.com/1/q.fifo\""),
            ("SOKETI_LOG_LEVEL", "debug"),
            ("LOG_LEVEL", " "),
            ("DEFAULT_APP_SECRET", "hush"),
            ("DEFAULT_APP_WEBHOOKS", r#"[{"url":"http://h/hush"}]"#),
            ("SOKETI_DB_MYSQL_PASSWORD", "hush"),
            ("WEBHOOKS_PROXY_URL", "u:hush@h:1"),
            ("QUEUE_SQS_ENDPOINT", "http://u:hush@h:1"),
            ("DB_MYSQL_HOST", "u:hush@h"),
            ("APPS", "[{hush"),
            ("METRICS_HOST", "a\nb"),
        ];
        let shown = effective(environment.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(shown.len(), VARIABLES.len());
        let of = |name| shown.iter().find(|shown| shown.name == name).unwrap();
        assert_eq!(of("QUEUE_SQS_URL").value, "https://sqs.eu-west-1.amazonaws.com/1/q.fifo");
        assert_eq!((of("LOG_LEVEL").value.as_str(), of("LOG_LEVEL").origin), ("debug", Origin::Soketi));
        assert_eq!((of("METRICS_PORT").value.as_str(), of("METRICS_PORT").origin), ("9602", Origin::Default));
        assert_eq!(of("DB_POSTGRES_PASSWORD").value, "password", "a default is no secret");
        for shown in &shown {
            assert!(!shown.value.contains("hush") && !shown.value.contains('\n'), "{shown:?}");
        }
    }
}
