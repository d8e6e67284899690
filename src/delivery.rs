//! The port to the destinations: one attempt at one delivery.
//!
//! An implementation makes exactly one attempt, follows no redirect and never retries by itself
//! once the destination may have seen the request. The caller drops the future at the attempt's
//! deadline; dropping it has to end the attempt.

pub mod function_name;
pub mod http;
#[cfg(feature = "lambda")]
pub mod lambda;
#[cfg(not(feature = "lambda"))]
#[path = "delivery/without_lambda.rs"]
pub mod lambda;

use crate::app::Target;
use crate::outcome::{Outcome, Reason};
use crate::plan::Delivery;

/// Something that can deliver.
pub trait Transport: Send + Sync + 'static {
    /// Makes one attempt; `number` counts the attempts at this job from 1.
    fn attempt(&self, delivery: &Delivery, number: u32) -> impl Future<Output = Outcome> + Send;
}

/// Sends each delivery by the transport of its target.
#[derive(Debug)]
pub struct Destinations {
    http: http::Http,
    lambda: lambda::Lambda,
}

impl Destinations {
    /// All destinations, by these transports.
    #[must_use]
    pub fn new(http: http::Http, lambda: lambda::Lambda) -> Self {
        Self { http, lambda }
    }
}

impl Transport for Destinations {
    async fn attempt(&self, delivery: &Delivery, number: u32) -> Outcome {
        match &delivery.target {
            Target::Http(url) => self.http.attempt(url, delivery, number).await,
            Target::Lambda(webhook) => self.lambda.attempt(webhook, delivery, number).await,
            Target::Missing => Outcome::Permanent(Reason::NoTarget),
            Target::Unusable { why, .. } => Outcome::transient(Reason::WebhookUnusable(why.clone())),
        }
    }
}
