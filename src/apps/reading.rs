//! Reading what a source gave apart from the threads that everyone shares.
//!
//! An app is as large as its owner likes, within its limits, and a file has thousands: reading takes milliseconds or
//! more without an await, and the owner says how often, since a job may have its app looked up once a second.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// How many records of one source are read at once; others wait. More threads would take processors from deliveries.
const AT_ONCE: usize = 2;

/// Where the records of one source are read.
#[derive(Debug)]
pub(super) struct Reading {
    places: Arc<Semaphore>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Reading {
    /// Reads on a thread of its own; a panic there is one here.
    pub(super) async fn apart<T: Send + 'static>(&self, read: impl FnOnce() -> T + Send + 'static) -> T {
        // It is never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let read = spawn_blocking(move || {
            // Whoever waited may have given up: the place is free once the thread is.
            let _place = place;
            read()
        });
        match read.await {
            Ok(read) => read,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime is shutting down, and drops this too.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn while_a_record_is_read_others_get_on() {
        let reading = Reading::default();
        let (tell, told) = mpsc::channel();
        let other = tokio::spawn(async move { tell.send(()) });
        let got_on = reading.apart(move || told.recv_timeout(Duration::from_secs(20)).is_ok()).await;
        assert!(got_on, "the only thread of the runtime was free meanwhile");
        other.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn no_more_than_the_bound_of_records_are_read_at_once() {
        let reading = Arc::new(Reading::default());
        let (start, mut started) = channel(AT_ONCE + 1);
        let (ends, end): (Vec<_>, Vec<_>) = (0..=AT_ONCE).map(|_| mpsc::channel::<()>()).unzip();
        let reads: Vec<_> = end
            .into_iter()
            .map(|end| {
                let (reading, start) = (Arc::clone(&reading), start.clone());
                let read = move || start.try_send(()).is_ok() && end.recv().is_err();
                tokio::spawn(async move { reading.apart(read).await })
            })
            .collect();
        for _ in 0..AT_ONCE {
            started.recv().await.unwrap();
        }
        assert!(started.try_recv().is_err());
        drop(ends);
        for read in reads {
            assert!(read.await.unwrap());
        }
        started.recv().await.unwrap();
    }
}
