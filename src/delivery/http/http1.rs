//! One HTTP/1.1 connection: a request at a time, and the response to it.
//!
//! A connection is an open socket and nothing else: it has no task, no channel and, while it waits, no
//! buffer. Thousands of them wait for slow receivers at a time, and each delivery passes through here.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Answer, Unanswered};
use super::failure::broken;
use super::response::{Fault, Reader};
use super::wire::{Attempt, Stale, Wire};
use crate::outcome::Reason;

/// Read at a time. Receivers of webhooks answer with less.
const READ: usize = 4 * 1024;

/// The connection.
pub(super) struct Http1 {
    wire: Wire,
    /// What is left to be written of the request under way.
    unsent: Option<Outgoing>,
}

struct Outgoing {
    head: Vec<u8>,
    body: Bytes,
    sent: usize,
}

impl Http1 {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, unsent: None }
    }

    /// Sends a request and reads the response to it.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Bytes>,
        attempt: &mut Attempt,
    ) -> Result<Answer, Unanswered> {
        // What came before the request is no response to it.
        if self.has_ended() {
            return Err(Unanswered::Unsent(broken(&Stale)));
        }
        self.unsent = Some(Outgoing::of(request));
        let mut reader = Reader::default();
        let ended = poll_fn(|cx| self.poll(cx, &mut reader, attempt)).await;
        let reusable = ended.is_ok() && reader.is_reusable() && self.unsent.is_none();
        match (reader.into_head(), ended) {
            (Some(head), body) => {
                Ok(Answer { status: head.status, retry_after: head.retry_after, body, reusable })
            }
            (None, Err(reason)) if attempt.is_unwritten() => Err(Unanswered::Unsent(reason)),
            (None, Err(reason)) => Err(Unanswered::Failed(reason)),
            // Not reached: a response is over only behind its head.
            (None, Ok(())) => Err(Unanswered::Failed(broken(&Fault::Incomplete))),
        }
    }

    /// Whether it has closed, or the peer has sent something unasked. To be asked between requests.
    pub(super) fn has_ended(&mut self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.wire).poll_read(&mut cx, &mut ReadBuf::uninit(&mut byte)).is_ready()
    }

    /// Writes what can be written and reads what can be read, until the response is over. A receiver may
    /// answer before it has all of the request, and wait for the rest of it or not.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        attempt: &mut Attempt,
    ) -> Poll<Result<(), Reason>> {
        let unwritable = self.poll_send(cx).err();
        let unwritten = self.unsent.as_ref().is_some_and(|unsent| unsent.sent == 0);
        if unwritten && let Some(error) = &unwritable {
            return Poll::Ready(Err(broken(error)));
        }
        loop {
            let mut room = [MaybeUninit::uninit(); READ];
            let mut buf = ReadBuf::uninit(&mut room);
            // A request that could not be written to its end may have been answered before that. What
            // there is of the answer comes, and then the connection's end.
            if let Err(error) = ready!(Pin::new(&mut self.wire).poll_read(cx, &mut buf)) {
                return Poll::Ready(Err(broken(&error)));
            }
            let bytes = buf.filled();
            if unwritten && !bytes.is_empty() {
                return Poll::Ready(Err(broken(&Stale)));
            }
            let read = if bytes.is_empty() { reader.end() } else { reader.feed(bytes) };
            if reader.is_answered() {
                attempt.answered();
            }
            match (read, &unwritable) {
                (Ok(()), _) if reader.is_over() => return Poll::Ready(Ok(())),
                (Ok(()), _) => {}
                (Err(Fault::Incomplete), Some(error)) => return Poll::Ready(Err(broken(error))),
                (Err(fault), _) => return Poll::Ready(Err(broken(&fault))),
            }
        }
    }

    /// Writes as much of the request as the socket takes.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Some(unsent) = &mut self.unsent {
            let mut wire = Pin::new(&mut self.wire);
            let (head, body) = unsent.rest();
            let written = if head.is_empty() && body.is_empty() {
                wire.poll_flush(cx).map_ok(|()| None)
            } else {
                wire.as_mut().poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)]).map_ok(Some)
            };
            match written {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(Some(0))) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(Some(written))) => unsent.sent += written,
                Poll::Ready(Ok(None)) => self.unsent = None,
            }
        }
        Ok(())
    }
}

impl Outgoing {
    fn of(request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let mut head = Vec::with_capacity(512);
        // Writing to memory cannot fail.
        write!(head, "{} {} HTTP/1.1\r\n", parts.method, parts.uri).ok();
        for (name, value) in &parts.headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        write!(head, "content-length: {}\r\n\r\n", body.len()).ok();
        Self { head, body, sent: 0 }
    }

    fn rest(&self) -> (&[u8], &[u8]) {
        let head = self.head.get(self.sent..).unwrap_or_default();
        let body = self.body.get(self.sent.saturating_sub(self.head.len())..).unwrap_or_default();
        (head, body)
    }
}
