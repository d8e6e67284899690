//! Whether a function may be invoked, without invoking it.

use aws_sdk_lambda::types::InvocationType;

use super::{Lambda, Prepared, Webhook, error, formless, is_lambdas};
use crate::outcome::{Outcome, Reason};

impl Lambda {
    /// Asks Lambda whether the function is there and may be invoked by these credentials.
    ///
    /// # Errors
    /// Why a delivery would fail.
    pub async fn dry_run(&self, webhook: &Webhook) -> Result<String, Reason> {
        let Prepared { function, reference, options, client } = self.prepare(webhook)?;
        let call = client
            .invoke()
            .function_name(&reference)
            .set_qualifier(function.qualifier)
            .invocation_type(InvocationType::DryRun)
            .send();
        match Box::pin(call).await {
            Ok(answer) if is_lambdas(&answer, &InvocationType::DryRun) => Ok(reference),
            Ok(answer) => Err(formless(&answer)),
            Err(failure) => {
                Err(match error::outcome(&failure, self.timeout, error::Credentials::of(&options)) {
                    Outcome::Transient { reason, .. }
                    | Outcome::Permanent(reason)
                    | Outcome::Deferred(reason) => reason,
                    Outcome::Delivered => return Ok(reference),
                })
            }
        }
    }
}
