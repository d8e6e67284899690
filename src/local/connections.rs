//! Connections to the local endpoints, each bounded in the time that a request may take to come, and all of
//! them in number and in the bytes of requests that have not come whole.
//!
//! At the bound the connection that has been without a whole request for the longest gives way to the new one: whoever
//! opens many and sends half a request keeps no worker out, and no poll that waits is cut off for it.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use bytes::BytesMut;
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Connections at once: a worker opens some forty.
const MAX_CONNECTIONS: usize = 1024;

/// The time for a connection's first head.
const FIRST_HEAD: Duration = Duration::from_secs(5);

/// The time for a kept connection to bring the next head; SDKs keep theirs for longer than a poll.
const NEXT_HEAD: Duration = Duration::from_secs(20);

/// A request's head, all of it.
const MAX_HEAD: usize = 32 * 1024;

/// The time for a request's body, once its head is there.
const BODY: Duration = Duration::from_secs(10);

/// Bytes of bodies that have not come whole: four of the largest, or sixty-four batches.
const MAX_BYTES: usize = 64 << 20;

/// The wait after an accept that failed, for want of descriptors most likely.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// How far a connection's request has come.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// It came whole, and is not answered yet.
    whole: Arc<AtomicBool>,
    /// The first head came.
    begun: Arc<Notify>,
    room: Arc<Semaphore>,
}

/// A connection that is open.
struct Open {
    whole: Arc<AtomicBool>,
    task: AbortHandle,
}

/// Serves until `shutdown`; what is under way then is cut off.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let room = Arc::new(Semaphore::new(MAX_BYTES));
    let mut connections = JoinSet::new();
    let mut open: VecDeque<Open> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "a local endpoint could not accept");
                sleep(ACCEPT_WAIT).await;
                continue;
            }
        };
        if open.len() >= MAX_CONNECTIONS {
            make_room(&mut open);
        }
        let whole = Arc::<AtomicBool>::default();
        let progress = Progress { whole: Arc::clone(&whole), begun: Arc::default(), room: Arc::clone(&room) };
        let task = connections.spawn(connection(stream, router.clone(), progress));
        open.push_back(Open { whole, task });
    }
    connections.shutdown().await;
}

/// Forgets connections that have ended; if none has, ends the oldest that has no whole request, else the oldest.
fn make_room(open: &mut VecDeque<Open>) {
    open.retain(|connection| !connection.task.is_finished());
    if open.len() < MAX_CONNECTIONS {
        return;
    }
    let oldest = open.iter().position(|connection| !connection.whole.load(Ordering::Relaxed));
    if let Some(connection) = open.remove(oldest.unwrap_or_default()) {
        connection.task.abort();
    }
}

async fn connection(stream: TcpStream, router: Router, progress: Progress) {
    // Without it the second small write of a connection waits for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY could not be set");
    }
    let begun = Arc::clone(&progress.begun);
    let router = TowerToHyperService::new(router);
    let answering = service_fn(move |mut request: Request<Incoming>| {
        progress.begun.notify_one();
        request.extensions_mut().insert(progress.clone());
        let (answer, whole) = (router.call(request), Arc::clone(&progress.whole));
        async move {
            let answer = answer.await;
            whole.store(false, Ordering::Relaxed);
            answer
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(NEXT_HEAD).max_buf_size(MAX_HEAD);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), answering));
    let ended = tokio::select! {
        biased;
        ended = &mut served => ended,
        begun = timeout(FIRST_HEAD, begun.notified()) => match begun {
            Ok(()) => served.await,
            Err(_) => return,
        },
    };
    if let Err(error) = ended {
        debug!(%error, "a connection to a local endpoint broke off");
    }
}

impl Progress {
    /// A request's body, if it comes in time, is not too long, and there is room for it.
    pub(super) async fn body(&self, body: Body, most: usize) -> Result<Bytes, StatusCode> {
        let body = match timeout(BODY, self.read(body, most)).await {
            Ok(body) => body?,
            Err(_) => return Err(StatusCode::REQUEST_TIMEOUT),
        };
        self.whole.store(true, Ordering::Relaxed);
        Ok(body)
    }

    async fn read(&self, body: Body, most: usize) -> Result<Bytes, StatusCode> {
        let (mut frames, mut read) = (body.into_data_stream(), BytesMut::new());
        let mut held: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = frames.next().await {
            let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
            if read.len() + frame.len() > most {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
            let room = room.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
            match &mut held {
                Some(held) => held.merge(room),
                None => held = Some(room),
            }
            read.extend_from_slice(&frame);
        }
        Ok(read.freeze())
    }
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::http::Method;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;

    /// An endpoint that answers a POST at once, and a GET never.
    async fn endpoint() -> (std::net::SocketAddr, JoinHandle<()>) {
        let answer =
            async |Extension(progress): Extension<Progress>, method: Method, body: Body| match progress
                .body(body, 1 << 20)
                .await
            {
                Ok(_) if method == Method::GET => std::future::pending().await,
                Ok(body) => (StatusCode::OK, body.len().to_string()),
                Err(status) => (status, String::new()),
            };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer);
        (address, tokio::spawn(serve(listener, router, CancellationToken::new())))
    }

    async fn ask(address: std::net::SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn half(address: std::net::SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn half_sent_requests_keep_nobody_out_and_cut_no_poll_off() {
        let (address, _serving) = endpoint().await;
        let mut poll = half(address, "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut held = Vec::new();
        for n in 0..MAX_CONNECTIONS + 20 {
            let text = if n % 2 == 0 {
                "POST / HT"
            } else {
                "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nab"
            };
            held.push(half(address, text).await);
        }
        let began = Instant::now();
        assert!(ask(address).await.ends_with("\r\n\r\n3"));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let cut = timeout(Duration::from_millis(100), poll.read_u8()).await;
        assert!(cut.is_err(), "{cut:?}");
    }

    #[tokio::test]
    async fn bodies_that_have_not_come_whole_are_bounded_together() {
        let room = Arc::new(Semaphore::new(100));
        let progress = || Progress { whole: Arc::default(), begun: Arc::default(), room: Arc::clone(&room) };
        let (one, other) = (progress(), progress());
        let never = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(&[0; 60]))])
            .chain(futures_util::stream::pending());
        let reading = tokio::spawn(async move { one.body(Body::from_stream(never), 1000).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let large = other.body(Body::from(vec![0; 60]), 1000).await;
        assert_eq!(large, Err(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(other.body(Body::from(vec![0; 40]), 1000).await.map(|body| body.len()), Ok(40));
        assert_eq!(other.body(Body::from(vec![0; 40]), 30).await, Err(StatusCode::PAYLOAD_TOO_LARGE));
        reading.abort();
        assert!(reading.await.is_err());
        assert_eq!(room.available_permits(), 100);
    }
}
