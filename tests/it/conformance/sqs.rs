//! The SQS API as the checks see it, whichever protocol it is spoken in.

use std::collections::BTreeMap;
use std::time::Duration;

use hookferry::fifo::Attributes;

use crate::world::unique;

/// Ends a check that hangs; nothing is asserted on how long anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub type Answer<T> = Result<T, Refused>;

/// An error that the service answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its code, as clients of the query protocol know it.
    pub code: String,
    pub message: String,
}

#[derive(Clone, Debug, Default)]
pub struct Message {
    pub body: String,
    pub group: Option<String>,
    pub dedup: Option<String>,
    pub delay: Option<i32>,
    pub attributes: Attributes,
    pub trace_header: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub id: String,
    pub sequence_number: String,
    pub md5_of_body: String,
    pub md5_of_attributes: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Receive {
    pub max: Option<i32>,
    pub wait: Option<i32>,
    pub visibility: Option<i32>,
    pub attempt: Option<String>,
    /// The names of the system attributes asked for.
    pub system: Vec<&'static str>,
    /// The names of the message attributes asked for.
    pub attributes: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub id: String,
    pub handle: String,
    pub body: String,
    pub md5_of_body: String,
    pub md5_of_attributes: Option<String>,
    pub system: BTreeMap<String, String>,
    pub attributes: Attributes,
}

/// The answer to a batch: what became of each entry, by its id.
#[derive(Clone, Debug)]
pub struct Batch<T> {
    pub successful: Vec<(String, T)>,
    pub failed: Vec<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub id: String,
    pub code: String,
    pub sender_fault: bool,
}

/// SQS, by one of its protocols, and a few steps that many checks take.
pub trait Sqs {
    async fn create_queue(&self, name: &str, attributes: &[(&str, &str)]) -> Answer<String>;
    async fn delete_queue(&self, queue: &str) -> Answer<()>;
    async fn queue_url(&self, name: &str) -> Answer<String>;
    /// The URLs of a page of queues, and where the next page begins.
    async fn list_queues(
        &self,
        prefix: &str,
        most: Option<i32>,
        after: Option<&str>,
    ) -> Answer<(Vec<String>, Option<String>)>;
    async fn dead_letter_sources(&self, queue: &str) -> Answer<Vec<String>>;
    async fn purge(&self, queue: &str) -> Answer<()>;
    async fn attributes(&self, queue: &str, names: &[&str]) -> Answer<BTreeMap<String, String>>;
    async fn set_attributes(&self, queue: &str, attributes: &[(&str, &str)]) -> Answer<()>;
    async fn send(&self, queue: &str, message: &Message) -> Answer<Sent>;
    async fn send_batch(&self, queue: &str, entries: &[(&str, Message)]) -> Answer<Batch<Sent>>;
    async fn receive(&self, queue: &str, receive: &Receive) -> Answer<Vec<Received>>;
    async fn delete(&self, queue: &str, handle: &str) -> Answer<()>;
    /// Entry ids with receipt handles.
    async fn delete_batch(&self, queue: &str, entries: &[(&str, &str)]) -> Answer<Batch<()>>;
    async fn change(&self, queue: &str, handle: &str, seconds: i32) -> Answer<()>;
    /// Entry ids with receipt handles and seconds.
    async fn change_batch(&self, queue: &str, entries: &[(&str, &str, i32)]) -> Answer<Batch<()>>;

    /// A new FIFO queue with these attributes.
    async fn queue(&self, attributes: &[(&str, &str)]) -> String {
        self.create_queue(&format!("{}.fifo", unique()), &fifo(attributes)).await.unwrap()
    }

    /// Sends these bodies to a group, one after the other.
    async fn put(&self, queue: &str, group: &str, bodies: &[&str]) {
        for body in bodies {
            self.send(queue, &message(group, body)).await.unwrap();
        }
    }

    /// What can be received at once.
    async fn take(&self, queue: &str, max: i32) -> Vec<Received> {
        self.receive(queue, &now(max)).await.unwrap()
    }

    /// As much of one message, or more, as there is within a long poll.
    async fn wait(&self, queue: &str, max: i32) -> Vec<Received> {
        let received = self.receive(queue, &Receive { wait: Some(20), ..now(max) }).await.unwrap();
        assert!(!received.is_empty(), "a poll of 20 s found nothing");
        received
    }

    /// Deletes them in one batch.
    async fn delete_all(&self, queue: &str, received: &[Received]) {
        let ids: Vec<String> = (0..received.len()).map(|n| n.to_string()).collect();
        let entries: Vec<_> =
            ids.iter().zip(received).map(|(id, message)| (id.as_str(), message.handle.as_str())).collect();
        let outcome = self.delete_batch(queue, &entries).await.unwrap();
        assert_eq!(outcome.failed, []);
    }

    /// Waits until only so many messages of the queue are in flight.
    async fn wait_until_in_flight(&self, queue: &str, count: usize) {
        const IN_FLIGHT: &str = "ApproximateNumberOfMessagesNotVisible";
        let expiry = async {
            while self.attributes(queue, &[IN_FLIGHT]).await.unwrap()[IN_FLIGHT] != count.to_string() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, expiry).await.unwrap();
    }
}

/// A message with a deduplication id of its own.
pub fn message(group: &str, body: &str) -> Message {
    Message { body: body.into(), group: Some(group.into()), dedup: Some(unique()), ..Message::default() }
}

/// A receive that does not wait.
pub fn now(max: i32) -> Receive {
    Receive {
        max: Some(max),
        wait: Some(0),
        visibility: None,
        attempt: None,
        system: Vec::new(),
        attributes: Vec::new(),
    }
}

pub fn fifo<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut attributes = vec![("FifoQueue", "true")];
    attributes.extend(more);
    attributes
}

pub fn bodies(received: &[Received]) -> Vec<&str> {
    received.iter().map(|message| message.body.as_str()).collect()
}

/// The code of the error that the service answered with.
pub fn code<T>(answer: Answer<T>) -> String {
    answer.map_or_else(|refused| refused.code, |_| "accepted".to_owned())
}
