//! Why a signature is not that of some bytes: the forms of the same JSON, of the secret and of the signature itself that
//! people sign by mistake. One for the worker and for `verify`.
//!
//! Looked at only when a signature was refused. Says nothing of the bytes.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use hmac::Mac;
use secrecy::{ExposeSecret, SecretString};

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Job, SignatureError, mac, mac_by};
use crate::quotes::within_quotes;

/// The longest JSON that is tried in other forms. About 75 of them are made and hashed for each refused signature, for a
/// sender that is not authenticated.
const MAX_REWRITTEN: usize = 16 * 1024;

/// As deep as values are indented.
const MAX_DEPTH: usize = 8;

/// How JSON is laid out: as it stands, with a given space behind commas and colons, or with a line for each value,
/// indented by a number of spaces a level.
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

/// How `<`, `>` and `&` are escaped, and the line separators U+2028 and U+2029 with them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Html {
    Kept,
    /// As Go and Rails do.
    Lower,
    /// As PHP does where it is told to.
    Upper,
}

/// Why the signature of a job is not that of its payload under `secret`, as far as it can be told.
pub(super) fn why_unsigned(job: &Job, secret: &SecretString) -> SignatureError {
    match of_payload(&job.payload, &job.signature, secret) {
        SignatureError::Mismatch if job.payload.len() <= MAX_REWRITTEN => {
            of_another_kind(job, secret).unwrap_or(SignatureError::Mismatch)
        }
        why => why,
    }
}

/// What else was done in place of signing the payload under the secret.
fn of_another_kind(job: &Job, secret: &SecretString) -> Option<SignatureError> {
    #[derive(Deserialize)]
    struct Events<'a> {
        #[serde(borrow)]
        events: &'a RawValue,
    }
    let (claimed, _) = claimed(&job.signature)?;
    let (payload, own) = (&*job.payload, secret.expose_secret().as_bytes());
    let is = |key: &[u8], bytes: &[u8]| mac_by(key, [bytes]).verify_slice(&claimed).is_ok();
    if is(payload, own) {
        return Some(SignatureError::Swapped);
    }
    for (other, name) in [(&job.app_key, "key"), (&job.app_id, "id")] {
        if !other.is_empty() && is(other.as_bytes(), payload) {
            return Some(SignatureError::WithoutSecret(name));
        }
    }
    for (bytes, name) in [
        (payload.to_vec(), "the payload"),
        ([own, payload].concat(), "secret and payload"),
        ([payload, own].concat(), "payload and secret"),
    ] {
        if Sha256::digest(bytes)[..] == claimed[..] {
            return Some(SignatureError::Hash(name));
        }
    }
    if serde_json::from_slice(payload).is_ok_and(|of: Events<'_>| is(own, of.events.get().as_bytes())) {
        return Some(SignatureError::OtherPart("its events alone"));
    }
    let whole = Job { signature: String::new(), ..job.clone() }.encode();
    let unsigned = whole.replace(r#","originalPusherSignature":"""#, "");
    let is_whole = is(own, whole.as_bytes()) || is(own, unsigned.as_bytes());
    is_whole.then_some(SignatureError::OtherPart("the whole job"))
}

/// The hash whose HMAC has that many bytes.
fn other_hash(length: usize) -> Option<&'static str> {
    Some(match length {
        16 => "MD5",
        20 => "SHA1",
        28 => "SHA224",
        48 => "SHA384",
        64 => "SHA512",
        _ => return None,
    })
}

/// Why `signature` is not that of `bytes` under `secret`, as far as it can be told by forms of these.
fn of_payload(bytes: &[u8], signature: &str, secret: &SecretString) -> SignatureError {
    let Some((claimed, form)) = claimed(signature) else { return SignatureError::Mismatch };
    if let Some(hash) = other_hash(claimed.len()) {
        return SignatureError::OtherHash(hash);
    }
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
        (within_quotes(own).to_owned(), SignatureError::SecretInQuotes),
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
    if trimmed.len() > MAX_REWRITTEN {
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
    if let Some(bare) = undecorated(signature) {
        return hex::decode(&bare)
            .ok()
            .or_else(|| from_base64(&bare))
            .map(|digest| (digest, Some(SignatureError::Decorated)));
    }
    let decoded = from_base64(signature)?;
    Some(match hex::decode(&decoded) {
        Ok(digest) if !digest.is_empty() => (digest, Some(SignatureError::Base64OfHex)),
        Ok(_) | Err(_) => (decoded, Some(SignatureError::Base64)),
    })
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let engines = [&BASE64_STANDARD, &BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE, &BASE64_URL_SAFE_NO_PAD];
    engines.iter().find_map(|engine| engine.decode(text).ok())
}

/// A signature without what people leave around it or put into it, if anything is there.
fn undecorated(signature: &str) -> Option<String> {
    let quoted =
        signature.strip_prefix('b').filter(|rest| rest.starts_with(['\'', '"'])).unwrap_or(signature);
    let mut bare = quoted.trim_matches(['\'', '"', '`']);
    for prefix in ["hmac-sha256", "hmac_sha256", "hmacsha256", "sha256", "sha-256", "hmac", "v1", "v0", "0x"]
    {
        if let Some((start, rest)) = bare.split_at_checked(prefix.len())
            && start.eq_ignore_ascii_case(prefix)
        {
            bare = rest.trim_start_matches(['=', ',', ':', ' ']);
            break;
        }
    }
    let digits = bare.replace([':', ' ', '-'], "");
    let bare = if hex::decode(&digits).is_ok() { digits } else { bare.to_owned() };
    (bare != signature && !bare.is_empty()).then_some(bare)
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
    for html in [Html::Kept, Html::Lower, Html::Upper] {
        let escaped = with_html(json, html);
        if escaped != json
            && std::iter::once(Layout::Kept).chain(LAYOUTS).any(|layout| signs(&laid_out(&escaped, layout)))
        {
            return Some(SignatureError::Html);
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
    // As Go writes what it has read into a map.
    let html = with_html(&sorted, Html::Lower);
    (html != sorted && signs(&html)).then_some(SignatureError::Sorted)
}

/// JSON text with characters of HTML escaped so, or not at all.
fn with_html(json: &[u8], html: Html) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(json) else { return json.to_vec() };
    let escape = |char: char| format!("\\u{:04x}", u32::from(char));
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let found = if c == '\\' { html_escape(rest) } else { Some((c, c.len_utf8())) };
        // An escape that stays, so that what it escapes is not looked at.
        let (char, length) =
            found.unwrap_or_else(|| (c, rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at)));
        let is_html = found.is_some() && matches!(char, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        match html {
            Html::Lower if is_html => out.push_str(&escape(char)),
            Html::Upper if is_html => out.push_str(&escape(char).to_ascii_uppercase().replace('U', "u")),
            Html::Kept if is_html => out.push(char),
            _ => out.push_str(rest.get(..length).unwrap_or_default()),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    out.into_bytes()
}

/// The character of HTML whose escape a text begins with, and the escape's length.
fn html_escape(text: &str) -> Option<(char, usize)> {
    let digits = text.get(..6)?.strip_prefix("\\u")?;
    let char = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    matches!(char, '<' | '>' | '&' | '\u{2028}' | '\u{2029}').then_some((char, 6))
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
        if out.len() > 4 * MAX_REWRITTEN {
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
        of_payload(bytes.as_bytes(), &sign(&secret, [signed.as_bytes()]), &secret)
    }

    #[test]
    fn a_right_signature_in_a_wrong_form_is_recognised() {
        let secret = SecretString::from("s");
        let of = |signature: String| of_payload(PAYLOAD.as_bytes(), &signature, &secret);
        let hex = sign(&secret, [PAYLOAD.as_bytes()]);
        let digest = hex::decode(&hex).unwrap();
        assert_eq!(of(format!("sha256={hex}")), SignatureError::Prefixed);
        assert_eq!(of(format!("SHA256={hex}")), SignatureError::Prefixed);
        assert_eq!(of(BASE64_STANDARD.encode(&digest)), SignatureError::Base64);
        assert_eq!(of(BASE64_URL_SAFE_NO_PAD.encode(&digest)), SignatureError::Base64);
        for decorated in [
            format!("0x{hex}"),
            format!("hmac-sha256={hex}"),
            format!("v1,{}", BASE64_STANDARD.encode(&digest)),
            format!("v1={hex}"),
            format!("\"{hex}\""),
            format!("b'{hex}'"),
            digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"),
        ] {
            assert_eq!(of(decorated.clone()), SignatureError::Decorated, "{decorated}");
        }
        assert_eq!(of(BASE64_STANDARD.encode(&hex)), SignatureError::Base64OfHex);
        for (length, hash) in [(16, "MD5"), (20, "SHA1"), (64, "SHA512")] {
            assert_eq!(of(hex::encode(vec![7; length])), SignatureError::OtherHash(hash));
            assert_eq!(of(BASE64_STANDARD.encode(vec![7; length])), SignatureError::OtherHash(hash));
        }
        for none in ["sha256=00", "\"", "b'", "0x", "v1,", ":::", "b'é'", "", "zz", "é", "sha256="] {
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

    #[test]
    fn escapes_of_html_are_recognised_whichever_was_signed() {
        let plain = r#"{"time_ms":1,"events":[{"name":"a","data":"<b>1 & 2</b> \\u003c \\"}]}"#;
        let go = r#"{"time_ms":1,"events":[{"name":"a","data":"\u003cb\u003e1 \u0026 2\u003c/b\u003e \\u003c \\"}]}"#;
        let php =
            go.replace(r"\u003cb\u003e", r"\u003Cb\u003E").replace(r"\u003c/b\u003e", r"\u003C/b\u003E");
        for (sent, signed) in [(plain, go), (go, plain), (plain, &php), (&php, plain), (&php, go)] {
            assert_eq!(why(sent, signed), SignatureError::Html, "sent {sent}, signed {signed}");
        }
        let sorted = r#"{"events":[{"data":"\u003cb\u003e1 \u0026 2\u003c/b\u003e \\u003c \\","name":"a"}],"time_ms":1}"#;
        assert_eq!(why(plain, sorted), SignatureError::Sorted);
    }

    #[test]
    fn what_was_done_in_place_of_signing_the_payload_is_recognised() {
        let secret = SecretString::from("s");
        let mac = |key: &str, text: &str| sign(&SecretString::from(key), [text.as_bytes()]);
        let hash = |text: String| hex::encode(Sha256::digest(text));
        let bare = Job {
            app_key: "the-key".to_owned(),
            app_id: "the-id".to_owned(),
            payload: PAYLOAD.into(),
            signature: String::new(),
            sender_secret: None,
        };
        let events = PAYLOAD.strip_prefix(r#"{"time_ms":1,"events":"#).unwrap().strip_suffix('}').unwrap();
        let without = format!(r#"{{"appKey":"the-key","appId":"the-id","payload":{PAYLOAD}}}"#);
        for (signature, error) in [
            (mac(PAYLOAD, "s"), SignatureError::Swapped),
            (mac("the-key", PAYLOAD), SignatureError::WithoutSecret("key")),
            (mac("the-id", PAYLOAD), SignatureError::WithoutSecret("id")),
            (hash(PAYLOAD.to_owned()), SignatureError::Hash("the payload")),
            (hash(format!("s{PAYLOAD}")), SignatureError::Hash("secret and payload")),
            (mac("s", events), SignatureError::OtherPart("its events alone")),
            (mac("s", &bare.encode()), SignatureError::OtherPart("the whole job")),
            (mac("s", &without), SignatureError::OtherPart("the whole job")),
            (mac("other", PAYLOAD), SignatureError::Mismatch),
        ] {
            assert_eq!(why_unsigned(&Job { signature, ..bare.clone() }, &secret), error);
        }
        let large = Job {
            payload: format!("[{}1]", "1,".repeat(MAX_REWRITTEN)).into(),
            signature: mac("the-key", &format!("[{}1]", "1,".repeat(MAX_REWRITTEN))),
            ..bare
        };
        assert_eq!(why_unsigned(&large, &secret), SignatureError::Mismatch, "too long to be tried");
    }

    fn laid(json: &str, space: &'static str) -> String {
        String::from_utf8(laid_out(json.as_bytes(), Layout::Spaced(space))).unwrap()
    }

    #[test]
    fn a_signature_over_a_padded_payload_or_secret_is_recognised() {
        assert_eq!(why(PAYLOAD, &format!("{PAYLOAD}\n")), SignatureError::WithLineBreak);
        assert_eq!(why(PAYLOAD, &format!("{PAYLOAD}\r\n")), SignatureError::WithLineBreak);
        assert_eq!(why(&format!("{PAYLOAD}\n"), PAYLOAD), SignatureError::Padded);
        assert_eq!(why(&serde_json::to_string(PAYLOAD).unwrap(), PAYLOAD), SignatureError::EncodedTwice);
        let under = |other: &str, own: &str| {
            let signature = sign(&SecretString::from(other), [PAYLOAD.as_bytes()]);
            of_payload(PAYLOAD.as_bytes(), &signature, &SecretString::from(own))
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
        let long = format!("[{}1]", "1, ".repeat(MAX_REWRITTEN));
        assert_eq!(why(&long, &laid(&long, "")), SignatureError::Mismatch, "too long to be tried");
    }
}
