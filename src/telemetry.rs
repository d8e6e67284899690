//! What operators see of a running worker.

pub mod health;
pub mod metrics;
