//! The role of the destination: takes posts on kept-alive connections, answers 200 at once or after a
//! given time, and keeps the books of what came: how many, in which order, how long after the send.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use super::control;
use super::measured::now_us;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What came.
#[derive(Default)]
struct Books {
    next: HashMap<u64, u64>,
    posts: u64,
    events: u64,
    duplicates: u64,
    out_of_order: u64,
    first_us: u64,
    last_us: u64,
    latencies_us: Vec<u64>,
}

/// Serves until standard input ends; answers after `latency`. Commands: `stats`,
/// `forget-latencies`.
pub fn main(latency: Duration) -> anyhow::Result<()> {
    let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel::<String>();
    let (answered, answers) = std::sync::mpsc::channel::<String>();
    let serving = std::thread::spawn(move || -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let books = Rc::new(RefCell::new(Books::default()));
        LocalSet::new().block_on(&runtime, async move {
            let listener = control::listen()?;
            control::say(&format!("http://{}/", listener.local_addr()?));
            loop {
                tokio::select! {
                    connection = listener.accept() => {
                        let (stream, _) = connection?;
                        stream.set_nodelay(true)?;
                        let books = Rc::clone(&books);
                        // A connection that breaks is the contender's affair.
                        spawn_local(async move { serve(stream, &books, latency).await.ok() });
                    }
                    question = questions.recv() => match question.as_deref() {
                        Some("stats") => answered.send(books.borrow_mut().stats())?,
                        Some("forget-latencies") => {
                            books.borrow_mut().latencies_us.clear();
                            answered.send("forgotten".to_owned())?;
                        }
                        Some(other) => bail!("no such command: {other}"),
                        None => return Ok(()),
                    },
                }
            }
        })
    });
    control::serve(|words| {
        asked.send(words.join(" "))?;
        answers.recv().context("the sink has ended")
    })?;
    drop(asked);
    serving.join().map_err(|_| anyhow::anyhow!("the sink panicked"))?
}

async fn serve(mut stream: TcpStream, books: &RefCell<Books>, latency: Duration) -> anyhow::Result<()> {
    let mut buffer = Vec::with_capacity(8 * 1024);
    loop {
        let (head, length) = loop {
            if let Some(head) = find(&buffer, b"\r\n\r\n") {
                break (head + 4, content_length(buffer.get(..head).unwrap_or_default())?);
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        while buffer.len() < head + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        books.borrow_mut().enter(buffer.get(head..head + length).unwrap_or_default());
        buffer.drain(..head + length);
        if !latency.is_zero() {
            sleep(latency).await;
        }
        stream.write_all(OK).await?;
    }
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, length) =
        lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).context("no length")?;
    Ok(length.trim().parse()?)
}

impl Books {
    /// Enters the events of one post.
    fn enter(&mut self, body: &[u8]) {
        let now = now_us();
        if self.posts == 0 {
            self.first_us = now;
        }
        self.posts += 1;
        self.last_us = now;
        let mut rest = body;
        while let Some(group) = number_after(&mut rest, b"\"private-") {
            let (Some(n), Some(sent)) =
                (number_after(&mut rest, b"\"n\":"), number_after(&mut rest, b"\"t\":"))
            else {
                return;
            };
            self.events += 1;
            self.latencies_us.push(now.saturating_sub(sent));
            let next = self.next.entry(group).or_default();
            match n.cmp(next) {
                std::cmp::Ordering::Less => self.duplicates += 1,
                std::cmp::Ordering::Equal => *next += 1,
                std::cmp::Ordering::Greater => {
                    self.out_of_order += 1;
                    *next = n + 1;
                }
            }
        }
    }

    fn stats(&mut self) -> String {
        self.latencies_us.sort_unstable();
        let at = |per_mille: usize| {
            let place = self.latencies_us.len().saturating_sub(1) * per_mille / 1000;
            self.latencies_us.get(place).copied().unwrap_or_default()
        };
        serde_json::json!({
            "posts": self.posts, "events": self.events, "duplicates": self.duplicates,
            "out_of_order": self.out_of_order, "first_us": self.first_us, "last_us": self.last_us,
            "p50_us": at(500), "p99_us": at(990), "p999_us": at(999),
        })
        .to_string()
    }
}

/// Where `needle` begins.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The number behind `marker`, and what follows it.
fn number_after(rest: &mut &[u8], marker: &[u8]) -> Option<u64> {
    let at = find(rest, marker)? + marker.len();
    let text = rest.get(at..)?;
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(text.get(..digits)?).ok()?.parse().ok()?;
    *rest = text.get(digits..)?;
    Some(number)
}
