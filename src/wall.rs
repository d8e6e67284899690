//! The wall clock, read here alone: for ages, for what is signed or shown with a time, and never for a deadline. What
//! decides gets the time as an argument.

use std::time::{Duration, SystemTime};

/// The time of day.
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// The time since the Unix epoch; nothing where the clock is set before it.
pub(crate) fn since_epoch() -> Duration {
    now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
