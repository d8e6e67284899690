//! `${NAME}` and `${NAME:-default}` in a list of apps, as sockudo's configuration files have them.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// The environment, which is never printed: it holds secrets.
#[derive(Clone, Default)]
pub struct Variables(Arc<HashMap<String, String>>);

impl Variables {
    /// Of these names and values, without quotes around them, which a file given to `docker run --env-file` keeps, and
    /// without the line breaks that a file ends with. Blanks are part of a value, and an empty one counts as not set, as
    /// with sockudo.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let environment = environment.into_iter().map(|(name, value)| {
            let bare = bare(&value);
            (name, bare)
        });
        Self(Arc::new(environment.filter(|(_, value)| !value.is_empty()).collect()))
    }

    /// Puts values for names in every text of a record. Gives the names that have neither a value nor a
    /// default: what names them may not be used as it stands.
    pub(super) fn substitute(&self, record: &mut Value) -> BTreeSet<String> {
        let mut missing = BTreeSet::new();
        self.fill(record, &mut missing);
        missing
    }

    fn fill(&self, value: &mut Value, missing: &mut BTreeSet<String>) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(filled) = self.filled(text, missing) {
                    *text = filled;
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| self.fill(value, missing)),
            Value::Object(members) => members.values_mut().for_each(|value| self.fill(value, missing)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Values are not looked at again: a secret may hold `${`.
    fn filled<'t>(&self, text: &'t str, missing: &mut BTreeSet<String>) -> Cow<'t, str> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            filled.push_str(before);
            let Some((name, default, behind)) = reference(after) else {
                filled.push_str("${");
                rest = after;
                continue;
            };
            match self.0.get(name).map(String::as_str).or(default) {
                Some(value) => filled.push_str(value),
                None => {
                    missing.insert(name.to_owned());
                }
            }
            rest = behind;
        }
        if rest.len() == text.len() {
            return Cow::Borrowed(text);
        }
        filled.push_str(rest);
        Cow::Owned(filled)
    }
}

/// A value without the blanks and quotes around it.
fn bare(value: &str) -> String {
    let whole = value.trim_end_matches(['\r', '\n']);
    let value = whole.trim();
    let single = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    serde_json::from_str(value).unwrap_or_else(|_| single.unwrap_or(whole).to_owned())
}

/// Name, default and what comes behind, of what comes behind `${`; nothing if that is no reference.
fn reference(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let is_name =
        |at: usize, byte: u8| byte == b'_' || byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
    let (inside, behind) = text.split_once('}')?;
    let (name, default) =
        inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
    let named = !name.is_empty() && name.bytes().enumerate().all(|(at, byte)| is_name(at, byte));
    named.then_some((name, default, behind))
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} variables", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_filled_once_and_those_without_a_value_are_named() {
        let variables = [
            ("A", "1\r\n"),
            ("_b2", "${A}"),
            ("EMPTY", ""),
            ("D", " \"q\"\n"),
            ("S", "'q'"),
            ("B", "''"),
            ("E", " s \n"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables = Variables::new(variables);
        for (text, filled, missing) in [
            ("plain", "plain", ""),
            ("${D}${S}", "qq", ""),
            ("${E}", " s ", ""),
            ("${B:-none}", "none", ""),
            ("${A}", "1", ""),
            ("a${A}b${A:-2}c", "a1b1c", ""),
            ("${_b2}", "${A}", ""),
            ("${NONE:-x:-y}${EMPTY:-}", "x:-y", ""),
            ("${NONE}${EMPTY}${NONE}", "", "EMPTY,NONE"),
            ("$A ${} ${1A} ${A", "$A ${} ${1A} ${A", ""),
            ("${ ${A}", "${ 1", ""),
        ] {
            let mut value = serde_json::json!([{ "a": text }]);
            let named = variables.substitute(&mut value).into_iter().collect::<Vec<_>>().join(",");
            assert_eq!((value[0]["a"].as_str().unwrap(), named.as_str()), (filled, missing), "{text}");
        }
        assert!(!format!("{variables:?}").contains('1'));
    }
}
