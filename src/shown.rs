//! Text from tenants, producers and endpoints as it may stand in a line of a log, a page or an attribute; and spans of
//! time.

#[cfg(feature = "worker")]
use std::fmt::{self, Write};

#[cfg(feature = "worker")]
use serde::Serialize;

#[cfg(feature = "worker")]
use crate::hash;

/// Whether a character ends or turns a line for whoever looks at it: control characters, line and paragraph
/// separators, what changes the direction of the text that follows, and the byte order mark, which is not seen. And what
/// SQS refuses in an attribute besides: U+FFFE and U+FFFF.
fn disturbs(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
                | '\u{fffe}'
                | '\u{ffff}'
        )
}

/// At most so many characters of a text, with every one that disturbs a line replaced.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    // Nearly every text is one of these.
    if text.len() <= most && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.to_owned();
    }
    text.chars().take(most).map(|c| if disturbs(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// As [`cut`], with '…' where something was left out.
#[must_use]
#[cfg(feature = "worker")]
pub fn cut_marked(text: &str, most: usize) -> String {
    let mut clean = cut(text, most);
    if text.chars().nth(most).is_some() {
        clean.push('…');
    }
    clean
}

/// At most so many characters of a text, with escapes as in Rust, and '…' where something was left out.
#[must_use]
#[cfg(feature = "worker")]
pub fn escaped(text: &str, most: usize) -> String {
    let cut = text.char_indices().nth(most).map(|(at, _)| at);
    let part = cut.and_then(|at| text.get(..at)).unwrap_or(text);
    format!("{}{}", part.escape_debug(), if cut.is_some() { "…" } else { "" })
}

/// As [`escaped`], in quotes.
#[must_use]
#[cfg(feature = "worker")]
pub fn quoted(text: &str, most: usize) -> String {
    format!("\"{}\"", escaped(text, most))
}

/// Text from outside, cut and without what would end or turn a line.
#[cfg(feature = "worker")]
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Label(Box<str>);

#[cfg(feature = "worker")]
impl Label {
    /// Characters kept: a host name's longest label twice over.
    pub const MOST: usize = 128;

    /// Cuts and cleans.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(cut_marked(text, Self::MOST).into())
    }

    /// A name: where something of it is not shown, a part of its hash tells it from others that look the same.
    #[must_use]
    pub fn name(name: &str) -> Self {
        if cut(name, Self::MOST) == name { Self(name.into()) } else { Self::hashed(name) }
    }

    /// The name with a part of its hash in any case.
    pub(crate) fn hashed(name: &str) -> Self {
        const HASHED: usize = "…00000000".len();
        Self(format!("{}…{:08x}", cut(name, Self::MOST - HASHED), hash::of([name]) >> 32).into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(feature = "worker")]
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// JSON that means the same, with every character that disturbs a line written as an escape; line ends between its
/// members stay.
#[must_use]
#[cfg(feature = "worker")]
pub fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if disturbs(c) && c != '\n' {
            // Writing to a string does not fail.
            write!(shown, "\\u{:04x}", u32::from(c)).ok();
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A span of time for people.
#[must_use]
#[cfg(feature = "worker")]
pub fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_means_the_same_and_moves_nothing_on_a_terminal() {
        let text = "{\n  \"a\": \"\u{9b}31m \u{202e}\u{2028}\u{7f} é 👩\u{200d}💻\"\n}";
        let shown = json(text);
        assert_eq!(shown, "{\n  \"a\": \"\\u009b31m \\u202e\\u2028\\u007f é 👩\u{200d}💻\"\n}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(text));
    }

    #[test]
    fn nothing_that_ends_or_turns_a_line_is_left() {
        for c in [
            '\n', '\r', '\u{1b}', '\u{85}', '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}',
            '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{feff}',
        ] {
            assert_eq!(cut(&format!("a{c}b"), 9), "a\u{fffd}b", "{c:?}");
        }
        // A joiner is part of names and faces, and moves nothing.
        for fine in ["é", "日本", "👩\u{200d}💻", "שלום"] {
            assert_eq!(cut(fine, 9), fine);
        }
        assert_eq!(cut("éééé", 2), "éé");
    }

    #[test]
    fn what_sqs_refuses_in_an_attribute_is_replaced() {
        for c in ['\u{fffe}', '\u{ffff}', '\0', '\u{b}'] {
            assert_eq!(cut(&format!("a{c}b"), 9), "a\u{fffd}b", "{c:?}");
        }
    }

    #[test]
    fn what_is_left_out_of_a_text_is_marked() {
        assert_eq!((cut_marked("ab", 2), cut_marked("a\nbc", 2)), ("ab".to_owned(), "a\u{fffd}…".to_owned()));
        assert_eq!((escaped("a\n", 2), quoted("a\"bc", 2)), ("a\\n".to_owned(), r#""a\"…""#.to_owned()));
    }
}
