//! The whole system on one machine: a local SQS-compatible FIFO queue and a receiver.

mod connections;
pub mod protocol;
pub mod receiver;
pub mod server;
