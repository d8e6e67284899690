//! A received message while it is worked: with its place in memory, its app's share and its record.

use std::time::Duration;

use tokio::time::Instant;

use crate::board::Text;
use crate::flow::permits::Permit;
use crate::flow::shares::Share;
use crate::ledger::Claim;
use crate::queue::{Message, MessageId};
use crate::telemetry::traces::{JobSpan, Traces};
use crate::worker::rules::{LastChance, Rules};

/// A received message with all that it holds.
#[derive(Debug)]
pub struct InFlight {
    pub(crate) message: Message,
    pub(crate) claim: Claim,
    /// The app's id as the job claims it, for people to read.
    pub(crate) app_id: Text,
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
        self.span.begin(traces, &self.message, self.app_id.as_str());
    }

    /// How long ago it was sent.
    pub(crate) fn age(&self, times: Times) -> Duration {
        self.message.age + times.received_at.elapsed()
    }

    /// Why SQS might not hand it over once more, once it has been hidden for so long.
    pub(crate) fn last_chance(&self, rules: &Rules, times: Times, hidden: Duration) -> Option<LastChance> {
        rules.last_chance(self.message.receive_count, self.age(times), hidden)
    }

    /// Whether it may be put back untried.
    pub(crate) fn may_be_deferred(&self, rules: &Rules) -> bool {
        rules.may_be_deferred(self.message.receive_count, self.message.age)
    }
}
