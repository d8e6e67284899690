//! Times in which the process did not run, as an answer that is awaited meets them.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// How often it is made sure, while an answer is awaited, that time passes as it should.
const TICK: Duration = Duration::from_millis(250);

/// Awaits an answer, and gives the moment from which it may have been there: now, or, if the process
/// did not run for a while (stopped, suspended, starved), the last moment at which it did. While it
/// does not run, an answer waits in the socket and the visibility timeout of its messages runs out. `stalled` is told of
/// each such time.
pub(crate) async fn detecting_stalls<T>(
    answer: impl Future<Output = T>,
    stalled: impl Fn(Instant, Instant),
) -> (T, Instant) {
    let mut answer = pin!(answer);
    let mut awake = Instant::now();
    let mut asleep_since = None;
    loop {
        let ticked = timeout(TICK, &mut answer).await;
        let now = Instant::now();
        let slept = now.duration_since(awake) > TICK * 2;
        if slept {
            stalled(awake, now);
        }
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

#[cfg(test)]
mod tests;
