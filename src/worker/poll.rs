//! One poll, and how many there should be.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Bounds;
use super::permits::{Permits, Reserved};
use crate::lease::SAFETY_MARGIN;
use crate::queue::{AttemptId, Message, Queue, ReceiveError};
use crate::worker::lane::{Shared, Times};

/// Polls at once at the most: at ten messages each and 10 ms a call, 32,000 messages a second.
const MAX_POLLERS: usize = 32;

/// The least and the most upper end of the jittered wait after an error.
const ERROR_WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The wait where only an operator can help.
pub const DENIED_WAIT: Duration = Duration::from_secs(10);

/// How often a poll under way makes sure that time passes as it should.
const TICK: Duration = Duration::from_millis(250);

/// One logical receive.
#[derive(Debug)]
pub(super) struct Poll {
    wait: Duration,
    attempt: Option<AttemptId>,
    reserved: Option<Reserved>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Polled {
    /// Messages, or none.
    Received { messages: Vec<Message>, reserved: Reserved, times: Times },
    /// An error.
    Failed { error: ReceiveError, reserved: Reserved, attempt: AttemptId },
    /// The worker ends before the receive began.
    Stopped,
}

impl Poll {
    /// A new logical receive, after a pause.
    pub(super) fn fresh(wait: Duration) -> Self {
        Self { wait, attempt: None, reserved: None }
    }

    /// The poll that follows a failed one. Only if no response came back does it ask for the same
    /// messages again; an answer, throttling included, used the attempt id up.
    pub(super) fn after(
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
        Self { wait, attempt, reserved: Some(reserved) }
    }

    /// Whether it asks for a lost response: then it has to be made, however many polls there are.
    pub(super) fn repeats(&self) -> bool {
        self.attempt.is_some()
    }

    pub(super) async fn run<Q: Queue, T, A>(
        self,
        shared: &Shared<Q, T, A>,
        permits: &Permits,
        bounds: &Bounds,
    ) -> Polled {
        let begin = async {
            if !self.wait.is_zero() {
                sleep(self.wait).await;
            }
            match self.reserved {
                Some(reserved) => reserved,
                None => permits.reserve(bounds.batch).await,
            }
        };
        let reserved = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return Polled::Stopped,
            reserved = begin => reserved,
        };
        let attempt = self.attempt.unwrap_or_else(|| AttemptId(shared.random.uuid().to_string()));
        // The queue hands over no later than its wait after the request: a response that arrives
        // beyond that was under way for long, and its messages' visibility has been running.
        let latest = Instant::now() + bounds.wait + SAFETY_MARGIN;
        match receive_detecting_stalls(shared.queue.receive(reserved.count(), &attempt)).await {
            (Ok(messages), there) => {
                let times = Times { received_at: Instant::now(), lease_start: there.min(latest) };
                Polled::Received { messages, reserved, times }
            }
            (Err(error), _) => Polled::Failed { error, reserved, attempt },
        }
    }
}

/// Awaits an answer, and gives the moment from which it may have been there: now, or, if the process
/// did not run for a while (stopped, suspended, starved), the last moment at which it did. While it
/// does not run, an answer waits in the socket and the visibility timeout of its messages runs out.
async fn receive_detecting_stalls<T>(answer: impl Future<Output = T>) -> (T, Instant) {
    let mut answer = pin!(answer);
    let mut awake = Instant::now();
    let mut asleep_since = None;
    loop {
        let ticked = timeout(TICK, &mut answer).await;
        let now = Instant::now();
        let slept = now.duration_since(awake) > TICK * 2;
        match ticked {
            Ok(answer) if slept => return (answer, awake),
            // On waking the tick may come first, and the answer that was waiting right behind it.
            Ok(answer) => return (answer, asleep_since.unwrap_or(now)),
            Err(_) => {
                asleep_since = slept.then_some(awake);
                awake = now;
            }
        }
    }
}

/// How many polls there should be: one when idle, more while they come back full.
#[derive(Debug)]
pub(super) struct PollScaler {
    target: usize,
    errors: u32,
    batch: usize,
}

impl PollScaler {
    pub(super) fn new(batch: usize) -> Self {
        Self { target: 1, errors: 0, batch }
    }

    pub(super) fn target(&self) -> usize {
        self.target
    }

    /// A receive was answered with `count` messages, of `asked`.
    pub(super) fn received(&mut self, count: usize, asked: usize) {
        self.errors = 0;
        if count == 0 {
            self.target = self.target.saturating_sub(1).max(1);
        } else if count >= asked && asked >= self.batch.min(2) {
            self.target = (self.target + 1).min(MAX_POLLERS);
        }
    }

    /// A receive failed: how long to wait before the next, `random` in 0..1.
    pub(super) fn failed(&mut self, error: &ReceiveError, random: f64) -> Duration {
        self.errors = self.errors.saturating_add(1);
        match error {
            ReceiveError::Denied(_) | ReceiveError::Missing(_) => {
                self.target = 1;
                return DENIED_WAIT;
            }
            ReceiveError::Throttled(_) => self.target = (self.target / 2).max(1),
            ReceiveError::NoResponse(_) | ReceiveError::Service(_) => {}
        }
        let (least, most) = ERROR_WAIT;
        let top = least.saturating_mul(2_u32.saturating_pow(self.errors)).min(most);
        top.mul_f64(random).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_receives_add_pollers_empty_ones_remove_them_and_throttling_halves_them() {
        let mut pollers = PollScaler::new(10);
        for _ in 0..40 {
            pollers.received(10, 10);
        }
        assert_eq!(pollers.target(), MAX_POLLERS);
        pollers.received(4, 10);
        assert_eq!(pollers.target(), MAX_POLLERS);
        pollers.failed(&ReceiveError::Throttled(String::new()), 0.5);
        assert_eq!(pollers.target(), MAX_POLLERS / 2);
        for _ in 0..40 {
            pollers.received(0, 10);
        }
        assert_eq!(pollers.target(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_waited_while_the_process_did_not_run_counts_from_before_that() {
        let start = Instant::now();
        let (send, answer) = tokio::sync::oneshot::channel();
        let arrival = tokio::spawn(receive_detecting_stalls(answer));
        tokio::time::sleep(TICK * 4 + TICK / 2).await;
        send.send(()).unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(arrival.await.unwrap().1, start + TICK * 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_right_after_waking_counts_from_before_the_sleep_and_a_later_one_from_now() {
        for (after, expected) in [(TICK / 2, TICK), (TICK * 3 / 2, Duration::from_secs(10) + TICK * 3)] {
            let start = Instant::now();
            let (send, answer) = tokio::sync::oneshot::channel();
            let arrival = tokio::spawn(receive_detecting_stalls(answer));
            tokio::time::sleep(TICK + TICK / 2).await;
            tokio::time::advance(Duration::from_secs(10)).await;
            tokio::time::sleep(after).await;
            send.send(()).unwrap();
            assert_eq!(arrival.await.unwrap().1, start + expected, "{after:?}");
        }
    }

    #[test]
    fn the_wait_after_errors_lies_between_100_ms_and_5_s_and_is_10_s_where_only_people_can_help() {
        let mut pollers = PollScaler::new(10);
        for n in 0..50_u32 {
            let wait = pollers.failed(&ReceiveError::Service(String::new()), f64::from(n % 10) / 10.0);
            assert!(wait >= ERROR_WAIT.0 && wait <= ERROR_WAIT.1);
        }
        assert_eq!(pollers.failed(&ReceiveError::Denied(String::new()), 0.0), DENIED_WAIT);
        assert_eq!(pollers.failed(&ReceiveError::Missing(String::new()), 0.0), DENIED_WAIT);
    }
}
