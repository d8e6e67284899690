//! Each delivery to the adapter of its target.

use crate::app::Target;
use crate::delivery::Transport;
use crate::delivery::http::Http;
#[cfg(feature = "lambda")]
use crate::delivery::lambda::Lambda;
use crate::outcome::{Outcome, Reason};
use crate::plan::Delivery;

/// All destinations.
#[derive(Debug)]
pub(super) struct Destinations {
    pub http: Http,
    /// Unless it was left out of this build.
    #[cfg(feature = "lambda")]
    pub lambda: Lambda,
}

impl Transport for Destinations {
    async fn attempt(&self, delivery: &Delivery, number: u32) -> Outcome {
        match &delivery.target {
            Target::Http(url) => self.http.attempt(url, delivery, number).await,
            #[cfg(feature = "lambda")]
            Target::Lambda(webhook) => self.lambda.attempt(webhook, delivery, number).await,
            // Another build may deliver what is still inside its window.
            #[cfg(not(feature = "lambda"))]
            Target::Lambda(_) => Outcome::transient(Reason::FunctionService(
                "Lambda was left out of this build; build with the cargo feature lambda".to_owned(),
            )),
            Target::Missing => Outcome::Permanent(Reason::NoTarget),
            Target::Unusable { why, .. } => Outcome::transient(Reason::WebhookUnusable(why.clone())),
        }
    }
}
