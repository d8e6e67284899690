//! The Lambda transport of a build without the feature `lambda`: none.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::function_name::Allowed;
use crate::app::Lambda as Webhook;
use crate::egress::resolver::Resolve;
use crate::outcome::{Outcome, Reason};
use crate::plan::Delivery;

/// As with the feature.
pub type Judge = Arc<dyn Fn(IpAddr) -> Result<(), String> + Send + Sync>;

/// Invokes nothing.
#[derive(Debug)]
pub struct Lambda;

impl Lambda {
    /// As with the feature.
    #[allow(clippy::unused_async, reason = "the same signature as with the feature")]
    pub async fn load(
        _endpoint: Option<String>,
        _allowed: Allowed,
        _judge: Judge,
        _resolver: Arc<dyn Resolve>,
        _timeout: Duration,
    ) -> Self {
        Self
    }

    /// Fails: another build may deliver what is still inside its window.
    #[allow(clippy::unused_async, reason = "the same signature as with the feature")]
    pub async fn attempt(&self, _webhook: &Webhook, _delivery: &Delivery, _number: u32) -> Outcome {
        Outcome::transient(Reason::FunctionService(
            "Lambda was left out of this build; build with the cargo feature lambda".to_owned(),
        ))
    }
}
