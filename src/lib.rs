//! hookferry takes webhook jobs off an Amazon SQS FIFO queue and delivers each by HTTP or AWS Lambda: in
//! order per message group, at least once, losing none.
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
//! - No job of a group is attempted while an earlier one is not done, unless it is in the same request
//!   behind it. There is no retry queue, no re-enqueueing and no timer that waits to retry: a retry is
//!   SQS' visibility timeout.
//! - Jobs share a request only at their first attempt, and none is given up for a failure that it
//!   shared, but for answers that are about the destination and final.
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
//! # Coalescing
//!
//! A lane sends one job at a time, so that a hot group gets no more than one job through in each answer
//! of its destination. With `WEBHOOKS_COALESCE` the jobs at the head of a lane go out as one request for
//! each webhook: as many as are of one app, have the same webhooks left (HTTP alone), were never
//! attempted and fit into the limits. Nothing waits for more to come: a run is made of what one receive
//! brought, ten jobs at the most. Its outcome goes on every job's own record, and each is settled by
//! itself, in order. What failed together goes on alone, so that one event that a receiver cannot take
//! gets none of the nine others dead-lettered. Another composition is another `X-Hookferry-Id`.
//!
//! # How it is tested
//!
//! - **Simulation** (`tests/it/simulation`): the worker and its lanes over the local queue's state
//!   machine, under virtual time and one seed a world: groups, jobs, 1 to 5 processes, latencies, hangs,
//!   bodies that trickle, calls that fail before or after they took effect, batches half failed, clock
//!   jumps, frozen, killed and restarted processes, shutdowns, changes of apps, poison, a dead-letter
//!   queue and an app source that are down. A book written from outside the worker holds every world to
//!   the invariants above, and the others' jobs to twice the time that they take without a destination
//!   that is dead (whose own may not fill the worker's memory). Thousands of seeds in `cargo test`;
//!   `SEEDS=1000000 cargo test --release --test it no_seed` for more, on all cores, `FROM=1000000` to
//!   begin elsewhere, `SEED=7` for one world's trace.
//! - **Units and properties**: beside the code, and `tests/properties` with oracles of their own.
//! - **Processes**: `tests/it` runs the worker over real HTTP, with hand-written receivers, proxies and
//!   TLS servers; `tests/chaos` several workers at once, killed, stopped and cut off, whose books are
//!   balanced at the end.
//! - **What was not written here**: `tests/interop/run.sh` (AWS' SDKs against the local queue; one
//!   conformance suite and the worker against ministack), `tests/interop/soketi/run.sh` (a real soketi in
//!   front, judged by Pusher's own library), `tests/interop/servers.sh` (PostgreSQL, MariaDB, DynamoDB and
//!   Lambda).
//! - **Fuzzing**: `tests/fuzz/run.sh` (jobs, plans, configuration, both of SQS' protocols).
//!
//! ## Mutations that the simulation is known to catch
//!
//! Each is a patch in `tests/mutants`; `tests/mutants/run.sh` applies them one at a time and fails if one
//! survives:
//!
//! - a job is deleted whether it was delivered or not, or before the dead-letter queue confirmed it, or
//!   when one of its webhooks has it, or is given up inside its window;
//! - a lane goes on after a failure, or works behind a copy that it was refused; every job of a group
//!   gets a lane of its own;
//! - the lease is counted from the request, from a response that was long under way, from after a
//!   standstill, or without its margins; half an extension is taken for one; an attempt starts beyond it,
//!   or has no deadline;
//! - a receive's attempt id is used again after throttling; a receive is given up under way;
//! - the ledger is ignored, or that a job is done, or that a delete was refused; two copies of a message
//!   are worked at once; a destination is taken for dead after one failure;
//! - jobs of a run that failed go out together again, or are given up for it; only the first of a run is
//!   on the ledger; a run goes over a job that does not fit;
//! - what was not started is not released at a shutdown; a permit is never given back; a poller does not
//!   come back after an error.

pub mod admin;
pub mod app;
pub mod apps;
mod aws;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod egress;
pub mod job;
mod json;
pub mod lease;
pub mod local;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod producer;
pub mod queue;
pub mod random;
pub mod telemetry;
pub mod worker;
