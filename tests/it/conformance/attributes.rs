//! Attributes of messages: the sender's, and those of SQS.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hookferry::fifo::{Attribute, AttributeValue, Attributes};

use super::sqs::{Message, Receive, Received, Sqs, code, message, now};

fn text(kind: &str, value: &str) -> Attribute {
    Attribute { data_type: kind.into(), value: AttributeValue::Text(value.into()) }
}

fn binary(kind: &str, value: &'static [u8]) -> Attribute {
    Attribute { data_type: kind.into(), value: AttributeValue::Binary(Bytes::from_static(value)) }
}

fn named<const N: usize>(attributes: [(&str, Attribute); N]) -> Attributes {
    attributes.into_iter().map(|(name, attribute)| (name.to_owned(), attribute)).collect()
}

async fn received(sqs: &impl Sqs, queue: &str, system: &[&'static str], names: &[&'static str]) -> Received {
    let wanted =
        Receive { visibility: Some(0), system: system.to_vec(), attributes: names.to_vec(), ..now(1) };
    sqs.receive(queue, &wanted).await.unwrap().remove(0)
}

pub async fn attributes_of_every_type_come_back(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let attributes = named([
        ("string", text("String", "é \u{1F600} <&> \" '")),
        ("labelled", text("String.label", "x")),
        ("number", text("Number", "-12.5")),
        ("count", text("Number.int", "42")),
        ("bytes", binary("Binary", b"\0\xff\x80 \r\n")),
        ("gif", binary("Binary.gif", b"GIF89a")),
        ("a-b_c.D1", text("String", "a name with all that is allowed")),
    ]);
    sqs.send(&queue, &Message { attributes: attributes.clone(), ..message("g", "1") }).await.unwrap();
    assert_eq!(received(&sqs, &queue, &[], &["All"]).await.attributes, attributes);
    let other = sqs.queue(&[]).await;
    let entry = Message { attributes: attributes.clone(), ..message("g", "1") };
    assert_eq!(sqs.send_batch(&other, &[("x", entry)]).await.unwrap().failed, []);
    assert_eq!(received(&sqs, &other, &[], &["All"]).await.attributes, attributes);
}

pub async fn attributes_come_by_name_by_prefix_or_all(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let attributes = ["a.one", "a.two", "b"].map(|name| (name, text("String", name)));
    sqs.send(&queue, &Message { attributes: named(attributes), ..message("g", "1") }).await.unwrap();
    for (asked, wanted) in [
        (vec![], vec![]),
        (vec!["All"], vec!["a.one", "a.two", "b"]),
        (vec![".*"], vec!["a.one", "a.two", "b"]),
        (vec!["a.*"], vec!["a.one", "a.two"]),
        (vec!["b", "a.two", "c"], vec!["a.two", "b"]),
        (vec!["A"], vec![]),
    ] {
        let message = received(&sqs, &queue, &[], &asked).await;
        assert_eq!(message.attributes.keys().collect::<Vec<_>>(), wanted, "{asked:?}");
    }
}

pub async fn attributes_count_as_part_of_the_message(sqs: impl Sqs) {
    let queue = sqs.queue(&[("MaximumMessageSize", "1024")]).await;
    // Four of the name, six of the type, fourteen of the value.
    let attributes = named([("name", text("String", "fourteen bytes"))]);
    let with_body = |length| Message { attributes: attributes.clone(), ..message("g", &"x".repeat(length)) };
    assert_eq!(code(sqs.send(&queue, &with_body(1001)).await), "InvalidParameterValue", "a byte too long");
    sqs.send(&queue, &with_body(1000)).await.unwrap();
}

pub async fn an_attribute_has_a_name_a_known_type_and_a_value(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let long = "a".repeat(257);
    for (name, attribute) in [
        ("empty", text("String", "")),
        ("unknown", text("Text", "x")),
        ("no number", text("String", "x")),
        ("number", text("Number", "many")),
        (".dot", text("String", "x")),
        ("dot.", text("String", "x")),
        ("two..dots", text("String", "x")),
        ("AWS.mine", text("String", "x")),
        ("amazon.mine", text("String", "x")),
        (long.as_str(), text("String", "x")),
    ] {
        let bad = Message { attributes: named([(name, attribute)]), ..message("g", "1") };
        assert_eq!(code(sqs.send(&queue, &bad).await), "InvalidParameterValue", "{name}");
    }
    assert_eq!(sqs.take(&queue, 10).await, []);
}

pub async fn a_message_has_up_to_ten_attributes(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let attributes = |count: usize| (0..count).map(|n| (format!("a{n}"), text("String", "x"))).collect();
    let eleven = Message { attributes: attributes(11), ..message("g", "1") };
    assert_eq!(code(sqs.send(&queue, &eleven).await), "InvalidParameterValue", "eleven attributes");
    sqs.send(&queue, &Message { attributes: attributes(10), ..message("g", "1") }).await.unwrap();
    assert_eq!(received(&sqs, &queue, &[], &["All"]).await.attributes.len(), 10);
}

pub async fn system_attributes_tell_of_the_message(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let before = milliseconds();
    let sent = message("g", "1");
    let answer = sqs.send(&queue, &sent).await.unwrap();
    let received = received(&sqs, &queue, &["All"], &[]).await;
    let after = milliseconds();
    let system = &received.system;
    assert_eq!(received.id, answer.id);
    assert_eq!(system["MessageGroupId"], "g");
    assert_eq!(Some(&system["MessageDeduplicationId"]), sent.dedup.as_ref());
    assert_eq!(system["SequenceNumber"], answer.sequence_number);
    assert_eq!(system["ApproximateReceiveCount"], "1");
    assert!(!system["SenderId"].is_empty());
    let at = |name: &str| system[name].parse::<u128>().unwrap();
    let times = [before, at("SentTimestamp"), at("ApproximateFirstReceiveTimestamp"), after];
    assert!(times.is_sorted(), "{times:?}");
    assert!(!system.contains_key("AWSTraceHeader") && !system.contains_key("DeadLetterQueueSourceArn"));
}

pub async fn system_attributes_come_as_asked_for(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1"]).await;
    assert!(received(&sqs, &queue, &[], &["All"]).await.system.is_empty());
    let some = received(&sqs, &queue, &["MessageGroupId", "SentTimestamp"], &[]).await.system;
    assert_eq!(some.keys().collect::<Vec<_>>(), ["MessageGroupId", "SentTimestamp"]);
}

pub async fn the_trace_header_comes_back(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let traced = Message { trace_header: Some(header.into()), ..message("g", "1") };
    sqs.send(&queue, &traced).await.unwrap();
    let received = received(&sqs, &queue, &["AWSTraceHeader"], &["All"]).await;
    assert_eq!(received.system["AWSTraceHeader"], header);
    assert!(received.attributes.is_empty());
}

pub async fn the_first_receive_is_remembered(sqs: impl Sqs) {
    const FIRST: &str = "ApproximateFirstReceiveTimestamp";
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1"]).await;
    let first = received(&sqs, &queue, &[FIRST], &[]).await;
    let time: u128 = first.system[FIRST].parse().unwrap();
    while milliseconds() <= time + 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(received(&sqs, &queue, &[FIRST], &[]).await.system, first.system);
}

/// Since the epoch, by the clock that the service has, too: it runs on this machine.
fn milliseconds() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()
}
