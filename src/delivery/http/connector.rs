//! How a connection comes about, and what may come over it.
//!
//! hyper reads a response's head, and all 1xx responses before it, for as long as they come, and its connection's
//! task gives way only after many full reads. So over HTTP/1.1 a connection ends when much more has come since the
//! last write than a head and a body that is read have, and little is read at a time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::Scheme;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::MAX_RESPONSE_BODY;
use super::names::Names;
use super::proxy::Proxy;
use crate::descriptors;
use crate::descriptors::sockets::{Socket, Sockets};

/// For one family's addresses together, and for the handshake: several fit into an attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// A response's head; common servers and proxies send and allow 8 KB.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// What may come between two writes: a head, the part of a body that is read, and as much again for chunks' frames
/// and 1xx responses.
const MAX_UNASKED: usize = 2 * MAX_HEAD + MAX_RESPONSE_BODY;

/// Read at a time: responses to webhooks are smaller.
const READ: usize = 4096;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// It took too long.
#[derive(Debug, thiserror::Error)]
#[error("operation timed out")]
struct TimedOut;

/// Makes connections, over TLS where the URL says so.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<Dial>,
    proxied: bool,
    sockets: Sockets,
}

/// Makes TCP connections, directly or by the proxy.
#[derive(Clone)]
struct Dial {
    tcp: HttpConnector<Names>,
    proxy: Option<(Uri, Tunnel<HttpConnector<Names>>)>,
}

/// A connection that bounds what comes over it.
pub(super) struct Bounded {
    stream: Stream,
    /// It leads to a proxy, which wants whole URLs.
    proxied: bool,
    /// What may come before the next write; HTTP/2 has windows and bounds of its own.
    left: Option<usize>,
    _socket: Socket,
}

impl Connector {
    pub(super) fn new(tls: ClientConfig, proxy: Option<&Proxy>, names: Names, sockets: Sockets) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let proxy = proxy.map(|proxy| {
            let tunnel = Tunnel::new(proxy.uri(), tcp.clone());
            let tunnel = match &proxy.credentials {
                Some(credentials) => tunnel.with_auth(credentials.clone()),
                None => tunnel,
            };
            (proxy.uri(), tunnel)
        });
        let proxied = proxy.is_some();
        Self { https: HttpsConnector::from((Dial { tcp, proxy }, Arc::new(tls))), proxied, sockets }
    }
}

impl Service<Uri> for Connector {
    type Response = Bounded;
    type Error = Failure;
    type Future = Connecting<Bounded>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let proxied = self.proxied && to.scheme() == Some(&Scheme::HTTP);
        let Some(socket) = self.sockets.take(to.host().unwrap_or_default()) else {
            return Box::pin(async { Err(descriptors::lack().into()) });
        };
        let connecting = self.https.call(to);
        Box::pin(async move {
            let stream = timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| TimedOut)??;
            let left = (!stream.connected().is_negotiated_h2()).then_some(MAX_UNASKED);
            Ok(Bounded { stream, proxied, left, _socket: socket })
        })
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = Failure;
    type Future = Connecting<TokioIo<TcpStream>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        match &mut self.proxy {
            Some((_, tunnel)) if to.scheme() == Some(&Scheme::HTTPS) => {
                let connecting = tunnel.call(to);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
            Some((proxy, _)) => {
                let connecting = self.tcp.call(proxy.clone());
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
            None => {
                let connecting = self.tcp.call(to);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
        }
    }
}

impl Connection for Bounded {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.proxied)
    }
}

impl Read for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = self.left else { return Pin::new(&mut self.stream).poll_read(context, into) };
        let mut bytes = [0; READ];
        let most = READ.min(into.remaining());
        let mut read = ReadBuf::new(bytes.get_mut(..most).unwrap_or_default());
        ready!(Pin::new(&mut self.stream).poll_read(context, read.unfilled()))?;
        let read = read.filled();
        let Some(left) = left.checked_sub(read.len()) else {
            return Poll::Ready(Err(io::Error::other(format!(
                "more than {} KiB came that were no answer to be read",
                MAX_UNASKED / 1024
            ))));
        };
        self.left = Some(left);
        into.put_slice(read);
        Poll::Ready(Ok(()))
    }
}

impl Bounded {
    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        if let (Some(left), Poll::Ready(Ok(1..))) = (&mut self.left, written) {
            *left = MAX_UNASKED;
        }
    }
}

impl Write for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.wrote(&written);
        written
    }
}
