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
    attributes.iter().fold(group, |message, (name, value)| message.attributes(name.clone(), *value)).build()
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
    for future_or_none in ["1000000001", "18446744073709551615", "18446744073709551616", "-1", "1.5", ""] {
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
