//! A list of apps as text: what stands in `APPS_FILE` and `APPS`.

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::Value;

use super::variables::Variables;

use crate::app::{self, App, Origin, Remark, Severity, Unusable};
use crate::json::describe_json_error;

/// As many variables that are not set are named for an app.
const MAX_NAMED: usize = 10;

/// The apps of a list: those that can be used, and those that cannot, which take nothing from them.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Apps that can be used, with those of their webhooks that cannot.
    pub apps: Vec<App>,
    /// Apps that cannot be used.
    pub unusable: Vec<Unusable>,
}

/// Why a list of apps cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is no JSON.
    #[error("cannot be parsed: {}", describe_json_error(.0))]
    Parse(#[from] serde_json::Error),
    /// It is no TOML, as its name says it is. What it holds there is not quoted: it may be a secret.
    #[error("cannot be parsed: it is no TOML (line {0})")]
    Toml(usize),
    /// It can be parsed, but is no list of apps.
    #[error(
        "is not a JSON array of apps, nor a config file with appManager.array.apps (soketi) or app_manager.array.apps (sockudo)"
    )]
    Shape,
}

/// A file of apps, and the environment that it may refer to.
#[derive(Clone, Debug)]
pub struct AppsFile {
    /// Where it is.
    pub path: PathBuf,
    /// What `${NAME}` in it stands for.
    pub variables: Variables,
}

impl AppsFile {
    /// Reads it as it is now.
    pub fn read(&self) -> Result<Listed, ListError> {
        self.parse(&std::fs::read_to_string(&self.path)?)
    }

    /// Takes its text apart: TOML if its name ends so, which sockudo looks for first, else JSON.
    fn parse(&self, text: &str) -> Result<Listed, ListError> {
        let toml = self.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        if !toml {
            return parse(text, &self.variables);
        }
        let text = &*self.variables.unquoted(unmarked(text));
        let value = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            ListError::Toml(before.matches('\n').count() + 1)
        })?;
        listed(value, &self.variables)
    }
}

impl Listed {
    /// These apps and those, which come after them.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.apps.extend(other.apps);
        self.unusable.extend(other.unusable);
        self
    }

    /// What is to be said of them, what cannot be used first.
    #[must_use]
    pub fn remarks(&self) -> Vec<Remark> {
        let error = |unusable: &Unusable| Remark {
            severity: Severity::Error,
            text: format!("{unusable}; its jobs wait for that to be mended"),
        };
        let mut remarks: Vec<Remark> = self.unusable.iter().map(error).collect();
        let mut keys = HashSet::new();
        for app in &self.apps {
            if !keys.insert(app.key.as_str()) {
                let text = format!(
                    "app {}: another app before it has its key: it is not looked at (the app of DEFAULT_APP_KEY comes first, then those of APPS, then those of APPS_FILE)",
                    app::shown(&app.id)
                );
                remarks.push(Remark { severity: Severity::Error, text });
                continue;
            }
            remarks.extend(app.remarks.iter().cloned());
        }
        remarks.sort_by_key(|remark| match remark.severity {
            Severity::Error => 0,
            Severity::Warning => 1,
            Severity::Note => 2,
        });
        remarks
    }
}

/// Takes the JSON text of such a list apart. An app that cannot be used takes nothing from the others.
pub fn parse(text: &str, variables: &Variables) -> Result<Listed, ListError> {
    listed(serde_json::from_str(&variables.unquoted(unmarked(text)))?, variables)
}

/// Some editors put a byte order mark before a text.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn listed(value: Value, variables: &Variables) -> Result<Listed, ListError> {
    let mut listed = Listed::default();
    for (n, mut record) in records(value)?.into_iter().enumerate() {
        let missing = variables.substitute(&mut record);
        let unusable = match app::read(record, Origin::File) {
            Ok(app) if missing.is_empty() => {
                listed.apps.push(app);
                continue;
            }
            Ok(app) => Unusable { id: Some(app.id), key: Some(app.key), why: String::new() },
            Err(unusable) => unusable,
        };
        let names: Vec<_> = missing.iter().map(|name| app::shown(name).to_string()).take(MAX_NAMED).collect();
        let why = match names.as_slice() {
            [] => unusable.why,
            names => format!(
                "it refers to variables of the environment that are not set or empty: {}; set them, or write a default as in ${{NAME:-default}}",
                names.join(", ")
            ),
        };
        listed.unusable.push(Unusable { why: format!("apps[{n}] cannot be used: {why}"), ..unusable });
    }
    Ok(listed)
}

/// The apps of a list, or of a config file of either server.
fn records(value: Value) -> Result<Vec<Value>, ListError> {
    match value {
        Value::Array(apps) => Ok(apps),
        Value::Object(mut members) => {
            if let Some(Value::Array(apps)) = members.remove("appManager.array.apps") {
                return Ok(apps);
            }
            let manager = members.remove("appManager").or_else(|| members.remove("app_manager"));
            let apps =
                manager.and_then(|mut manager| Some(manager.get_mut("array")?.get_mut("apps")?.take()));
            match apps {
                Some(Value::Array(apps)) => Ok(apps),
                Some(_) | None => Err(ListError::Shape),
            }
        }
        _ => Err(ListError::Shape),
    }
}

#[cfg(test)]
mod tests;
