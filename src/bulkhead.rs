//! The bulkhead: threads of their own for receivers that may send without end before they answer.
//!
//! Before an answer a receiver may send 1xx responses without end. hyper reads on while the socket holds more, which
//! between two awaits can be tens of megabytes; neither reqwest nor the AWS SDK passes a bound on. Such a connection
//! keeps the thread busy that it lives on until the attempt's deadline, and whatever else lives there waits. These threads
//! are many and have the lowest priority: a flood takes the processor time that nobody else wants, and a receiver that
//! has only been down finds a thread beside it. For receivers of which nothing bad is known there are others, with a
//! priority at which they are not starved on a busy machine.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// What threads are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Receivers that have not shown that they answer.
    Unproven,
    /// Receivers that leave attempts unanswered, or may at any time.
    Mute,
}

impl Threads {
    /// How many connections can flood at once before others on these threads wait. Each thread takes some 20 KB of memory.
    fn count(self) -> usize {
        match self {
            Self::Unproven => 16,
            Self::Mute => 32,
        }
    }

    /// As `nice` has it: a tenth, and a seventieth, of the processor time of a thread that wants it, too.
    fn priority(self) -> i32 {
        match self {
            Self::Unproven => 10,
            Self::Mute => 19,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Mute => "bulkhead",
        }
    }
}

/// The threads; started when they are first needed.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    threads: Threads,
    runtime: OnceLock<Option<Runtime>>,
}

impl Bulkhead {
    pub(crate) fn new(threads: Threads) -> Self {
        Self { threads, runtime: OnceLock::new() }
    }

    /// Runs it on these threads, and what it spawns, connections among it. Dropped, it ends there as well.
    pub(crate) async fn run<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let Some(runtime) = self.runtime.get_or_init(|| start(self.threads)) else { return future.await };
        match AbortOnDropHandle::new(runtime.spawn(future)).await {
            Ok(output) => output,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Drop for Bulkhead {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which nothing may do on another runtime's.
        if let Some(runtime) = self.runtime.take().flatten() {
            runtime.shutdown_background();
        }
    }
}

fn start(threads: Threads) -> Option<Runtime> {
    let built = Builder::new_multi_thread()
        .worker_threads(threads.count())
        .thread_name(threads.name())
        .on_thread_start(move || {
            // Where it is refused, these threads compete with the others as equals.
            rustix::process::nice(threads.priority()).ok();
        })
        .enable_all()
        .build();
    match built {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            warn!(%error, "no threads can be started for receivers that may not answer: they use the others'");
            None
        }
    }
}
