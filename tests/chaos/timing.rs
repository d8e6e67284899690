//! The times of a run, short so that much happens in a minute.

use std::time::Duration;

/// `QUEUE_SQS_VISIBILITY_TIMEOUT`.
pub const VISIBILITY: Duration = Duration::from_secs(3);

/// `WEBHOOKS_TIMEOUT_MS`.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// `SHUTDOWN_GRACE_SECONDS`.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long the queue is gone, once a run.
pub const OUTAGE: Duration = Duration::from_secs(20);

/// How long the rest may take once faults have stopped: groups whose lease was extended to 30 s just
/// before their worker was killed, and the backlog.
pub const DRAIN: Duration = Duration::from_secs(150);
