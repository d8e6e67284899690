//! Which letters are meant.

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::letters::{Letter, MOVED_BY_SQS};
use crate::outcome::Reason;
use crate::process::duration::duration;
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
    #[arg(long, value_name = "AGE", value_parser = duration)]
    older: Option<Duration>,
    /// Dead for less than this.
    #[arg(long, value_name = "AGE", value_parser = duration)]
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
