//! What is to be said of a registration: what was ignored, what cannot be used, and what was meant.

use std::collections::HashMap;
use std::fmt;

use super::limits::MAX_REMARKS;
use crate::shown::quoted;

/// Characters of a text of the owner's that are shown.
const MAX_SHOWN: usize = 64;
/// Names are taken for each other up to this distance, for each so many characters.
const ONE_SLIP_IN: usize = 3;
/// How many different names are compared with the known ones for how much they matter. Each costs tens of microseconds,
/// and an app may write thousands.
const MAX_COMPARED: usize = 2 * MAX_REMARKS;

/// One thing to be said of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// How much it matters.
    pub severity: Severity,
    /// One line; texts of the owner's in it are escaped and cut, and no value that may be a secret is.
    pub text: String,
}

/// How much a remark matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something is left out: its jobs are not delivered.
    Error,
    /// Something is ignored, or does not do what its owner may think.
    Warning,
    /// It may well be meant so.
    Note,
}

/// Remarks on one app, of each severity at most [`MAX_REMARKS`]: none keeps a graver one out.
#[derive(Debug)]
pub(super) struct Remarks {
    app: String,
    list: Vec<Remark>,
    left_out: [(Severity, usize); 3],
    /// Names that were compared, each with the known one that comes nearest to it.
    compared: HashMap<String, Option<&'static str>>,
}

impl Remarks {
    /// On the app with this id.
    pub(super) fn on(id: &str) -> Self {
        let left_out = [Severity::Error, Severity::Warning, Severity::Note].map(|severity| (severity, 0));
        Self { app: shown(id).to_string(), list: Vec::new(), left_out, compared: HashMap::new() }
    }

    /// Adds one, and makes its text only where there is room for it: what is costly to say belongs into its `Display`.
    pub(super) fn add(&mut self, severity: Severity, what: &fmt::Arguments<'_>) {
        if self.list.iter().filter(|remark| remark.severity == severity).count() < MAX_REMARKS {
            let text = format!("app {}: {what}", self.app);
            self.list.push(Remark { severity, text });
        } else {
            let of_severity = self.left_out.iter_mut().filter(|(left_out, _)| *left_out == severity);
            of_severity.for_each(|(_, count)| *count += 1);
        }
    }

    /// A name that means nothing here, with the known one that comes nearest to it.
    pub(super) fn unknown<'k>(
        &mut self,
        place: &str,
        name: &str,
        known: impl IntoIterator<Item = &'k str> + Copy,
    ) {
        let meant = fmt::from_fn(|f| f.write_str(&meant(nearest(name, known))));
        self.add(Severity::Warning, &format_args!("{place}: {} is unknown and ignored{meant}", shown(name)));
    }

    /// The known name that comes nearest to a written one, as [`nearest`] says. None, once [`MAX_COMPARED`] others were
    /// asked for: there are remarks enough on them.
    pub(super) fn nearest(
        &mut self,
        name: &str,
        known: impl IntoIterator<Item = &'static str>,
    ) -> Option<&'static str> {
        if let Some(nearest) = self.compared.get(name) {
            return *nearest;
        }
        if self.compared.len() >= MAX_COMPARED {
            return None;
        }
        let nearest = nearest(name, known);
        self.compared.insert(name.to_owned(), nearest);
        nearest
    }

    pub(super) fn finish(mut self) -> Vec<Remark> {
        for (severity, count) in self.left_out.into_iter().filter(|(_, count)| *count > 0) {
            let text = format!("app {}: and {count} remarks more", self.app);
            self.list.push(Remark { severity, text });
        }
        self.list
    }
}

/// The known name that was probably meant, as the end of a sentence; empty if none comes near.
pub(super) fn meant(nearest: Option<&str>) -> String {
    nearest.map(|known| format!("; did you mean {known}?")).unwrap_or_default()
}

/// The known name that comes nearest to a written one, if any comes near: spelled alike, or one of them
/// the beginning or end of the other, or beginning alike for most of their length.
#[must_use]
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A long name is none that was mistyped, and distances are quadratic.
    if name.len() > MAX_SHOWN {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '.', ' '], "_");
    let name = plain(name);
    let distance = |known: &str| {
        let known = plain(known);
        let (short, long) = if name.len() < known.len() { (&name, &known) } else { (&known, &name) };
        let part = short.len() >= 4
            && (long.strip_prefix(short.as_str()).is_some_and(|rest| rest.starts_with('_'))
                || long.strip_suffix(short.as_str()).is_some_and(|rest| rest.ends_with('_')));
        let alike = name.bytes().zip(known.bytes()).take_while(|(a, b)| a == b).count();
        let part = part || (alike >= 4 && alike * 3 >= short.len() * 2);
        let slips = strsim::damerau_levenshtein(&name, &known);
        (slips <= long.len() / ONE_SLIP_IN || part).then_some(slips)
    };
    let near = known.into_iter().filter_map(|known| Some((distance(known)?, known)));
    near.min_by_key(|(slips, _)| *slips).map(|(_, known)| known)
}

/// A text of somebody else's as it may stand in a line: quoted, escaped and cut.
#[must_use]
pub fn shown(text: &str) -> impl fmt::Display + use<> {
    quoted(text, MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_nearest_known_name_is_found_and_nothing_far_away_is() {
        let known =
            ["client_event", "member_added", "member_removed", "channel_occupied", "event_types", "filter"];
        for (name, meant) in [
            ("client_events", Some("client_event")),
            ("Client-Event", Some("client_event")),
            ("member_aded", Some("member_added")),
            ("occupied", Some("channel_occupied")),
            ("filters", Some("filter")),
            ("events", Some("event_types")),
            ("order.paid", None),
            ("x", None),
            ("", None),
            (&"client_event".repeat(100), None),
        ] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }

    #[test]
    fn a_text_is_escaped_and_cut_and_remarks_are_bounded() {
        assert_eq!(shown("a\n\"b\u{1b}").to_string(), r#""a\n\"b\u{1b}""#);
        assert!(shown(&"é".repeat(1000)).to_string().chars().count() < 70);
        let mut remarks = Remarks::on("a");
        for n in 0..1000 {
            remarks.unknown("webhooks[0]", &n.to_string(), ["url"]);
        }
        remarks.add(Severity::Error, &format_args!("webhooks[20] cannot be used"));
        let remarks = remarks.finish();
        assert_eq!(remarks.len(), MAX_REMARKS + 2);
        assert!(remarks.last().unwrap().text.contains("980 remarks more"));
        assert!(remarks.iter().any(|remark| remark.severity == Severity::Error), "none crowds it out");
    }

    /// Known names that count how often they are looked at.
    #[derive(Clone, Copy)]
    struct Counted<'a>(&'a Cell<usize>);

    impl IntoIterator for Counted<'_> {
        type Item = &'static str;
        type IntoIter = std::array::IntoIter<&'static str, 2>;

        fn into_iter(self) -> Self::IntoIter {
            self.0.set(self.0.get() + 1);
            ["url", "filter"].into_iter()
        }
    }

    #[test]
    fn names_are_compared_only_for_remarks_that_are_kept() {
        let compared = Cell::new(0);
        let known = Counted(&compared);
        let mut remarks = Remarks::on("a");
        for n in 0..10_000 {
            remarks.unknown("webhooks[0]", &format!("filter{n}"), known);
        }
        assert_eq!(compared.take(), MAX_REMARKS);
        for _ in 0..2 {
            for n in 0..10_000 {
                remarks.nearest(&format!("filter{n}"), known);
            }
        }
        assert_eq!(compared.take(), MAX_COMPARED);
        assert_eq!(remarks.nearest("filter0", known), Some("filter"));
        assert_eq!(compared.take(), 0, "the same name is compared once");
    }
}
