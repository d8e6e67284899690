//! The rules that lanes go by.

use std::time::Duration;

use crate::plan::Limits;
use crate::policy::Retry;

/// How time and retries are dealt with; checked when it was configured.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The queue's visibility timeout, as receives use it.
    pub visibility: Duration,
    /// The longest that one attempt may take, all of it.
    pub attempt_timeout: Duration,
    /// Backoff and window.
    pub retry: Retry,
    /// The queue's own `maxReceiveCount`, if it has one.
    pub max_receive_count: Option<u32>,
    /// Whether jobs of a lane go out together, and how much of them at the most.
    pub coalesce: Option<Limits>,
}
