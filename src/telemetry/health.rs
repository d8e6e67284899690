//! Whether the worker is alive, and whether it is ready.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::ReceiveError;

/// The worker's state as its health endpoints tell it.
#[derive(Debug)]
pub struct Health {
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Instant,
    unready: Option<String>,
}

impl Health {
    /// Not ready before the first receive has been answered; alive while a receive was answered or a
    /// lane ended within `patience`.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        let unready = Some("the queue has not answered yet".to_owned());
        Self { patience, state: Mutex::new(State { last: Instant::now(), unready }) }
    }

    /// A receive was answered.
    pub fn received(&self) {
        let mut state = self.state();
        state.last = Instant::now();
        state.unready = None;
    }

    /// A lane ended: the worker moves although it may have no room to receive.
    pub fn progressed(&self) {
        self.state().last = Instant::now();
    }

    /// A receive failed.
    pub fn receive_failed(&self, error: &ReceiveError) {
        self.unready(error.to_string());
    }

    /// Says why the worker is not ready.
    pub fn unready(&self, why: String) {
        self.state().unready = Some(why);
    }

    /// The worker is ending.
    pub fn draining(&self) {
        self.unready("draining".to_owned());
    }

    /// Whether a receive completed lately.
    ///
    /// # Errors
    /// How long ago the last one was.
    pub fn live(&self) -> Result<(), String> {
        let silent = self.state().last.elapsed();
        if silent <= self.patience {
            return Ok(());
        }
        Err(format!("no receive has completed for {} s", silent.as_secs()))
    }

    /// Whether the queue answers.
    ///
    /// # Errors
    /// Why it is not ready.
    pub fn ready(&self) -> Result<(), String> {
        self.state().unready.clone().map_or(Ok(()), Err)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
