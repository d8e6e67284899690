//! Whether the role has a permission, by a call that has to fail and changes nothing.
//!
//! AWS looks at the rights before it looks at the parameters. An emulator that knows no rights allows
//! everything.

use aws_config::retry::RetryConfig;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::{Connection, DESCRIBE_TIMEOUT};
use crate::queue::ReceiveError;
use crate::queue::failure::classify;

/// What no queue takes: XML has no such character.
const NO_BODY: &str = "\u{ffff}";
/// No queue has given it out.
const NO_RECEIPT: &str = "hookferry-check";

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It is allowed, as far as a failing call can tell.
    Allowed,
    /// It is denied; why.
    Denied(String),
    /// The queue did not say.
    Unknown(String),
}

impl Connection {
    /// `sqs:SendMessage`: a message without a group and with a body that no queue takes.
    pub async fn probe_send(&self) -> Probe {
        let call = self.probing().send_message().queue_url(&self.url).message_body(NO_BODY).send();
        self.probed(Box::pin(call).await, "sqs:SendMessage")
    }

    /// `sqs:ReceiveMessage`: no messages.
    pub async fn probe_receive(&self) -> Probe {
        let call = self.probing().receive_message().queue_url(&self.url).max_number_of_messages(0).send();
        self.probed(Box::pin(call).await, "sqs:ReceiveMessage")
    }

    /// `sqs:DeleteMessage`: of a receipt that there is not.
    pub async fn probe_delete(&self) -> Probe {
        let call = self.probing().delete_message().queue_url(&self.url).receipt_handle(NO_RECEIPT).send();
        self.probed(Box::pin(call).await, "sqs:DeleteMessage")
    }

    /// `sqs:ChangeMessageVisibility`: of a receipt that there is not.
    pub async fn probe_change_visibility(&self) -> Probe {
        let call = self
            .probing()
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(NO_RECEIPT)
            .visibility_timeout(1)
            .send();
        self.probed(Box::pin(call).await, "sqs:ChangeMessageVisibility")
    }

    fn probing(&self) -> aws_sdk_sqs::Client {
        self.client(RetryConfig::disabled(), DESCRIBE_TIMEOUT, self.options.timeout)
    }

    fn probed<T, E>(&self, answer: Result<T, SdkError<E>>, permission: &'static str) -> Probe
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let Err(failure) = answer else { return Probe::Allowed };
        match classify(&failure, &self.asked(permission)) {
            ReceiveError::Denied(why) => Probe::Denied(why),
            // It was looked at, and refused for what it is.
            ReceiveError::Service(_) if failure.raw_response().is_some() => Probe::Allowed,
            other @ (ReceiveError::Service(_)
            | ReceiveError::NoResponse(_)
            | ReceiveError::Throttled(_)
            | ReceiveError::Missing(_)) => Probe::Unknown(other.to_string()),
        }
    }
}
