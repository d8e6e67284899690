//! The port to the destinations: one attempt at one delivery.
//!
//! An implementation makes exactly one attempt and follows no redirect. It sends a request once, but for one
//! case: a connection that was kept from an earlier attempt and ends before its answer begins is no failure
//! of the destination's. The caller drops the future at the attempt's deadline; dropping it has to end
//! the attempt.

pub mod http;
pub mod lambda;
pub mod standard;

use crate::outcome::Outcome;
use crate::plan::Delivery;

/// Something that can deliver.
pub trait Transport: Send + Sync + 'static {
    /// Makes one attempt; `number` counts the attempts at this job from 1.
    fn attempt(&self, delivery: &Delivery, number: u32) -> impl Future<Output = Outcome> + Send;
}
