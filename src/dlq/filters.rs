//! Which letters are meant.

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::letters::{Letter, MOVED_BY_SQS};
use crate::outcome::Reason;
use crate::shown;

#[derive(Args, Clone, Debug, Default)]
pub(super) struct Filters {
    /// Of this app alone.
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Given up for this reason alone, such as status or signature; received_too_often is that of letters which SQS
    /// moved.
    #[arg(long, value_parser = reasons(), hide_possible_values = true)]
    reason: Option<String>,
    /// Of this message group alone.
    #[arg(long)]
    group: Option<String>,
    /// Dead for longer than this: 90s, 15m, 2h, 3d.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older: Option<Duration>,
    /// Dead for less than this.
    #[arg(long, value_name = "AGE", value_parser = age)]
    newer: Option<Duration>,
}

impl Filters {
    pub(super) fn matches(&self, letter: &Letter) -> bool {
        let is =
            |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|wanted| wanted == given);
        self.app.as_deref().is_none_or(|app| is_of(letter, app))
            && is(&self.reason, letter.reason())
            && is(&self.group, &letter.message.group)
            && self.older.is_none_or(|age| letter.message.age > age)
            && self.newer.is_none_or(|age| letter.message.age < age)
    }

    /// Whether every letter is meant.
    pub(super) fn all(&self) -> bool {
        let Self { app, reason, group, older, newer } = self;
        app.is_none() && reason.is_none() && group.is_none() && older.is_none() && newer.is_none()
    }
}

/// Whether a letter is of the app with this id: its attribute is without what SQS refuses, its group is not.
fn is_of(letter: &Letter, app: &str) -> bool {
    let of = letter.app_id();
    of == app || of == shown::cut(app, usize::MAX)
}

/// Every reason that a letter can have: another word would match nothing, and nobody would be told.
fn reasons() -> PossibleValuesParser {
    PossibleValuesParser::new(Reason::CODES.into_iter().chain([MOVED_BY_SQS]))
}

/// A whole number of seconds, minutes, hours or days.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no age such as 90s, 15m, 2h or 3d");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7_200), ("3d", 259_200), ("7", 7)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "h", "1w", "-1s", "1.5h", "99999999999999999999s", "999999999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
