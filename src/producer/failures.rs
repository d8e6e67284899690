//! What each handle of a producer has still to be told by a flush.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::{Error, FlushError};

/// The failures that a handle, or a flush under way, has not been told of.
#[derive(Clone, Debug)]
pub(super) struct Untold {
    /// How many there had been before.
    from: u64,
    first: Option<Error>,
}

#[derive(Debug, Default)]
struct State {
    failed: u64,
    next_handle: u64,
    handles: HashMap<u64, Untold>,
}

/// The failures of a producer, shared by its handles and its task.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(Arc<Mutex<State>>);

/// One handle's part in them. A clone has still to be told what the handle it was cloned from has.
#[derive(Debug)]
pub(super) struct Handle {
    failures: Failures,
    id: u64,
}

impl Failures {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first handle, that has to be told of all.
    pub(super) fn handle(&self) -> Handle {
        self.add(Untold { from: 0, first: None })
    }

    fn add(&self, untold: Untold) -> Handle {
        let mut state = self.lock();
        let id = state.next_handle;
        state.next_handle += 1;
        state.handles.insert(id, untold);
        Handle { failures: self.clone(), id }
    }

    /// Books failures, for every handle and for the flushes that are under way.
    pub(super) fn add_failed<'f>(
        &self,
        count: u64,
        error: &Error,
        flushes: impl Iterator<Item = &'f mut Untold>,
    ) {
        let mut state = self.lock();
        state.failed += count;
        let book = |untold: &mut Untold| {
            untold.first.get_or_insert_with(|| error.clone());
        };
        state.handles.values_mut().for_each(book);
        flushes.for_each(book);
    }

    /// What a flush of that handle, which begins now, has to tell of so far.
    pub(super) fn untold(&self, handle: u64) -> Untold {
        let state = self.lock();
        let gone = Untold { from: state.failed, first: None };
        state.handles.get(&handle).cloned().unwrap_or(gone)
    }

    /// What a flush tells at its end.
    pub(super) fn result(&self, untold: Untold) -> Result<(), FlushError> {
        let failed = self.lock().failed - untold.from;
        untold.first.map_or(Ok(()), |first| Err(FlushError { failed, first }))
    }

    /// The handle has been told of all.
    pub(super) fn told(&self, handle: u64) {
        let mut state = self.lock();
        let from = state.failed;
        if let Some(untold) = state.handles.get_mut(&handle) {
            *untold = Untold { from, first: None };
        }
    }
}

impl Handle {
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.failures.add(self.failures.untold(self.id))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.failures.lock().handles.remove(&self.id);
    }
}
