//! The port to the destinations: one attempt at one delivery.
//!
//! An implementation makes exactly one attempt and follows no redirect. It sends a request once, but for two
//! cases, which are no failures of the destination's: a connection that was kept from an earlier attempt and ends
//! before its answer begins, and an HTTP/2 stream that the receiver refused unread. The caller drops the future at the attempt's deadline; dropping it has to end
//! the attempt.

mod bulkhead;
pub mod http;
pub mod lambda;
pub mod standard;
mod unanswered;

use crate::outcome::Outcome;
use crate::plan::Delivery;

/// Something that can deliver.
pub trait Transport: Send + Sync + 'static {
    /// Makes one attempt; `number` counts from 1 the attempts at this webhook that this process knows of.
    fn attempt(&self, delivery: &Delivery, number: u32) -> impl Future<Output = Outcome> + Send;
}
