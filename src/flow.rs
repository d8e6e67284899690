//! Flow control: how much is taken off the queue at a time, whose it is, and what is attempted.
//!
//! Each answers one question and, but for [`room`], knows none of the others: how many messages and bytes ([`permits`]), how many of them
//! one app's ([`shares`]), whether there is room for a body that is made ([`room`]), how many polls ([`scaler`]),
//! whether a destination is down ([`breaker`]) and which time counts for that ([`absences`], [`stalls`]), how many
//! requests at a time one that asked for fewer gets ([`throttle`]), and for how long one job is planned before others
//! get a turn ([`turns`]). [`app_quota`] shares what there is a number of among apps, for others as well.

pub mod absences;
pub mod app_quota;
pub mod breaker;
pub mod permits;
pub mod room;
pub mod scaler;
pub mod shares;
pub mod stalls;
pub mod throttle;
pub mod turns;
