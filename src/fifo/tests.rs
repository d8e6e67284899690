use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

const Q: &str = "jobs.fifo";
const DEAD: &str = "dead.fifo";

fn s(seconds: u64) -> Duration {
    Duration::from_secs(1_700_000_000 + seconds)
}

fn attributes(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    [("FifoQueue", "true"), ("VisibilityTimeout", "5")]
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn broker(more: &[(&str, &str)]) -> Broker {
    let mut broker = Broker::new(1, "us-east-1", "000000000000");
    broker.create_queue(s(0), DEAD, &attributes(&[])).unwrap();
    broker.create_queue(s(0), Q, &attributes(more)).unwrap();
    broker
}

fn message(group: &str, body: &str) -> Outgoing {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Outgoing { group: group.into(), dedup: Some(deduplication(&body)), body, ..Outgoing::default() }
}

fn deduplication(body: &[u8]) -> String {
    crate::job::deduplication_id(body)
}

fn send(broker: &mut Broker, now: Duration, group: &str, bodies: &[&str]) {
    for body in bodies {
        broker.send(now, Q, message(group, body)).unwrap();
    }
}

fn take(broker: &mut Broker, now: Duration, max: usize) -> Vec<Received> {
    broker.receive(now, Q, &Receive { max, visibility: None, attempt_id: None }).unwrap()
}

fn bodies(received: &[Received]) -> Vec<&str> {
    received.iter().map(|r| std::str::from_utf8(&r.body).unwrap()).collect()
}

#[test]
fn a_message_in_flight_blocks_its_group_until_the_last_of_the_run_is_gone() {
    let mut b = broker(&[]);
    send(&mut b, s(0), "g", &["1", "2", "3", "4"]);
    let run = take(&mut b, s(0), 3);
    assert_eq!(bodies(&run), ["1", "2", "3"]);
    assert!(take(&mut b, s(0), 10).is_empty());
    for gone in &run[..2] {
        b.delete(s(1), Q, &gone.receipt_handle).unwrap();
        assert!(take(&mut b, s(1), 10).is_empty());
    }
    b.delete(s(1), Q, &run[2].receipt_handle).unwrap();
    assert_eq!(bodies(&take(&mut b, s(1), 10)), ["4"]);
}

#[test]
fn a_batch_is_filled_from_one_group_first_in_order() {
    let mut b = broker(&[]);
    for n in 0..3 {
        send(&mut b, s(0), "a", &[&format!("a{n}")]);
        send(&mut b, s(0), "b", &[&format!("b{n}")]);
    }
    assert_eq!(bodies(&take(&mut b, s(0), 4)), ["a0", "a1", "a2", "b0"]);
    assert!(take(&mut b, s(0), 4).is_empty(), "b1 waits for b0");
}

#[test]
fn a_timeout_brings_the_run_back_in_order_and_supersedes_its_handles() {
    let mut b = broker(&[]);
    send(&mut b, s(0), "g", &["1", "2"]);
    let old = take(&mut b, s(0), 10);
    assert_eq!(b.next_change(Q), Some(s(5)));
    assert!(take(&mut b, s(4), 10).is_empty());
    let expired = b.delete(s(5), Q, &old[0].receipt_handle);
    assert!(matches!(expired, Err(Error::ReceiptUnavailable(_))), "expired");
    let new = take(&mut b, s(5), 10);
    assert_eq!(bodies(&new), ["1", "2"]);
    assert_eq!((new[0].receive_count, new[0].first_received), (2, s(0)));
    assert!(b.delete(s(5), Q, &old[0].receipt_handle).is_err(), "superseded");
    assert!(b.change_visibility(s(5), Q, &old[0].receipt_handle, Duration::ZERO).is_err());
    b.delete(s(5), Q, &new[0].receipt_handle).unwrap();
    b.delete(s(5), Q, &new[0].receipt_handle).unwrap();
    for handle in ["", "nonsense", "1.2.3"] {
        assert_eq!(b.delete(s(5), Q, handle), Err(Error::ReceiptHandleIsInvalid));
    }
}

#[test]
fn a_head_that_is_visible_again_is_received_alone_and_a_tail_never_before_it() {
    let mut b = broker(&[]);
    send(&mut b, s(0), "g", &["1", "2", "3"]);
    let run = take(&mut b, s(0), 10);
    b.change_visibility(s(0), Q, &run[0].receipt_handle, Duration::from_secs(2)).unwrap();
    for rest in &run[1..] {
        b.change_visibility(s(0), Q, &rest.receipt_handle, Duration::from_secs(8)).unwrap();
    }
    let head = take(&mut b, s(2), 10);
    assert_eq!(bodies(&head), ["1"]);
    b.change_visibility(s(3), Q, &head[0].receipt_handle, Duration::from_secs(10)).unwrap();
    assert!(take(&mut b, s(9), 10).is_empty(), "the tail is visible, its head hidden");
    assert_eq!(bodies(&take(&mut b, s(13), 10)), ["1", "2", "3"]);
}

#[test]
fn a_release_frees_the_group_at_once_in_order() {
    let mut b = broker(&[]);
    send(&mut b, s(0), "g", &["1", "2"]);
    for released in take(&mut b, s(0), 10).iter().rev() {
        b.change_visibility(s(1), Q, &released.receipt_handle, Duration::ZERO).unwrap();
    }
    assert_eq!(bodies(&take(&mut b, s(1), 10)), ["1", "2"]);
}

#[test]
fn a_receive_that_hides_nothing_hands_out_each_message_once() {
    let arn = "arn:aws:sqs:us-east-1:000000000000:dead.fifo";
    let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":2}}"#);
    let mut b = broker(&[("VisibilityTimeout", "0"), ("RedrivePolicy", &policy)]);
    send(&mut b, s(0), "g", &["1", "2"]);
    send(&mut b, s(0), "h", &["3"]);
    assert_eq!(bodies(&take(&mut b, s(0), 10)), ["1", "2", "3"]);
    assert_eq!(bodies(&take(&mut b, s(0), 1)), ["1"]);
    assert_eq!(bodies(&take(&mut b, s(0), 10)), ["2", "3"], "the head went to the dead letters");
}

#[test]
fn what_names_a_receive_or_an_attribute_keeps_to_the_rules_of_sqs() {
    let mut b = broker(&[]);
    for id in ["", "a b", "é", &"a".repeat(129)] {
        let request = Receive { max: 1, visibility: None, attempt_id: Some(id.to_owned()) };
        assert!(matches!(b.receive(s(0), Q, &request), Err(Error::InvalidParameterValue(_))), "{id}");
    }
    let mut send = |name: &str, kind: &str, value: &str| {
        let value = AttributeValue::Text(value.to_owned());
        let attribute = Attribute { data_type: kind.to_owned(), value };
        let attributes = Attributes::from([(name.to_owned(), attribute)]);
        b.send(s(0), Q, Outgoing { attributes, ..message("g", "x") }).is_ok()
    };
    assert!(send("a-b_c.D1", "String.label", "x") && send("n", "Number", "-1.5e3"));
    for name in ["", ".a", "a.", "a..b", "a b", "é", "AWS.a", "amazon.a", &"a".repeat(257)] {
        assert!(!send(name, "String", "x"), "{name}");
    }
    assert!(!send("n", "Number", "infinity") && !send("n", "Number", "many") && !send("n", "Number", ""));
    assert!(!send("t", "Text", "x") && !send("s", "String", "") && !send("s", "String", "\u{1}"));
}

#[test]
fn visibility_is_bounded_from_the_receive() {
    let mut b = broker(&[]);
    send(&mut b, s(0), "g", &["1"]);
    let run = take(&mut b, s(0), 1);
    let handle = &run[0].receipt_handle;
    let change = |b: &mut Broker, at, secs| b.change_visibility(at, Q, handle, Duration::from_secs(secs));
    assert!(change(&mut b, s(0), 43_201).is_err());
    change(&mut b, s(0), 43_200).unwrap();
    assert!(change(&mut b, s(10), 43_191).is_err());
    change(&mut b, s(10), 43_190).unwrap();
}

#[test]
fn duplicates_are_swallowed_for_five_minutes_even_after_deletion() {
    let mut b = broker(&[]);
    let first = b.send(s(0), Q, message("g", "x")).unwrap();
    assert_eq!(b.send(s(0), Q, message("other", "x")).unwrap(), first);
    let run = take(&mut b, s(0), 10);
    assert_eq!(run.len(), 1);
    b.delete(s(0), Q, &run[0].receipt_handle).unwrap();
    assert_eq!(b.send(s(299), Q, message("g", "x")).unwrap(), first);
    assert!(take(&mut b, s(299), 10).is_empty());
    assert_ne!(b.send(s(300), Q, message("g", "x")).unwrap(), first);
    assert_eq!(take(&mut b, s(300), 10).len(), 1);
}

#[test]
fn deduplication_goes_by_group_or_by_content_where_the_queue_says_so() {
    let mut b = broker(&[("DeduplicationScope", "messageGroup"), ("ContentBasedDeduplication", "true")]);
    for group in ["a", "b", "a"] {
        let mut message = message(group, "x");
        message.dedup = None;
        b.send(s(0), Q, message).unwrap();
    }
    assert_eq!(take(&mut b, s(0), 10).len(), 2);
    let mut strict = broker(&[]);
    let mut without = message("a", "x");
    without.dedup = None;
    assert!(matches!(strict.send(s(0), Q, without), Err(Error::InvalidParameterValue(_))));
}

#[test]
fn an_attempt_id_replays_its_messages_until_one_of_them_is_touched() {
    let mut b = broker(&[]);
    send(&mut b, s(0), "g", &["1", "2"]);
    send(&mut b, s(0), "h", &["3"]);
    let again = |b: &mut Broker, at, max| {
        b.receive(at, Q, &Receive { max, visibility: None, attempt_id: Some("try".into()) }).unwrap()
    };
    let first = again(&mut b, s(0), 2);
    assert_eq!(again(&mut b, s(3), 2), first, "same handles, same counts");
    assert_eq!(b.next_change(Q), Some(s(8)), "the timeout starts anew");
    b.change_visibility(s(4), Q, &first[0].receipt_handle, Duration::from_secs(9)).unwrap();
    assert_eq!(bodies(&again(&mut b, s(4), 2)), ["3"], "a fresh receive");
}

#[test]
fn a_message_received_too_often_goes_to_the_dead_letter_queue_in_order() {
    let arn = "arn:aws:sqs:us-east-1:000000000000:dead.fifo";
    let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"2"}}"#);
    let mut b = broker(&[("RedrivePolicy", &policy)]);
    send(&mut b, s(0), "g", &["1", "2", "3"]);
    for at in [0, 5] {
        assert_eq!(take(&mut b, s(at), 2).len(), 2);
    }
    assert_eq!(bodies(&take(&mut b, s(10), 10)), ["3"], "the group goes on");
    let dead = b.receive(s(10), DEAD, &Receive { max: 10, visibility: None, attempt_id: None }).unwrap();
    assert_eq!(bodies(&dead), ["1", "2"]);
    assert_eq!(dead[0].dead_letter_source.as_deref(), Some("arn:aws:sqs:us-east-1:000000000000:jobs.fifo"));
    assert_eq!(b.sources_of(DEAD).unwrap(), [Q]);
}

#[test]
fn retention_is_honoured_and_unblocks_the_group() {
    let mut b = broker(&[("MessageRetentionPeriod", "60")]);
    send(&mut b, s(0), "g", &["1"]);
    let _in_flight = b.receive(
        s(50),
        Q,
        &Receive { max: 1, visibility: Some(Duration::from_secs(100)), attempt_id: None },
    );
    send(&mut b, s(55), "g", &["2"]);
    assert!(take(&mut b, s(59), 1).is_empty());
    assert_eq!(bodies(&take(&mut b, s(60), 10)), ["2"]);
    let shown = b.attributes(s(115), Q).unwrap();
    assert_eq!(shown["ApproximateNumberOfMessagesNotVisible"], "0");
    assert_eq!(shown["ApproximateNumberOfMessages"], "0");
}

#[test]
fn a_delayed_queue_holds_messages_back_in_order() {
    let mut b = broker(&[("DelaySeconds", "10")]);
    send(&mut b, s(0), "g", &["1"]);
    assert_eq!(b.attributes(s(0), Q).unwrap()["ApproximateNumberOfMessagesDelayed"], "1");
    assert!(take(&mut b, s(9), 10).is_empty());
    assert_eq!(take(&mut b, s(10), 10).len(), 1);
}

#[test]
fn limits_are_those_of_sqs() {
    let mut b = broker(&[]);
    let big = "x".repeat(MAX_MESSAGE_SIZE);
    b.send(s(0), Q, message("g", &big)).unwrap();
    assert!(b.send(s(0), Q, message("g", &format!("{big}x"))).is_err());
    assert_eq!(b.send(s(0), Q, message("", "x")), Err(Error::MissingParameter("MessageGroupId")));
    assert_eq!(b.send(s(0), Q, message("g", "\u{1}")), Err(Error::InvalidMessageContents));
    assert!(b.send(s(0), Q, message("a b", "x")).is_err());
    for max in [0, 11] {
        assert!(b.receive(s(0), Q, &Receive { max, visibility: None, attempt_id: None }).is_err());
    }
    for n in 0..=MAX_IN_FLIGHT {
        b.send(s(0), Q, message(&format!("g{n}"), &n.to_string())).unwrap();
    }
    for _ in 0..MAX_IN_FLIGHT / 10 {
        assert_eq!(take(&mut b, s(0), 10).len(), 10);
    }
    let over = b.receive(s(0), Q, &Receive { max: 10, visibility: None, attempt_id: None });
    assert_eq!(over, Err(Error::OverLimit));
}

#[test]
fn queues_are_created_alike_or_not_at_all_and_purged_once_a_minute() {
    let mut b = broker(&[]);
    b.create_queue(s(1), Q, &attributes(&[])).unwrap();
    assert_eq!(b.create_queue(s(1), Q, &attributes(&[("DelaySeconds", "1")])), Err(Error::QueueNameExists));
    assert!(b.create_queue(s(1), "plain", &attributes(&[])).is_err());
    assert!(matches!(
        b.create_queue(s(1), "a.fifo", &attributes(&[("Colour", "1")])),
        Err(Error::InvalidAttributeName(_))
    ));
    assert!(matches!(
        b.set_attributes(s(1), Q, &attributes(&[("VisibilityTimeout", "43201")])),
        Err(Error::InvalidAttributeValue(_))
    ));
    send(&mut b, s(1), "g", &["1"]);
    b.purge_queue(s(1), Q).unwrap();
    assert!(take(&mut b, s(1), 1).is_empty());
    assert_eq!(b.purge_queue(s(60), Q), Err(Error::PurgeQueueInProgress));
    b.delete_queue(Q).unwrap();
    assert_eq!(b.delete_queue(Q), Err(Error::QueueDoesNotExist));
}

#[test]
fn attributes_are_named_and_hold_what_sqs_takes() {
    let mut b = broker(&[]);
    let mut try_with = |name: &str, data_type: &str, value: &str| {
        let attribute =
            Attribute { data_type: data_type.to_owned(), value: AttributeValue::Text(value.to_owned()) };
        let mut message = message("g", "x");
        message.attributes.insert(name.to_owned(), attribute);
        b.send(s(0), Q, message).is_ok()
    };
    assert!(try_with("source_message.id-1", "String.label", "\tä💩\n"));
    for (name, data_type, value) in [
        ("a b", "String", "x"),
        ("<a>", "String", "x"),
        (".a", "String", "x"),
        ("a.", "String", "x"),
        ("a..b", "String", "x"),
        ("AWS.a", "String", "x"),
        ("amazon.a", "String", "x"),
        ("a", "String.\u{1}", "x"),
        ("a", "String", "\u{1}"),
        ("a", "String", "\u{ffff}"),
    ] {
        assert!(!try_with(name, data_type, value), "{name:?} {data_type:?} {value:?}");
    }
}
