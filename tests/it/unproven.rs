//! What a destination may cost the others before it has shown that it answers, and after it has stopped to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hookferry::app::Target;
use hookferry::delivery::http::Http;
use hookferry::egress::resolver::{Lookup, Resolve};
use hookferry::outcome::{Outcome, Reason};
use hookferry::plan::Delivery;
use tokio::time::{sleep, timeout};

use crate::peer::{OK, Peer, attempt, loopback};
use crate::world::wait_until;

/// Finds every name here, and remembers on which threads it was asked: those that the connection will live on.
#[derive(Debug, Default)]
struct Here(Mutex<Vec<String>>);

impl Here {
    /// The last one's name, without the number that some have.
    fn thread(&self) -> String {
        self.0.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

impl Resolve for Here {
    fn resolve<'a>(&'a self, _name: &'a str) -> Lookup<'a> {
        self.0.lock().unwrap().push(std::thread::current().name().unwrap_or_default().to_owned());
        Box::pin(std::future::ready(Ok(vec!["127.0.0.1".parse().unwrap()])))
    }
}

fn http() -> (Http, Arc<Here>) {
    let here = Arc::new(Here::default());
    let resolver: Arc<dyn Resolve> = Arc::<Here>::clone(&here);
    (Http::with_resolver(loopback(), resolver).unwrap(), here)
}

/// A receiver that dials anew for every request, and answers as the path says.
async fn receiver() -> Peer {
    Peer::new(|mut peer| async move {
        let Some(request) = peer.read_request().await else { return };
        if request.starts_with("POST /never") {
            std::future::pending::<()>().await;
        }
        if request.starts_with("POST /slow") {
            sleep(Duration::from_millis(1100)).await;
        }
        peer.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
    })
    .await
}

#[tokio::test]
async fn only_who_answers_quickly_and_always_is_sent_to_from_everyones_threads() {
    let (peer, (http, here)) = (receiver().await, http());
    let url = |path: &str| format!("http://receiver.test:{}/{path}", peer.address.port());
    let own = std::thread::current().name().unwrap().to_owned();
    for _ in 0..8 {
        assert_eq!(attempt(&http, &url("")).await, Outcome::Delivered);
        assert_eq!(here.thread(), "unproven");
    }
    assert_eq!(attempt(&http, &url("")).await, Outcome::Delivered);
    assert_eq!(here.thread(), own);
    assert_eq!(attempt(&http, &url("slow")).await, Outcome::Delivered);
    assert_eq!(here.thread(), own);
    // It may have flooded until it answered, and may do so again whatever it answers in between.
    for _ in 0..20 {
        assert_eq!(attempt(&http, &url("")).await, Outcome::Delivered);
        assert_eq!(here.thread(), "unproven");
    }
    for _ in 0..2 {
        assert!(timeout(Duration::from_millis(200), attempt(&http, &url("never"))).await.is_err());
        assert_eq!(here.thread(), "unproven");
    }
    assert_eq!(attempt(&http, &url("")).await, Outcome::Delivered);
    assert_eq!(here.thread(), "bulkhead");
}

#[tokio::test]
async fn an_app_several_of_whose_destinations_are_mute_has_the_unknown_ones_sent_to_from_the_bulkhead() {
    let (peer, (http, here)) = (receiver().await, http());
    let url = |host: &str, path: &str| format!("http://{host}.test:{}/{path}", peer.address.port());
    for host in ["a", "b", "c"] {
        assert_eq!(attempt(&http, &url(host, "")).await, Outcome::Delivered);
        assert_eq!(here.thread(), "unproven", "{host}");
        for _ in 0..2 {
            assert!(timeout(Duration::from_millis(200), attempt(&http, &url(host, "never"))).await.is_err());
        }
    }
    assert_eq!(attempt(&http, &url("d", "")).await, Outcome::Delivered);
    assert_eq!(here.thread(), "bulkhead");
    assert_eq!(attempt(&http, &url("d", "")).await, Outcome::Delivered);
    assert_eq!(here.thread(), "unproven", "it answers");
}

fn delivery(app: usize, url: String) -> Delivery {
    Delivery {
        app_id: format!("app {app}"),
        webhook: "0".into(),
        target: Target::Http(url),
        body: Bytes::from_static(b"{}"),
        headers: Vec::new(),
        standard: None,
        timeout: None,
    }
}

#[tokio::test]
async fn requests_to_destinations_without_an_answer_are_bounded_by_app_and_in_total() {
    let hanging = Peer::new(|mut peer| async move {
        peer.read_request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let (answering, (http, _)) = (Peer::answering(OK).await, http());
    let http = Arc::new(http);
    let to = |peer: &Peer, host: String| format!("http://{host}.test:{}/", peer.address.port());
    let quick = to(&answering, "quick".to_owned());
    assert_eq!(http.attempt(&quick, &delivery(0, quick.clone()), 1).await, Outcome::Delivered);
    // One app has a hundred hosts, twenty others ten each.
    let hosts = (0..300).map(|n| (if n < 100 { 1 } else { 2 + n % 20 }, to(&hanging, format!("host-{n}"))));
    let attempts: Vec<_> = hosts
        .map(|(app, url)| {
            let http = Arc::clone(&http);
            tokio::spawn(async move { (app, http.attempt(&url, &delivery(app, url.clone()), 1).await) })
        })
        .collect();
    // Those that wait for their turn are not over yet, nor under way.
    wait_until(|| hanging.seen() >= attempts.iter().filter(|attempt| !attempt.is_finished()).count()).await;
    assert!(hanging.seen() <= 96, "{}", hanging.seen());
    assert_eq!(http.attempt(&quick, &delivery(0, quick.clone()), 1).await, Outcome::Delivered, "it answers");
    let new = to(&answering, "new".to_owned());
    assert_eq!(
        http.attempt(&new, &delivery(0, new.clone()), 1).await,
        Outcome::Delivered,
        "of an app that answers"
    );
    let (over, left): (Vec<_>, Vec<_>) = attempts.into_iter().partition(tokio::task::JoinHandle::is_finished);
    let mut deferred = HashMap::<usize, usize>::new();
    for ended in join_all(over).await {
        let (app, outcome) = ended.unwrap();
        assert_eq!(outcome, Outcome::Deferred(Reason::UnprovenBusy(96)));
        *deferred.entry(app).or_default() += 1;
    }
    assert!(deferred.get(&1) >= Some(&20), "the one with many hosts: {deferred:?}");
    left.iter().for_each(tokio::task::JoinHandle::abort);
}
