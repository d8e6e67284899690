//! The adapter to Amazon SQS.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};

use super::error::CallError;
use super::outbox::CALL_DEADLINE;
use super::port::{EntryResult, SendBatch};
use crate::queue::failure::{Asked, classify, formless, is_refusal, is_throttling, sending_entry};
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

    /// With all of the client's settings.
    pub(super) fn with_retries_of(client: Client, url: String) -> Self {
        let region = client.config().region().map(ToString::to_string).unwrap_or_default();
        Self { client, url, region }
    }
}

impl SendBatch for Sqs {
    async fn send_batch(&self, batch: &[&NewMessage]) -> Result<Vec<EntryResult>, CallError> {
        let entries = batch.iter().enumerate().map(|(n, job)| entry(n, job)).collect::<Result<_, _>>()?;
        let call = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send();
        let answer = Box::pin(call).await.map_err(|error| call_error(&error, &self.region))?;
        let mut results: HashMap<String, EntryResult> = HashMap::with_capacity(batch.len());
        for sent in answer.successful.into_iter().filter(|sent| !sent.message_id.is_empty()) {
            let id: MessageId = sent.message_id.into();
            results.insert(sent.id, EntryResult::Sent(id));
        }
        for failed in answer.failed {
            let why = sending_entry(&failed.code, failed.message.as_deref());
            let result = if is_throttling(&failed.code) {
                EntryResult::Throttled(why)
            } else if failed.sender_fault {
                EntryResult::Refused(why)
            } else {
                EntryResult::Failed(why)
            };
            results.insert(failed.id, result);
        }
        let silent = || EntryResult::Failed(formless("MessageId of this message"));
        Ok((0..batch.len()).map(|n| results.remove(&n.to_string()).unwrap_or_else(silent)).collect())
    }
}

fn entry(n: usize, job: &NewMessage) -> Result<SendMessageBatchRequestEntry, CallError> {
    let unusable = |error: aws_sdk_sqs::error::BuildError| CallError::Refused(error.to_string());
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(n.to_string())
        .message_body(&job.body)
        .message_group_id(&job.group)
        .message_deduplication_id(&job.deduplication);
    for (name, value) in job.attributes() {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value);
        entry = entry.message_attributes(name, value.build().map_err(unusable)?);
    }
    entry.build().map_err(unusable)
}

fn call_error<E>(error: &aws_sdk_sqs::error::SdkError<E>, region: &str) -> CallError
where
    E: std::error::Error + aws_sdk_sqs::error::ProvideErrorMetadata + 'static,
{
    let asked = Asked { permission: "sqs:SendMessage", region };
    let refused = is_refusal(error, &asked);
    match classify(error, &asked) {
        ReceiveError::Service(why) if refused => CallError::Refused(why),
        ReceiveError::NoResponse(why) => CallError::NoResponse(why),
        ReceiveError::Throttled(why) => CallError::Throttled(why),
        ReceiveError::Denied(why) => CallError::Denied(why),
        ReceiveError::Missing(why) => CallError::Missing(why),
        ReceiveError::Service(why) => CallError::Service(why),
    }
}
