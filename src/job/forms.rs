//! Why a signature is not that of some bytes: the forms of the same JSON, of the secret and of the signature itself that
//! people sign by mistake. One for the worker and for `verify`.
//!
//! Looked at only when a signature was refused. Says nothing of the bytes.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use hmac::Mac;
use secrecy::{ExposeSecret, SecretString};

use super::{SignatureError, mac};

/// The longest JSON that is tried in other forms: some fifty of them, and whoever sends it has not proved anything.
const MAX_FORMED: usize = 16 * 1024;

/// As deep as values are indented.
const MAX_DEPTH: usize = 8;

/// How JSON is laid out: as it stands, with so much space behind commas and colons, or with a line for each value,
/// indented by so many spaces.
#[derive(Clone, Copy)]
enum Layout {
    Kept,
    Spaced(&'static str),
    Indented(usize),
}

/// JavaScript's and PHP's, Python's, and those that are for people to read.
const LAYOUTS: [Layout; 4] =
    [Layout::Spaced(""), Layout::Spaced(" "), Layout::Indented(2), Layout::Indented(4)];

/// Whether slashes, and characters beyond ASCII, are escaped; as they stand where it is not said.
const ESCAPES: [(Option<bool>, Option<bool>); 7] = [
    (None, None),
    (Some(false), None),
    (Some(true), None),
    (Some(false), Some(false)),
    (Some(false), Some(true)),
    (Some(true), Some(false)),
    (Some(true), Some(true)),
];

/// Why `signature` is not that of `bytes` under `secret`, as far as it can be told.
pub(super) fn why_unsigned(bytes: &[u8], signature: &str, secret: &SecretString) -> SignatureError {
    let Some((claimed, form)) = claimed(signature) else { return SignatureError::Mismatch };
    let signs_under =
        |secret: &SecretString, bytes: &[u8]| mac(secret, [bytes]).verify_slice(&claimed).is_ok();
    let signs = |bytes: &[u8]| signs_under(secret, bytes);
    if signs(bytes) {
        return form.unwrap_or(SignatureError::Mismatch);
    }
    let own = secret.expose_secret();
    for (other, error) in [
        (format!("{own}\n"), SignatureError::SecretWithLineBreak),
        (format!("{own}\r\n"), SignatureError::SecretWithLineBreak),
        (format!("\"{own}\""), SignatureError::SecretQuoted),
        (format!("'{own}'"), SignatureError::SecretQuoted),
        (own.trim().to_owned(), SignatureError::SecretPadded),
        (unquoted(own).to_owned(), SignatureError::SecretInQuotes),
    ] {
        if signs_under(&SecretString::from(other), bytes) {
            return error;
        }
    }
    let trimmed = bytes.trim_ascii();
    if signs(trimmed) {
        return SignatureError::Padded;
    }
    if [&b"\n"[..], b"\r\n"].iter().any(|ending| signs(&[trimmed, *ending].concat())) {
        return SignatureError::WithLineBreak;
    }
    if serde_json::from_slice::<String>(bytes).is_ok_and(|inner| signs(inner.as_bytes())) {
        return SignatureError::EncodedTwice;
    }
    if trimmed.len() > MAX_FORMED {
        return SignatureError::Mismatch;
    }
    other_form(trimmed, signs).unwrap_or(SignatureError::Mismatch)
}

/// The digest that a signature is, in hex or as it is written by mistake, which is told with it.
fn claimed(signature: &str) -> Option<(Vec<u8>, Option<SignatureError>)> {
    let signature = signature.trim();
    if let Ok(digest) = hex::decode(signature) {
        return Some((digest, None));
    }
    if let Some((name, digits)) = signature.split_once('=')
        && name.eq_ignore_ascii_case("sha256")
        && let Ok(digest) = hex::decode(digits)
    {
        return Some((digest, Some(SignatureError::Prefixed)));
    }
    let engines = [&BASE64_STANDARD, &BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE, &BASE64_URL_SAFE_NO_PAD];
    let digest = engines.iter().find_map(|engine| engine.decode(signature).ok())?;
    Some((digest, Some(SignatureError::Base64)))
}

/// A secret without the quotes around it.
fn unquoted(secret: &str) -> &str {
    let secret = secret.trim();
    let within = |quote| secret.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(secret)
}

/// What was signed in place of some JSON, if it is the same in another form.
fn other_form(json: &[u8], signs: impl Fn(&[u8]) -> bool) -> Option<SignatureError> {
    for (slashes, unicode) in ESCAPES {
        let escaped = with_escapes(json, slashes, unicode);
        for layout in std::iter::once(Layout::Kept).chain(LAYOUTS) {
            let form = laid_out(&escaped, layout);
            if signs(&form) {
                return Some(difference(json, &form));
            }
        }
    }
    // Its members in the order of their names, written compactly and with nothing escaped.
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    let sorted = serde_json::to_vec(&value).ok()?;
    for (slashes, unicode) in ESCAPES.into_iter().filter(|(_, unicode)| unicode.is_some()) {
        let escaped = with_escapes(&sorted, slashes, unicode);
        if LAYOUTS.into_iter().any(|layout| signs(&laid_out(&escaped, layout))) {
            return Some(SignatureError::Sorted);
        }
    }
    None
}

/// In what two forms of the same JSON differ, members in the same order.
fn difference(one: &[u8], other: &[u8]) -> SignatureError {
    let same = |form: &dyn Fn(&[u8]) -> Vec<u8>| form(one) == form(other);
    if same(&|json| laid_out(json, Layout::Spaced(""))) {
        SignatureError::Respaced
    } else if same(&|json| laid_out(&with_escapes(json, Some(false), None), Layout::Spaced(""))) {
        SignatureError::Escaped
    } else if same(&|json| laid_out(&with_escapes(json, None, Some(false)), Layout::Spaced(""))) {
        SignatureError::Unicode
    } else {
        SignatureError::Reserialised
    }
}

/// JSON text in a layout, its strings untouched.
fn laid_out(json: &[u8], layout: Layout) -> Vec<u8> {
    let (space, indent) = match layout {
        Layout::Kept => return json.to_vec(),
        Layout::Spaced(space) => (space, None),
        Layout::Indented(indent) => (" ", Some(indent)),
    };
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped, mut depth) = (false, false, 0_usize);
    // What cannot be told before the next token: an empty object or list has no line of its own.
    let mut opened = false;
    let line = |out: &mut Vec<u8>, depth: usize| {
        if let Some(indent) = indent {
            out.push(b'\n');
            // Deeper than this nobody writes for people to read.
            out.extend(std::iter::repeat_n(b' ', indent * depth.min(MAX_DEPTH)));
        }
    };
    for byte in json {
        // Nobody indents that much of so little.
        if out.len() > 4 * MAX_FORMED {
            break;
        }
        if in_string {
            out.push(*byte);
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !opened {
                    line(&mut out, depth);
                }
                opened = false;
                out.push(*byte);
                continue;
            }
            _ => {}
        }
        if opened {
            line(&mut out, depth);
            opened = false;
        }
        out.push(*byte);
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => (depth, opened) = (depth + 1, true),
            b',' if indent.is_some() => line(&mut out, depth),
            b',' | b':' => out.extend_from_slice(space.as_bytes()),
            _ => {}
        }
    }
    out
}

/// JSON text with its slashes escaped, as PHP writes them, or none of them; and characters beyond ASCII as Python and PHP
/// write them, or none of them.
fn with_escapes(json: &[u8], slashes: Option<bool>, unicode: Option<bool>) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(json) else { return json.to_vec() };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (char, length) = match (c, rest.as_bytes().get(1)) {
            ('\\', Some(b'/')) => ('/', 2),
            ('\\', Some(b'u')) => match unescaped(rest) {
                Some(found) if unicode.is_some() => found,
                Some(_) | None => {
                    out.push_str("\\u");
                    rest = rest.get(2..).unwrap_or_default();
                    continue;
                }
            },
            ('\\', Some(_)) => {
                let whole = 1 + rest.chars().nth(1).map_or(0, char::len_utf8);
                out.push_str(rest.get(..whole).unwrap_or_default());
                rest = rest.get(whole..).unwrap_or_default();
                continue;
            }
            (c, _) => (c, c.len_utf8()),
        };
        let escape = match char {
            '/' => slashes.unwrap_or(length > 1),
            c if c.is_ascii() => false,
            _ => unicode.unwrap_or_default(),
        };
        match char {
            '/' if escape => out.push_str("\\/"),
            c if escape => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str("\\u");
                    out.push_str(&hex::encode(unit.to_be_bytes()));
                }
            }
            c => out.push(c),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    out.into_bytes()
}

/// The character of the escape that a text begins with, and the escape's length: none where it has to stay one, as
/// a quotation mark, a control character and half of a pair have to.
fn unescaped(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(0)?;
    let (char, length) = match char::decode_utf16([first]).next()? {
        Ok(char) => (char, 6),
        Err(_) => (char::decode_utf16([first, unit(6)?]).next()?.ok()?, 12),
    };
    (!char.is_ascii()).then_some((char, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::sign;

    /// As JavaScript writes it.
    const PAYLOAD: &str =
        r#"{"time_ms":1,"events":[{"name":"a/b, c: \"d\" \\/","channel":"é😀","data":{},"more":[]}]}"#;

    fn why(bytes: &str, signed: &str) -> SignatureError {
        let secret = SecretString::from("s");
        why_unsigned(bytes.as_bytes(), &sign(&secret, [signed.as_bytes()]), &secret)
    }

    #[test]
    fn a_right_signature_in_a_wrong_form_is_recognised() {
        let secret = SecretString::from("s");
        let of = |signature: String| why_unsigned(PAYLOAD.as_bytes(), &signature, &secret);
        let hex = sign(&secret, [PAYLOAD.as_bytes()]);
        let digest = hex::decode(&hex).unwrap();
        assert_eq!(of(format!("sha256={hex}")), SignatureError::Prefixed);
        assert_eq!(of(format!("SHA256={hex}")), SignatureError::Prefixed);
        assert_eq!(of(BASE64_STANDARD.encode(&digest)), SignatureError::Base64);
        assert_eq!(of(BASE64_URL_SAFE_NO_PAD.encode(&digest)), SignatureError::Base64);
        for none in ["sha256=00", "", "zz", "é", "sha256="] {
            assert_eq!(of(none.to_owned()), SignatureError::Mismatch, "{none}");
        }
    }

    #[test]
    fn another_form_of_the_same_json_is_recognised_whichever_of_them_was_signed() {
        let python = r#"{"time_ms": 1, "events": [{"name": "a/b, c: \"d\" \\/", "channel": "é😀", "data": {}, "more": []}]}"#;
        let indented = "{\n  \"time_ms\": 1,\n  \"events\": [\n    {\n      \"name\": \"a/b, c: \\\"d\\\" \\\\/\",\n      \"channel\": \"é😀\",\n      \"data\": {},\n      \"more\": []\n    }\n  ]\n}";
        let four = indented.replace("  ", "    ");
        let slashes = PAYLOAD.replace("a/b", r"a\/b").replace(r"\\/", r"\\\/");
        let ascii = |text: &str| text.replace('é', r"\u00e9").replace('😀', r"\ud83d\ude00");
        for (other, error) in [
            (python.to_owned(), SignatureError::Respaced),
            (indented.to_owned(), SignatureError::Respaced),
            (four, SignatureError::Respaced),
            (slashes.clone(), SignatureError::Escaped),
            (ascii(PAYLOAD), SignatureError::Unicode),
            // Python's default, and PHP's.
            (ascii(python), SignatureError::Unicode),
            (ascii(&slashes), SignatureError::Reserialised),
            (ascii(indented), SignatureError::Unicode),
        ] {
            assert_eq!(why(PAYLOAD, &other), error, "signed {other}");
            assert_eq!(why(&other, PAYLOAD), error, "sent {other}");
        }
        let sorted =
            r#"{"events":[{"channel":"é😀","data":{},"more":[],"name":"a/b, c: \"d\" \\/"}],"time_ms":1}"#;
        for other in [sorted.to_owned(), ascii(sorted), laid(sorted, " "), ascii(&laid(sorted, " "))] {
            assert_eq!(why(PAYLOAD, &other), SignatureError::Sorted, "{other}");
        }
        assert_eq!(why(PAYLOAD, &PAYLOAD.replace("a/b", "a/c")), SignatureError::Mismatch);
    }

    fn laid(json: &str, space: &'static str) -> String {
        String::from_utf8(laid_out(json.as_bytes(), Layout::Spaced(space))).unwrap()
    }

    #[test]
    fn what_something_added_around_payload_or_secret_is_recognised() {
        assert_eq!(why(PAYLOAD, &format!("{PAYLOAD}\n")), SignatureError::WithLineBreak);
        assert_eq!(why(PAYLOAD, &format!("{PAYLOAD}\r\n")), SignatureError::WithLineBreak);
        assert_eq!(why(&format!("{PAYLOAD}\n"), PAYLOAD), SignatureError::Padded);
        assert_eq!(why(&serde_json::to_string(PAYLOAD).unwrap(), PAYLOAD), SignatureError::EncodedTwice);
        let under = |other: &str, own: &str| {
            let signature = sign(&SecretString::from(other), [PAYLOAD.as_bytes()]);
            why_unsigned(PAYLOAD.as_bytes(), &signature, &SecretString::from(own))
        };
        assert_eq!(under("s\n", "s"), SignatureError::SecretWithLineBreak);
        assert_eq!(under("\"s\"", "s"), SignatureError::SecretQuoted);
        assert_eq!(under("'s'", "s"), SignatureError::SecretQuoted);
        assert_eq!(under("s", " s"), SignatureError::SecretPadded);
        assert_eq!(under("s", "'s'"), SignatureError::SecretInQuotes);
        assert_eq!(under("s", "\"s\"\n"), SignatureError::SecretInQuotes);
        assert_eq!(under("other", "s"), SignatureError::Mismatch);
    }

    #[test]
    fn what_has_no_other_form_stays_as_it_is() {
        for json in [r#"{"a":"\ud800 \u0022 \u005c \u001f \\u00e9 \"#, "\"\\", "\\u00", "é\\", "\\é"] {
            for (slashes, unicode) in ESCAPES {
                let once = with_escapes(json.as_bytes(), slashes, unicode);
                assert_eq!(with_escapes(&once, slashes, unicode), once, "{json}");
            }
            assert_eq!(with_escapes(json.as_bytes(), Some(false), Some(false)), json.as_bytes());
        }
        let long = format!("[{}1]", "1, ".repeat(MAX_FORMED));
        assert_eq!(why(&long, &laid(&long, "")), SignatureError::Mismatch, "too long to be tried");
    }
}
