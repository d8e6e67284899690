//! hookferry takes webhook jobs off an Amazon SQS FIFO queue and delivers each by HTTP: in order per
//! message group, at least once, losing none.
pub mod app;
pub mod apps;
pub mod cli;
pub mod config;
pub mod job;
pub mod lane;
pub mod ledger;
pub mod local;
pub mod ops;
pub mod plan;
pub mod policy;
pub mod producer;
pub mod queue;
pub mod random;
pub mod transport;
pub mod worker;
