//! What became of the lines: no clock of its own, no I/O.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::producer::Error;
use crate::queue::MessageId;

/// Results that wait for one of a line before theirs; past that no more lines are sent.
const MAX_AHEAD: usize = 100_000;
/// How long SQS remembers a deduplication id.
const REMEMBERED: Duration = Duration::from_secs(300);
/// The most message ids that are remembered.
const MAX_IDS: usize = 500_000;

/// The book of what was handed over.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// The lines whose results are not printed, in order.
    lines: VecDeque<u64>,
    /// The results that are known of them; none for a line that failed.
    known: HashMap<u64, Option<MessageId>>,
    /// The lines that the queue may not have, and why, as far as that was not said when it was known.
    unsent: Vec<(u64, Error)>,
    /// The lines of the message ids of the last five minutes, the oldest first.
    ids: HashMap<MessageId, u64>,
    oldest: VecDeque<(Instant, MessageId)>,
    /// The last line that was handed over.
    pub(super) last: u64,
    pub(super) sent: u64,
    pub(super) swallowed: u64,
    pub(super) failed: u64,
}

impl Results {
    /// Whether another line may be handed over.
    pub(super) fn has_room(&self) -> bool {
        self.lines.len() < MAX_AHEAD
    }

    pub(super) fn handed_over(&mut self, line: u64) {
        self.lines.push_back(line);
        self.last = line;
    }

    /// A line is on the queue; gives the line whose job the queue took it for, if it is not there twice.
    pub(super) fn sent(&mut self, now: Instant, line: u64, id: MessageId) -> Option<u64> {
        self.known.insert(line, Some(MessageId::clone(&id)));
        while self.oldest.front().is_some_and(|(at, _)| now - *at >= REMEMBERED) || self.ids.len() >= MAX_IDS
        {
            let Some((_, id)) = self.oldest.pop_front() else { break };
            self.ids.remove(&id);
        }
        match self.ids.entry(MessageId::clone(&id)) {
            Entry::Occupied(first) => {
                self.swallowed += 1;
                Some(*first.get())
            }
            Entry::Vacant(place) => {
                place.insert(line);
                self.oldest.push_back((now, id));
                self.sent += 1;
                None
            }
        }
    }

    /// A line failed, which was said.
    pub(super) fn failed(&mut self, line: u64) {
        self.known.insert(line, None);
        self.failed += 1;
    }

    /// A line failed, which is said at the end.
    pub(super) fn unsent(&mut self, line: u64, error: Error) {
        self.failed(line);
        self.unsent.push((line, error));
    }

    /// The ids of the lines whose results and those of all before them are known, in order.
    pub(super) fn next_id(&mut self) -> Option<MessageId> {
        while let Some(id) = self.lines.front().and_then(|line| self.known.remove(line)) {
            self.lines.pop_front();
            if id.is_some() {
                return id;
            }
        }
        None
    }

    /// Ends it: gives the ids that wait for earlier lines, in order, and of lines that the queue may not have which they
    /// are and why.
    pub(super) fn end(&mut self) -> (Vec<MessageId>, Vec<(String, Error)>) {
        let mut ids = Vec::new();
        for line in std::mem::take(&mut self.lines) {
            if let Some(id) = self.known.remove(&line) {
                ids.extend(id);
            } else {
                self.failed += 1;
                self.unsent.push((line, Error::NoResponse("none yet".to_owned())));
            }
        }
        self.unsent.sort_by_key(|(line, _)| *line);
        let same = |a: &(u64, Error), b: &(u64, Error)| a.1 == b.1;
        let said = self.unsent.chunk_by(same).filter_map(|lines| {
            let ((first, error), (last, _)) = (lines.first()?, lines.last()?);
            let which = match lines.len() {
                1 => format!("line {first}"),
                count => format!("{count} lines, {first} to {last}"),
            };
            Some((which, error.clone()))
        });
        (ids, said.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(lines: std::ops::Range<u64>) -> Results {
        let mut results = Results::default();
        lines.for_each(|line| results.handed_over(line));
        results
    }

    #[test]
    fn ids_come_in_the_order_of_the_lines_and_at_the_end_those_behind_a_line_without_one() {
        let now = Instant::now();
        let mut results = handed(1..7);
        let sent = |results: &mut Results, line: u64| results.sent(now, line, line.to_string().into());
        sent(&mut results, 2);
        assert_eq!(results.next_id(), None);
        sent(&mut results, 1);
        assert_eq!([results.next_id(), results.next_id()], [Some("1".into()), Some("2".into())]);
        sent(&mut results, 6);
        results.unsent(4, Error::Denied("no".into()));
        results.unsent(5, Error::Denied("no".into()));
        let (ids, said) = results.end();
        assert_eq!(ids, ["6".into()]);
        assert!(said[0].0 == "line 3" && matches!(said[0].1, Error::NoResponse(_)), "{said:?}");
        assert_eq!(said[1..], [("2 lines, 4 to 5".to_owned(), Error::Denied("no".into()))]);
        assert_eq!((results.sent, results.failed), (3, 3));
    }

    #[test]
    fn a_line_that_was_taken_for_an_earlier_one_is_known_by_its_id_for_five_minutes() {
        let now = Instant::now();
        let mut results = handed(1..5);
        assert_eq!(results.sent(now, 1, "a".into()), None);
        assert_eq!(results.sent(now + Duration::from_secs(299), 2, "a".into()), Some(1));
        assert_eq!(results.sent(now + Duration::from_secs(299), 3, "b".into()), None);
        assert_eq!(results.sent(now + Duration::from_secs(301), 4, "a".into()), None);
        assert_eq!((results.sent, results.swallowed, results.ids.len()), (3, 1, 2));
    }
}
