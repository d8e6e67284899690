//! What is known of receivers, and what each may have under way: for every transport that reaches them.

pub(crate) mod admission;
pub(crate) mod host_limiter;
pub(crate) mod unanswered;
