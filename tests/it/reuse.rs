//! Connections: kept, closed behind one's back, dialled by several addresses, bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookferry::delivery::http::{Http, Settings};
use hookferry::outcome::{Outcome, Reason};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::peer::{Names, OK, PATIENCE, Peer, attempt, http, loopback, reason};
use crate::world::{World, assert_in_order, job};

#[tokio::test]
async fn a_connection_is_used_again_and_again() {
    let peer = Peer::answering(OK).await;
    let http = http(loopback());
    for _ in 0..50 {
        assert_eq!(attempt(&http, &peer.url()).await, Outcome::Delivered);
    }
    assert_eq!((peer.connected(), peer.seen()), (2, 50), "another one once it is proven");
}

#[tokio::test]
async fn a_kept_connection_that_the_peer_closed_costs_neither_an_attempt_nor_a_duplicate() {
    for reset in [false, true] {
        let peer = Peer::new(move |mut peer| async move {
            peer.read_request().await;
            peer.write(OK).await;
            if reset {
                // Until the other end has the answer: a reset may overtake it.
                tokio::time::sleep(Duration::from_millis(20)).await;
                peer.reset();
            }
        })
        .await;
        let http = http(loopback());
        for _ in 0..20 {
            assert_eq!(attempt(&http, &peer.url()).await, Outcome::Delivered);
            // Long enough to have been closed.
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        assert_eq!((peer.connected(), peer.seen()), (20, 20));
    }
}

/// The runtime of this test does nothing while the peer closes, so that only a look at the socket
/// itself can tell.
#[tokio::test(flavor = "current_thread")]
async fn a_close_that_the_runtime_has_not_heard_of_costs_nothing_either() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (close, closing) = std::sync::mpsc::channel::<()>();
    let (closed, is_closed) = std::sync::mpsc::channel::<()>();
    let peer = std::thread::spawn(move || {
        let mut requests = 0;
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n{}") {
                let mut some = [0; 4096];
                let read = std::io::Read::read(&mut stream, &mut some).unwrap();
                request.extend_from_slice(&some[..read]);
            }
            requests += 1;
            std::io::Write::write_all(&mut stream, OK.as_bytes()).unwrap();
            closing.recv().unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
        requests
    });
    let http = http(loopback());
    assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    close.send(()).unwrap();
    is_closed.recv().unwrap();
    // Across the loopback a close arrives before `close` returns.
    assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    close.send(()).unwrap();
    assert_eq!(peer.join().unwrap(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_ends_before_its_answer_costs_one_more_request_and_no_attempt() {
    for reset in [false, true] {
        let peer = Peer::new(move |mut peer| async move {
            peer.read_request().await;
            peer.write(OK).await;
            // The second one is taken, and never answered.
            peer.read_request().await;
            if reset {
                peer.reset();
            }
        })
        .await;
        let http = http(loopback());
        assert_eq!(attempt(&http, &peer.url()).await, Outcome::Delivered);
        assert_eq!(attempt(&http, &peer.url()).await, Outcome::Delivered);
        assert_eq!((peer.connected(), peer.seen()), (2, 3), "{reset}");
        let requests = peer.requests.lock().unwrap().clone();
        assert_eq!(requests[1], requests[2], "the same request, of the same attempt");
    }
}

#[tokio::test]
async fn a_request_is_sent_again_once_at_most_and_never_behind_a_new_connection_that_ended() {
    let answers = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&answers);
    let peer = Peer::new(move |mut peer| {
        let left = Arc::clone(&left);
        async move {
            while peer.read_request().await.is_some() {
                if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
                {
                    return;
                }
                peer.write(OK).await;
            }
        }
    })
    .await;
    let http = http(loopback());
    assert_eq!(attempt(&http, &peer.url()).await, Outcome::Delivered);
    let broken = Outcome::transient(Reason::Broken("it was closed before the response was complete".into()));
    assert_eq!(attempt(&http, &peer.url()).await, broken);
    assert_eq!((peer.connected(), peer.seen()), (2, 3), "once on the kept one, once on a new one");
    assert_eq!(attempt(&http, &peer.url()).await, broken);
    assert_eq!((peer.connected(), peer.seen()), (3, 4), "a new one has no excuse");
}

#[tokio::test]
async fn a_receiver_that_closes_behind_every_answer_without_a_word_gets_every_job_at_its_first_attempt() {
    let peer = Peer::new(|mut peer| async move {
        if peer.read_request().await.is_some() {
            peer.write(OK).await;
        }
    })
    .await;
    let world = World::new(|_| (200, Duration::ZERO)).await;
    // One group: each job goes out right behind the answer to the one before, as the connection closes.
    let jobs: Vec<_> = (0..20).map(|n| job("g", n)).collect();
    world.send(&jobs).await;
    let webhooks = format!(r#"[{{"url":"{}"}}]"#, peer.url());
    let _worker = world.worker(&[], &[("DEFAULT_APP_WEBHOOKS", &webhooks)]);
    world.wait_until_empty().await;
    assert!(world.dead().await.is_empty());
    let requests = peer.requests.lock().unwrap();
    assert!(requests.iter().all(|request| request.to_lowercase().contains("x-hookferry-attempt: 1\r\n")));
    let bodies: std::collections::HashSet<_> =
        requests.iter().map(|r| r.split_once("\r\n\r\n").unwrap().1).collect();
    assert_eq!(bodies.len(), 20);
}

/// Connections are used at short intervals, and all the same none for longer than five minutes.
#[tokio::test]
async fn a_busy_connection_gives_way_to_a_new_one_after_five_minutes() {
    let peer = Peer::answering(OK).await;
    let http = http(loopback());
    for _ in 0..8 {
        assert_eq!(attempt(&http, &peer.url()).await, Outcome::Delivered, "it is proven");
    }
    for half_minute in 0..25 {
        assert_eq!(attempt(&http, &peer.url()).await, Outcome::Delivered);
        assert_eq!(peer.connected(), 2 + half_minute / 10, "after {half_minute} half minutes");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(30)).await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn what_a_peer_sends_unasked_is_never_taken_for_an_answer() {
    let peer = Peer::new(|mut peer| async move {
        while peer.read_request().await.is_some() {
            peer.write("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
            // For a request that has not been made yet.
            peer.write(OK).await;
        }
    })
    .await;
    let http = http(loopback());
    for _ in 0..10 {
        assert_eq!(attempt(&http, &peer.url()).await, Outcome::transient(Reason::Status(500)));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((peer.connected(), peer.seen()), (10, 10));
}

#[tokio::test]
async fn an_attempt_that_is_dropped_takes_its_connection_with_it() {
    let peer = Peer::new(|mut peer| async move { while peer.read_request().await.is_some() {} }).await;
    let http = http(loopback());
    let url = peer.url();
    for number in 1..=3 {
        tokio::select! {
            outcome = attempt(&http, &url) => panic!("{outcome:?}"),
            () = crate::world::wait_until(|| peer.seen() == number) => {}
        }
    }
    assert_eq!((peer.connected(), peer.seen()), (3, 3));
}

#[tokio::test]
async fn a_receiver_at_an_ipv6_address_is_reached() {
    let peer = Peer::at("[::1]:0", |mut peer| async move {
        peer.read_request().await;
        peer.write(OK).await;
    })
    .await;
    assert_eq!(attempt(&http(loopback()), &peer.url()).await, Outcome::Delivered);
    let request = peer.requests.lock().unwrap()[0].to_lowercase();
    assert!(request.contains(&format!("host: [::1]:{}\r\n", peer.address.port())), "{request}");
}

fn named(addresses: &[&str]) -> Http {
    Http::with_resolver(loopback(), Names::new("receiver.test", &[addresses])).unwrap()
}

#[tokio::test]
async fn an_address_where_nothing_listens_gives_way_to_the_next_at_once() {
    let peer = Peer::answering(OK).await;
    let url = format!("http://receiver.test:{}/", peer.address.port());
    let http = named(&["127.0.0.7", "127.0.0.8", "127.0.0.9", "::1", "127.0.0.1"]);
    let began = Instant::now();
    assert_eq!(attempt(&http, &url).await, Outcome::Delivered);
    assert!(began.elapsed() < Duration::from_secs(1), "no head start of 250 ms for any of the four");
    let outcome = attempt(&named(&["::1", "127.0.0.7"]), &url).await;
    assert!(reason(&outcome).contains("refused"), "{outcome:?}");
}

#[tokio::test]
async fn an_address_that_never_answers_gives_way_to_the_next_after_a_head_start() {
    let peer = Peer::answering(OK).await;
    let port = peer.address.port();
    // A listener whose backlog is full: the kernel drops what more would connect.
    let deaf = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    let address: std::net::SocketAddr = format!("[::1]:{port}").parse().unwrap();
    deaf.bind(&address.into()).unwrap();
    deaf.listen(0).unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        filling.push(stream.unwrap());
        assert!(filling.len() < 100, "the backlog is never full");
    }
    let http = named(&["::1", "127.0.0.1"]);
    let began = Instant::now();
    assert_eq!(attempt(&http, &format!("http://receiver.test:{port}/")).await, Outcome::Delivered);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(4), "{took:?}");
}

/// Counts how many requests it works on at a time.
#[derive(Clone, Default)]
struct Busy {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Busy {
    async fn peer(&self, takes: Duration) -> Peer {
        let busy = self.clone();
        Peer::new(move |mut peer| {
            let busy = busy.clone();
            async move {
                while peer.read_request().await.is_some() {
                    let now = busy.now.fetch_add(1, Ordering::SeqCst) + 1;
                    busy.most.fetch_max(now, Ordering::SeqCst);
                    tokio::time::sleep(takes).await;
                    busy.now.fetch_sub(1, Ordering::SeqCst);
                    peer.stream.write_all(OK.as_bytes()).await.unwrap();
                }
            }
        })
        .await
    }
}

#[tokio::test]
async fn requests_to_one_host_are_bounded_and_wait_their_turn_or_are_deferred() {
    let busy = Busy::default();
    let (peer, other) = (busy.peer(Duration::from_millis(200)).await, Peer::answering(OK).await);
    let bounded = |turn_timeout| http(Settings { max_per_host: Some(3), turn_timeout, ..loopback() });
    let url = peer.url();
    let patient = bounded(PATIENCE);
    let outcomes = futures_util::future::join_all((0..9).map(|_| attempt(&patient, &url))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered), "{outcomes:?}");
    assert_eq!((busy.most.load(Ordering::SeqCst), peer.seen()), (3, 9));

    let hasty = bounded(Duration::from_millis(20));
    let attempts = (0..9).map(|n| {
        let (hasty, url) = (&hasty, if n == 8 { other.url() } else { url.clone() });
        async move { attempt(hasty, &url).await }
    });
    let outcomes = futures_util::future::join_all(attempts).await;
    let count = |wanted: &Outcome| outcomes.iter().filter(|outcome| *outcome == wanted).count();
    assert_eq!(
        (count(&Outcome::Delivered), count(&Outcome::Deferred(Reason::Busy(3)))),
        (4, 5),
        "{outcomes:?}"
    );
    assert_eq!((busy.most.load(Ordering::SeqCst), peer.seen(), other.seen()), (3, 12, 1));
    // Every slot has come back, those of attempts that were dropped too.
    for _ in 0..2 {
        let attempts = futures_util::future::join_all((0..3).map(|_| attempt(&hasty, &url)));
        assert!(timeout(Duration::from_millis(50), attempts).await.is_err());
    }
    assert_eq!(attempt(&hasty, &url).await, Outcome::Delivered);
}

#[tokio::test]
async fn a_worker_keeps_the_bound_delivers_everything_in_order_and_gives_nothing_up() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let busy = Busy { now, most: Arc::clone(&most) };
    let peer = busy.peer(Duration::from_millis(50)).await;
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let jobs: Vec<_> = (0..90).map(|n| job(&format!("g{}", n % 30), n / 30)).collect();
    world.send(&jobs).await;
    // Two webhooks at the same host, one slot, hardly any patience, and a window that is over at once:
    // whatever counted as a failed attempt would be given up.
    let webhooks = format!(r#"[{{"url":"{0}a"}},{{"url":"{0}b"}}]"#, peer.url());
    let _worker = world.worker(
        &[],
        &[
            ("DEFAULT_APP_WEBHOOKS", &webhooks),
            ("WEBHOOKS_MAX_PER_HOST", "1"),
            ("WEBHOOKS_TIMEOUT_MS", "1600"),
            ("WEBHOOKS_RETRY_WINDOW_SECONDS", "0"),
        ],
    );
    world.wait_until_empty().await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert!(world.dead().await.is_empty());
    let mut seen: HashMap<(String, u64, String), usize> = HashMap::new();
    let mut delivered = Vec::new();
    for request in peer.requests.lock().unwrap().iter() {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let event = &body["events"][0];
        let group = event["group"].as_str().unwrap().to_owned();
        let (n, path) = (event["n"].as_u64().unwrap(), head.split(' ').nth(1).unwrap().to_owned());
        *seen.entry((group.clone(), n, path.clone())).or_default() += 1;
        delivered.push(crate::world::Delivered { group, n, path });
    }
    assert_eq!(seen.len(), 180);
    assert!(seen.values().all(|times| *times == 1), "each once");
    assert_in_order(&delivered);
}

#[tokio::test]
async fn waiting_for_a_slot_ends_with_the_attempt() {
    let peer = Peer::new(|mut peer| async move { while peer.read_request().await.is_some() {} }).await;
    let http = Arc::new(http(Settings { max_per_host: Some(1), turn_timeout: PATIENCE, ..loopback() }));
    let (first, url) = (Arc::clone(&http), peer.url());
    let hanging = tokio::spawn(async move { attempt(&first, &url).await });
    crate::world::wait_until(|| peer.seen() == 1).await;
    assert!(timeout(Duration::from_millis(50), attempt(&http, &peer.url())).await.is_err());
    hanging.abort();
    assert!(timeout(Duration::from_millis(500), attempt(&http, &peer.url())).await.is_err());
    assert_eq!(peer.seen(), 2, "the slot came back with the attempt that held it");
}
