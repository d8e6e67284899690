//! `RedrivePolicy`: what SQS itself does with a message that is received too often.

use super::sqs::{Receive, Sqs, bodies, code, fifo, message, now};
use crate::world::unique;
use hookferry::fifo::{Attribute, AttributeValue};

/// A queue whose messages are received that often at most, and its dead-letter queue.
async fn queues(sqs: &impl Sqs, most: u32) -> (String, String) {
    let dead = sqs.queue(&[]).await;
    let policy = policy(&arn(sqs, &dead).await, &most.to_string());
    (sqs.queue(&[("RedrivePolicy", &policy)]).await, dead)
}

async fn arn(sqs: &impl Sqs, queue: &str) -> String {
    sqs.attributes(queue, &["QueueArn"]).await.unwrap()["QueueArn"].clone()
}

fn policy(target: &str, most: &str) -> String {
    serde_json::json!({"deadLetterTargetArn": target, "maxReceiveCount": most}).to_string()
}

/// The documentation of `SetQueueAttributes` has `InvalidAttributeValue`; AWS has been seen to answer
/// `InvalidParameterValue`. Either will do.
fn assert_invalid(code: &str, what: &str) {
    assert!(["InvalidAttributeValue", "InvalidParameterValue"].contains(&code), "{what}: {code}");
}

/// Receives so many messages, and releases them in order.
async fn receive_in_vain(sqs: &impl Sqs, queue: &str, count: usize) {
    let run = sqs.take(queue, count.try_into().unwrap()).await;
    assert_eq!(run.len(), count);
    for message in run {
        sqs.change(queue, &message.handle, 0).await.unwrap();
    }
}

pub async fn what_was_received_too_often_moves_with_its_group_in_order(sqs: impl Sqs) {
    let (queue, dead) = queues(&sqs, 1).await;
    let mut first = message("g", "1");
    let value = AttributeValue::Text("x".into());
    first.attributes.insert("a".into(), Attribute { data_type: "String".into(), value });
    sqs.send(&queue, &first).await.unwrap();
    sqs.put(&queue, "g", &["2", "3"]).await;
    receive_in_vain(&sqs, &queue, 3).await;
    assert_eq!(sqs.take(&queue, 10).await, []);
    let wanted = Receive { system: vec!["MessageGroupId"], attributes: vec!["All"], ..now(10) };
    let moved = sqs.receive(&dead, &wanted).await.unwrap();
    assert_eq!(bodies(&moved), ["1", "2", "3"]);
    assert!(moved.iter().all(|message| message.system["MessageGroupId"] == "g"));
    assert_eq!(moved[0].attributes, first.attributes);
}

pub async fn a_dead_letter_tells_its_source_and_goes_on_counting(sqs: impl Sqs) {
    let (queue, dead) = queues(&sqs, 2).await;
    sqs.put(&queue, "g", &["1"]).await;
    receive_in_vain(&sqs, &queue, 1).await;
    receive_in_vain(&sqs, &queue, 1).await;
    assert_eq!(sqs.take(&queue, 10).await, []);
    let wanted = Receive { system: vec!["DeadLetterQueueSourceArn", "ApproximateReceiveCount"], ..now(10) };
    let moved = sqs.receive(&dead, &wanted).await.unwrap();
    assert_eq!(moved[0].system["DeadLetterQueueSourceArn"], arn(&sqs, &queue).await);
    assert_eq!(moved[0].system["ApproximateReceiveCount"], "3");
}

pub async fn a_dead_lettered_head_unblocks_its_group(sqs: impl Sqs) {
    let (queue, dead) = queues(&sqs, 1).await;
    sqs.put(&queue, "g", &["1", "2", "3"]).await;
    receive_in_vain(&sqs, &queue, 1).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["2", "3"]);
    assert_eq!(bodies(&sqs.take(&dead, 10).await), ["1"]);
}

pub async fn the_sources_of_a_dead_letter_queue_are_listed(sqs: impl Sqs) {
    let (queue, dead) = queues(&sqs, 1).await;
    assert_eq!(sqs.dead_letter_sources(&dead).await.unwrap(), [queue.as_str()]);
    assert_eq!(sqs.dead_letter_sources(&queue).await.unwrap(), [""; 0]);
}

pub async fn a_redrive_policy_names_a_queue_that_exists(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let nowhere = arn(&sqs, &queue).await.replace(".fifo", "-gone.fifo");
    for target in [nowhere.as_str(), "nonsense"] {
        let policy = policy(target, "5");
        let attributes = [("RedrivePolicy", policy.as_str())];
        assert_invalid(&code(sqs.set_attributes(&queue, &attributes).await), target);
        let created = sqs.create_queue(&format!("{}.fifo", unique()), &fifo(&attributes)).await;
        assert_invalid(&code(created), target);
    }
    assert!(sqs.attributes(&queue, &["RedrivePolicy"]).await.unwrap().is_empty());
}

pub async fn a_redrive_policy_allows_1_to_1000_receives(sqs: impl Sqs) {
    let (queue, dead) = queues(&sqs, 1000).await;
    let target = arn(&sqs, &dead).await;
    for wrong in ["0", "1001", "often"] {
        let policy = policy(&target, wrong);
        assert_invalid(&code(sqs.set_attributes(&queue, &[("RedrivePolicy", &policy)]).await), wrong);
    }
    let shown = sqs.attributes(&queue, &["RedrivePolicy"]).await.unwrap();
    let shown: serde_json::Value = serde_json::from_str(&shown["RedrivePolicy"]).unwrap();
    assert_eq!(shown["deadLetterTargetArn"], target.as_str());
    assert_eq!(shown["maxReceiveCount"].to_string().trim_matches('"'), "1000");
}
