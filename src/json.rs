//! JSON as JavaScript writes it and people register it: strings that are no UTF-8, scalars for text, and errors
//! in words that quote nothing.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, Visitor};
#[cfg(feature = "worker")]
use serde_json::Value;

/// What is wrong with some JSON, and where, without quoting any of it: it may hold secrets.
#[must_use]
pub fn describe_json_error(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Syntax => "it is no JSON",
        Category::Eof => "it ends too early",
        Category::Data => "a member is missing or of the wrong type",
        Category::Io => "it cannot be read",
    };
    match error.line() {
        // From a value that was parsed before, no place is known.
        0 => what.to_owned(),
        line => format!("{what} (line {line}, column {})", error.column()),
    }
}

/// A scalar as text: operators write numbers and booleans where soketi took them.
#[cfg(feature = "worker")]
#[must_use]
pub fn scalar_text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Some(value.to_string()),
    }
}

/// A whole number, which operators also write as text.
#[cfg(feature = "worker")]
#[must_use]
pub fn whole_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A JSON string as bytes. Not as `str`: JavaScript may write a lone surrogate, which no `str` holds
/// and which stands here as WTF-8. No valid UTF-8 equals it.
#[derive(Default)]
pub(crate) struct StringBytes<'a>(pub(crate) Cow<'a, [u8]>);

impl<'de> Deserialize<'de> for StringBytes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(StringBytesVisitor)
    }
}

struct StringBytesVisitor;

impl<'de> Visitor<'de> for StringBytesVisitor {
    type Value = StringBytes<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<StringBytes<'de>, E> {
        Ok(StringBytes(Cow::Borrowed(bytes)))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<StringBytes<'de>, E> {
        Ok(StringBytes(Cow::Owned(bytes.to_vec())))
    }
}
