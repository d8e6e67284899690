//! Receivers that answer oddly, endlessly or not to the end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use hookferry::outcome::{Outcome, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::peer::{OK, Peer, attempt, deliver, http, loopback};
use crate::world::{World, job, wait_until};

/// Writes for ever, or until the other end is gone; gives how many bytes it took.
async fn pour(stream: &mut TcpStream, text: &str) -> usize {
    let mut poured = 0;
    while stream.write_all(text.as_bytes()).await.is_ok() {
        poured += text.len();
    }
    poured
}

/// What a peer got rid of before the other end was gone.
#[derive(Clone, Default)]
struct Poured(Arc<Mutex<Option<usize>>>);

impl Poured {
    async fn get(&self) -> usize {
        wait_until(|| self.0.lock().unwrap().is_some()).await;
        self.0.lock().unwrap().unwrap()
    }
}

/// A peer that writes `first` and then `more` for ever.
async fn endless(first: &'static str, more: &'static str) -> (Peer, Poured) {
    let poured = Poured::default();
    let kept = poured.clone();
    let peer = Peer::new(move |mut peer| {
        let kept = kept.clone();
        async move {
            peer.read_request().await;
            peer.write(first).await;
            let bytes = pour(&mut peer.stream, more).await;
            *kept.0.lock().unwrap() = Some(bytes);
        }
    })
    .await;
    (peer, poured)
}

/// A connection is kept a moment after its answer, by a thread of its own that others may keep waiting: of so many requests
/// with a pause between them one at least finds it.
const TRIES: usize = 6;
const IS_KEPT: Duration = Duration::from_millis(50);

/// After so many quick answers a destination is sent to from everyone's threads.
const QUICK: usize = 8;

/// What the sockets of both ends hold besides.
const SOCKETS: usize = 12 << 20;

#[tokio::test]
async fn a_body_is_read_up_to_a_cap_whatever_follows() {
    for (status, expected) in [
        ("200 OK", Outcome::Delivered),
        ("500 No", Outcome::transient(Reason::Status(500))),
        ("410 Gone", Outcome::Permanent(Reason::Gone)),
    ] {
        for framing in ["content-length: 99999999999", "connection: close"] {
            let first = format!("HTTP/1.1 {status}\r\n{framing}\r\n\r\n").leak();
            let (peer, poured) = endless(first, &"x".repeat(8192).leak()[..]).await;
            assert_eq!(attempt(&http(loopback()), &peer.url()).await, expected, "{first}");
            assert!(poured.get().await < SOCKETS, "the connection is dropped");
        }
    }
}

#[tokio::test]
async fn endless_headers_end_the_attempt() {
    let one = "x-more: and more of it, and more of it, and more of it, and more of it\r\n".repeat(50).leak();
    let long = "x".repeat(8192).leak();
    for (first, more) in [("HTTP/1.1 200 OK\r\n", &*one), ("HTTP/1.1 200 OK\r\nx-long: ", &*long)] {
        let (peer, poured) = endless(first, more).await;
        let outcome = attempt(&http(loopback()), &peer.url()).await;
        assert_eq!(
            outcome,
            Outcome::transient(Reason::Broken("the response's headers are too large".into()))
        );
        assert!(poured.get().await < SOCKETS);
    }
}

#[tokio::test]
async fn endless_informational_responses_are_no_answer_and_end_with_the_attempt() {
    for one in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n",
    ] {
        let (peer, poured) = endless("", one.repeat(100).leak()).await;
        let http = http(loopback());
        assert!(timeout(Duration::from_millis(300), attempt(&http, &peer.url())).await.is_err());
        assert!(poured.get().await > 0, "the connection is dropped");
    }
}

/// A receiver with threads of its own that answers every request with informational responses alone, without end.
fn flooding() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                // A small request comes in one piece.
                std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
                let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
                while std::io::Write::write_all(&mut stream, flood.as_bytes()).is_ok() {}
            });
        }
    });
    url
}

#[tokio::test]
async fn informational_responses_without_end_take_no_thread_from_receivers_that_answer() {
    let (http, healthy) = (http(loopback()), Peer::answering(OK).await);
    let (url, floods): (_, [String; 6]) = (healthy.url(), std::array::from_fn(|_| flooding()));
    let flooded = async |patience: Duration| {
        let attempts = floods.each_ref().map(|url| timeout(patience, attempt(&http, url)));
        futures_util::future::join_all(attempts).await
    };
    // Nothing is known of them, and they are sent to as all are.
    for _ in 0..2 {
        let ended = flooded(Duration::from_millis(100)).await;
        assert!(ended.iter().all(Result::is_err), "{ended:?}");
    }
    let mut delivered = 0;
    let mut flooded = std::pin::pin!(flooded(Duration::from_secs(3)));
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut flooded => break ended,
            outcome = attempt(&http, &url) => assert_eq!(outcome, Outcome::Delivered),
        }
        delivered += 1;
    };
    assert!(ended.iter().all(Result::is_err), "{ended:?}");
    // On a thread that they share it would be a few.
    assert!(delivered > 100, "{delivered}");
}

#[tokio::test]
async fn a_few_informational_responses_are_passed_over() {
    let peer = Peer::answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let http = http(loopback());
    assert_eq!(attempt(&http, &peer.url()).await, Outcome::Delivered);
    assert_eq!(attempt(&http, &peer.url()).await, Outcome::Delivered);
    assert_eq!((peer.connected(), peer.seen()), (1, 2));
}

#[tokio::test]
async fn a_change_of_protocol_is_no_success() {
    let peer = Peer::answering("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await;
    let http = http(loopback());
    for _ in 0..2 {
        assert_eq!(attempt(&http, &peer.url()).await, Outcome::transient(Reason::Status(101)));
    }
    assert_eq!((peer.connected(), peer.seen()), (2, 2));
}

#[tokio::test]
async fn a_success_counts_only_with_its_whole_body() {
    for cut in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nha",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 2",
        "",
        "nonsense that is no HTTP\r\n\r\n",
        "\u{15}\u{3}\u{1}\u{0}\u{2}\u{2}\u{28}",
    ] {
        let peer = Peer::new(move |mut peer| async move {
            peer.read_request().await;
            peer.write(cut).await;
        })
        .await;
        let outcome = attempt(&http(loopback()), &peer.url()).await;
        assert!(
            matches!(outcome, Outcome::Transient { reason: Reason::Broken(_), .. }),
            "{cut:?}: {outcome:?}"
        );
        assert_eq!(peer.seen(), 1, "{cut:?} is not retried here");
    }
    let peer = Peer::new(move |mut peer| async move {
        peer.read_request().await;
        peer.write("HTTP/1.1 503 No\r\ncontent-length: 10\r\n\r\nhalf").await;
    })
    .await;
    assert_eq!(attempt(&http(loopback()), &peer.url()).await, Outcome::transient(Reason::Status(503)));
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_whole() {
    for whole in [
        "HTTP/1.1 200 OK\r\n\r\nall of it",
        "HTTP/1.0 200 OK\r\n\r\nall of it",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let peer = Peer::new(move |mut peer| async move {
            peer.read_request().await;
            peer.write(whole).await;
        })
        .await;
        assert_eq!(attempt(&http(loopback()), &peer.url()).await, Outcome::Delivered, "{whole}");
    }
}

#[tokio::test]
async fn a_reset_before_during_and_after_the_response_is_told_apart() {
    let resets = async |before: &'static str| {
        let reset: Arc<Mutex<usize>> = Arc::default();
        let count = Arc::clone(&reset);
        let peer = Peer::new(move |mut peer| {
            let count = Arc::clone(&count);
            async move {
                peer.read_request().await;
                peer.write(before).await;
                if !before.is_empty() {
                    // Until the other end has it: a reset may overtake it.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                peer.reset();
                *count.lock().unwrap() += 1;
            }
        })
        .await;
        let http = http(loopback());
        let first = attempt(&http, &peer.url()).await;
        wait_until(|| *reset.lock().unwrap() == 1).await;
        assert_eq!(peer.seen(), 1);
        (first, attempt(&http, &peer.url()).await)
    };
    for before in ["", "HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
        let (outcome, again) = resets(before).await;
        assert!(
            matches!(&outcome, Outcome::Transient { reason: Reason::Broken(why), .. } if why.contains("reset")),
            "{outcome:?}"
        );
        assert_eq!(outcome, again);
    }
    // The response was complete: the next attempt has a connection of its own and is none the worse.
    assert_eq!(resets(OK).await, (Outcome::Delivered, Outcome::Delivered));
    let refuses = Peer::new(|peer| async move { peer.reset() }).await;
    let outcome = attempt(&http(loopback()), &refuses.url()).await;
    // It may be over before the client has it.
    assert!(
        matches!(outcome, Outcome::Transient { reason: Reason::Broken(_) | Reason::Connect(_), .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn retry_after_is_understood_in_both_forms() {
    let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
    let date = httpdate::fmt_http_date(in_an_hour);
    for (value, low, high) in [("120".to_owned(), 120, 120), (date, 3590, 3600)] {
        let response =
            format!("HTTP/1.1 429 Slow\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n").leak();
        let peer = Peer::answering(response).await;
        let outcome = attempt(&http(loopback()), &peer.url()).await;
        let Outcome::Transient { reason: Reason::Status(429), retry_after: Some(asked) } = outcome else {
            panic!("{outcome:?}")
        };
        assert!((low..=high).contains(&asked.as_secs()), "{asked:?}");
    }
    // Its clock is years behind, or ours ahead.
    let by_its_clock = "HTTP/1.1 429 Slow\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                        retry-after: Sun, 06 Nov 1994 08:50:37 GMT\r\ncontent-length: 0\r\n\r\n";
    let outcome = attempt(&http(loopback()), &Peer::answering(by_its_clock).await.url()).await;
    let retry_after = Some(Duration::from_secs(60));
    assert_eq!(outcome, Outcome::Transient { reason: Reason::Status(429), retry_after });
    let peer =
        Peer::answering("HTTP/1.1 503 No\r\nretry-after: when I say so\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(attempt(&http(loopback()), &peer.url()).await, Outcome::transient(Reason::Status(503)));
}

#[tokio::test]
async fn header_values_that_are_no_ascii_go_out_as_utf_8_and_may_come_in() {
    let peer = Peer::new(|mut peer| async move {
        peer.read_request().await;
        peer.stream
            .write_all(b"HTTP/1.1 200 \xe9\r\nx-a: \xff\xfe\xc3\xa9\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
    })
    .await;
    let headers = [("X-Name", "Zoë 漢字 🦀"), ("X-Tab", "a\tb")];
    assert_eq!(deliver(&http(loopback()), &peer.url(), &headers, b"{}").await, Outcome::Delivered);
    let request = peer.requests.lock().unwrap()[0].clone();
    assert!(request.contains("x-name: Zoë 漢字 🦀\r\n") && request.contains("x-tab: a\tb\r\n"), "{request}");
}

#[tokio::test]
async fn a_large_body_is_sent_without_asking_and_nothing_is_decompressed() {
    let body = "x".repeat(900_000);
    let response = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\nnot gzip!";
    let peer = Peer::answering(response).await;
    let http = http(loopback());
    let headers = [("Content-Type", "application/json"), ("expect", "100-continue")];
    assert_eq!(deliver(&http, &peer.url(), &headers, body.as_bytes()).await, Outcome::Delivered);
    let request = peer.requests.lock().unwrap()[0].clone();
    let head = request.split("\r\n\r\n").next().unwrap().to_lowercase();
    assert!(
        !head.contains("expect") && !head.contains("accept-encoding") && !head.contains("cookie"),
        "{head}"
    );
    assert!(head.contains("content-length: 900000"), "{head}");
    assert_eq!(request.len(), head.len() + 4 + body.len());
}

#[tokio::test]
async fn an_early_answer_to_a_large_body_counts() {
    let peer = Peer::new(|mut peer| async move {
        let mut some = [0; 1000];
        peer.stream.read_exact(&mut some).await.unwrap();
        peer.write("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        // Read on, or the answer is lost with a reset.
        while peer.stream.read(&mut some).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let body = vec![b'x'; 1_000_000];
    let outcome = deliver(&http(loopback()), &peer.url(), &[], &body).await;
    assert_eq!(outcome, Outcome::transient(Reason::Status(413)));
}

#[tokio::test]
async fn an_early_answer_counts_even_if_the_connection_is_reset_behind_it() {
    for (response, expected) in [
        ("HTTP/1.1 413 Too Large\r\n\r\n", Outcome::transient(Reason::Status(413))),
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", Outcome::Permanent(Reason::Gone)),
    ] {
        let before = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let peer = Peer::new(move |mut peer| {
            let before = before.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                let mut some = [0; 1000];
                if before < QUICK {
                    assert!(peer.stream.read(&mut some).await.unwrap() > 0);
                    return peer
                        .write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                        .await;
                }
                peer.stream.read_exact(&mut some).await.unwrap();
                // Closed with the most of the request unread: that resets it.
                peer.write(response).await;
            }
        })
        .await;
        // On threads of its own the client may still be writing when the reset comes: then there is no answer to read,
        // and the attempt is made again.
        let http = http(loopback());
        for _ in 0..QUICK {
            assert_eq!(deliver(&http, &peer.url(), &[], b"{}").await, Outcome::Delivered);
        }
        let body = vec![b'x'; 8_000_000];
        for _ in 0..10 {
            assert_eq!(deliver(&http, &peer.url(), &[], &body).await, expected);
        }
    }
}

#[tokio::test]
async fn an_answer_may_begin_before_the_request_has_ended() {
    // More than the sockets hold: the receiver reads on only once it has answered in part.
    let body = vec![b'x'; 8_000_000];
    let length = body.len();
    let peer = Peer::new(move |mut peer| async move {
        let mut some = vec![0; 100_000];
        loop {
            let mut left = length;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = peer.stream.read_u8().await else { return };
                head.push(byte);
            }
            peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").await;
            while left > 0 {
                left -= peer.stream.read(&mut some).await.unwrap();
            }
            peer.write("0\r\n\r\n").await;
        }
    })
    .await;
    let http = http(loopback());
    for _ in 0..TRIES {
        assert_eq!(deliver(&http, &peer.url(), &[], &body).await, Outcome::Delivered);
        tokio::time::sleep(IS_KEPT).await;
    }
    assert!(peer.connected() < TRIES, "connections are kept");
}

#[tokio::test]
async fn a_response_may_come_byte_by_byte() {
    let peer = Peer::new(|mut peer| async move {
        peer.stream.set_nodelay(true).unwrap();
        while peer.read_request().await.is_some() {
            let response = "HTTP/1.1 103 Hint\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nA;b\r\n0123456789\r\n0\r\nc: d\r\n\r\n";
            for byte in response.bytes() {
                peer.stream.write_u8(byte).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    })
    .await;
    let http = http(loopback());
    for _ in 0..TRIES {
        assert_eq!(attempt(&http, &peer.url()).await, Outcome::Delivered);
        tokio::time::sleep(IS_KEPT).await;
    }
    assert!(peer.connected() < TRIES && peer.seen() == TRIES, "connections are kept");
}

/// A worker whose first attempt meets `first` and whose second one is answered.
async fn cut_off(first: &'static str, drip: &'static str) {
    let lasted: Arc<Mutex<Option<Duration>>> = Arc::default();
    let kept = Arc::clone(&lasted);
    let peer = Peer::new(move |mut peer| {
        let kept = Arc::clone(&kept);
        async move {
            let Some(request) = peer.read_request().await else { return };
            let began = Instant::now();
            if request.to_lowercase().contains("x-hookferry-attempt: 1\r\n") {
                peer.write(first).await;
                while peer.stream.write_all(drip.as_bytes()).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                *kept.lock().unwrap() = Some(began.elapsed());
            }
            peer.write(OK).await;
        }
    })
    .await;
    let world = World::new(|_| (200, Duration::ZERO)).await;
    world.send(&[job("g", 0)]).await;
    let webhooks = format!(r#"[{{"url":"{}"}}]"#, peer.url());
    let _worker =
        world.worker(&["/"], &[("DEFAULT_APP_WEBHOOKS", &webhooks), ("WEBHOOKS_TIMEOUT_MS", "1000")]);
    wait_until(|| lasted.lock().unwrap().is_some()).await;
    world.wait_until_empty().await;
    assert_eq!(peer.seen(), 2, "one attempt cut off, one delivered");
    assert!(world.dead().await.is_empty());
    let lasted = lasted.lock().unwrap().unwrap();
    assert!(lasted >= Duration::from_millis(900) && lasted < Duration::from_secs(4), "{lasted:?}");
}

#[tokio::test]
async fn the_deadline_covers_a_body_that_trickles() {
    cut_off("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", "x").await;
}

#[tokio::test]
async fn the_deadline_covers_headers_that_trickle() {
    cut_off("HTTP/1.1 200 OK\r\nx-slow: ", "x").await;
}

#[tokio::test]
async fn the_deadline_covers_informational_responses_that_trickle() {
    cut_off("", "HTTP/1.1 102 Processing\r\n\r\n").await;
}
