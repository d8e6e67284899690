use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::time::timeout;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::app::Target;
use crate::descriptors::sockets::Purpose;
use crate::egress::resolver::{Lookup, SystemResolver};
use crate::receivers::admission::{LOOK_UP, MAX_WITHOUT_ANSWER};
use crate::receivers::unanswered::MOST_WHILE_MUTE;

/// Never answers, and counts what it was asked.
#[derive(Debug, Default)]
struct Silent(AtomicUsize);

impl Resolve for Silent {
    fn resolve<'a>(&'a self, _name: &'a str) -> Lookup<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }
}

fn delivery(app: &str, url: &str) -> Delivery {
    Delivery {
        app_id: app.to_owned(),
        webhook: "0".into(),
        target: Target::Http(url.to_owned()),
        body: Bytes::from_static(b"{}"),
        headers: Vec::new(),
        standard: None,
        timeout: None,
    }
}

/// A receiver that answers each request so and then says nothing more; counts the requests.
async fn receiver(answer: impl AsRef<[u8]> + Clone + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, seen) = (format!("http://{}/", listener.local_addr().unwrap()), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (counted, answer) = (Arc::clone(&counted), answer.clone());
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    counted.fetch_add(1, Ordering::Relaxed);
                    drop(stream.write_all(answer.as_ref()).await);
                }
            });
        }
    });
    (url, seen)
}

/// One that may deliver to this machine.
fn here() -> Http {
    let policy = AddressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]).unwrap();
    let settings = Settings { policy, max_per_host: Some(1000), ..Settings::default() };
    Http::with_resolver(settings, Arc::new(SystemResolver::new().unwrap())).unwrap()
}

#[tokio::test]
async fn a_head_larger_than_any_honest_one_is_delivered_and_counts_as_no_answer_however_soon_it_came() {
    let answer =
        |bytes: usize| format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(bytes));
    let (honest, large) = (receiver(answer(MAX_HEAD - 100)).await, receiver(answer(200_000)).await);
    let http = here();
    for (n, before) in [Standing::Unknown, Standing::Unknown, Standing::Mute].into_iter().enumerate() {
        for ((url, seen), standing) in
            [(&large, before), (&honest, if n == 0 { Standing::Unknown } else { Standing::Answers })]
        {
            let origin = RequestTarget::parse(url).unwrap().origin;
            assert_eq!(http.admission.unanswered.standing("a", &origin), standing);
            assert_eq!(http.attempt(url, &delivery("a", url), 1).await, Outcome::Delivered);
            assert_eq!(seen.load(Ordering::Relaxed), n + 1);
        }
    }
    assert!(http.admission.without_answer.app_answers("a"), "by the other one");
}

#[tokio::test]
async fn all_apps_of_a_host_that_hung_for_a_while_are_served_as_soon_as_it_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answers = Arc::<AtomicBool>::default();
    let answering = Arc::clone(&answers);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answering = Arc::clone(&answering);
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                    if answering.load(Ordering::Relaxed) {
                        sleep(Duration::from_millis(200)).await;
                        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await);
                    }
                }
            });
        }
    });
    let http = here();
    let deliveries: Vec<_> = (0..20).map(|n| delivery(&format!("app {n}"), &url)).collect();
    for delivery in &deliveries {
        for _ in 0..MOST_WHILE_MUTE {
            let attempt = http.attempt(&url, delivery, 1);
            assert!(tokio::time::timeout(Duration::from_millis(20), attempt).await.is_err());
        }
    }
    answers.store(true, Ordering::Relaxed);
    // All at once, while each takes a moment: none is put back for the others' sake.
    let attempts = deliveries.iter().map(|delivery| http.attempt(&url, delivery, 1));
    for outcome in futures_util::future::join_all(attempts).await {
        assert_eq!(outcome, Outcome::Delivered);
    }
}

#[tokio::test]
async fn of_a_body_in_thousands_of_pieces_few_are_read() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let pieces = |count: usize| format!("{head}{}", "1\r\nx\r\n".repeat(count));
    // Neither ends, and the second has more pieces than are read.
    let ((short, _), (long, seen)) = (receiver(pieces(100)).await, receiver(pieces(10_000)).await);
    let http = here();
    for n in 1..4 {
        assert_eq!(http.attempt(&long, &delivery("a", &long), 1).await, Outcome::Delivered);
        assert_eq!(seen.load(Ordering::Relaxed), n);
    }
    let delivery = delivery("a", &short);
    let waiting = http.attempt(&short, &delivery, 1);
    assert!(tokio::time::timeout(Duration::from_millis(100), waiting).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_app_with_as_many_connections_as_it_may_has_nobodys_kept_ones_closed() {
    let mut http = here();
    http.admission.sockets = Arc::new(Sockets::new(64));
    let origin = RequestTarget::parse("http://127.0.0.1/").unwrap().origin;
    let all = |app: &str| {
        std::iter::from_fn(|| http.admission.sockets.take(app, 0, Purpose::Any)).collect::<Vec<_>>()
    };
    let kept = || Arc::as_ptr(&http.proven.clients.pooled().answered);
    http.admission.sockets.app_answered("greedy");
    let (before, held) = (kept(), all("greedy"));
    tokio::time::advance(Duration::from_secs(60)).await;
    http.admission.unanswered.watch("greedy", &origin).ended(true);
    let ask = Ask {
        app_id: "greedy",
        origin: &origin,
        host: &origin.host,
        https: false,
        refused_http1: false,
        is_name: false,
        wait: Duration::MAX,
    };
    let enter = async || http.admission.enter(&ask, || http.evict()).await;
    assert_eq!(enter().await.unwrap_err(), Reason::NoDescriptor);
    assert_eq!(kept(), before);
    // Nor where there is none for anybody, while there are descriptors.
    (0..100_u32).for_each(|n| http.admission.sockets.app_answered(&n.to_string()));
    let others: Vec<_> = (0..100_u32).flat_map(|n| all(&n.to_string())).collect();
    assert_eq!(http.admission.sockets.taken(), 64);
    assert_eq!(enter().await.unwrap_err(), Reason::NoDescriptor);
    assert_eq!(kept(), before);
    drop((held, others));
}

#[test]
fn urls_are_remembered_up_to_a_number_of_bytes() {
    let targets = Targets::default();
    let url = |n: usize| format!("https://user{n}:{}@h.test/{n}", "x".repeat(1_900));
    for n in 0..10_000 {
        targets.find(&url(n)).unwrap();
    }
    let known = targets.known();
    let kept: usize = known.targets.iter().map(|(url, target)| url.len() + target.weight()).sum();
    assert_eq!(kept, known.bytes);
    assert!(kept <= MAX_TARGET_BYTES && known.targets.len() > 100, "{kept}");
    drop(known);
    let again = targets.find(&url(9_999)).unwrap();
    assert!(Arc::ptr_eq(&again, &targets.find(&url(9_999)).unwrap()));
}

#[tokio::test]
async fn a_look_up_that_goes_unanswered_counts_with_all_descriptors_that_it_may_hold() {
    let silent = Arc::new(Silent::default());
    let resolver: Arc<dyn Resolve> = Arc::<Silent>::clone(&silent);
    let mut http = Http::with_resolver(Settings::default(), resolver).unwrap();
    let most = 96;
    http.admission.sockets = Arc::new(Sockets::new(most));
    let http = Arc::new(http);
    let attempts = (0..most).map(|n| {
        let http = Arc::clone(&http);
        let url = format!("http://host-{n}.test/");
        let delivery = delivery(&format!("app {n}"), &url);
        tokio::spawn(async move { http.attempt(&url, &delivery, 1).await })
    });
    let attempts: Vec<_> = attempts.collect();
    let asked = (most - most / 4).div_ceil(LOOK_UP);
    while attempts.iter().filter(|attempt| !attempt.is_finished()).count() > asked {
        sleep(Duration::from_millis(5)).await;
    }
    while silent.0.load(Ordering::Relaxed) < asked / 2 {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(silent.0.load(Ordering::Relaxed) <= asked);
    for attempt in attempts {
        if attempt.is_finished() {
            assert_eq!(attempt.await.unwrap(), Outcome::Deferred(Reason::NoDescriptor));
        } else {
            attempt.abort();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_waits_for_leave_for_a_part_of_its_own_time() {
    let own = Duration::from_millis(300);
    for (max_per_host, without_answer) in [(1, MAX_WITHOUT_ANSWER), (100, 1)] {
        let settings = Settings {
            max_per_host: Some(max_per_host),
            turn_timeout: Duration::from_millis(500),
            ..Settings::default()
        };
        let mut http = Http::with_resolver(settings, Arc::new(Silent::default())).unwrap();
        http.admission.without_answer = Sockets::costly(without_answer, 0);
        let http = Arc::new(http);
        let outcomes = (0..3).map(|n| {
            let http = Arc::clone(&http);
            let url = "http://host.test/".to_owned();
            let delivery = Delivery { timeout: Some(own), ..delivery(&format!("app {n}"), &url) };
            tokio::spawn(async move { timeout(own, http.attempt(&url, &delivery, 1)).await })
        });
        let outcomes: Vec<_> = outcomes.collect();
        let mut deferred = 0;
        for outcome in outcomes {
            let busy = [Reason::Busy(1), Reason::UnprovenBusy(without_answer)].map(Outcome::Deferred);
            deferred += usize::from(outcome.await.unwrap().is_ok_and(|outcome| busy.contains(&outcome)));
        }
        assert!(deferred >= 2, "{deferred} were told that nothing was sent");
    }
}

#[test]
fn retry_after_is_read_in_both_forms() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
    assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
    assert_eq!(retry_after("Sun, 06 Nov 1994 08:48:37 GMT", now), Some(Duration::ZERO));
    assert_eq!(retry_after("99999999999999999999999", now), Some(Duration::from_secs(u64::MAX)));
    assert_eq!(retry_after("7.5", now), Some(Duration::from_secs(8)), "rounded up");
    assert_eq!(retry_after("7.0", now), Some(Duration::from_secs(7)));
    for nonsense in ["", "-1", "soon", "1.", ".5", "1.5.5", "1e3"] {
        assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
    }
}
