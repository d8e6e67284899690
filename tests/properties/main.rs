//! Properties of what a job comes to, on generated input: every body byte for byte, every signature.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod coalescing;
mod extremes;
mod filtering;
mod oracle;
mod signature;
