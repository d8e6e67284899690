//! A received message while it is worked: with its place in memory, its app's share and its record.

use tokio::time::Instant;

use crate::board::Text;
use crate::flow::permits::Permit;
use crate::flow::shares::Share;
use crate::ledger::Claim;
use crate::queue::{Message, MessageId};
use crate::telemetry::traces::{JobSpan, Traces};

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

    /// Whether SQS would move it to the dead-letter queue instead of handing it over once more.
    pub(crate) fn is_on_last_receive(&self, max_receive_count: Option<u32>) -> bool {
        max_receive_count.is_some_and(|most| self.message.receive_count >= most)
    }
}

/// A job with fewer receives than this left before the queue would dead-letter it is not deferred for want of
/// room: the rest are for its attempts.
const KEPT_RECEIVES: u32 = 20;

/// Whether a message may be put back untried, at the price of a receive.
pub(crate) fn may_be_deferred(message: &Message, max_receive_count: Option<u32>) -> bool {
    max_receive_count.is_none_or(|most| message.receive_count.saturating_add(KEPT_RECEIVES) < most)
}
