//! hookferry takes webhook jobs off an Amazon SQS FIFO queue and delivers each by HTTP or AWS Lambda: in
//! order per message group, at least once, losing none.
//!
//! # The map
//!
//! ```text
//! receive ──▶ prepare ──▶ attempt ──▶ decide ──▶ settle
//! queue       job, apps,  delivery    policy     queue: delete, change visibility, or dead letter
//!             plan
//! ```
//!
//! - What decides is pure, without clock or I/O: [`job`] (the envelope), [`app`], [`plan`], [`outcome`],
//!   [`policy`], [`lease`].
//! - The ports are [`queue`], [`apps`] and [`delivery`]; their adapters lie below them. [`egress`] says which
//!   addresses may be dialled.
//! - [`worker`] polls, and works one lane a message group. It knows the ports and no adapter.
//! - [`telemetry`] counts, [`admin`] shows, [`config`] reads the environment, [`cli`] wires everything.
//! - [`producer`] puts jobs on a queue; [`local`] is a queue and a receiver for one machine.
//!
//! `docs/architecture.md` says why, and lists the invariants; `docs/testing.md` how they are held. What is
//! public here is so for the binary, the tests and the benches; [`producer`] and [`job`] are for users too.

pub mod admin;
pub mod app;
pub mod apps;
mod aws;
pub mod cli;
pub mod config;
pub mod delivery;
mod descriptors;
pub mod egress;
pub mod job;
mod json;
pub mod lease;
pub mod letters;
pub mod local;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod producer;
pub mod queue;
pub mod random;
pub mod standard;
pub mod telemetry;
pub mod worker;
