//! Ends a process whose poll loop stands still: what holds it cannot be mended from inside, and the jobs
//! in flight come back to another one.
//!
//! It runs on a thread of its own, since the runtime's threads may be the ones that are stuck. It counts
//! its own rounds and not time: a process that was stopped or a machine that slept has had no rounds
//! either, and so is not ended on waking.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use tracing::error;

use super::health::Health;

/// The exit code of a process that was ended so (`EX_SOFTWARE` of sysexits).
pub const EXIT_CODE: i32 = 70;

/// One round.
const ROUND: Duration = Duration::from_secs(1);

/// Rounds without a turn after which the process is ended: far beyond what a machine short of CPU does to a loop that turns every
/// second, and under the visibility timeout of a queue set up for slow webhooks.
const ROUNDS: u32 = 60;

/// The watch of one loop; dropping it ends it.
#[derive(Debug)]
pub struct Watchdog {
    _ends: Sender<()>,
}

impl Watchdog {
    /// Ends the process once the loop, having turned before, has not turned for a minute.
    ///
    /// # Errors
    /// A thread could not be started.
    #[allow(clippy::disallowed_methods, reason = "what drains and destroys is what stands still")]
    pub fn start(health: Arc<Health>) -> std::io::Result<Self> {
        Self::start_with(
            ROUND,
            move || health.turns(),
            || {
                error!(
                    rounds = ROUNDS,
                    "the poll loop stands still; ending the process, its jobs come back to another"
                );
                std::process::exit(EXIT_CODE);
            },
        )
    }

    fn start_with(
        round: Duration,
        turns: impl Fn() -> u64 + Send + 'static,
        still: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (ends, ended) = channel();
        Builder::new().name("watchdog".to_owned()).spawn(move || {
            let mut silence = Silence::default();
            while ended.recv_timeout(round) == Err(RecvTimeoutError::Timeout) {
                if silence.round(turns()) {
                    return still();
                }
            }
        })?;
        Ok(Self { _ends: ends })
    }
}

/// Rounds in a row in which the loop did not turn.
#[derive(Debug, Default)]
struct Silence {
    turns: u64,
    rounds: u32,
}

impl Silence {
    /// Whether there were too many. A loop that has not turned yet has not begun.
    fn round(&mut self, turns: u64) -> bool {
        let silent = turns == self.turns && turns > 0;
        self.turns = turns;
        self.rounds = if silent { self.rounds + 1 } else { 0 };
        self.rounds >= ROUNDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_rounds_in_a_row_without_a_turn_are_too_many() {
        let mut silence = Silence::default();
        assert!((0..600).all(|_| !silence.round(0)), "it has not begun");
        for turns in 1..600 {
            assert!(!silence.round(turns));
            assert!((1..ROUNDS).all(|_| !silence.round(turns)));
        }
        assert!((1..ROUNDS).all(|_| !silence.round(600)));
        assert!(!silence.round(601));
        assert!((1..ROUNDS).all(|_| !silence.round(601)));
        assert!(silence.round(601));
    }

    #[test]
    fn a_blocked_main_thread_does_not_stop_the_watchdog() {
        let (acted, was) = channel();
        let act = move || acted.send(()).unwrap();
        let watchdog = Watchdog::start_with(Duration::from_millis(1), || 1, act).unwrap();
        was.recv().unwrap();
        drop(watchdog);
    }

    #[test]
    fn the_watchdogs_thread_ends_when_it_is_dropped() {
        let (acted, was) = channel::<()>();
        let act = move || acted.send(()).unwrap();
        drop(Watchdog::start_with(ROUND, || 1, act).unwrap());
        assert!(was.recv().is_err(), "its thread is gone");
    }
}
