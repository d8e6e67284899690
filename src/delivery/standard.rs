//! The headers of Standard Webhooks on each attempt, where a webhook or the operator wants them.
//!
//! The id is that of `X-Hookferry-Id`, the same on every attempt; the time is the attempt's own, so that a
//! receiver that refuses old ones takes a retry and no capture of an earlier attempt. A webhook's own headers
//! of these names go no further.

use std::time::SystemTime;

use super::Transport;
use crate::outcome::Outcome;
use crate::plan::{Delivery, ID_HEADER};
use crate::standard::{HEADERS, ID_HEADER as STANDARD_ID, SIGNATURE_HEADER, TIMESTAMP_HEADER};

/// A transport whose attempts carry these headers.
#[derive(Debug)]
pub struct Standard<T> {
    transport: T,
    by_default: bool,
    /// The wall clock: receivers compare it to theirs.
    now: fn() -> SystemTime,
}

impl<T> Standard<T> {
    /// `by_default` is for webhooks that say nothing of it.
    #[must_use]
    pub fn new(transport: T, by_default: bool, now: fn() -> SystemTime) -> Self {
        Self { transport, by_default, now }
    }

    /// The delivery with these headers, if it is to have them.
    fn stamped(&self, delivery: &Delivery) -> Option<Delivery> {
        let signing = delivery.standard.as_ref().filter(|signing| signing.asked || self.by_default)?;
        let id = delivery.headers.iter().rev().find(|(name, _)| name == ID_HEADER)?.1.replace('.', "_");
        let seconds = (self.now)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let timestamp = seconds.to_string();
        let signatures = signing.keys.signatures(&id, &timestamp, &delivery.body);
        let mut stamped = delivery.clone();
        let is_one = |name: &str| HEADERS.iter().any(|header| name.trim().eq_ignore_ascii_case(header));
        stamped.headers.retain(|(name, _)| !is_one(name));
        let values = [(STANDARD_ID, id), (TIMESTAMP_HEADER, timestamp), (SIGNATURE_HEADER, signatures)];
        stamped.headers.extend(values.map(|(name, value)| (name.to_owned(), value)));
        Some(stamped)
    }
}

impl<T: Transport> Transport for Standard<T> {
    async fn attempt(&self, delivery: &Delivery, number: u32) -> Outcome {
        let stamped = self.stamped(delivery);
        self.transport.attempt(stamped.as_ref().unwrap_or(delivery), number).await
    }
}

#[cfg(test)]
mod tests;
