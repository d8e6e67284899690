//! Text from tenants, producers and endpoints as it may stand in a line of a log, a page or an attribute; and spans of
//! time.

#[cfg(feature = "worker")]
use std::fmt::Write;

/// Whether a character ends or turns a line for whoever looks at it: control characters, line and paragraph
/// separators, what changes the direction of the text that follows, and the byte order mark, which is not seen.
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
}
