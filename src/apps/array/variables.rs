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

    /// A text of TOML or JSON whose references outside of strings are numbers, booleans or lists: where that is the
    /// variable's value or default, it stands in the reference's place, as sockudo puts it there before it parses. Any
    /// other reference becomes a string, which [`Self::substitute`] fills once it is known whose it is: a value that is
    /// no such thing, or absent, makes the one record unusable that it stands in.
    pub(super) fn unquoted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut put = String::new();
        let mut copied = 0;
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let Some((name, default, behind)) = rest.strip_prefix("${").and_then(reference) else {
                at += passed(rest);
                continue;
            };
            let reference = rest.get(..rest.len() - behind.len()).unwrap_or_default();
            let value = self.0.get(name).map(String::as_str).or(default);
            put.push_str(text.get(copied..at).unwrap_or_default());
            match value.filter(|value| is_bare(value)) {
                Some(value) => put.push_str(value),
                None => put.push_str(&Value::from(reference).to_string()),
            }
            at += reference.len();
            copied = at;
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        put.push_str(text.get(copied..).unwrap_or_default());
        Cow::Owned(put)
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

/// Whether a value may stand outside of quotes in TOML and in JSON. One that refers to another would be filled again.
fn is_bare(value: &str) -> bool {
    !value.contains("${")
        && serde_json::from_str(value).is_ok_and(|value: Value| !value.is_object() && !value.is_null())
}

/// The length of what a text begins with and no reference is looked for in: a string or a comment, of TOML's or
/// JSON's, which has no comments and no other quotes; else a character.
fn passed(text: &str) -> usize {
    let through = |opening: &str, closing: &str, escapes: bool| {
        let mut escaped = false;
        let inside = text.get(opening.len()..).unwrap_or_default();
        let ends = inside.char_indices().find(|(at, character)| {
            let ends = !escaped && inside.get(*at..).is_some_and(|rest| rest.starts_with(closing));
            escaped = escapes && !escaped && *character == '\\';
            ends
        });
        ends.map_or(text.len(), |(at, _)| opening.len() + at + closing.len())
    };
    match text.chars().next() {
        Some('"') if text.starts_with(r#"""""#) => through(r#"""""#, r#"""""#, true),
        Some('"') => through("\"", "\"", true),
        Some('\'') if text.starts_with("'''") => through("'''", "'''", false),
        Some('\'') => through("'", "'", false),
        Some('#') => through("#", "\n", false),
        other => other.map_or(0, char::len_utf8),
    }
}

/// A value without the line breaks behind it, and without the quotes around it.
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
mod tests;
