//! Without OpenTelemetry: empty types, so that nothing is stored and nothing is done.
#![allow(
    clippy::unused_self,
    clippy::unused_async,
    clippy::unnecessary_wraps,
    reason = "the same as with the feature"
)]

use super::{About, Ending, SetUpError, Settings};
use crate::outcome::{Outcome, Reason};
use crate::queue::Message;

/// No spans.
#[derive(Clone, Debug, Default)]
pub struct Traces(());

/// No job's span.
#[derive(Debug, Default)]
pub struct JobSpan(());

/// No attempt's span.
#[derive(Debug, Default)]
pub struct AttemptSpan(());

impl Traces {
    /// Exports nothing.
    ///
    /// # Errors
    /// None.
    pub fn start(_: &Settings) -> Result<Self, SetUpError> {
        Ok(Self(()))
    }

    /// Whether spans are made.
    #[must_use]
    pub fn is_on(&self) -> bool {
        false
    }

    /// Has nothing left to export.
    pub async fn flush(self) {}
}

impl JobSpan {
    /// Begins nothing.
    pub fn begin(&mut self, _: &Traces, _: &Message, _: &str) {}

    /// Has nothing to end.
    pub fn ends(&mut self, _: Ending, _: u32, _: Option<&Reason>) {}
}

impl AttemptSpan {
    /// Begins nothing.
    #[must_use]
    pub fn begin<'a>(_: &Traces, _: impl Iterator<Item = &'a JobSpan>, _: &About<'_>) -> Self {
        Self(())
    }

    /// Adds no header.
    pub fn carry(&self, _: &mut Vec<(String, String)>) {}

    /// Has nothing to end.
    pub fn ends(self, _: &Outcome) {}
}
