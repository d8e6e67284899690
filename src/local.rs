//! The local queue.
