//! Between the SDK's types and the port's.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_sqs::types::{BatchResultErrorEntry, MessageAttributeValue, MessageSystemAttributeName};
use bytes::Bytes;

use crate::queue::entry::text;
use crate::queue::failure::{Asked, is_of_receipt, settling_entry};
use crate::queue::trace::{self, TraceContext};
use crate::queue::{BatchEntryResult, Message, Receipt, Redriven};

pub(super) fn message(message: aws_sdk_sqs::types::Message, now: SystemTime) -> Option<Message> {
    use MessageSystemAttributeName as Name;
    let system = message.attributes.unwrap_or_default();
    let number = |name| system.get(&name).and_then(|number| number.parse::<u64>().ok());
    // By a clock that went back, or another machine's, a job may be sent in the future: it is new.
    let sent = number(Name::SentTimestamp)
        .and_then(|sent| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(sent)));
    let since =
        |then: Option<SystemTime>| then.and_then(|then| now.duration_since(then).ok()).unwrap_or_default();
    let first_received = number(Name::ApproximateFirstReceiveTimestamp)
        .and_then(|first| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(first)));
    let count = number(Name::ApproximateReceiveCount).and_then(|n| u32::try_from(n).ok());
    let own = message.message_attributes.unwrap_or_default();
    let attribute = |name| own.get(name).and_then(|value| value.string_value.as_deref());
    let aws = system.get(&Name::AwsTraceHeader).map(String::as_str);
    let trace = TraceContext::read(attribute(trace::TRACEPARENT), aws).map(Box::new);
    Some(Message {
        id: Arc::from(message.message_id?),
        receipt: Receipt::new(message.receipt_handle?),
        group: Arc::from(system.get(&Name::MessageGroupId)?.as_str()),
        body: Bytes::from(message.body?),
        receive_count: count.unwrap_or(1),
        sent,
        age: since(sent),
        since_first_receive: since(first_received),
        redriven: attribute("source_message_id")
            .map(|source| Redriven::of(source, attribute("delivered"), attribute("webhook"))),
        trace,
    })
}

/// The messages of a receive, up to the first that cannot be worked: what follows might be of its group, and would
/// overtake it.
pub(super) fn messages(all: Vec<aws_sdk_sqs::types::Message>, now: SystemTime) -> Vec<Message> {
    all.into_iter().map_while(|raw| message(raw, now)).collect()
}

/// Every entry of an answer by its index; whatever the answer does not mention is told as such.
pub(super) fn answers(
    count: usize,
    done: impl Iterator<Item = String>,
    failed: &[BatchResultErrorEntry],
    asked: &Asked<'_>,
) -> Vec<BatchEntryResult> {
    let mut entries = vec![BatchEntryResult::NotMentioned; count];
    let mut set = |id: &str, entry| {
        if let Some(place) = id.parse::<usize>().ok().and_then(|n| entries.get_mut(n)) {
            *place = entry;
        }
    };
    done.for_each(|id| set(&id, BatchEntryResult::Ok));
    for failure in failed {
        let entry = if is_of_receipt(&failure.code) {
            BatchEntryResult::ReceiptExpired
        } else {
            let (message, senders) = (failure.message.as_deref(), failure.sender_fault);
            BatchEntryResult::Failed(settling_entry(&failure.code, message, senders, asked))
        };
        set(&failure.id, entry);
    }
    entries
}

/// A moment as an attribute: seconds since the Unix epoch, with milliseconds.
pub(super) fn timestamp(moment: SystemTime) -> String {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:03}", since.as_secs(), since.subsec_millis())
}

/// How the type of a letter's `source_message_id` begins, before the account and name of the queue that it
/// comes from: SQS takes ten attributes, all of them are used, and a type may have a label.
pub(super) const ORIGIN_LABEL: &str = "String.";

/// A text whose type's label names a queue.
pub(super) fn marked(value: &str, queue: Option<&str>) -> MessageAttributeValue {
    let Some(queue) = queue else { return text(value) };
    MessageAttributeValue::builder()
        .data_type(format!("{ORIGIN_LABEL}{queue}"))
        .string_value(value)
        .build()
        .unwrap_or_else(|_| text(value))
}

/// The account and name of the queue with that URL.
pub(super) fn queue_of_url(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let mut segments = url.path_segments()?.rev();
    let (name, account) = (segments.next()?, segments.next());
    Some(account.map_or_else(|| name.to_owned(), |account| format!("{account}.{name}")))
}

/// The account and name of the queue with that ARN.
pub(super) fn queue_of_arn(arn: &str) -> Option<String> {
    let mut parts = arn.rsplit(':');
    let (name, account) = (parts.next()?, parts.next()?);
    Some(format!("{account}.{name}"))
}

/// The URL of the queue with that ARN, at the same endpoint as `url`.
pub(super) fn sibling_queue_url(url: &str, arn: &str) -> Option<String> {
    let mut parts = arn.rsplit(':');
    let (name, account) = (parts.next()?, parts.next()?);
    let mut url = url::Url::parse(url).ok()?;
    let depth = url.path_segments().map_or(0, Iterator::count);
    let mut segments = url.path_segments_mut().ok()?;
    segments.pop();
    if depth > 1 {
        segments.pop().push(account);
    }
    segments.push(name);
    drop(segments);
    Some(url.into())
}

#[cfg(test)]
mod tests;
