//! Room for bodies that are made while a job is worked: a part of the worker's memory and of its app's share.
//!
//! A webhook that gets all of a job shares the payload's own bytes with every other, and takes none. What its filter
//! leaves is rendered, and takes as much again for each webhook. It is rendered only where its app has room for it,
//! or else the bodies of a few jobs of one app would stop every poll.

use std::time::Duration;

use super::permits::{Permit, Permits};
use super::shares::{Made, Share};

/// The part of an attempt's time that it waits for room: what is left has to be enough for the attempt.
const ROOM_WAIT_DIVISOR: u32 = 8;

/// What was made, given back when dropped.
#[derive(Debug)]
pub struct Room {
    _made: Made,
    _permit: Permit,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// Whose memory a job's attempts take.
#[derive(Debug)]
pub struct Memory<'a> {
    /// Its app's, if it has one.
    pub share: Option<&'a Share>,
    /// Whether the job may go back untried where there is no room.
    pub deferrable: bool,
}

impl Memory<'_> {
    /// Room for the body of an attempt that may take so long. What takes no memory holds none.
    ///
    /// # Errors
    /// There is none in time.
    pub async fn wait(
        &self,
        permits: &Permits,
        bytes: usize,
        longest: Duration,
    ) -> Result<Option<Room>, NoRoom> {
        let Some(share) = self.share.filter(|_| bytes > 0) else { return Ok(None) };
        let made = if self.deferrable {
            share.make_within(bytes, longest / ROOM_WAIT_DIVISOR).await.ok_or(NoRoom)?
        } else {
            share.make_anyway(bytes)
        };
        Ok(Some(Room { _made: made, _permit: permits.hold(bytes) }))
    }
}

/// Room for bodies that can be done without, if there is any now.
#[must_use]
pub fn find(permits: &Permits, share: Option<&Share>, bytes: usize) -> Option<Room> {
    share?.make(bytes).map(|made| Room { _made: made, _permit: permits.hold(bytes) })
}
