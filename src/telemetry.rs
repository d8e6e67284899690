//! What the worker tells of itself.

pub mod embedded;
pub mod failures;
pub mod health;
pub mod metrics;
mod process;
pub mod settling;
pub mod traces;
pub mod watchdog;
