//! Faults that the simulation has found and that are not mended yet: they are counted, and fail no seed. A
//! change that mends one takes its line away; there should be none.

/// What a violation's text ends or begins with, and as what it is counted.
const FAULTS: [(&str, &str); 8] = [
    ("of a job that it held untried", "known fault: a job that waited untried is not at attempt 1"),
    (
        "though only what was remembered has no webhook for it",
        "known fault: deleted as unwanted by an old app",
    ),
    ("is lost: no webhook is for it", "known fault: deleted as unwanted by an old app"),
    (", within its window", "known fault: the window counts from the send, not from the first failure"),
    ("dead-lettered for unknown_app", "known fault: an unknown app judged by an old answer"),
    ("dead-lettered for signature", "known fault: a signature judged by an old app"),
    ("moved by SQS while", "known fault: moved by SQS without a word"),
    ("which is ending, receives it again", "known fault: a shutdown spends receives"),
];

/// As which known fault a violation is counted, if it is one.
pub fn fault(violation: &str) -> Option<&'static str> {
    FAULTS.iter().find(|(text, _)| violation.contains(text)).map(|(_, what)| *what)
}
