//! hookferry takes webhook jobs off an Amazon SQS FIFO queue and delivers each by HTTP: in order per
//! message group, at least once, losing none.
//!
//! # The map
//!
//! ```text
//! queue ──receive──▶ worker ──one lane a group──▶ lane ──▶ job: decode, verify
//!   ▲                (pollers, permits, drain)      │       apps: whose is it?
//!   │                                               │       plan: what goes where
//!   │◀──delete── acknowledgements ◀──────done───────┤       transport: one attempt each
//!   │◀──change visibility─────────────────retry─────┤       policy: outcome → disposition
//!   │◀──send to the dead-letter queue────given up───┘
//! ```
//!
//! [`job`], [`app`], [`plan`], [`policy`] and [`local::fifo`] are pure: no clock, no I/O. [`lane`] and
//! [`worker`] know the ports [`queue`], [`transport`] and [`apps`], and no adapter. [`cli`] alone wires
//! adapters to ports. A test holds the sources to this.
//!
//! # Invariants
//!
//! - A delete is sent only for a job that every webhook has, or that the dead-letter queue has
//!   confirmed (or, without such a queue, that has been logged as given up).
//! - No job of a group is attempted while an earlier one is not done. There is no retry queue, no
//!   re-enqueueing and no timer that waits to retry: a retry is SQS' visibility timeout.
//! - No attempt outlives its message's visibility: it starts only if it fits into the lease, and ends
//!   at its deadline.
//! - A receive in progress is not cancelled; a lost response is asked for again by its attempt id.
//! - No job is given up because its app could not be looked up, however long that lasts.
//! - Everything that grows has a bound: messages and bytes in memory, the ledger, the breaker,
//!   remembered apps, Lambda clients, response bodies.
//! - No address is dialled that was not judged, and nothing is resolved between the two.
//! - Nothing secret is printed: URLs, headers, bodies, receipt handles and secrets are in no error.
//!
//! # The lease
//!
//! It ends at (arrival of the receive's response + visibility timeout − [`lane::SAFETY_MARGIN`]). SQS
//! begins to count before the response arrives; the margin is for that. A response that waited for a
//! process which did not run (stopped, suspended) counts as arrived before that. With the defaults
//! (timeout 4 s, visibility 5 s) an attempt that would start more than 250 ms after the arrival needs
//! an extension first: one call for the whole rest of the lane, to 30 s.
//!
//! # How it is tested
//!
//! The worker runs in unit tests under paused time over the local queue's own state machine, with
//! scripted destinations and faults (`src/worker/tests.rs`). `tests/it` runs it as a process over real
//! HTTP; with `HOOKFERRY_TEST_SQS_ENDPOINT` set the same tests run against any SQS endpoint, and
//! `tests/interop/run.sh` does so with ministack, an emulator that was not written here, and checks the
//! local queue with AWS' own SDKs. `tests/servers` needs real databases, DynamoDB and Lambda;
//! `tests/interop/servers.sh` starts them and runs it.

pub mod app;
pub mod apps;
mod aws;
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
