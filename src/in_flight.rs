//! A received message while it is worked: with its place in memory, its app's share and its record.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::limits::MAX_ID_BYTES;
use crate::flow::permits::Permit;
use crate::flow::shares::Share;
use crate::ledger::Claim;
use crate::policy::rules::{LastChance, Rules};
use crate::queue::{Message, MessageId};
use crate::shown::Label;
use crate::telemetry::traces::{JobSpan, Traces};

/// A received message with all that it holds.
#[derive(Debug)]
pub struct InFlight {
    pub(crate) message: Message,
    pub(crate) claim: Claim,
    /// The app's id as the job claims it, and once the app is found, its own. It is whole: what is counted and
    /// filed by it must be found by it, so that only what shows it cuts it.
    pub(crate) app_id: Arc<str>,
    pub(crate) _permit: Permit,
    /// Its part of what its app may hold; `None` if it only goes back.
    pub(crate) share: Option<Share>,
    /// From when it is prepared to when it is settled; it ends with all the rest of this.
    pub(crate) span: JobSpan,
}

/// When a receive's messages came.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When the response arrived.
    pub received_at: Instant,
    /// From when on the lease is counted: earlier where the response took longer than it could.
    pub lease_start: Instant,
}

impl InFlight {
    /// The id under which receivers know the job.
    pub(crate) fn known_as(&self) -> &MessageId {
        self.message.redriven.as_ref().map_or(&self.message.id, |redriven| &redriven.source)
    }

    /// It is being prepared, if it is not yet.
    pub(crate) fn begin_span(&mut self, traces: &Traces) {
        self.span.begin(traces, &self.message, &self.app_id);
    }

    /// Sets the id of its app.
    pub(crate) fn set_app(&mut self, app_id: &str) {
        let app_id = bounded(app_id);
        if *self.app_id != *app_id {
            self.app_id = app_id.into();
        }
    }

    /// The app's id for a log line.
    pub(crate) fn shown_app(&self) -> Label {
        Label::name(&self.app_id)
    }

    /// How long ago it was sent.
    pub(crate) fn age(&self, times: Times) -> Duration {
        self.message.age + times.received_at.elapsed()
    }

    /// Why SQS might not hand it over once more, once it has been hidden for so long.
    pub(crate) fn last_chance(&self, rules: &Rules, times: Times, hidden: Duration) -> Option<LastChance> {
        rules.last_chance(self.message.receive_count, self.age(times), hidden)
    }

    /// Why SQS will not hand it over once more, once it has been hidden for so long, if it is certain.
    pub(crate) fn end(&self, rules: &Rules, times: Times, hidden: Duration) -> Option<LastChance> {
        rules.end(self.message.receive_count, self.age(times), hidden)
    }

    /// The backoff of what is not given up for its failure.
    pub(crate) fn sparing_backoff(&self, rules: &Rules, times: Times, backoff: Duration) -> Duration {
        rules.sparing_backoff(backoff, self.message.receive_count, self.age(times))
    }

    /// Whether it may be put back untried.
    pub(crate) fn may_be_deferred(&self, rules: &Rules) -> bool {
        rules.may_be_deferred(self.message.receive_count, self.message.age)
    }
}

/// An app's id as a job claims it. No app has a longer one than that, so that what is cut is no app's.
pub(crate) fn bounded(app_id: &str) -> &str {
    app_id.get(..app_id.floor_char_boundary(MAX_ID_BYTES)).unwrap_or_default()
}
