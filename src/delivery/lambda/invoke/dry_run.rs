//! Whether a function may be invoked, without invoking it.

use aws_sdk_lambda::types::InvocationType;

use super::options::Options;
use super::{Function, Lambda, Webhook, error};
use crate::outcome::Outcome;

impl Lambda {
    /// Asks Lambda whether the function is there and may be invoked by these credentials.
    ///
    /// # Errors
    /// Why a delivery would fail.
    pub async fn dry_run(&self, webhook: &Webhook) -> Result<String, String> {
        let function = webhook.function.parse::<Function>().map_err(|error| error.to_string())?;
        let options = Options::parse(webhook, &function).map_err(|error| error.to_string())?;
        let reference = function.reference(&options.region);
        if !self.allowed.allows(&function, &options.region) {
            return Err(format!("{reference} is not in WEBHOOKS_ALLOWED_FUNCTIONS"));
        }
        let client = self.clients.of(&options).map_err(|refused| refused.to_string())?;
        let call = client
            .invoke()
            .function_name(&reference)
            .set_qualifier(function.qualifier)
            .invocation_type(InvocationType::DryRun)
            .send();
        match Box::pin(call).await {
            Ok(_) => Ok(reference),
            Err(failure) => {
                Err(match error::outcome(&failure, self.timeout, error::Credentials::of(&options)) {
                    Outcome::Transient { reason, .. }
                    | Outcome::Permanent(reason)
                    | Outcome::Deferred(reason) => reason.to_string(),
                    Outcome::Delivered => return Ok(reference),
                })
            }
        }
    }
}
