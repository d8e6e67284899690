//! The port to the destinations: one attempt at one delivery.
//!
//! An implementation makes exactly one attempt and follows no redirect. It sends a request once, but for two
//! cases, which are no failures of the destination's: a connection that was kept from an earlier attempt and ends
//! before its answer begins, and an HTTP/2 stream that the receiver refused unread. The caller drops the future at the attempt's deadline; dropping it has to end
//! the attempt.

pub mod http;
pub mod lambda;
pub mod standard;

use std::time::Duration;

use crate::outcome::Outcome;
use crate::plan::Delivery;

/// Something that can deliver.
pub trait Transport: Send + Sync + 'static {
    /// Makes one attempt; `number` counts from 1 the attempts at this webhook that this process knows of.
    fn attempt(&self, delivery: &Delivery, number: u32) -> impl Future<Output = Outcome> + Send;
}

/// The seconds of a `Retry-After`. Some send parts of one, which are rounded up: none is asked again too early.
fn retry_after_seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (whole, parts) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(parts) {
        return None;
    }
    let seconds: u64 = whole.parse().unwrap_or(u64::MAX);
    let more = u64::from(parts.bytes().any(|byte| byte != b'0'));
    Some(Duration::from_secs(seconds.saturating_add(more)))
}
