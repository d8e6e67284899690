//! The app sources and Lambda against real servers: PostgreSQL, MariaDB, and DynamoDB and Lambda of
//! ministack. `tests/interop/servers.sh` starts them, says by environment variables where they are, and
//! runs this; it is no part of `cargo test`. One test at a time: they take servers down.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests take their own settings from the environment")]

mod dynamodb;
mod lambda;
mod mysql;
mod outage;
mod postgres;
mod server;
#[path = "../it/world.rs"]
#[allow(dead_code, reason = "shared with the target `it`, which uses all of it")]
mod world;
