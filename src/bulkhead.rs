//! The bulkhead: threads of their own for receivers that may send without end before they answer.
//!
//! Before an answer a receiver may send 1xx responses without end. hyper reads on while the socket holds more, which
//! between two awaits can be tens of megabytes; neither reqwest nor the AWS SDK passes a bound on. Such a connection
//! keeps the thread busy that it lives on until the attempt's deadline, and whatever else lives there waits. These threads
//! are many and have the lowest priority: a flood takes the processor time that nobody else wants, and a receiver that
//! has only been down finds a thread beside it.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// As many connections can flood at once before others on these threads wait. Each thread takes some 20 KB of memory.
const THREADS: usize = 32;
/// As `nice` has it: a seventieth of the processor time of a thread that wants it, too.
const LOWEST_PRIORITY: i32 = 19;

/// The threads; started when they are first needed.
#[derive(Debug, Default)]
pub(super) struct Bulkhead(OnceLock<Option<Runtime>>);

impl Bulkhead {
    /// Runs it on these threads, and what it spawns, connections among it. Dropped, it ends there as well.
    pub(super) async fn run<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let Some(runtime) = self.0.get_or_init(start) else { return future.await };
        match AbortOnDropHandle::new(runtime.spawn(future)).await {
            Ok(output) => output,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Drop for Bulkhead {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its threads, which nothing may do on another runtime's.
        if let Some(runtime) = self.0.take().flatten() {
            runtime.shutdown_background();
        }
    }
}

fn start() -> Option<Runtime> {
    let built = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("bulkhead")
        .on_thread_start(|| {
            // Where it is refused, these threads compete with the others as equals.
            rustix::process::nice(LOWEST_PRIORITY).ok();
        })
        .enable_all()
        .build();
    match built {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            warn!(%error, "no threads can be started for receivers that do not answer: they use the others'");
            None
        }
    }
}
