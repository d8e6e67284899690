//! The bytes of one connection.
//!
//! Two things are watched that can be seen nowhere else: whether the peer has closed a kept connection
//! at the moment at which a request is about to be written, and how much the peer sends while no
//! attempt on the connection gets any further.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// What a peer may send without an attempt beginning, being answered or ending: endless headers, 1xx
/// responses and frames stop here. Far more than all responses that may be under way together.
const MAX_UNASKED: usize = 2 << 20;

/// An idle connection is kept as long as common load balancers keep theirs (60 s), less a margin.
const IDLE: Duration = Duration::from_secs(50);

/// A connection is not used beyond this age, so that a name that moves is noticed by busy ones too.
const MAX_AGE: Duration = Duration::from_secs(300);

/// TCP alone, or TLS over it; boxed, for it is ten times as large and every attempt holds one.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection's bytes, under watch.
pub(super) struct Wire {
    stream: Stream,
    vitals: Arc<Vitals>,
}

/// What a connection's bytes and its users know of each other.
#[derive(Debug)]
pub(super) struct Vitals {
    born: Instant,
    /// Milliseconds after `born` of the last attempt's end.
    used: AtomicU32,
    under_way: AtomicUsize,
    unasked: AtomicUsize,
    /// Counts the writes that something may have gone out with.
    written: AtomicUsize,
    /// The next byte written begins a request on a connection that was idle.
    begins: AtomicBool,
    /// No further attempt is to begin on it.
    retired: AtomicBool,
}

/// An attempt that uses the connection; counted for as long as it lives.
#[derive(Debug)]
pub(super) struct Attempt {
    vitals: Arc<Vitals>,
    answered: bool,
    /// The writes before it began.
    written: usize,
}

/// The peer had closed the connection, or sent something unasked, before anything of the request was
/// written.
#[derive(Debug, thiserror::Error)]
#[error("the receiver had closed the connection, or sent something, before the request")]
pub(super) struct Stale;

#[derive(Debug, thiserror::Error)]
#[error("the receiver sent too much without completing a response")]
struct TooMuch;

impl Vitals {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            used: AtomicU32::new(0),
            under_way: AtomicUsize::new(0),
            unasked: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            begins: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        })
    }

    /// An attempt begins. `kept`: it is not the connection's first.
    pub(super) fn attempt(self: &Arc<Self>, kept: bool) -> Attempt {
        let others = self.under_way.fetch_add(1, Ordering::Relaxed);
        self.progressed();
        if kept && others == 0 {
            self.begins.store(true, Ordering::Release);
        }
        let written = self.written.load(Ordering::Relaxed);
        Attempt { vitals: Arc::clone(self), answered: false, written }
    }

    fn progressed(&self) {
        self.unasked.store(0, Ordering::Relaxed);
    }

    /// Whether another attempt may begin on it.
    pub(super) fn usable(&self) -> bool {
        let now = Instant::now();
        let is_young = now.duration_since(self.born) < MAX_AGE;
        !self.retired.load(Ordering::Relaxed) && is_young && now < self.idle_until(now)
    }

    /// When the connection will have been idle for too long, unless it is used again before.
    pub(super) fn idle_until(&self, now: Instant) -> Instant {
        if self.under_way.load(Ordering::Relaxed) > 0 {
            return now + IDLE;
        }
        self.born + Duration::from_millis(self.used.load(Ordering::Relaxed).into()) + IDLE
    }
}

impl Attempt {
    /// Whether nothing was written since it began. To be asked once it has failed.
    pub(super) fn is_unwritten(&self) -> bool {
        self.vitals.written.load(Ordering::Relaxed) == self.written
    }

    /// A response came. To be told as often as one likes.
    pub(super) fn answered(&mut self) {
        if !self.answered {
            self.answered = true;
            self.vitals.progressed();
        }
    }
}

impl Drop for Attempt {
    /// A connection that left an attempt without a response gets no other.
    fn drop(&mut self) {
        let vitals = &self.vitals;
        if !self.answered {
            vitals.retired.store(true, Ordering::Relaxed);
        }
        let used = u32::try_from(vitals.born.elapsed().as_millis()).unwrap_or(u32::MAX);
        vitals.used.store(used, Ordering::Relaxed);
        vitals.under_way.fetch_sub(1, Ordering::Relaxed);
        vitals.progressed();
    }
}

impl Wire {
    pub(super) fn new(stream: Stream, vitals: Arc<Vitals>) -> Self {
        Self { stream, vitals }
    }

    /// TCP that fails has taken nothing; TLS may have written one record of several.
    fn wrote(&self, written: &io::Result<usize>) {
        if written.is_ok() || matches!(self.stream, Either::Right(_)) {
            self.vitals.written.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Looks at the socket itself: the runtime may not have heard of a close yet.
    fn check_idle(&self) -> io::Result<()> {
        if !self.vitals.begins.swap(false, Ordering::Acquire) {
            return Ok(());
        }
        let tcp = match &self.stream {
            Either::Left(tcp) => tcp,
            Either::Right(tls) => tls.get_ref().0,
        };
        let mut byte = [MaybeUninit::uninit()];
        match socket2::SockRef::from(tcp).peek(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Ok(_) | Err(_) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, Stale)),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buf)) {
            Ok(()) => {}
            // Many servers leave TLS' goodbye out. Whether the response was complete is HTTP's to say.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        let read = buf.filled().len().saturating_sub(before);
        if self.vitals.unasked.fetch_add(read, Ordering::Relaxed) + read > MAX_UNASKED {
            return Poll::Ready(Err(io::Error::other(TooMuch)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_idle()?;
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.wrote(&written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_idle()?;
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.wrote(&written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
