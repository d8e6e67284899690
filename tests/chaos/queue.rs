//! The local queue as a process of its own, and a look into it past the proxy.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use hookferry::queue::sqs::{AccessKey, Address, Connection, Options, Policies, Sqs, Usage};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::books::Dead;
use crate::workers::program;

const REGION: &str = "us-east-1";

/// A running local queue with its dead-letter queue. It is killed when it is dropped.
#[derive(Debug)]
pub struct LocalQueue {
    pub address: SocketAddr,
    /// The queue's URL.
    pub url: String,
    dead_letter_url: String,
    client: Client,
    _process: Child,
}

impl LocalQueue {
    pub async fn start() -> Self {
        let mut process = program("local-queue")
            .args(["--listen", "127.0.0.1:0", "--queue", "chaos.fifo", "--dead-letter", "dead.fifo"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the local queue starts");
        // Its first lines are its address and the queues' URLs.
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut line = async || lines.next_line().await.expect("it prints text").expect("it goes on");
        let endpoint = line().await.split_whitespace().last().expect("an address").to_owned();
        let (url, dead_letter_url) = (line().await.trim().to_owned(), line().await.trim().to_owned());
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&endpoint)
            .credentials_provider(credentials())
            .build();
        let address = endpoint.trim_start_matches("http://").parse().expect("an address");
        Self { address, url, dead_letter_url, client: Client::from_conf(config), _process: process }
    }

    /// The library's own adapter, for sending.
    pub async fn sender(&self) -> Sqs {
        let key = AccessKey { id: "local".to_owned(), secret: "local".into(), session_token: None };
        let address = Address {
            url: self.url.clone(),
            region: REGION.to_owned(),
            endpoint: Some(format!("http://{}", self.address)),
            options: Options { credentials: Some(key), ..Options::default() },
        };
        // Sending is all that it is used for.
        let usage = Usage {
            wait: Duration::ZERO,
            visibility: None,
            settle_timeout: Duration::from_secs(10),
            policies: Policies::default(),
            traced: false,
        };
        Connection::load(address).await.queue(usage)
    }

    /// How many messages it holds, visible or not.
    pub async fn depth(&self) -> u64 {
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = request.attribute_names(QueueAttributeName::All).send().await.expect("it answers");
        let attributes = answer.attributes.expect("a queue has attributes");
        let count = |name| attributes[&name].parse::<u64>().expect("a number");
        count(QueueAttributeName::ApproximateNumberOfMessages)
            + count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            + count(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
    }

    /// Takes everything out of the dead-letter queue.
    pub async fn take_dead(&self) -> Vec<Dead> {
        let mut dead = Vec::new();
        loop {
            let request = self.client.receive_message().queue_url(&self.dead_letter_url);
            let answer = request
                .max_number_of_messages(10)
                .message_attribute_names("All")
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .send()
                .await
                .expect("it answers");
            let messages = answer.messages.unwrap_or_default();
            if messages.is_empty() {
                return dead;
            }
            for message in messages {
                // In flight it would keep back what is behind it in its group.
                let delete = self.client.delete_message().queue_url(&self.dead_letter_url);
                let receipt = message.receipt_handle.expect("a received message has one");
                delete.receipt_handle(receipt).send().await.expect("it answers");
                let own = message.message_attributes.unwrap_or_default();
                let text = |name: &str| own.get(name).and_then(|value| value.string_value.clone());
                let sent = message
                    .attributes
                    .and_then(|system| system.get(&MessageSystemAttributeName::SentTimestamp)?.parse().ok());
                dead.push(Dead {
                    // Without these it was not the worker that put it there.
                    source: text("source_message_id").unwrap_or_default(),
                    reason: text("reason").unwrap_or_default(),
                    sent_ms: sent.expect("a message has a timestamp"),
                });
            }
        }
    }
}

fn credentials() -> Credentials {
    Credentials::new("local", "local", None, None, "chaos")
}
