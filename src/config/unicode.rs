//! Variables whose values are no Unicode: none of them can be read.

use std::ffi::{OsStr, OsString};

use super::VARIABLES;
use super::unknown::is_unknown;
use super::variables::CREDENTIALS;
use crate::app::shown;

/// Says which variables have values that are no UTF-8: errors for those that are read, without which another value would
/// count, such as a well-known secret; then warnings for those that look as if they were meant to be.
#[must_use]
pub fn not_unicode(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> (Vec<String>, Vec<String>) {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for (name, value) in environment {
        let name = name.to_string_lossy();
        let Some(at) = not_utf8_at(&value) else { continue };
        let plain = name.strip_prefix("SOKETI_").unwrap_or(&name);
        let is_read =
            VARIABLES.iter().map(|(known, _)| *known).chain(CREDENTIALS).any(|known| known == plain);
        if is_read {
            errors
                .push(format!("{name}: is no UTF-8 (byte {at} of its value): set it again in that encoding"));
        } else if is_unknown(&name) {
            let shown = shown(&name).to_string();
            warnings.push(format!("{}: is no UTF-8, and ignored", shown.trim_matches('"')));
        }
    }
    errors.sort_unstable();
    warnings.sort_unstable();
    (errors, warnings)
}

/// The place of the first byte that is part of no character, if there is one.
fn not_utf8_at(value: &OsStr) -> Option<usize> {
    std::str::from_utf8(value.as_encoded_bytes()).err().map(|error| error.valid_up_to() + 1)
}
