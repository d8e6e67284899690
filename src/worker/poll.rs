//! One poll: one logical receive.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Bounds;
use crate::flow::permits::{Permits, Reserved};
use crate::flow::shares::Shares;
use crate::flow::stalls::detecting_stalls;
use crate::in_flight::Times;
use crate::lane::Shared;
use crate::lease::SAFETY_MARGIN;
use crate::queue::{AttemptId, Message, Queue, ReceiveError};

/// One logical receive.
#[derive(Debug)]
pub(super) struct Poll {
    /// Before it begins.
    pause: Duration,
    /// How long the queue may let it wait for the first message.
    wait: Duration,
    attempt: Option<AttemptId>,
    reserved: Option<Reserved>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Polled {
    /// Messages, or none.
    Received {
        messages: Vec<Message>,
        reserved: Reserved,
        times: Times,
        long: bool,
        /// It did not wait for the first message as long as the queue had leave to.
        hasty: bool,
    },
    /// An error.
    Failed { error: ReceiveError, reserved: Reserved, attempt: AttemptId, wait: Duration },
    /// The worker ends before the receive began.
    Stopped,
}

impl Polled {
    /// Whether the queue might have let it wait.
    pub(super) fn was_long(&self) -> bool {
        match self {
            Self::Received { long, .. } => *long,
            Self::Failed { wait, .. } => !wait.is_zero(),
            Self::Stopped => true,
        }
    }
}

impl Poll {
    /// A new logical receive, after a pause.
    pub(super) fn fresh(pause: Duration, wait: Duration) -> Self {
        Self { pause, wait, attempt: None, reserved: None }
    }

    /// Whether the queue may let it wait: there is never more than one such poll at a time. More would buy
    /// nothing, and at a shutdown each would have to be waited for.
    pub(super) fn is_long(&self) -> bool {
        !self.wait.is_zero()
    }

    /// The poll that follows a failed one. Only if no response came back does it ask for the same
    /// messages again; an answer, throttling included, used the attempt id up.
    pub(super) fn after(
        pause: Duration,
        wait: Duration,
        error: &ReceiveError,
        attempt: AttemptId,
        reserved: Reserved,
    ) -> Self {
        let attempt = match error {
            ReceiveError::NoResponse(_) => Some(attempt),
            ReceiveError::Throttled(_)
            | ReceiveError::Denied(_)
            | ReceiveError::Missing(_)
            | ReceiveError::Service(_) => None,
        };
        Self { pause, wait, attempt, reserved: Some(reserved) }
    }

    /// Whether it asks for a lost response: then it has to be made, however many polls there are.
    pub(super) fn repeats(&self) -> bool {
        self.attempt.is_some()
    }

    pub(super) async fn run<Q: Queue, T, A>(
        self,
        shared: &Shared<Q, T, A>,
        permits: &Permits,
        app_shares: &Shares,
        bounds: &Bounds,
    ) -> Polled {
        let wait = self.wait;
        let begin = async {
            if !self.pause.is_zero() {
                sleep(self.pause).await;
            }
            if let Some(reserved) = self.reserved {
                return reserved;
            }
            app_shares.wait_for_the_quick().await;
            permits.reserve(bounds.batch).await
        };
        let reserved = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return Polled::Stopped,
            reserved = begin => reserved,
        };
        let attempt = self.attempt.unwrap_or_else(|| AttemptId(shared.random.uuid().to_string()));
        // The queue hands over no later than its wait after the request: a response that arrives
        // beyond that was under way for long, and its messages' visibility has been running.
        let asked_at = Instant::now();
        let latest = asked_at + wait + SAFETY_MARGIN;
        let receive = shared.queue.receive(reserved.count(), wait, &attempt);
        match detecting_stalls(receive, |began, ended| shared.was_absent(began, ended)).await {
            (Ok(messages), there) => {
                let times = Times { received_at: Instant::now(), lease_start: there.min(latest) };
                // A short poll beside a long one is meant to be quick; where no poll may wait, all are.
                let quick = bounds.wait.is_zero() || asked_at.elapsed() * 2 < wait;
                let hasty = wait == bounds.wait && quick;
                Polled::Received { messages, reserved, times, long: !wait.is_zero(), hasty }
            }
            (Err(error), _) => Polled::Failed { error, reserved, attempt, wait },
        }
    }
}
