//! `WEBHOOKS_PROXY_URL`.

use hookferry::delivery::http::{Http, Proxy, Settings};
use hookferry::outcome::{Outcome, Reason};
use hookferry::tls::Authorities;
use tempfile::TempDir;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use crate::certificates::{Authority, Speaks};
use crate::peer::{Names, OK, Peer, attempt, http, loopback, policy, read_request, reason};

/// A proxy that makes every tunnel to `target` and passes on nothing.
async fn tunnels(target: std::net::SocketAddr) -> Peer {
    Peer::new(move |mut peer| async move {
        peer.read_request().await;
        let mut onward = TcpStream::connect(target).await.unwrap();
        peer.write("HTTP/1.1 200 Connection established\r\nx-proxy: yes\r\n\r\n").await;
        drop(copy_bidirectional(&mut peer.stream, &mut onward).await);
    })
    .await
}

fn through(proxy: &Peer, settings: Settings) -> Http {
    let proxy = Some(Proxy::parse(&format!("http://user:s3cret@{}", proxy.address)).unwrap());
    // No name has an address here: whatever is reached is reached by the proxy.
    Http::with_resolver(Settings { proxy, ..settings }, Names::new("none", &[])).unwrap()
}

#[tokio::test]
async fn https_goes_through_a_tunnel_whose_credentials_the_receiver_does_not_see() {
    let (dir, authority) = (TempDir::new().unwrap(), Authority::new());
    let acceptor =
        authority.sign(&crate::certificates::params(&["tenant.test"], "tenant")).acceptor(Speaks::Tls13);
    let requests = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = std::sync::Arc::clone(&requests);
    let receiver = Peer::new(move |peer| {
        let (acceptor, kept) = (acceptor.clone(), std::sync::Arc::clone(&kept));
        async move {
            let mut tls = acceptor.accept(peer.stream).await.unwrap();
            while let Some(request) = read_request(&mut tls).await {
                kept.lock().unwrap().push(request);
                tls.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let proxy = tunnels(receiver.address).await;
    let authorities = Authorities::read(&authority.file(&dir)).unwrap();
    // The proxy's own address is not judged.
    let http = through(&proxy, Settings { authorities, ..Settings::default() });
    for _ in 0..2 {
        assert_eq!(attempt(&http, "https://tenant.test/hook?a=b").await, Outcome::Delivered);
    }
    let connect = "CONNECT tenant.test:443 HTTP/1.1\r\nHost: tenant.test:443\r\n\
                   Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=\r\n\r\n";
    assert_eq!(*proxy.requests.lock().unwrap(), [connect], "one tunnel for both");
    let requests = requests.lock().unwrap();
    assert!(requests.len() == 2 && requests[0].starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{requests:?}");
    assert!(!requests[0].to_lowercase().contains("proxy-authorization"), "{requests:?}");
}

#[tokio::test]
async fn http_goes_to_the_proxy_by_its_whole_url() {
    let proxy = Peer::answering(OK).await;
    let http = through(&proxy, Settings::default());
    assert_eq!(attempt(&http, "http://tenant.test:8080/hook?a=b#c").await, Outcome::Delivered);
    let request = proxy.requests.lock().unwrap()[0].clone();
    assert!(request.starts_with("POST http://tenant.test:8080/hook?a=b HTTP/1.1\r\n"), "{request}");
    let head = request.to_lowercase();
    assert!(head.contains("host: tenant.test:8080\r\n"), "{request}");
    assert!(head.contains("proxy-authorization: basic dxnlcjpzm2nyzxq=\r\n"), "{request}");
}

#[tokio::test]
async fn a_proxy_that_wants_other_credentials_is_named() {
    let proxy = Peer::answering("HTTP/1.1 407 Auth\r\ncontent-length: 0\r\n\r\n").await;
    let told = reason(&attempt(&through(&proxy, Settings::default()), "http://tenant.test/hook").await);
    assert!(told.starts_with("status 407") && told.contains("WEBHOOKS_PROXY_URL"), "{told}");
    let receiver = Peer::answering("HTTP/1.1 407 Auth\r\ncontent-length: 0\r\n\r\n").await;
    let direct = http(loopback());
    assert_eq!(attempt(&direct, &receiver.url()).await, Outcome::transient(Reason::Status(407)));
}

#[tokio::test]
async fn literal_addresses_and_names_that_lead_inside_are_checked_before_the_proxy_hears_of_them() {
    let proxy = Peer::answering(OK).await;
    let http = through(&proxy, Settings::default());
    for host in [
        "127.0.0.1",
        "2130706433",
        "[::ffff:10.0.0.1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "localhost",
        "a.LOCALHOST.",
        "0",
        "intranet",
        "printer.local",
        "ip-10-0-0-1.ec2.internal",
        "metadata.google.internal.",
    ] {
        for scheme in ["http", "https"] {
            let outcome = attempt(&http, &format!("{scheme}://{host}/")).await;
            assert!(matches!(outcome, Outcome::Permanent(Reason::Refused(_))), "{host}: {outcome:?}");
        }
    }
    assert_eq!(proxy.connected(), 0);
    let http = through(&proxy, Settings { policy: policy(&["127.0.0.0/8"]), ..Settings::default() });
    assert_eq!(attempt(&http, "http://127.0.0.1/").await, Outcome::Delivered);
    assert_eq!(attempt(&http, "http://localhost/").await, Outcome::Delivered);
    let http = through(&proxy, Settings { policy: policy(&["0.0.0.0/0"]), ..Settings::default() });
    assert_eq!(attempt(&http, "http://intranet/").await, Outcome::Delivered);
    let outcome = attempt(&http, "http://metadata.google.internal/").await;
    assert!(reason(&outcome).contains("cannot allow it"), "{outcome:?}");
}

#[tokio::test]
async fn a_proxy_that_makes_no_tunnel_is_said_so_without_its_password() {
    for (answer, expected) in [
        ("HTTP/1.1 407 Auth\r\nproxy-authenticate: Basic\r\n\r\n", "proxy authorization required"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "tunnel error: unsuccessful"),
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\n\r\n", "tunnel error: unsuccessful"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "tunnel error: unsuccessful"),
        ("", "tunnel error: unexpected end of file"),
    ] {
        let proxy = Peer::new(move |mut peer| async move {
            peer.read_request().await;
            peer.write(answer).await;
        })
        .await;
        let outcome = attempt(&through(&proxy, loopback()), "https://tenant.test/").await;
        assert!(matches!(outcome, Outcome::Transient { reason: Reason::Connect(_), .. }), "{outcome:?}");
        let why = reason(&outcome);
        assert!(why.contains(expected) && !why.contains("s3cret"), "{why}");
        assert!(why.contains("WEBHOOKS_PROXY_URL, check its address and credentials"), "{why}");
    }
    let endless = Peer::new(|mut peer| async move {
        peer.read_request().await;
        peer.write("HTTP/1.1 200 OK\r\n").await;
        while peer.stream.write_all(b"x-more: and more\r\n").await.is_ok() {}
    })
    .await;
    let why = reason(&attempt(&through(&endless, loopback()), "https://tenant.test/").await);
    assert!(why.contains("tunnel error"), "{why}");
}
