//! How many messages there are, and whether they all come in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hookferry::fifo::{Broker, Receive};
use hookferry::local::server::Endpoint;
use tokio::time::advance;

/// The messages of all queues before a request.
pub struct Books(i64);

impl Books {
    pub fn open(endpoint: &Endpoint) -> Self {
        Self(total(endpoint))
    }

    /// Holds the number after a request against what the request may do.
    pub fn compare(self, endpoint: &Endpoint, action: &str, took: Duration) {
        let change = total(endpoint) - self.0;
        let allowed = match action {
            "SendMessage" => 0..=1,
            "SendMessageBatch" => 0..=10,
            "DeleteMessage" => -1..=0,
            "DeleteMessageBatch" => -10..=0,
            "PurgeQueue" | "DeleteQueue" | "SetQueueAttributes" => i64::MIN..=0,
            // A long poll lets time pass, and messages with it.
            "ReceiveMessage" if !took.is_zero() => i64::MIN..=0,
            _ => 0..=0,
        };
        assert!(allowed.contains(&change), "{change} messages by {action}");
    }
}

fn total(endpoint: &Endpoint) -> i64 {
    endpoint.with(|broker, now| names(broker).iter().map(|name| count(broker, now, name)).sum())
}

fn names(broker: &Broker) -> Vec<String> {
    broker.queue_names().map(str::to_owned).collect()
}

/// All messages of a queue: to be received, in flight, delayed.
fn count(broker: &mut Broker, now: Duration, name: &str) -> i64 {
    let attributes = broker.attributes(now, name).unwrap();
    let number = |what: &str| attributes[what].parse::<i64>().unwrap();
    number("ApproximateNumberOfMessages")
        + number("ApproximateNumberOfMessagesNotVisible")
        + number("ApproximateNumberOfMessagesDelayed")
}

/// Takes every message out of every queue: each comes once, in the order of its group, and nothing is
/// left behind.
pub async fn balance(endpoint: &Endpoint) {
    for queue in endpoint.with(|broker, _| names(broker)) {
        // Nothing is to expire, and nothing to be dead-lettered on the way.
        let keep = [("MessageRetentionPeriod", "1209600"), ("RedrivePolicy", "")];
        let keep: BTreeMap<String, String> = keep.map(|(name, value)| (name.into(), value.into())).into();
        let left = endpoint.with(|broker, now| {
            broker.set_attributes(now, &queue, &keep).unwrap();
            count(broker, now, &queue)
        });
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        loop {
            let next = endpoint.with(|broker, now| {
                let request =
                    Receive { max: 10, visibility: Some(Duration::from_secs(30)), attempt_id: None };
                let received = broker.receive(now, &queue, &request).unwrap();
                for message in &received {
                    assert!(seen.insert(message.message_id.to_string()), "twice");
                    let before = last.insert(message.group.to_string(), message.sequence_number.clone());
                    assert!(before.is_none_or(|before| before < message.sequence_number), "out of order");
                    broker.delete(now, &queue, &message.receipt_handle).unwrap();
                }
                if received.is_empty() {
                    broker.next_change(&queue).map(|at| at.saturating_sub(now))
                } else {
                    Some(Duration::ZERO)
                }
            });
            let Some(wait) = next else { break };
            advance(wait).await;
        }
        assert_eq!(i64::try_from(seen.len()).unwrap(), left, "messages that never came");
        let attributes = endpoint.with(|broker, now| broker.attributes(now, &queue)).unwrap();
        for (name, value) in attributes.iter().filter(|(name, _)| name.starts_with("ApproximateNumber")) {
            assert_eq!(value, "0", "{name}");
        }
    }
}
