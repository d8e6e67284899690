//! Deduplication, within its five minutes.

use sha2::{Digest, Sha256};

use super::sqs::{Message, Sqs, bodies, code, message};
use hookferry::fifo::{Attribute, AttributeValue};

const BY_CONTENT: (&str, &str) = ("ContentBasedDeduplication", "true");

fn with_id(group: &str, body: &str, id: &str) -> Message {
    Message { dedup: Some(id.into()), ..message(group, body) }
}

fn without_id(group: &str, body: &str) -> Message {
    Message { dedup: None, ..message(group, body) }
}

async fn send_all(sqs: &impl Sqs, queue: &str, messages: &[Message]) {
    for message in messages {
        sqs.send(queue, message).await.unwrap();
    }
}

pub async fn a_deduplication_id_is_delivered_once(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let messages = [with_id("g", "1", "a"), with_id("g", "again", "a"), with_id("g", "2", "b")];
    send_all(&sqs, &queue, &messages).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1", "2"]);
}

pub async fn a_deduplication_id_outlives_its_message(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    send_all(&sqs, &queue, &[with_id("g", "1", "a")]).await;
    let received = sqs.take(&queue, 10).await;
    assert_eq!(bodies(&received), ["1"]);
    send_all(&sqs, &queue, &[with_id("g", "1", "a")]).await;
    sqs.delete_all(&queue, &received).await;
    send_all(&sqs, &queue, &[with_id("g", "1", "a"), with_id("g", "2", "b")]).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["2"]);
}

pub async fn content_deduplicates_where_the_queue_says_so(sqs: impl Sqs) {
    let queue = sqs.queue(&[BY_CONTENT]).await;
    let mut other_attributes = without_id("g", "1");
    let value = AttributeValue::Text("x".into());
    other_attributes.attributes.insert("a".into(), Attribute { data_type: "String".into(), value });
    send_all(&sqs, &queue, &[without_id("g", "1"), other_attributes, without_id("g", "2")]).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1", "2"]);
}

pub async fn a_deduplication_id_outweighs_the_content(sqs: impl Sqs) {
    let queue = sqs.queue(&[BY_CONTENT]).await;
    let messages = [with_id("g", "same", "a"), with_id("g", "same", "b"), with_id("g", "other", "a")];
    send_all(&sqs, &queue, &messages).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["same", "same"]);
}

pub async fn the_hash_of_the_content_is_its_deduplication_id(sqs: impl Sqs) {
    let queue = sqs.queue(&[BY_CONTENT]).await;
    let hash = hex::encode(Sha256::digest("1"));
    send_all(&sqs, &queue, &[without_id("g", "1"), with_id("g", "2", &hash), with_id("g", "3", "c")]).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1", "3"]);
}

pub async fn without_an_id_or_the_content_a_message_is_refused(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    assert_eq!(code(sqs.send(&queue, &without_id("g", "1")).await), "InvalidParameterValue");
    assert_eq!(sqs.take(&queue, 10).await, []);
}

pub async fn a_deduplication_id_holds_for_all_groups_of_a_queue(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    send_all(&sqs, &queue, &[with_id("g", "1", "a"), with_id("h", "2", "a")]).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1"]);
}

pub async fn a_deduplication_id_holds_for_its_group_where_the_queue_says_so(sqs: impl Sqs) {
    let by_group =
        [("DeduplicationScope", "messageGroup"), ("FifoThroughputLimit", "perMessageGroupId"), BY_CONTENT];
    let queue = sqs.queue(&by_group).await;
    let messages = [with_id("g", "1", "a"), with_id("h", "2", "a"), with_id("g", "3", "a")];
    send_all(&sqs, &queue, &messages).await;
    send_all(&sqs, &queue, &[without_id("g", "4"), without_id("h", "4"), without_id("h", "4")]).await;
    let received = sqs.take(&queue, 10).await;
    let mut received = bodies(&received);
    // Groups come in any order.
    received.sort_unstable();
    assert_eq!(received, ["1", "2", "4", "4"]);
}

pub async fn a_duplicate_within_a_batch_succeeds_and_is_delivered_once(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let entries =
        [("x", with_id("g", "1", "a")), ("y", with_id("g", "2", "a")), ("z", with_id("g", "3", "b"))];
    let sent = sqs.send_batch(&queue, &entries).await.unwrap();
    assert_eq!((sent.successful.len(), sent.failed), (3, vec![]));
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1", "3"]);
}
