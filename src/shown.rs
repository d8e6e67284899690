//! Text from tenants, producers and endpoints as it may stand in a line of a log, a page or an attribute.

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

#[cfg(test)]
mod tests {
    use super::*;

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
