//! Where a redirect leads, which nobody follows: in words that hold no path or query, which may be secrets.

use url::Url;

use crate::app::limits::MAX_URL_BYTES;
use crate::shown::cut;

/// At most this many characters of a host are shown.
const MAX_PLACE: usize = 120;

/// What to say of a redirect from one URL to another, which may be relative; nothing where it is none, or longer than any
/// URL that can be registered. To parse a host name takes time by the square of its labels' lengths, and a head of HTTP/1.1 has
/// room for 400 KB.
pub(super) fn note(from: &Url, to: &str) -> Option<String> {
    let to = to.trim();
    if to.len() > MAX_URL_BYTES {
        return None;
    }
    let to = from.join(to).ok()?;
    let place = if to.origin() == from.origin() {
        "the same host".to_owned()
    } else {
        let host = to.host_str().unwrap_or_default();
        let port = to.port().map(|port| format!(":{port}")).unwrap_or_default();
        cut(&format!("{}://{host}{port}", to.scheme()), MAX_PLACE)
    };
    let path = match to.path() {
        path if path == from.path() => "the same path",
        path if path.strip_suffix('/') == Some(from.path()) => "the path with a slash at its end",
        path if from.path().strip_suffix('/') == Some(path) => "the path without the slash at its end",
        _ => "another path",
    };
    Some(format!("which leads to {place}, {path}, and is not followed: register the URL that it leads to"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_that_is_longer_than_a_url_may_be_is_not_parsed() {
        let from = Url::parse("http://h.test/").unwrap();
        let long = |length: usize| format!("/{}", "x".repeat(length - 1));
        assert!(note(&from, &long(MAX_URL_BYTES)).is_some());
        assert_eq!(note(&from, &long(MAX_URL_BYTES + 1)), None);
        assert_eq!(note(&from, &format!("https://{}/", "xn--a.".repeat(65_000))), None);
    }

    #[test]
    fn a_redirect_says_where_it_leads_and_no_more() {
        let long = format!("https://{}/", "a.".repeat(500));
        for (to, says) in [
            ("https://h.test/hush?token=hush", "https://h.test, the same path"),
            ("https://u:hush@h.test:8443/hush", "https://h.test:8443, the same path"),
            ("/hush/", "the same host, the path with a slash"),
            ("http://h.test/login?next=hush", "the same host, another path"),
            ("//other.test\u{1b}/hush\n", "another path"),
            ("//other.test/hush", "http://other.test, the same path"),
            (long.as_str(), "another path"),
        ] {
            let from = Url::parse("http://h.test/hush").unwrap();
            let Some(note) = note(&from, to) else {
                assert!(to.contains('\u{1b}') || to.len() > 300, "{to}");
                continue;
            };
            assert!(note.contains(says), "{to}: {note}");
            assert!(!note.contains("hush") && !note.contains(['\n', '\u{1b}']) && note.len() < 300, "{note}");
        }
    }
}
