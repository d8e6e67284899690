//! A message as an entry of `SendMessageBatch`: one form for the producer and for what puts dead letters back.

use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};

use super::NewMessage;

/// The entry of a message; its id is the message's place in the batch, under which the answer names it.
pub(crate) fn entry(place: usize, job: &NewMessage) -> Result<SendMessageBatchRequestEntry, BuildError> {
    let entry = SendMessageBatchRequestEntry::builder()
        .id(place.to_string())
        .message_body(&job.body)
        .message_group_id(&job.group)
        .message_deduplication_id(&job.deduplication);
    let attributes = job.attributes().into_iter();
    attributes.fold(entry, |entry, (name, value)| entry.message_attributes(name, text(&value))).build()
}

/// An attribute that is text.
pub(crate) fn text(value: &str) -> MessageAttributeValue {
    // Only a missing type makes this fail.
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()
        .unwrap_or_else(|_| unreachable!("the data type is set"))
}
