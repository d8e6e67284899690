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
//! - [`worker`] polls; `lane` works one group's jobs of one receive, each `in_flight` until the
//!   `delete_batcher` has deleted it; `ledger` remembers messages that may come back; `flow` bounds what is taken and attempted. They know the ports and no adapter.
//! - `receivers`, `descriptors` and `bulkhead` bound what a delivery takes of its host and of this process;
//!   [`standard`] has the signatures of Standard Webhooks.
//! - [`telemetry`] and `board` count, `admin` shows, [`config`] reads the environment.
//! - [`letters`] walks over dead letters and puts them back.
//! - `run` wires adapters to ports; `check`, `dlq`, `dev` and [`cli`] are the commands, and `process` is what they share.
//! - [`producer`] puts jobs on a queue; [`local`] is a queue and a receiver for one machine, over [`fifo`]; `visitors`
//!   says who may talk to what listens here.
//! - `aws`, [`tls`], [`random`], `wall`, `json`, `shown`, `quotes`, `hash`, `error_chain` and `backoff` are shared by several of these.
//!
//! `docs/architecture.md` says why, and lists the invariants; `docs/testing.md` how they are held. What is
//! public here is so for the binary, the tests and the benches; [`producer`] and [`job`] are for users too, and
//! they alone are held to semantic versioning.
//!
//! # As a library
//!
//! The feature `worker` is on by default and is all of the above. With `default-features = false` and the
//! feature `producer` there is what makes jobs and sends them, over the caller's own SQS client:
//!
//! ```no_run
//! use hookferry::producer::{Event, Producer, Signer};
//!
//! # async fn produce(client: aws_sdk_sqs::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let producer = Producer::new(client, "https://sqs.eu-west-1.amazonaws.com/123456789012/webhooks.fifo");
//! let app = Signer::new("app-id", "app-key", "app-secret");
//! // One of Pusher's events, in the group that soketi would put it into.
//! let joined = Event::member_added("presence-lobby", "7")?;
//! let confirmation = producer.enqueue(app.job(&joined)).await?;
//! println!("on the queue as {}", confirmation.await?);
//! // One of your own, in order with what else is in its group, and with nothing else.
//! let paid = Event::own("order.paid")?.with("total", "12.50")?.in_group("order-7");
//! let _later = producer.enqueue(app.job(&paid)).await?;
//! // Nothing is left, and nothing has failed.
//! producer.flush().await?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "worker")]
mod admin;
#[cfg(feature = "worker")]
pub mod app;
#[cfg(feature = "worker")]
pub mod apps;
#[cfg(feature = "producer")]
mod aws;
#[cfg(any(feature = "worker", feature = "producer"))]
mod backoff;
#[cfg(feature = "worker")]
mod board;
#[cfg(feature = "worker")]
mod bulkhead;
#[cfg(feature = "worker")]
mod check;
#[cfg(feature = "worker")]
pub mod cli;
#[cfg(feature = "worker")]
pub mod config;
#[cfg(feature = "worker")]
mod delete_batcher;
#[cfg(feature = "worker")]
pub mod delivery;
#[cfg(feature = "worker")]
mod descriptors;
#[cfg(feature = "worker")]
mod dev;
#[cfg(feature = "worker")]
mod dlq;
#[cfg(feature = "worker")]
pub mod egress;
#[cfg(any(feature = "worker", feature = "producer"))]
mod error_chain;
#[cfg(feature = "worker")]
pub mod fifo;
#[cfg(feature = "worker")]
mod flow;
#[cfg(any(feature = "worker", feature = "producer"))]
mod hash;
#[cfg(feature = "worker")]
mod in_flight;
pub mod job;
mod json;
#[cfg(feature = "worker")]
mod lane;
#[cfg(feature = "worker")]
pub mod lease;
#[cfg(feature = "worker")]
mod ledger;
#[cfg(feature = "worker")]
pub mod letters;
#[cfg(feature = "worker")]
pub mod local;
#[cfg(feature = "worker")]
pub mod outcome;
#[cfg(feature = "worker")]
pub mod plan;
#[cfg(feature = "worker")]
pub mod policy;
#[cfg(feature = "worker")]
mod process;
#[cfg(feature = "producer")]
pub mod producer;
pub mod queue;
mod quotes;
pub mod random;
#[cfg(feature = "worker")]
mod receivers;
#[cfg(feature = "worker")]
mod run;
#[cfg(any(feature = "worker", feature = "producer"))]
mod shown;
#[cfg(feature = "worker")]
pub mod standard;
#[cfg(feature = "worker")]
pub mod telemetry;
#[cfg(feature = "worker")]
pub mod tls;
#[cfg(feature = "worker")]
mod visitors;
#[cfg(any(feature = "worker", feature = "producer"))]
mod wall;
#[cfg(feature = "worker")]
pub mod worker;
