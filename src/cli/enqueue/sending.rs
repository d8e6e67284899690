//! Sending what was read, until the input ends, the queue will have no more, or somebody asks to stop.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::NumberedJob;
use super::progress::{Progress, rate};
use super::results::Results;
use crate::process::output::Lines;
use crate::process::signals::Stops;
use crate::producer::{Error, Producer};
use crate::queue::MessageId;

/// How long what is under way is waited for after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// Why no more is read.
enum Ended {
    /// The input ended.
    Input,
    /// A line is no job.
    Line(anyhow::Error),
    /// The queue does not have a job that others are not to go before.
    Queue,
    /// Somebody asked for it; with the exit code.
    Signal(u8),
}

/// Sends jobs in order; prints the ids of those that the queue has, in the order of their lines, and what became
/// of the others. No more is read after one that the queue does not have for a reason that is not its own.
pub(super) async fn send(
    producer: &Producer,
    jobs: impl Stream<Item = anyhow::Result<NumberedJob>>,
    progress: &Progress,
    stops: &mut Stops,
    several: bool,
) -> anyhow::Result<ExitCode> {
    // A single job has no line.
    let of = |line| if several { format!("line {line}") } else { "error".to_owned() };
    let mut out = Lines::default();
    let mut results = Results::default();
    let mut under_way = FuturesUnordered::new();
    let mut ended = None;
    let mut deadline = None;
    let mut handed = pin!(jobs.then(async |job| {
        let (line, job) = job?;
        Ok::<_, anyhow::Error>((line, producer.enqueue(job).await))
    }));
    while ended.is_none() || !under_way.is_empty() {
        // Results come before the next job: none is handed over behind one that is known to have failed.
        tokio::select! {
            biased;
            code = stops.next() => {
                if matches!(ended, Some(Ended::Signal(_))) {
                    break;
                }
                if let Some(Ended::Line(error)) = ended.replace(Ended::Signal(code)) {
                    progress.say(&format!("error: {error:#}"));
                }
                deadline = Some(Instant::now() + GRACE);
            }
            () = at(deadline) => break,
            Some((line, result)) = under_way.next() => {
                if let Err(error) = book(&mut results, progress, &of(line), (line, result)) && ended.is_none() {
                    if several {
                        progress.say(&format!("no more is read: {}: {error}", of(line)));
                    }
                    ended = Some(Ended::Queue);
                }
                while let Some(id) = results.next_id() {
                    out.print(&id)?;
                }
            }
            job = handed.next(), if ended.is_none() && results.has_room() => match job {
                Some(Ok((line, confirmation))) => {
                    results.handed_over(line);
                    under_way.push(async move {
                        let result = match confirmation {
                            Ok(confirmation) => confirmation.await,
                            Err(error) => Err(error),
                        };
                        (line, result)
                    });
                }
                Some(Err(error)) => ended = Some(Ended::Line(error)),
                None => ended = Some(Ended::Input),
            },
        }
    }
    let elapsed = progress.end();
    let (ids, said) = results.end();
    for id in ids {
        out.print(&id)?;
    }
    for (lines, error) in said {
        eprintln!("{}: {error}", if several { &lines } else { "error" });
    }
    if several {
        if matches!(ended, Some(Ended::Queue | Ended::Signal(_))) {
            eprintln!("stopped: nothing behind line {} was sent", results.last);
        }
        eprintln!("{}", told(&results, elapsed));
    }
    match ended {
        Some(Ended::Line(error)) => Err(error),
        Some(Ended::Signal(code)) => Ok(ExitCode::from(code)),
        Some(Ended::Input | Ended::Queue) | None => {
            Ok(if results.failed + results.swallowed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

/// Books what became of a line; an error where the next ones are not to be sent.
fn book(
    results: &mut Results,
    progress: &Progress,
    shown: &str,
    (line, result): (u64, Result<MessageId, Error>),
) -> Result<(), Error> {
    progress.one_more();
    match result {
        Ok(id) => {
            if let Some(first) = results.sent(Instant::now(), line, id) {
                progress.say(&format!(
                    "{shown}: the queue took it for the job of line {first} (same deduplication id)"
                ));
            }
            Ok(())
        }
        Err(error @ (Error::Refused(_) | Error::TooLarge { .. })) => {
            results.failed(line);
            progress.say(&format!("{shown}: {error}"));
            Ok(())
        }
        // No other job will fare better, and those behind it in its group may not go before it.
        Err(error) => {
            results.unsent(line, error.clone());
            Err(error)
        }
    }
}

/// The summary in words.
fn told(results: &Results, elapsed: Duration) -> String {
    let Results { sent, swallowed, failed, .. } = results;
    let (seconds, rate) = (elapsed.as_secs_f64(), rate(*sent, elapsed));
    let swallowed = match swallowed {
        0 => String::new(),
        count => format!(", {count} taken for an earlier one"),
    };
    format!("{sent} sent{swallowed}, {failed} failed, in {seconds:.1} s: {rate:.0} a second")
}

/// Ends at that time; without one, never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
