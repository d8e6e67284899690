//! HTTP/1.1 by hand: messages with a `Content-Length`, over a socket that can be made to misbehave.
//!
//! The worker's clients and the local queue frame everything so; anything else is an error here, not
//! something to be lenient about.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MAX_HEADERS: usize = 64;

/// One side of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
}

/// A request or a response.
#[derive(Clone, Debug)]
pub struct Message {
    /// All of it, as it came.
    pub raw: Bytes,
    /// The body.
    pub body: Bytes,
    /// The path of a request; empty for a response.
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Message {
    /// A header's value, or an empty one.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }
}

impl Wire {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::new() })
    }

    /// Waits for the first byte of the next message; `false` if the peer closed instead.
    pub async fn begins(&mut self) -> io::Result<bool> {
        Ok(!self.buffer.is_empty() || self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// Reads a request; `None` if the peer closed between two of them.
    pub async fn request(&mut self) -> io::Result<Option<Message>> {
        self.message(request_head).await
    }

    /// Reads a response.
    pub async fn response(&mut self) -> io::Result<Message> {
        self.message(response_head).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Waits until the peer hangs up. Cancelling it loses nothing.
    pub async fn hung_up(&mut self) {
        while let Ok(1..) = self.stream.read_buf(&mut self.buffer).await {}
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Ends the connection with a reset instead of an orderly close.
    pub fn reset(self) {
        // If the peer is gone already there is nothing left to reset.
        drop(self.stream.set_zero_linger());
    }

    async fn message(&mut self, head: Head) -> io::Result<Option<Message>> {
        loop {
            if let Some((length, mut message)) = head(&self.buffer)? {
                let content: usize = match message.header("content-length") {
                    "" => 0,
                    text => text.parse().map_err(invalid)?,
                };
                if !message.header("transfer-encoding").is_empty() {
                    return Err(invalid("a message without a Content-Length"));
                }
                while self.buffer.len() < length + content {
                    if self.stream.read_buf(&mut self.buffer).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                message.raw = self.buffer.split_to(length + content).freeze();
                message.body = message.raw.clone();
                message.body.advance(length);
                return Ok(Some(message));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }
}

/// Parses a head: its length, and the message without its body. `None` if more bytes are needed.
type Head = fn(&[u8]) -> io::Result<Option<(usize, Message)>>;

fn request_head(bytes: &[u8]) -> io::Result<Option<(usize, Message)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let status = parsed.parse(bytes).map_err(invalid)?;
    Ok(complete(status, parsed.path.unwrap_or_default(), parsed.headers))
}

fn response_head(bytes: &[u8]) -> io::Result<Option<(usize, Message)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let status = parsed.parse(bytes).map_err(invalid)?;
    Ok(complete(status, "", parsed.headers))
}

fn complete(
    status: httparse::Status<usize>,
    path: &str,
    headers: &[httparse::Header<'_>],
) -> Option<(usize, Message)> {
    let httparse::Status::Complete(length) = status else { return None };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
    Some((length, Message { raw: Bytes::new(), body: Bytes::new(), path: path.to_owned(), headers }))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
