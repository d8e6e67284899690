//! The worker as a process, over real HTTP, against the local queue; or, with
//! `HOOKFERRY_TEST_SQS_ENDPOINT` set, against whatever SQS endpoint is there.
//!
//! Everything is asserted on what arrived, in which order and how often.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests take their own settings from the environment")]

mod architecture;
mod certificates;
mod client_options;
mod coalescing;
mod commands;
mod config;
mod conformance;
mod deliveries;
mod descriptors;
mod dlq;
mod edge;
mod guard;
mod http2;
mod local_queue;
mod operator;
mod peer;
mod preflight;
mod producing;
mod proxy;
mod reuse;
mod secrets;
mod shutdown;
mod simulation;
mod sockudo;
mod standard_headers;
mod tls;
#[cfg(feature = "otel")]
mod traces;
mod unproven;
mod world;
