//! The values in force, and where each came from: for people, with secrets masked.

use std::collections::HashMap;

use super::variables::unquoted;
use super::{Config, Source, VARIABLES};
use crate::aws::endpoint::{destination, region_hint};

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
    /// Why it is another value than the variable's, or what decides where none is set.
    pub note: Option<String>,
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

/// Every variable, in the order of `.env.example`; with what `config`, which was made of them, makes of one beside the
/// others.
#[must_use]
pub fn effective(
    environment: impl IntoIterator<Item = (String, String)>,
    config: Option<&Config>,
) -> Vec<Effective> {
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
        let value = if origin == Origin::Default { escaped(&value) } else { shown(name, &value) };
        Effective { name, value, origin, note: None }
    };
    let mut all: Vec<_> = VARIABLES.iter().map(of).collect();
    if let Some(config) = config {
        for variable in &mut all {
            beside_others(variable, config, &environment);
        }
    }
    all
}

/// What is in force for a variable by what the others say.
fn beside_others(variable: &mut Effective, config: &Config, environment: &HashMap<String, String>) {
    let is_unset = variable.origin == Origin::Default;
    let queue = &config.queue;
    match variable.name {
        "QUEUE_SQS_REGION" => in_force(variable, &queue.region, region_of(config, environment)),
        "QUEUE_SQS_ENDPOINT" => {
            let told = queue.endpoint.as_ref().filter(|_| variable.value != MASK);
            let Some(told) = told else { return };
            let of = if queue.client.endpoint.is_some() {
                "QUEUE_SQS_CLIENT_OPTIONS"
            } else {
                "QUEUE_SQS_URL or AWS_ENDPOINT_URL"
            };
            in_force(variable, told, of);
        }
        "WEBHOOKS_ALLOWED_FUNCTIONS" if is_unset && matches!(config.apps.source, Source::Array) => {
            "*".clone_into(&mut variable.value);
        }
        "QUEUE_SQS_VISIBILITY_TIMEOUT" if is_unset => variable.note = Some("the queue's own".to_owned()),
        "QUEUE_SQS_DLQ_URL" if is_unset => {
            variable.note = Some("that of the queue's RedrivePolicy".to_owned());
        }
        "LOG_FORMAT" if is_unset => variable.note = Some("human on a terminal, else json".to_owned()),
        name if name.starts_with("DEFAULT_APP_") || name == "APPS" || name == "APPS_FILE" => {
            variable.note = match &config.apps.source {
                Source::Array => (config.apps.stands_aside && name.starts_with("DEFAULT_APP_"))
                    .then(|| "no effect: a listed app stands in its place".to_owned()),
                Source::DynamoDb(_) | Source::Postgres(_) | Source::MySql(_) => {
                    Some("no effect: apps come from a database, APP_MANAGER_DRIVER".to_owned())
                }
            };
        }
        _ => {}
    }
}

/// Shows what is in force, and whose it is where that is not the variable's own value.
fn in_force(variable: &mut Effective, value: &str, of: &str) {
    let value = shown(variable.name, value);
    if variable.value == value {
        return;
    }
    let set = std::mem::replace(&mut variable.value, value);
    let note = if set.is_empty() { format!("of {of}") } else { format!("{set} is not in force beside {of}") };
    variable.note = Some(note);
}

/// What a region comes from that is not of its own variable.
fn region_of(config: &Config, environment: &HashMap<String, String>) -> &'static str {
    let (queue, region) = (&config.queue, Some(config.queue.region.as_str()));
    let named_by = |url: &str| {
        let url = url::Url::parse(url).ok();
        let named =
            |url: &url::Url| destination(url).region().map(str::to_owned).or_else(|| region_hint(url));
        url.as_ref().and_then(named)
    };
    let is_set = |name: &str| environment.get(name).map(|value| value.trim()) == region;
    if queue.endpoint.as_deref().and_then(named_by).as_deref() == region {
        "the endpoint"
    } else if named_by(&queue.url).as_deref() == region {
        "QUEUE_SQS_URL"
    } else if queue.client.region.as_deref() == region {
        "QUEUE_SQS_CLIENT_OPTIONS"
    } else if is_set("AWS_REGION") || is_set("AWS_DEFAULT_REGION") {
        "AWS_REGION or AWS_DEFAULT_REGION"
    } else {
        "AWS_ENDPOINT_URL or the default"
    }
}

/// A value as it is shown: masked, or in a line.
fn shown(name: &str, value: &str) -> String {
    if may_be_secret(name, value) { MASK.to_owned() } else { escaped(value) }
}

fn escaped(value: &str) -> String {
    value.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
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
mod tests;
