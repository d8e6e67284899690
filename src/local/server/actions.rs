//! What each action does.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::convert::{Answer, check_batch, needed, outcomes, outgoing, queue_name, seconds, shown, url};
use super::store::{MAX_QUEUES, admit};
use super::{Endpoint, unknown};
use crate::fifo::{Attribute, AttributeValue, MAX_MESSAGE_SIZE, Outgoing, Receive, size};
use crate::local::protocol::types::{Batch, Parameters, Request, Send, Settle};
use crate::local::protocol::{WireError, md5};

impl Endpoint {
    pub(super) async fn call(
        &self,
        action: &str,
        parameters: Parameters<'_>,
        host: &str,
        path: &str,
    ) -> Answer {
        match action {
            "SendMessage" => self.send_one(parameters.read()?, path),
            "SendMessageBatch" => self.send_batch(parameters.read()?, path),
            "DeleteMessageBatch" => self.delete_batch(parameters.read()?, path),
            "ChangeMessageVisibilityBatch" => self.change_batch(parameters.read()?, path),
            "ReceiveMessage" => self.receive_messages(parameters.read()?, path).await,
            _ => self.call_simple(action, parameters.read()?, host, path),
        }
    }

    fn call_simple(&self, action: &str, request: Request, host: &str, path: &str) -> Answer {
        match action {
            "CreateQueue" => return self.create(request, host),
            "ListQueues" => return Ok(self.list(&request, host)),
            "GetQueueUrl" => return self.queue_url(request, host),
            _ => {}
        }
        let queue = queue_name(request.queue_url.as_deref(), path)?;
        match action {
            "DeleteMessage" => {
                let handle = needed(request.receipt_handle, "ReceiptHandle")?;
                self.with(|broker, now| broker.delete(now, &queue, &handle))?;
            }
            "ChangeMessageVisibility" => {
                let handle = needed(request.receipt_handle, "ReceiptHandle")?;
                let timeout =
                    seconds("VisibilityTimeout", needed(request.visibility_timeout, "VisibilityTimeout")?)?;
                self.with(|broker, now| broker.change_visibility(now, &queue, &handle, timeout))?;
            }
            "GetQueueAttributes" => return self.queue_attributes(&queue, &request),
            "SetQueueAttributes" => {
                self.with(|broker, now| broker.set_attributes(now, &queue, &request.attributes))?;
            }
            "PurgeQueue" => self.with(|broker, now| broker.purge_queue(now, &queue))?,
            "DeleteQueue" => {
                self.with(|broker, _| broker.delete_queue(&queue))?;
                self.tags().remove(&queue);
            }
            "ListDeadLetterSourceQueues" => {
                let sources = self.look(|broker, _| broker.sources_of(&queue))?;
                let urls: Vec<String> = sources.iter().map(|name| url(host, name)).collect();
                return Ok(json!({"queueUrls": urls}));
            }
            "TagQueue" | "UntagQueue" | "ListQueueTags" | "AddPermission" | "RemovePermission" => {
                self.exists(&queue)?;
                return Ok(self.tagged(action, queue, request));
            }
            other => return Err(unknown(other)),
        }
        Ok(json!({}))
    }

    /// The actions on a queue that is there which change nothing of how it works.
    fn tagged(&self, action: &str, queue: String, request: Request) -> Value {
        let mut tags = self.tags();
        match action {
            "TagQueue" => tags.entry(queue).or_default().extend(request.tags),
            "UntagQueue" => {
                let tags = tags.entry(queue).or_default();
                request.tag_keys.iter().for_each(|key| drop(tags.remove(key)));
            }
            "ListQueueTags" => return json!({"Tags": tags.get(&queue).cloned().unwrap_or_default()}),
            // There is one account here: what it permits others has no effect.
            _ => {}
        }
        json!({})
    }

    fn create(&self, request: Request, host: &str) -> Answer {
        let name = needed(request.queue_name, "QueueName")?;
        if self.look(|broker, _| broker.queue_names().count()) >= MAX_QUEUES {
            return Err(WireError::new(
                "OverLimit",
                format!("The local queue holds {MAX_QUEUES} queues at the most."),
            ));
        }
        self.with(|broker, now| broker.create_queue(now, &name, &request.attributes))?;
        if !request.tags.is_empty() {
            self.tags().entry(name.clone()).or_default().extend(request.tags);
        }
        Ok(json!({"QueueUrl": url(host, &name)}))
    }

    fn list(&self, request: &Request, host: &str) -> Value {
        let prefix = request.queue_name_prefix.as_deref().unwrap_or_default();
        let after = request.next_token.as_deref().unwrap_or_default();
        let most = request.max_results.and_then(|n| usize::try_from(n).ok()).unwrap_or(1000);
        let mut names: Vec<String> = self.look(|broker, _| {
            let wanted = broker.queue_names().filter(|name| name.starts_with(prefix) && *name > after);
            wanted.map(str::to_owned).collect()
        });
        let more = names.len() > most;
        names.truncate(most);
        let urls: Vec<String> = names.iter().map(|name| url(host, name)).collect();
        match names.last().filter(|_| more) {
            Some(last) => json!({"QueueUrls": urls, "NextToken": last}),
            None => json!({"QueueUrls": urls}),
        }
    }

    fn queue_url(&self, request: Request, host: &str) -> Answer {
        let name = needed(request.queue_name, "QueueName")?;
        self.look(|broker, now| broker.attributes(now, &name))?;
        Ok(json!({"QueueUrl": url(host, &name)}))
    }

    fn queue_attributes(&self, queue: &str, request: &Request) -> Answer {
        let mut attributes = self.look(|broker, now| broker.attributes(now, queue))?;
        let names = &request.attribute_names;
        if !names.iter().any(|name| name == "All") {
            attributes.retain(|name, _| names.contains(name));
        }
        Ok(json!({"Attributes": attributes}))
    }

    fn send_one(&self, send: Send, path: &str) -> Answer {
        let queue = queue_name(send.queue_url.as_deref(), path)?;
        self.send(&queue, outgoing(send)?)
    }

    fn send(&self, queue: &str, message: Outgoing) -> Answer {
        let mut answer = Map::new();
        answer.insert("MD5OfMessageBody".into(), md5::of_body(&message.body).into());
        if let Some(md5) = md5::of_attributes(message.attributes.iter()) {
            answer.insert("MD5OfMessageAttributes".into(), md5.into());
        }
        if let Some(header) = &message.trace_header {
            let value = AttributeValue::Text(header.clone());
            let attribute = Attribute { data_type: "String".into(), value };
            let name = "AWSTraceHeader".to_owned();
            let md5 = md5::of_attributes([(&name, &attribute)].into_iter());
            answer.insert("MD5OfMessageSystemAttributes".into(), md5.into());
        }
        let message = admit(&self.shared.store, message)?;
        let sent = self.with(|broker, now| broker.send(now, queue, message))?;
        answer.insert("MessageId".into(), (*sent.message_id).into());
        answer.insert("SequenceNumber".into(), sent.sequence_number.into());
        Ok(answer.into())
    }

    fn send_batch(&self, batch: Batch<Send>, path: &str) -> Answer {
        let queue = queue_name(batch.queue_url.as_deref(), path)?;
        check_batch(batch.entries.iter().map(|entry| entry.id.as_str()))?;
        let entries: Vec<(String, Result<Outgoing, WireError>)> = batch
            .entries
            .into_iter()
            .map(|mut entry| (std::mem::take(&mut entry.id), outgoing(entry)))
            .collect();
        let total: usize = entries.iter().filter_map(|(_, m)| m.as_ref().ok()).map(size).sum();
        if total > MAX_MESSAGE_SIZE {
            return Err(WireError::new(
                "BatchRequestTooLong",
                format!(
                    "Batch requests cannot be longer than {MAX_MESSAGE_SIZE} bytes. You have sent {total} bytes."
                ),
            ));
        }
        self.exists(&queue)?;
        Ok(outcomes(entries, |message| self.send(&queue, message?)))
    }

    fn delete_batch(&self, batch: Batch<Settle>, path: &str) -> Answer {
        let queue = queue_name(batch.queue_url.as_deref(), path)?;
        check_batch(batch.entries.iter().map(|entry| entry.id.as_str()))?;
        self.exists(&queue)?;
        let entries = batch.entries.into_iter().map(|entry| (entry.id, entry.receipt_handle));
        self.settle_batch(&queue, entries, |broker, now, queue, handle| broker.delete(now, queue, &handle))
    }

    fn change_batch(&self, batch: Batch<Settle>, path: &str) -> Answer {
        let queue = queue_name(batch.queue_url.as_deref(), path)?;
        check_batch(batch.entries.iter().map(|entry| entry.id.as_str()))?;
        self.exists(&queue)?;
        let entries = batch
            .entries
            .into_iter()
            .map(|entry| (entry.id, (entry.receipt_handle, entry.visibility_timeout.unwrap_or_default())));
        self.settle_batch(&queue, entries, |broker, now, queue, (handle, timeout)| {
            let timeout = u64::try_from(timeout).map_or(Duration::MAX, Duration::from_secs);
            broker.change_visibility(now, queue, &handle, timeout)
        })
    }

    /// Settles every entry under one lock and wakes the polls once.
    fn settle_batch<T>(
        &self,
        queue: &str,
        entries: impl Iterator<Item = (String, T)>,
        mut act: impl FnMut(&mut crate::fifo::Broker, Duration, &str, T) -> Result<(), crate::fifo::Error>,
    ) -> Answer {
        self.with(|broker, now| {
            Ok(outcomes(entries, |entry| {
                act(broker, now, queue, entry).map(|()| json!({})).map_err(|error| {
                    let is_unavailable = matches!(error, crate::fifo::Error::ReceiptUnavailable(_));
                    let wire = WireError::from(error);
                    // In a batch an expired handle is an invalid one.
                    if is_unavailable { WireError { shape: "ReceiptHandleIsInvalid", ..wire } } else { wire }
                })
            }))
        })
    }

    async fn receive_messages(&self, request: Request, path: &str) -> Answer {
        let queue = queue_name(request.queue_url.as_deref(), path)?;
        let max = usize::try_from(request.max_number_of_messages.unwrap_or(1)).unwrap_or(usize::MAX);
        let visibility = request.visibility_timeout.map(|n| seconds("VisibilityTimeout", n)).transpose()?;
        let wait = request.wait_time_seconds.map(|n| seconds("WaitTimeSeconds", n)).transpose()?;
        if wait.is_some_and(|wait| wait > Duration::from_secs(20)) {
            return Err(WireError::new(
                "InvalidParameterValue",
                "Value for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
            ));
        }
        let receive = Receive { max, visibility, attempt_id: request.receive_request_attempt_id.clone() };
        let received = self.receive(&queue, &receive, wait).await?;
        if received.is_empty() {
            return Ok(json!({}));
        }
        let names: Vec<&str> = request
            .attribute_names
            .iter()
            .chain(&request.message_system_attribute_names)
            .map(String::as_str)
            .collect();
        let messages: Vec<Value> = received.iter().map(|message| shown(message, &names, &request)).collect();
        Ok(json!({"Messages": messages}))
    }

    fn exists(&self, queue: &str) -> Result<(), WireError> {
        self.look(|broker, now| broker.attributes(now, queue)).map(drop).map_err(WireError::from)
    }
}
