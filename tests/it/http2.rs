//! HTTP/2 by ALPN: shared connections, and what a receiver that goes away says of requests.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{Request, Response};
use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason as Code, RecvStream};
use hookferry::delivery::http::{Http, Settings};
use hookferry::outcome::{Outcome, Reason};
use hookferry::tls::Authorities;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::certificates::{Authority, Speaks};
use crate::peer::{OK, PATIENCE, Peer, attempt, deliver, http, loopback, read_request};

type Server = Connection<TlsStream<TcpStream>, Bytes>;

/// What a receiver saw.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Arrived>>>);

type Arrived = (Request<()>, Bytes);

impl Seen {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Reads the request's body and remembers it.
    async fn take(&self, request: Request<RecvStream>) {
        let (parts, mut stream) = request.into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data.unwrap();
            stream.flow_control().release_capacity(data.len()).unwrap();
            body.extend_from_slice(&data);
        }
        self.0.lock().unwrap().push((Request::from_parts(parts, ()), body.into()));
    }
}

/// A receiver over HTTP/2, and a client that trusts it; `serve` gets each connection with its number.
async fn receiver<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(Server, usize, Seen) -> F + Send + Sync + 'static,
) -> (Peer, Http, Seen, String) {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let acceptor = authority.local().acceptor(Speaks::Http2);
    let seen = Seen::default();
    let (kept, serve, number) = (seen.clone(), Arc::new(serve), Arc::new(Mutex::new(0)));
    let peer = Peer::new(move |peer| {
        let (acceptor, seen, serve, number) =
            (acceptor.clone(), kept.clone(), Arc::clone(&serve), Arc::clone(&number));
        async move {
            let Ok(tls) = acceptor.accept(peer.stream).await else { return };
            let connection = h2::server::handshake(tls).await.unwrap();
            let this = {
                let mut number = number.lock().unwrap();
                *number += 1;
                *number - 1
            };
            serve(connection, this, seen).await;
        }
    })
    .await;
    let authorities = Authorities::read(&authority.file(&dir)).unwrap();
    let url = peer.url().replace("http:", "https:");
    (peer, http(Settings { authorities, ..loopback() }), seen, url)
}

fn answer(mut response: SendResponse<Bytes>, status: u16) {
    let head = Response::builder().status(status).body(()).unwrap();
    // The client may be gone; what it makes of that is asserted there.
    drop(response.send_response(head, true));
}

#[tokio::test]
async fn requests_share_a_connection() {
    let (peer, http, seen, url) = receiver(|mut connection, _, seen| async move {
        while let Some(Ok((request, response))) = connection.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                seen.take(request).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                answer(response, 204);
            });
        }
    })
    .await;
    let headers = [("X-Own", "é"), ("Upgrade", "h2c"), ("TE", "trailers")];
    assert_eq!(deliver(&http, &url, &headers, b"{\"a\":1}").await, Outcome::Delivered);
    {
        let seen = seen.0.lock().unwrap();
        let (request, body) = &seen[0];
        assert_eq!((request.method().as_str(), request.uri().to_string()), ("POST", url.clone()));
        assert_eq!(request.headers()["x-own"].as_bytes(), "é".as_bytes());
        assert!(request.headers().get("upgrade").is_none() && request.headers().get("te").is_none());
        assert_eq!(
            (request.headers()["content-length"].as_bytes(), &body[..]),
            (&b"7"[..], &b"{\"a\":1}"[..])
        );
    }
    let outcomes = futures_util::future::join_all((0..20).map(|_| attempt(&http, &url))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered), "{outcomes:?}");
    assert_eq!((peer.connected(), seen.count()), (2, 21), "and the one that was offered HTTP/1.1");
}

#[tokio::test]
async fn a_connection_that_the_peer_gave_up_while_idle_costs_neither_an_attempt_nor_a_duplicate() {
    for goodbye in [true, false] {
        let (peer, http, seen, url) = receiver(move |mut connection, _, seen| async move {
            let (request, response) = connection.accept().await.unwrap().unwrap();
            let taken = seen.take(request);
            tokio::select! {
                () = taken => {}
                _ = connection.accept() => panic!("one at a time"),
            }
            answer(response, 200);
            if goodbye {
                connection.graceful_shutdown();
                while connection.accept().await.is_some() {}
            } else {
                drop(timeout(Duration::from_millis(50), connection.accept()).await);
            }
        })
        .await;
        for _ in 0..5 {
            assert_eq!(attempt(&http, &url).await, Outcome::Delivered, "{goodbye}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!((peer.connected(), seen.count()), (6, 5));
    }
}

/// The runtime of this test does nothing while the peer, which has one of its own, closes.
#[tokio::test(flavor = "current_thread")]
async fn a_close_without_a_goodbye_that_the_runtime_has_not_heard_of_costs_nothing_either() {
    let elsewhere = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (closed, is_closed) = std::sync::mpsc::channel::<()>();
    let close = Arc::new(Notify::new());
    let closing = Arc::clone(&close);
    let serve = move |mut connection: Server, _, seen: Seen| {
        let (closing, closed) = (Arc::clone(&closing), closed.clone());
        async move {
            let (request, response) = connection.accept().await.unwrap().unwrap();
            tokio::select! {
                () = seen.take(request) => {}
                _ = connection.accept() => panic!("one at a time"),
            }
            answer(response, 200);
            tokio::select! {
                () = closing.notified() => {}
                _ = connection.accept() => panic!("one request a connection"),
            }
            drop(connection);
            closed.send(()).unwrap();
        }
    };
    let (peer, http, seen, url) = elsewhere.spawn(receiver(serve)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
        close.notify_one();
        is_closed.recv().unwrap();
    }
    assert_eq!((peer.connected(), seen.count()), (4, 3));
    elsewhere.shutdown_background();
}

#[tokio::test]
async fn a_request_that_the_peer_says_it_did_not_look_at_fails_for_now_and_is_never_seen_twice() {
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refused);
    let (peer, http, seen, url) = receiver(move |mut connection, number, seen| {
        let refused = Arc::clone(&counted);
        async move {
            let mut first = true;
            while let Some(Ok((request, mut response))) = connection.accept().await {
                if number == 0 && !first {
                    refused.fetch_add(1, Ordering::AcqRel);
                    response.send_reset(Code::REFUSED_STREAM);
                    continue;
                }
                first = false;
                let seen = seen.clone();
                tokio::spawn(async move {
                    seen.take(request).await;
                    answer(response, 200);
                });
            }
        }
    })
    .await;
    assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    let outcome = attempt(&http, &url).await;
    assert!(matches!(outcome, Outcome::Transient { reason: Reason::Broken(_), .. }), "{outcome:?}");
    assert_eq!((peer.connected(), seen.count()), (2, 1));
    // Sent, and sent again by the client: a stream that is refused was not looked at.
    assert_eq!(refused.load(Ordering::Acquire), 3);
}

#[tokio::test]
async fn a_request_that_the_peer_may_have_looked_at_is_not_sent_again() {
    let (peer, http, seen, url) = receiver(|mut connection, _, seen| async move {
        while let Some(Ok((request, mut response))) = connection.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                seen.take(request).await;
                if seen.count() == 1 {
                    answer(response, 200);
                } else {
                    response.send_reset(Code::INTERNAL_ERROR);
                }
            });
        }
    })
    .await;
    assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    let outcome = attempt(&http, &url).await;
    assert!(matches!(outcome, Outcome::Transient { reason: Reason::Broken(_), .. }), "{outcome:?}");
    assert_eq!((peer.connected(), seen.count()), (2, 2));
}

#[tokio::test]
async fn an_attempt_that_goes_unanswered_ends_its_stream_and_leaves_the_connection_to_others() {
    let (tell, mut ends) = mpsc::unbounded_channel();
    let (peer, http, seen, url) = receiver(move |mut connection, _, seen| {
        let tell = tell.clone();
        async move {
            let mut number = 0;
            while let Some(Ok((request, mut response))) = connection.accept().await {
                number += 1;
                let (seen, tell) = (seen.clone(), tell.clone());
                let held = number == 2;
                tokio::spawn(async move {
                    if held {
                        // With the request, or the stream would be reset from here.
                        let end = poll_fn(|context| response.poll_reset(context)).await;
                        drop(request);
                        tell.send(end.unwrap()).unwrap();
                    } else {
                        seen.take(request).await;
                        answer(response, 200);
                    }
                });
            }
        }
    })
    .await;
    assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    assert!(timeout(Duration::from_millis(300), attempt(&http, &url)).await.is_err());
    assert_eq!(timeout(PATIENCE, ends.recv()).await.unwrap(), Some(Code::CANCEL));
    assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    assert_eq!((peer.connected(), seen.count()), (2, 2));
}

#[tokio::test]
async fn a_receiver_of_http2_alone_that_left_attempts_unanswered_gets_the_next_one_over_http2() {
    let (peer, http, seen, url) = receiver(|mut connection, _, seen| async move {
        let mut held = Vec::new();
        while let Some(Ok((request, response))) = connection.accept().await {
            let seen = seen.clone();
            if seen.count() < 3 {
                held.push(response);
                tokio::spawn(async move { seen.take(request).await });
                continue;
            }
            tokio::spawn(async move {
                seen.take(request).await;
                answer(response, 200);
            });
        }
    })
    .await;
    for unanswered in 1..=3 {
        assert!(timeout(Duration::from_secs(1), attempt(&http, &url)).await.is_err());
        assert_eq!(seen.count(), unanswered, "each came over HTTP/2, once");
    }
    for _ in 0..3 {
        assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    }
    assert_eq!(seen.count(), 6);
    drop(peer);
}

#[tokio::test]
async fn a_receiver_that_speaks_either_is_offered_http2_once_it_has_answered_quickly_for_a_while() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let acceptor = authority.local().acceptor(Speaks::Either);
    let spoken: Arc<Mutex<Vec<&str>>> = Arc::default();
    let kept = Arc::clone(&spoken);
    let peer = Peer::new(move |peer| {
        let (acceptor, spoken) = (acceptor.clone(), Arc::clone(&kept));
        async move {
            let Ok(mut tls) = acceptor.accept(peer.stream).await else { return };
            if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                let mut connection = h2::server::handshake(tls).await.unwrap();
                while let Some(Ok((_, response))) = connection.accept().await {
                    spoken.lock().unwrap().push("h2");
                    answer(response, 200);
                }
                return;
            }
            while read_request(&mut tls).await.is_some() {
                spoken.lock().unwrap().push("http/1.1");
                tls.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let authorities = Authorities::read(&authority.file(&dir)).unwrap();
    let http = http(Settings { authorities, ..loopback() });
    let url = peer.url().replace("http:", "https:");
    for _ in 0..10 {
        assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    }
    let spoken = spoken.lock().unwrap();
    assert_eq!((&spoken[..8], &spoken[8..]), (&["http/1.1"; 8][..], &["h2"; 2][..]));
}

#[tokio::test]
async fn few_requests_go_over_http2_to_receivers_that_are_not_proven() {
    let (peer, http, seen, url) = receiver(|mut connection, _, seen| async move {
        let mut held = Vec::new();
        while let Some(Ok((request, response))) = connection.accept().await {
            held.push(response);
            let seen = seen.clone();
            tokio::spawn(async move { seen.take(request).await });
        }
    })
    .await;
    let attempts: Vec<_> = (0..100).map(|_| Box::pin(attempt(&http, &url))).collect();
    let all = futures_util::future::join_all(attempts);
    assert!(timeout(Duration::from_secs(2), all).await.is_err());
    assert!((1..=16).contains(&seen.count()), "{}", seen.count());
    drop(peer);
}

/// What is behind a front that has gone silent: the connection is given up by its pings.
#[tokio::test]
async fn a_connection_that_is_dead_without_knowing_is_given_up_and_another_one_takes_the_next_attempt() {
    let (peer, http, seen, url) = receiver(|mut connection, number, seen| async move {
        let mut first = true;
        while let Some(Ok((request, response))) = connection.accept().await {
            if number == 0 && !std::mem::take(&mut first) {
                // Neither read nor written any more, and open.
                std::future::pending::<()>().await;
            }
            let seen = seen.clone();
            tokio::spawn(async move {
                seen.take(request).await;
                answer(response, 200);
            });
        }
    })
    .await;
    assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    let outcome = attempt(&http, &url).await;
    assert!(matches!(outcome, Outcome::Transient { reason: Reason::Broken(_), .. }), "{outcome:?}");
    assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    assert_eq!((peer.connected(), seen.count()), (3, 2));
}

#[tokio::test]
async fn endless_informational_responses_are_no_answer_and_end_with_the_attempt() {
    let (tell, mut ends) = mpsc::unbounded_channel();
    let (_peer, http, _seen, url) = receiver(move |mut connection, _, _| {
        let tell = tell.clone();
        async move {
            let mut waiting: Vec<SendResponse<Bytes>> = Vec::new();
            let mut poured: u64 = 0;
            loop {
                tokio::select! {
                    accepted = connection.accept() => {
                        let Some(Ok((_, response))) = accepted else {
                            tell.send(poured).unwrap();
                            return;
                        };
                        waiting.push(response);
                    }
                    // Between two of them the connection gets to write.
                    () = tokio::task::yield_now(), if !waiting.is_empty() => {
                        // No two alike, or they would be packed into next to nothing.
                        let link = poured.to_string().repeat(500);
                        let early = Response::builder().status(103).header("link", link).body(()).unwrap();
                        if waiting[0].send_informational(early).is_err() {
                            waiting.clear();
                        } else {
                            poured += 1;
                        }
                    }
                }
            }
        }
    })
    .await;
    assert!(timeout(Duration::from_millis(500), attempt(&http, &url)).await.is_err());
    drop(http);
    let poured = timeout(PATIENCE, ends.recv()).await.expect("the connection ends with its client");
    assert!(poured.is_some_and(|poured| poured > 0), "{poured:?}");
}

#[tokio::test]
async fn a_body_is_read_up_to_a_cap_and_its_stream_is_dropped() {
    let (peer, http, seen, url) = receiver(|mut connection, _, seen| async move {
        while let Some(Ok((request, mut response))) = connection.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                seen.take(request).await;
                let whole = Response::builder().status(200).body(()).unwrap();
                let mut body = response.send_response(whole, false).unwrap();
                body.reserve_capacity(1 << 20);
                while let Some(Ok(room)) = poll_fn(|cx| body.poll_capacity(cx)).await {
                    if body.send_data(vec![b'x'; room].into(), false).is_err() {
                        return;
                    }
                    body.reserve_capacity(1 << 20);
                }
            });
        }
    })
    .await;
    for _ in 0..30 {
        assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    }
    assert_eq!((peer.connected(), seen.count()), (2, 30), "one was refused for HTTP/1.1");
}
