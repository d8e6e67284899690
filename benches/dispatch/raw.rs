//! The role of the floor, *raw*: the least that any program could do for the same work. Hand-written
//! HTTP/1.1 over kept-alive connections, one thread, a look at the JSON of a receive and no more; no
//! SDK, no signature, no policy, no headers but those that are needed.

use std::borrow::Cow;
use std::fmt::Write;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};

use super::contender::LOOPS;
use super::sink::find;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "Messages", borrow, default)]
    messages: Vec<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "Body", borrow)]
    body: Cow<'a, str>,
    #[serde(rename = "ReceiptHandle", borrow)]
    receipt: Cow<'a, str>,
}

/// Delivers until it is killed.
pub fn main(queue_url: &str, sink: &str) -> anyhow::Result<()> {
    let queue = url::Url::parse(queue_url)?;
    let sink = url::Url::parse(sink)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let loops: Vec<_> = (0..LOOPS).map(|_| spawn_local(deliver(queue.clone(), sink.clone()))).collect();
        for ended in loops {
            ended.await??;
        }
        Ok(())
    })
}

async fn deliver(queue: url::Url, sink: url::Url) -> anyhow::Result<()> {
    let receive = format!(r#"{{"QueueUrl":"{queue}","MaxNumberOfMessages":10,"WaitTimeSeconds":10}}"#);
    let mut queue_connection = Connection::open(&queue).await?;
    let mut sink_connection = Connection::open(&sink).await?;
    let mut delete = String::new();
    loop {
        let answer = queue_connection.post("/", Some("ReceiveMessage"), receive.as_bytes()).await?;
        let answer: Answer<'_> = serde_json::from_slice(answer)?;
        if answer.messages.is_empty() {
            continue;
        }
        delete.clear();
        write!(delete, r#"{{"QueueUrl":"{queue}","Entries":["#)?;
        for (n, message) in answer.messages.iter().enumerate() {
            let payload = payload(&message.body).context("no payload")?;
            sink_connection.post("/", None, payload.as_bytes()).await?;
            let comma = if n == 0 { "" } else { "," };
            write!(delete, r#"{comma}{{"Id":"{n}","ReceiptHandle":"{}"}}"#, message.receipt)?;
        }
        delete.push_str("]}");
        queue_connection.post("/", Some("DeleteMessageBatch"), delete.as_bytes()).await?;
    }
}

/// The payload inside the envelope, by its neighbours.
pub fn payload(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once(r#""payload":"#)?;
    rest.rsplit_once(r#","originalPusherSignature""#).map(|(payload, _)| payload)
}

struct Connection {
    stream: TcpStream,
    host: String,
    out: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(url: &url::Url) -> anyhow::Result<Self> {
        let host = format!("{}:{}", url.host_str().context("no host")?, url.port().context("no port")?);
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host, out: Vec::new(), answer: Vec::new() })
    }

    /// Posts, and gives the answer's body.
    async fn post(&mut self, path: &str, action: Option<&str>, body: &[u8]) -> anyhow::Result<&[u8]> {
        self.out.clear();
        let (host, length) = (&self.host, body.len());
        self.out
            .extend(format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n").bytes());
        if let Some(action) = action {
            self.out.extend(format!("x-amz-target: AmazonSQS.{action}\r\n").bytes());
        }
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(body);
        self.stream.write_all(&self.out).await?;
        self.answer.clear();
        let head = loop {
            if let Some(head) = find(&self.answer, b"\r\n\r\n") {
                break head + 4;
            }
            self.more().await?;
        };
        let text = std::str::from_utf8(self.answer.get(..head).unwrap_or_default())?;
        if !text.starts_with("HTTP/1.1 200") {
            bail!("{text}");
        }
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.context("no length")?.parse()?;
        while self.answer.len() < head + length {
            self.more().await?;
        }
        self.answer.get(head..head + length).context("the answer is short")
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.answer).await? == 0 {
            bail!("closed");
        }
        Ok(())
    }
}
