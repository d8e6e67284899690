//! What the worker tells of itself.

pub mod board;
pub mod embedded;
pub mod health;
pub mod metrics;
mod process;
pub mod watchdog;
