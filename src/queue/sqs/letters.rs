//! A dead-letter queue, as those see it who look after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::MessageSystemAttributeName;

use super::convert::{ORIGIN_LABEL, message, queue_of_arn, queue_of_url};
use super::{BatchEntryResult, Error, NO_GROUPS, Receipt, ReceiveError, Sqs};
use crate::queue::failure::classify;
use crate::queue::{AttemptId, MAX_BATCH, Message, Queue};

/// How long letters are hidden that somebody looks at: long enough to send ten back at a low rate, and
/// to see that the queue is empty before any reappears.
const VISIBILITY_SECONDS: i32 = 120;

/// A message of a dead-letter queue.
#[derive(Debug)]
pub struct RawLetter {
    /// The message.
    pub message: Message,
    /// Its text attributes.
    pub attributes: BTreeMap<String, String>,
    /// The account and name of the queue that it comes from, if it says so.
    pub source: Option<Arc<str>>,
}

impl Sqs {
    /// Receives letters with all that they say.
    pub async fn receive_raw(&self, max: usize, attempt: &AttemptId) -> Result<Vec<RawLetter>, ReceiveError> {
        let call = self
            .receive
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(max.min(MAX_BATCH)).unwrap_or(1))
            .wait_time_seconds(i32::try_from(self.usage.wait.as_secs()).unwrap_or_default())
            .visibility_timeout(VISIBILITY_SECONDS)
            .receive_request_attempt_id(&attempt.0)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All");
        #[allow(deprecated, reason = "older endpoints know this name of it alone")]
        let call = call.attribute_names(aws_sdk_sqs::types::QueueAttributeName::All);
        let asked = self.asked("sqs:ReceiveMessage");
        let answer = Box::pin(call.send()).await.map_err(|failure| classify(&failure, &asked))?;
        let now = self.clock.now();
        let all = answer.messages.unwrap_or_default();
        self.tell_missing(&all);
        let receipt = |raw: &aws_sdk_sqs::types::Message| raw.receipt_handle.clone().map(Receipt::new);
        let receipts: Vec<Receipt> = all.iter().filter_map(receipt).collect();
        let letters: Vec<RawLetter> = all.into_iter().filter_map(|raw| raw_letter(raw, now)).collect();
        if letters.is_empty() && !receipts.is_empty() {
            // Or whoever asks again finds none, for as long as they are hidden. Where that fails they are just that.
            self.release(&receipts.iter().collect::<Vec<_>>()).await.ok();
            return Err(ReceiveError::Service(NO_GROUPS.to_owned()));
        }
        Ok(letters)
    }

    /// Gives letters back at once.
    pub async fn release(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        let changes: Vec<(&Receipt, Duration)> =
            receipts.iter().map(|receipt| (*receipt, Duration::ZERO)).collect();
        self.change_visibility(&changes).await
    }

    /// The account and name of this queue, as letters name it.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        queue_of_url(&self.url)
    }
}

fn raw_letter(raw: aws_sdk_sqs::types::Message, now: std::time::SystemTime) -> Option<RawLetter> {
    let own = raw.message_attributes.clone().unwrap_or_default();
    let by_sqs = raw
        .attributes
        .as_ref()
        .and_then(|system| system.get(&MessageSystemAttributeName::DeadLetterQueueSourceArn))
        .and_then(|arn| queue_of_arn(arn));
    let by_label = own
        .get("source_message_id")
        .and_then(|attribute| attribute.data_type.strip_prefix(ORIGIN_LABEL).map(str::to_owned));
    let attributes =
        own.into_iter().filter_map(|(name, attribute)| Some((name, attribute.string_value?))).collect();
    Some(RawLetter {
        message: message(raw, now)?,
        attributes,
        source: by_sqs.or(by_label).filter(|source| !source.is_empty()).map(Arc::from),
    })
}
