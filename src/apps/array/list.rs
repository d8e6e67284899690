//! A list of apps as text: what stands in `APPS_FILE` and `APPS`.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use crate::app::{self, App, Origin, Remark, Severity, Unusable};
use crate::json::describe_json_error;

/// The apps of a list: those that can be used, and those that cannot, which take nothing from them.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Those that can be used, webhooks that cannot included.
    pub apps: Vec<App>,
    /// Those that cannot.
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
    /// It is JSON, but no list of apps.
    #[error(
        "is not a JSON array of apps, nor a config file with appManager.array.apps (soketi) or app_manager.array.apps (sockudo)"
    )]
    Shape,
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
                    "app {}: another app before it has its key: it is not looked at",
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

/// Reads a file of apps.
pub fn read(file: &Path) -> Result<Listed, ListError> {
    parse(&std::fs::read_to_string(file)?)
}

/// Takes the text of such a list apart. An app that cannot be used takes nothing from the others.
pub fn parse(text: &str) -> Result<Listed, ListError> {
    // Some editors put a byte order mark before it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut listed = Listed::default();
    for (n, record) in records(serde_json::from_str(text)?)?.into_iter().enumerate() {
        match app::read(record, Origin::File) {
            Ok(app) => listed.apps.push(app),
            Err(mut unusable) => {
                unusable.why = format!("apps[{n}] cannot be used: {}", unusable.why);
                listed.unusable.push(unusable);
            }
        }
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
mod tests {
    use super::*;

    const APP: &str = r#"{"id":"a","key":"k","secret":"s","webhooks":[{"url":"http://h/"}]}"#;

    #[test]
    fn a_file_is_a_list_of_apps_or_a_servers_config() {
        for text in [
            format!("[{APP}]"),
            format!("\u{feff}[{APP}]\n"),
            format!(r#"{{"debug":true,"appManager":{{"driver":"array","array":{{"apps":[{APP}]}}}}}}"#),
            format!(r#"{{"appManager.array.apps":[{APP}]}}"#),
            format!(r#"{{"app_manager":{{"array":{{"apps":[{APP}]}}}}}}"#),
        ] {
            assert_eq!(parse(&text).unwrap().apps[0].key, "k", "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_list_of_apps_says_so() {
        for (text, says) in [
            ("[", "line 1"),
            ("{}", "not a JSON array of apps"),
            ("7", "not a JSON array of apps"),
            (r#"{"appManager":{"array":{}}}"#, "not a JSON array of apps"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn one_unusable_app_or_webhook_is_left_out_by_name_and_the_others_work() {
        for (bad, says) in [
            (r#"{"id":"b","key":"x"}"#, "app \"b\": apps[0] cannot be used: it has no secret"),
            (r#"{"id":"b","secret":"hush"}"#, "it has no key"),
            (r#"{"id":"b","key":"x","secret":"hush","webhooks":7}"#, "its webhooks are no list"),
            ("7", "app without an id: apps[0] cannot be used: it is no object"),
            (
                r#"{"id":"b","key":"x","secret":"s","webhooks":[{"url":"http://256.1.1.1/"}]}"#,
                "webhooks[0] cannot be used",
            ),
            (r#"{"id":"b","key":"x","secret":"s","webhooks":[{}]}"#, "neither url nor lambda_function"),
            (
                r#"{"id":"b","key":"k2","secret":"s","webhooks":[{"headers":"hush"}]}"#,
                "its headers is no object",
            ),
        ] {
            let listed = parse(&format!("[{bad},{APP}]")).unwrap();
            assert_eq!(listed.apps.last().unwrap().key, "k", "{bad}");
            let remarks = listed.remarks();
            let errors: Vec<_> = remarks.iter().filter(|remark| remark.severity == Severity::Error).collect();
            assert_eq!(errors.len(), 1, "{bad}: {remarks:?}");
            assert!(errors[0].text.contains(says) && !errors[0].text.contains("hush"), "{errors:?}");
        }
        let twice = parse(&format!("[{APP},{APP}]")).unwrap().remarks();
        assert!(twice[0].text.contains("another app before it has its key"), "{twice:?}");
    }
}
