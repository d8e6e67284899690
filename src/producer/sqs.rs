//! The adapter to Amazon SQS.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::error::CallError;
use super::outbox::{CALL_DEADLINE, RetryPolicy};
use super::port::{EntryResult, SendBatch};
use crate::aws::credentials_may_come;
use crate::aws::error_code::{self, ErrorKind};
use crate::error_chain::causes;
use crate::queue::entry::entry;
use crate::queue::failure::{Asked, classify, formless, is_refusal, of_entry, speaks_of_time};
use crate::queue::{MessageId, NewMessage, ReceiveError};

/// How long a connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A queue of SQS'.
#[derive(Debug)]
pub(super) struct Sqs {
    client: Client,
    url: String,
    region: String,
}

impl Sqs {
    /// With the client's endpoint, region and credentials, but without retries: those are the outbox's, which
    /// knows what of a group may follow.
    pub(super) fn new(client: &Client, url: String) -> Self {
        let timeouts =
            TimeoutConfig::builder().operation_timeout(CALL_DEADLINE).connect_timeout(CONNECT_TIMEOUT);
        let region = client.config().region().map(ToString::to_string).unwrap_or_default();
        let config = client
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.build())
            .build();
        Self { client: Client::from_conf(config), url, region }
    }

    /// With the client's timeouts too; its retries are [`retries_of`].
    pub(super) fn with_timeouts_of(client: &Client, url: String) -> Self {
        let region = client.config().region().map(ToString::to_string).unwrap_or_default();
        let config = client.config().to_builder().retry_config(RetryConfig::disabled()).build();
        Self { client: Client::from_conf(config), url, region }
    }
}

/// The attempts that the client would make, with its backoff: made by the outbox, which knows of each whether it
/// may have had an effect, and repeats what an answer says failed in part.
pub(super) fn retries_of(client: &Client) -> RetryPolicy {
    let client = client.config().retry_config();
    let attempts = client.map_or(1, RetryConfig::max_attempts);
    let backoff = client.map_or(RetryPolicy::default().backoff, RetryConfig::initial_backoff);
    RetryPolicy { attempts, backoff, ..RetryPolicy::default() }
}

impl SendBatch for Sqs {
    async fn send_batch(&self, batch: &[&NewMessage]) -> Result<Vec<EntryResult>, CallError> {
        let entries = batch.iter().enumerate().map(|(n, job)| entry(n, job)).collect::<Result<_, _>>();
        let entries = entries.map_err(|error| CallError::Refused(error.to_string()))?;
        let call = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send();
        let asked = Asked { permission: "sqs:SendMessage", region: &self.region };
        let answer = Box::pin(call).await.map_err(|error| call_error(&error, &asked))?;
        let mut results: HashMap<String, EntryResult> = HashMap::with_capacity(batch.len());
        for sent in answer.successful.into_iter().filter(|sent| !sent.message_id.is_empty()) {
            let id: MessageId = sent.message_id.into();
            results.insert(sent.id, EntryResult::Sent(id));
        }
        for failed in answer.failed {
            let message = failed.message.as_deref();
            let result = match of_entry(&failed.code, message, failed.sender_fault, &asked) {
                ReceiveError::Throttled(why) => EntryResult::Throttled(why),
                ReceiveError::Denied(why) if passes(Some(&failed.code), message) => EntryResult::Expired(why),
                ReceiveError::Denied(why) => EntryResult::Denied(why),
                ReceiveError::NoResponse(why) => EntryResult::Unknown(why),
                ReceiveError::Missing(why) | ReceiveError::Service(why) if failed.sender_fault => {
                    EntryResult::Refused(why)
                }
                ReceiveError::Missing(why) | ReceiveError::Service(why) => EntryResult::Failed(why),
            };
            results.insert(failed.id, result);
        }
        let silent = || EntryResult::Unknown(formless("MessageId of this message"));
        Ok((0..batch.len()).map(|n| results.remove(&n.to_string()).unwrap_or_else(silent)).collect())
    }
}

fn call_error<E>(error: &SdkError<E>, asked: &Asked<'_>) -> CallError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let refused = is_refusal(error, asked);
    match classify(error, asked) {
        ReceiveError::Service(why) if refused => CallError::Refused(why),
        ReceiveError::NoResponse(why) if unconnected(error) => CallError::Unreachable(why),
        ReceiveError::Denied(why) if passes(error.code(), error.message()) || credentials_may_come(error) => {
            CallError::Expired(why)
        }
        ReceiveError::NoResponse(why) => CallError::NoResponse(why),
        ReceiveError::Throttled(why) => CallError::Throttled(why),
        ReceiveError::Denied(why) => CallError::Denied(why),
        ReceiveError::Missing(why) => CallError::Missing(why),
        ReceiveError::Service(why) => CallError::Service(why),
    }
}

/// Whether a denial may pass by itself: credentials that have expired are fetched anew, a clock is set.
fn passes(code: Option<&str>, message: Option<&str>) -> bool {
    let code = code.unwrap_or_default();
    error_code::kind(code) == ErrorKind::Expired || speaks_of_time(code, message.unwrap_or_default())
}

/// Whether no connection came about: name resolution, the connect and TLS come before the request. The client's
/// errors tell it by their texts alone.
fn unconnected(failure: &(dyn std::error::Error + 'static)) -> bool {
    causes(failure).any(|cause| {
        let why = cause.to_string();
        why.contains("client error (Connect)") || why.contains("HTTP connect timeout")
    })
}
