//! TLS: who is trusted, who is not, and why.

use hookferry::delivery::http::{Http, Settings};
use hookferry::outcome::{Outcome, Reason};
use hookferry::tls::Authorities;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::certificates::{Authority, Identity, Speaks, file, params, self_signed};
use crate::peer::{OK, Peer, attempt, http, loopback, read_request};
use crate::world::{World, job, wait_until};

/// A receiver over TLS that answers every request.
async fn receiver(identity: &Identity, speaks: Speaks) -> Peer {
    let acceptor = identity.acceptor(speaks);
    Peer::new(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut tls) = acceptor.accept(peer.stream).await else { return };
            while read_request(&mut tls).await.is_some() {
                tls.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

fn trusting(pem: &std::path::Path) -> Http {
    http(Settings { authorities: Authorities::read(pem).unwrap(), ..loopback() })
}

fn url(peer: &Peer) -> String {
    peer.url().replace("http:", "https:")
}

async fn refusal(http: &Http, url: &str) -> String {
    match attempt(http, url).await {
        Outcome::Transient { reason: Reason::Tls(why), retry_after: None } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_with_a_private_authority_and_connections_are_kept() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let http = trusting(&authority.file(&dir));
    for speaks in [Speaks::Tls12, Speaks::Tls13] {
        let peer = receiver(&authority.local(), speaks).await;
        for _ in 0..3 {
            assert_eq!(attempt(&http, &url(&peer)).await, Outcome::Delivered, "{speaks:?}");
        }
        assert_eq!(peer.connected(), 1, "{speaks:?}");
        let by_name = url(&peer).replace("127.0.0.1", "localhost");
        assert_eq!(attempt(&http, &by_name).await, Outcome::Delivered);
        assert_eq!(attempt(&http, &by_name.replace("localhost", "localhost.")).await, Outcome::Delivered);
    }
}

#[tokio::test]
async fn the_end_of_a_connection_without_tlss_goodbye_is_an_end() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let http = trusting(&authority.file(&dir));
    let cases = [
        ("HTTP/1.1 200 OK\r\n\r\nall of it", true),
        (OK, true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", false),
        ("HTTP/1.1 200 OK\r\n", false),
    ];
    for (response, delivered) in cases {
        let acceptor = authority.local().acceptor(Speaks::Tls13);
        let peer = Peer::new(move |peer| {
            let acceptor = acceptor.clone();
            async move {
                let mut tls = acceptor.accept(peer.stream).await.unwrap();
                read_request(&mut tls).await;
                tls.write_all(response.as_bytes()).await.unwrap();
                tls.flush().await.unwrap();
            }
        })
        .await;
        let outcome = attempt(&http, &url(&peer)).await;
        assert_eq!(outcome == Outcome::Delivered, delivered, "{response:?}: {outcome:?}");
        // Once more: what was kept has been closed.
        assert_eq!(attempt(&http, &url(&peer)).await == Outcome::Delivered, delivered);
    }
}

#[tokio::test]
async fn a_bad_certificate_is_refused_with_what_is_wrong_and_what_to_do() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::named("an authority"));
    let http = trusting(&authority.file(&dir));
    let (unknown, made_anew) = (Authority::new().local(), Authority::named("an authority").local());
    let elsewhere = authority.sign(&params(&["elsewhere.test"], "elsewhere"));
    let mut early = params(&["127.0.0.1"], "early");
    early.not_before = rcgen::date_time_ymd(2200, 1, 1);
    early.not_after = rcgen::date_time_ymd(2201, 1, 1);
    for (identity, expected) in [
        (
            authority.expired(),
            "the certificate expired on Mon, 03 Feb 2020 00:00:00 GMT: the receiver has to renew it",
        ),
        (
            authority.sign(&early),
            "the certificate is not valid before Wed, 01 Jan 2200 00:00:00 GMT: is a clock wrong?",
        ),
        (elsewhere, "the certificate is for another host name: the URL has to use a name that is in it"),
        (
            unknown,
            "the certificate comes from an unknown authority: if it is a private one add it with WEBHOOKS_CA_FILE, \
             else the receiver has to send its intermediate certificates too",
        ),
        (
            made_anew,
            "the certificate names a trusted authority but was signed with another key: \
             if the authority was made anew, add its new certificate with WEBHOOKS_CA_FILE",
        ),
        (
            self_signed("127.0.0.1", false),
            "the certificate is self-signed: add it with WEBHOOKS_CA_FILE, \
             or have the receiver use one of a known authority",
        ),
        (
            self_signed("127.0.0.1", true),
            "the certificate is self-signed: add it with WEBHOOKS_CA_FILE, \
             or have the receiver use one of a known authority",
        ),
    ] {
        let peer = receiver(&identity, Speaks::Tls13).await;
        assert_eq!(refusal(&http, &url(&peer)).await, expected);
    }
}

#[tokio::test]
async fn a_self_signed_certificate_in_the_file_is_trusted_for_its_own_name_and_no_other() {
    let dir = TempDir::new().unwrap();
    for authority in [false, true] {
        let identity = self_signed("127.0.0.1", authority);
        let http = trusting(&file(&dir, &identity.pem));
        let peer = receiver(&identity, Speaks::Tls13).await;
        assert_eq!(attempt(&http, &url(&peer)).await, Outcome::Delivered, "{authority}");
        let why = refusal(&http, &url(&peer).replace("127.0.0.1", "localhost")).await;
        assert!(why.contains("another host name"), "{why}");
        let other = receiver(&self_signed("127.0.0.1", authority), Speaks::Tls13).await;
        assert!(refusal(&http, &url(&other)).await.contains("self-signed"));
    }
}

#[tokio::test]
async fn what_is_no_tls_at_all_is_said_so() {
    let plain = Peer::new(|mut peer| async move {
        peer.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer.read_request().await;
    })
    .await;
    let http = http(loopback());
    let why = refusal(&http, &url(&plain)).await;
    assert!(why.contains("does not answer in TLS"), "{why}");
    let gone = Peer::new(|_| async {}).await;
    let why = refusal(&http, &url(&gone)).await;
    assert!(why.contains("the handshake broke off"), "{why}");
}

#[tokio::test]
async fn the_systems_store_and_the_file_are_both_trusted() {
    let dir = TempDir::new().unwrap();
    let (systems, own) = (Authority::new(), Authority::new());
    let of_system = receiver(&systems.local(), Speaks::Tls13).await;
    let of_file = receiver(&own.local(), Speaks::Tls12).await;
    let world = World::new(|_| (200, std::time::Duration::ZERO)).await;
    world.send(&[job("g", 0)]).await;
    let webhooks = format!(r#"[{{"url":"{}"}},{{"url":"{}"}}]"#, url(&of_system), url(&of_file));
    let (store, file) = (systems.file(&dir), own.file(&dir));
    let _worker = world.worker(
        &[],
        &[
            ("DEFAULT_APP_WEBHOOKS", &webhooks),
            ("SSL_CERT_FILE", store.to_str().unwrap()),
            ("WEBHOOKS_CA_FILE", file.to_str().unwrap()),
        ],
    );
    world.wait_until_empty().await;
    assert!(world.dead().await.is_empty());
    wait_until(|| (of_system.connected(), of_file.connected()) == (1, 1)).await;
}
