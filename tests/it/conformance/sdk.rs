//! SQS by AWS JSON 1.0: the Rust SDK.

use std::collections::BTreeMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use bytes::Bytes;
use hookferry::fifo::{Attribute, AttributeValue};

use super::sqs::{Answer, Batch, Failure, Message, Receive, Received, Refused, Sent, Sqs};

impl Sqs for Client {
    async fn create_queue(&self, name: &str, attributes: &[(&str, &str)]) -> Answer<String> {
        let request = Client::create_queue(self).queue_name(name).set_attributes(Some(named(attributes)));
        Ok(request.send().await.map_err(refused)?.queue_url.unwrap())
    }

    async fn delete_queue(&self, queue: &str) -> Answer<()> {
        Client::delete_queue(self).queue_url(queue).send().await.map(drop).map_err(refused)
    }

    async fn queue_url(&self, name: &str) -> Answer<String> {
        Ok(self.get_queue_url().queue_name(name).send().await.map_err(refused)?.queue_url.unwrap())
    }

    async fn list_queues(
        &self,
        prefix: &str,
        most: Option<i32>,
        after: Option<&str>,
    ) -> Answer<(Vec<String>, Option<String>)> {
        let request = Client::list_queues(self).queue_name_prefix(prefix).set_max_results(most);
        let page = request.set_next_token(after.map(Into::into)).send().await.map_err(refused)?;
        Ok((page.queue_urls.unwrap_or_default(), page.next_token))
    }

    async fn dead_letter_sources(&self, queue: &str) -> Answer<Vec<String>> {
        let request = self.list_dead_letter_source_queues().queue_url(queue);
        Ok(request.send().await.map_err(refused)?.queue_urls)
    }

    async fn purge(&self, queue: &str) -> Answer<()> {
        self.purge_queue().queue_url(queue).send().await.map(drop).map_err(refused)
    }

    async fn attributes(&self, queue: &str, names: &[&str]) -> Answer<BTreeMap<String, String>> {
        let names = names.iter().map(|name| QueueAttributeName::from(*name)).collect();
        let request = self.get_queue_attributes().queue_url(queue).set_attribute_names(Some(names));
        let attributes = request.send().await.map_err(refused)?.attributes.unwrap_or_default();
        Ok(attributes.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect())
    }

    async fn set_attributes(&self, queue: &str, attributes: &[(&str, &str)]) -> Answer<()> {
        let request = self.set_queue_attributes().queue_url(queue).set_attributes(Some(named(attributes)));
        request.send().await.map(drop).map_err(refused)
    }

    async fn send(&self, queue: &str, message: &Message) -> Answer<Sent> {
        let mut request = self
            .send_message()
            .queue_url(queue)
            .message_body(&message.body)
            .set_message_group_id(message.group.clone())
            .set_message_deduplication_id(message.dedup.clone())
            .set_delay_seconds(message.delay);
        for (name, attribute) in &message.attributes {
            request = request.message_attributes(name, value(attribute));
        }
        if let Some(header) = &message.trace_header {
            request = request.message_system_attributes(
                MessageSystemAttributeNameForSends::AwsTraceHeader,
                MessageSystemAttributeValue::builder()
                    .data_type("String")
                    .string_value(header)
                    .build()
                    .unwrap(),
            );
        }
        let sent = request.send().await.map_err(refused)?;
        Ok(Sent {
            id: sent.message_id.unwrap(),
            sequence_number: sent.sequence_number.unwrap(),
            md5_of_body: sent.md5_of_message_body.unwrap(),
            md5_of_attributes: sent.md5_of_message_attributes,
        })
    }

    async fn send_batch(&self, queue: &str, entries: &[(&str, Message)]) -> Answer<Batch<Sent>> {
        let entries = entries.iter().map(|(id, message)| {
            let mut entry = SendMessageBatchRequestEntry::builder()
                .id(*id)
                .message_body(&message.body)
                .set_message_group_id(message.group.clone())
                .set_message_deduplication_id(message.dedup.clone())
                .set_delay_seconds(message.delay);
            for (name, attribute) in &message.attributes {
                entry = entry.message_attributes(name, value(attribute));
            }
            entry.build().unwrap()
        });
        let request = self.send_message_batch().queue_url(queue).set_entries(Some(entries.collect()));
        let answer = request.send().await.map_err(refused)?;
        let successful = answer.successful.into_iter().map(|entry| {
            let sent = Sent {
                id: entry.message_id,
                sequence_number: entry.sequence_number.unwrap(),
                md5_of_body: entry.md5_of_message_body,
                md5_of_attributes: entry.md5_of_message_attributes,
            };
            (entry.id, sent)
        });
        Ok(Batch { successful: successful.collect(), failed: failures(answer.failed) })
    }

    async fn receive(&self, queue: &str, receive: &Receive) -> Answer<Vec<Received>> {
        let mut request = self
            .receive_message()
            .queue_url(queue)
            .set_max_number_of_messages(receive.max)
            .set_wait_time_seconds(receive.wait)
            .set_visibility_timeout(receive.visibility)
            .set_receive_request_attempt_id(receive.attempt.clone());
        for name in &receive.system {
            request = request.message_system_attribute_names((*name).into());
        }
        for name in &receive.attributes {
            request = request.message_attribute_names(*name);
        }
        let messages = request.send().await.map_err(refused)?.messages.unwrap_or_default();
        Ok(messages.into_iter().map(received).collect())
    }

    async fn delete(&self, queue: &str, handle: &str) -> Answer<()> {
        let request = self.delete_message().queue_url(queue).receipt_handle(handle);
        request.send().await.map(drop).map_err(refused)
    }

    async fn delete_batch(&self, queue: &str, entries: &[(&str, &str)]) -> Answer<Batch<()>> {
        let entries = entries.iter().map(|(id, handle)| {
            DeleteMessageBatchRequestEntry::builder().id(*id).receipt_handle(*handle).build().unwrap()
        });
        let request = self.delete_message_batch().queue_url(queue).set_entries(Some(entries.collect()));
        let answer = request.send().await.map_err(refused)?;
        let successful = answer.successful.into_iter().map(|entry| (entry.id, ()));
        Ok(Batch { successful: successful.collect(), failed: failures(answer.failed) })
    }

    async fn change(&self, queue: &str, handle: &str, seconds: i32) -> Answer<()> {
        let request = self.change_message_visibility().queue_url(queue).receipt_handle(handle);
        request.visibility_timeout(seconds).send().await.map(drop).map_err(refused)
    }

    async fn change_batch(&self, queue: &str, entries: &[(&str, &str, i32)]) -> Answer<Batch<()>> {
        let entries = entries.iter().map(|(id, handle, seconds)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(*id).receipt_handle(*handle);
            entry.visibility_timeout(*seconds).build().unwrap()
        });
        let request = self.change_message_visibility_batch().queue_url(queue);
        let answer = request.set_entries(Some(entries.collect())).send().await.map_err(refused)?;
        let successful = answer.successful.into_iter().map(|entry| (entry.id, ()));
        Ok(Batch { successful: successful.collect(), failed: failures(answer.failed) })
    }
}

/// What the service said; anything else that goes wrong is no answer.
#[allow(clippy::needless_pass_by_value, reason = "it is what a result's error is mapped by")]
fn refused<E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(error: SdkError<E, R>) -> Refused {
    let code = error.code().unwrap_or_else(|| panic!("an error without a code: {error:?}")).to_owned();
    Refused { code, message: error.message().unwrap_or_default().to_owned() }
}

fn named(attributes: &[(&str, &str)]) -> std::collections::HashMap<QueueAttributeName, String> {
    attributes.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect()
}

fn value(attribute: &Attribute) -> MessageAttributeValue {
    let builder = MessageAttributeValue::builder().data_type(&attribute.data_type);
    let builder = match &attribute.value {
        AttributeValue::Text(text) => builder.string_value(text),
        AttributeValue::Binary(bytes) => builder.binary_value(Blob::new(bytes.to_vec())),
    };
    builder.build().unwrap()
}

fn received(message: aws_sdk_sqs::types::Message) -> Received {
    let attributes = message.message_attributes.unwrap_or_default().into_iter().map(|(name, attribute)| {
        let value = match (attribute.string_value, attribute.binary_value) {
            (Some(text), None) => AttributeValue::Text(text),
            (None, Some(blob)) => AttributeValue::Binary(Bytes::from(blob.into_inner())),
            both => panic!("the attribute {name} has not one value: {both:?}"),
        };
        (name, Attribute { data_type: attribute.data_type, value })
    });
    let system = message.attributes.unwrap_or_default().into_iter();
    Received {
        id: message.message_id.unwrap(),
        handle: message.receipt_handle.unwrap(),
        body: message.body.unwrap(),
        md5_of_body: message.md5_of_body.unwrap(),
        md5_of_attributes: message.md5_of_message_attributes,
        system: system.map(|(name, value)| (name.as_str().to_owned(), value)).collect(),
        attributes: attributes.collect(),
    }
}

fn failures(failed: Vec<BatchResultErrorEntry>) -> Vec<Failure> {
    let failure = |entry: BatchResultErrorEntry| Failure {
        id: entry.id,
        code: entry.code,
        sender_fault: entry.sender_fault,
    };
    failed.into_iter().map(failure).collect()
}
