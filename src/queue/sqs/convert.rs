//! Between the SDK's types and the port's.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_sqs::types::{BatchResultErrorEntry, MessageAttributeValue, MessageSystemAttributeName};
use bytes::Bytes;

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
        redriven: attribute("source_message_id").map(|source| Redriven::of(source, attribute("delivered"))),
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

pub(super) fn text(value: &str) -> MessageAttributeValue {
    // Only a missing type makes this fail.
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()
        .unwrap_or_else(|_| unreachable!("the data type is set"))
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
mod tests {
    use super::*;
    use crate::queue::Error;

    #[test]
    fn a_dead_letter_queue_lies_beside_its_source() {
        let arn = "arn:aws:sqs:eu-west-1:222222222222:dead.fifo";
        assert_eq!(
            sibling_queue_url("https://sqs.eu-west-1.amazonaws.com/111111111111/jobs.fifo", arn).unwrap(),
            "https://sqs.eu-west-1.amazonaws.com/222222222222/dead.fifo"
        );
        assert_eq!(
            sibling_queue_url("http://127.0.0.1:9324/queue/000000000000/jobs.fifo", arn).unwrap(),
            "http://127.0.0.1:9324/queue/222222222222/dead.fifo"
        );
    }

    fn received(attributes: &[(MessageSystemAttributeName, &str)]) -> aws_sdk_sqs::types::Message {
        let message = aws_sdk_sqs::types::Message::builder().message_id("m").receipt_handle("r").body("b");
        let group = message.attributes(MessageSystemAttributeName::MessageGroupId, "g");
        attributes
            .iter()
            .fold(group, |message, (name, value)| message.attributes(name.clone(), *value))
            .build()
    }

    #[test]
    fn an_age_is_never_negative_whatever_the_clocks_say() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let age = |sent: &str| {
            message(received(&[(MessageSystemAttributeName::SentTimestamp, sent)]), now).unwrap().age
        };
        assert_eq!(age("999999999"), Duration::from_millis(1));
        assert_eq!(age("1000000000"), Duration::ZERO);
        assert_eq!(age("0"), Duration::from_secs(1_000_000));
        for future_or_none in ["1000000001", "18446744073709551615", "18446744073709551616", "-1", "1.5", ""]
        {
            assert_eq!(age(future_or_none), Duration::ZERO, "{future_or_none:?}");
        }
        assert_eq!(message(received(&[]), now).unwrap().age, Duration::ZERO);
    }

    #[test]
    fn a_receive_count_that_cannot_be_read_is_one() {
        let count = |count: &str| {
            let attributes = [(MessageSystemAttributeName::ApproximateReceiveCount, count)];
            message(received(&attributes), SystemTime::UNIX_EPOCH).unwrap().receive_count
        };
        assert_eq!((count("7"), count("4294967295")), (7, u32::MAX));
        assert_eq!((count(""), count("many"), count("4294967296")), (1, 1, 1));
    }

    #[test]
    fn a_message_that_cannot_be_settled_is_none() {
        let mut nameless = received(&[]);
        nameless.receipt_handle = None;
        assert!(message(nameless, SystemTime::UNIX_EPOCH).is_none());
    }

    #[test]
    fn nothing_is_taken_behind_a_message_that_cannot_be_settled() {
        let mut nameless = received(&[]);
        nameless.receipt_handle = None;
        let all = vec![received(&[]), received(&[]), nameless, received(&[])];
        assert_eq!(messages(all, SystemTime::UNIX_EPOCH).len(), 2);
    }

    #[test]
    fn every_entry_of_a_batch_is_answered_for() {
        let failed = |id: &str, code: &str, sender_fault| {
            BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender_fault).build().unwrap()
        };
        let failed = [
            failed("1", "ReceiptHandleIsInvalid", true),
            failed("2", "AWS.SimpleQueueService.MessageNotInflight", true),
            failed("3", "AccessDenied", true),
            failed("4", "InternalError", false),
            failed("5", "KMS.AccessDeniedException", true),
        ];
        let asked = Asked { permission: "sqs:DeleteMessage", region: "eu-west-1" };
        let entries = answers(7, ["0".to_owned()].into_iter(), &failed, &asked);
        assert_eq!(
            entries[..3],
            [BatchEntryResult::Ok, BatchEntryResult::ReceiptExpired, BatchEntryResult::ReceiptExpired]
        );
        let told = |place: usize, part: &str| match &entries[place] {
            BatchEntryResult::Failed(Error::Denied(why)) => ("denied", why.contains(part)),
            BatchEntryResult::Failed(Error::Call(why)) => ("failed", why.contains(part)),
            _ => ("", false),
        };
        assert_eq!(told(3, "sqs:DeleteMessage"), ("denied", true));
        assert_eq!(told(4, "InternalError"), ("failed", true));
        assert_eq!(told(5, "kms:Decrypt"), ("denied", true));
        assert_eq!(entries[6], BatchEntryResult::NotMentioned, "the answer says nothing of it");
    }
}
