//! Which connections have answered a request: those whose sudden end may be no more than the receiver's
//! way to close what it keeps.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::Response;

use crate::error_chain::causes;

/// Connections remembered, 64 bytes each. Past it all are forgotten: an end of one of them is then an attempt that
/// failed.
const MAX_REMEMBERED: usize = 16 * 1024;

/// A connection, as its two ends' addresses name it.
type Ends = (SocketAddr, SocketAddr);

/// The connections of one client that have answered.
#[derive(Debug, Default)]
pub(super) struct Answered(Mutex<HashSet<Ends>>);

impl Answered {
    /// A response came; says whether it is its connection's first.
    pub(super) fn by(&self, response: &Response) -> bool {
        let Some(info) = response.extensions().get::<HttpInfo>() else { return false };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(ends(info))
    }

    /// How many there have been.
    pub(super) fn connections(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether the connection that an error is about had answered an earlier request. It is forgotten.
    pub(super) fn before(&self, error: &reqwest::Error) -> bool {
        let Some(ends) = ends_of(error) else { return false };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&ends)
    }
}

fn ends(info: &HttpInfo) -> Ends {
    (info.local_addr(), info.remote_addr())
}

fn ends_of(error: &reqwest::Error) -> Option<Ends> {
    let error = causes(error).find_map(|cause| cause.downcast_ref::<legacy::Error>())?;
    let mut extras = hyper::http::Extensions::new();
    error.connect_info()?.get_extras(&mut extras);
    extras.get().map(ends)
}
