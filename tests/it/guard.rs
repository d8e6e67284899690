//! Nothing is dialled that may not be, however it is written, looked up or pointed to.

use std::net::TcpListener;

use hookferry::delivery::http::{Http, Settings};
use hookferry::outcome::{Outcome, Reason};

use crate::peer::{Accepted, Names, OK, Peer, attempt, http, loopback, policy, reason};
use crate::world::{World, job};

/// Listeners on the same port of both loopback addresses, which tell whether anyone ever connected.
struct Trap {
    four: TcpListener,
    six: TcpListener,
    port: u16,
}

impl Trap {
    fn new() -> Self {
        loop {
            let four = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = four.local_addr().unwrap().port();
            // Another process may have the port of the other family.
            let Ok(six) = TcpListener::bind(("::1", port)) else { continue };
            four.set_nonblocking(true).unwrap();
            six.set_nonblocking(true).unwrap();
            return Self { four, six, port };
        }
    }

    fn assert_untouched(&self) {
        for listener in [&self.four, &self.six] {
            let kind = listener.accept().map(|_| ()).unwrap_err().kind();
            assert_eq!(kind, std::io::ErrorKind::WouldBlock, "someone connected");
        }
    }
}

/// Hosts that mean the loopback, as far as URLs go.
const LOOPBACK: [&str; 27] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7F.0x0.0x0.0x1",
    "0x7f.1",
    "017700000001",
    "0177.0.0.01",
    "0177.1",
    "127.0x0.0.01",
    "１２７.０.０.１",
    "１２７。０。０。１",
    "⑫7.0.0.1",
    "0ｘ7f.1",
    "%31%32%37.0.0.1",
    "%31%32%37%2e1",
    "127%2E0%2E0%2E1",
    "1%327.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "ｌocalhost",
    "%6Cocalhost",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
];

/// Hosts that lead to it by some other way: a mapping, a gateway, a tunnel, a kernel's habit.
const DISGUISED: [&str; 14] = [
    "0",
    "0.0.0.0",
    "[::]",
    "127.9.8.7",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[2001:0:808:808::80ff:fffe]",
    "[2606:4700::5efe:7f00:1]",
];

/// Private, link-local and metadata addresses, in all spellings.
const INSIDE: [&str; 25] = [
    "10.0.0.1",
    "167772161",
    "0xa.1",
    "172.16.0.1",
    "192.168.1.1",
    "0300.0250.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.43518",
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "１６９.254.169.254",
    "%3169.254.169.254",
    "169.254.169.254.",
    "100.100.100.200",
    "168.63.129.16",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fd00:ec2::254]",
    "[fd12:3456::1]",
    "[fe80::1]",
    "[ff02::1]",
];

#[tokio::test]
async fn no_spelling_of_an_inside_address_is_ever_dialled() {
    let trap = Trap::new();
    let http = http(Settings::default());
    for host in LOOPBACK.iter().chain(&DISGUISED).chain(&INSIDE) {
        for scheme in ["http", "https"] {
            let outcome = attempt(&http, &format!("{scheme}://{host}:{}/", trap.port)).await;
            let Outcome::Permanent(Reason::Refused(why)) = outcome else { panic!("{host}: {outcome:?}") };
            assert!(why.contains("WEBHOOKS_ALLOWED_NETWORKS"), "{why}");
        }
    }
    // A zone has no place in a URL.
    for host in ["[fe80::1%25lo]", "[fe80::1%lo]", "[::1%25lo]"] {
        let outcome = attempt(&http, &format!("http://{host}:{}/", trap.port)).await;
        assert!(matches!(outcome, Outcome::Permanent(Reason::Url(_))), "{outcome:?}");
    }
    trap.assert_untouched();
}

#[tokio::test]
async fn what_no_one_can_allow_is_not_dialled_though_everything_is_allowed() {
    let trap = Trap::new();
    let http = http(Settings { policy: policy(&["0.0.0.0/0", "::/0"]), ..Settings::default() });
    for host in
        ["0", "0.0.0.0", "[::]", "[::ffff:0.0.0.0]", "169.254.169.254", "[fe80::1]", "255.255.255.255"]
    {
        let outcome = attempt(&http, &format!("http://{host}:{}/", trap.port)).await;
        assert!(
            reason(&outcome).contains("WEBHOOKS_ALLOWED_NETWORKS cannot allow it"),
            "{host}: {outcome:?}"
        );
    }
    trap.assert_untouched();
}

#[tokio::test]
async fn with_the_loopback_allowed_every_spelling_of_it_is_delivered_to() {
    let serve = |mut peer: Accepted| async move {
        while peer.read_request().await.is_some() {
            peer.write(OK).await;
        }
    };
    let four = Peer::new(serve).await;
    let six = Peer::at(&format!("[::1]:{}", four.address.port()), serve).await;
    let http = http(loopback());
    for host in LOOPBACK.iter().chain(&["[::ffff:127.0.0.1]"]) {
        let outcome = attempt(&http, &format!("http://{host}:{}/", four.address.port())).await;
        assert_eq!(outcome, Outcome::Delivered, "{host}");
    }
    assert_eq!(four.seen() + six.seen(), LOOPBACK.len() + 1);
    assert!(four.seen() > 0 && six.seen() > 0);
}

#[tokio::test]
async fn user_info_does_not_hide_the_host() {
    let trap = Trap::new();
    let http = http(Settings::default());
    for url in [
        "http://example.com@127.0.0.1:PORT/",
        "http://example.com:80@127.0.0.1:PORT/",
        "http://a@b@127.0.0.1:PORT/",
        "http:\\\\127.0.0.1:PORT\\@example.com/",
        "http:/127.0.0.1:PORT/",
        "http:127.0.0.1:PORT",
        "HTTP://127.0.0.1:PORT/@example.com",
        "http://example.com%40@127.0.0.1:PORT/#@example.com",
        "http://\t127.0.0.1:PORT/",
        " http://127.0.0.1:PORT/ ",
        "http://127.0.0.1:PORT?@example.com/",
    ] {
        let outcome = attempt(&http, &url.replace("PORT", &trap.port.to_string())).await;
        assert!(matches!(outcome, Outcome::Permanent(Reason::Refused(_))), "{url}: {outcome:?}");
    }
    let peer = Peer::answering(OK).await;
    let outcome = attempt(&self::http(loopback()), &format!("http://user:p%40ss@{}/", peer.address)).await;
    assert_eq!(outcome, Outcome::Delivered);
    let request = peer.requests.lock().unwrap()[0].to_lowercase();
    assert!(request.contains("authorization: basic dxnlcjpwqhnz"), "{request}");
    assert!(request.contains(&format!("host: {}\r\n", peer.address)), "{request}");
}

#[tokio::test]
async fn a_name_of_forbidden_addresses_alone_is_refused_and_of_mixed_ones_reaches_the_allowed() {
    let allowed = Peer::answering(OK).await;
    let port = allowed.address.port();
    let forbidden = TcpListener::bind(("127.0.0.2", port)).unwrap();
    forbidden.set_nonblocking(true).unwrap();
    let policy = policy(&["127.0.0.1/32"]);
    for (answer, delivered) in [
        (&["127.0.0.2"][..], false),
        (&["127.0.0.2", "10.0.0.1", "::1", "169.254.169.254"], false),
        (&["127.0.0.2", "127.0.0.1"], true),
        (&["127.0.0.1", "127.0.0.2"], true),
        (&["::ffff:127.0.0.2", "::1", "127.0.0.2", "127.0.0.1"], true),
    ] {
        let settings = Settings { policy: policy.clone(), ..Settings::default() };
        let http = Http::with_resolver(settings, Names::new("tenant.test", &[answer])).unwrap();
        let outcome = attempt(&http, &format!("http://tenant.test:{port}/")).await;
        if delivered {
            assert_eq!(outcome, Outcome::Delivered, "{answer:?}");
        } else {
            assert!(matches!(outcome, Outcome::Permanent(Reason::Refused(_))), "{answer:?}: {outcome:?}");
        }
    }
    assert_eq!(allowed.seen(), 3);
    assert_eq!(forbidden.accept().map(|_| ()).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_name_that_is_rebound_between_two_look_ups_reaches_what_was_judged_or_nothing() {
    let close = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let peer = Peer::answering(close).await;
    let trap = TcpListener::bind(("127.0.0.2", peer.address.port())).unwrap();
    trap.set_nonblocking(true).unwrap();
    let names =
        Names::new("rebinding.test", &[&["127.0.0.1"], &["127.0.0.2"], &["127.0.0.1"], &["127.0.0.2"]]);
    let settings = Settings { policy: policy(&["127.0.0.1/32"]), ..Settings::default() };
    let http = Http::with_resolver(settings, std::sync::Arc::<Names>::clone(&names)).unwrap();
    let url = format!("http://rebinding.test:{}/", peer.address.port());
    for look_up in 0..4 {
        let outcome = attempt(&http, &url).await;
        assert_eq!(outcome == Outcome::Delivered, look_up % 2 == 0, "{look_up}: {outcome:?}");
        assert_eq!(
            names.asked.lock().unwrap().len(),
            look_up + 1,
            "one look-up a dial: what is judged is dialled"
        );
    }
    assert_eq!(peer.seen(), 2);
    assert_eq!(trap.accept().map(|_| ()).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_kept_connection_is_of_no_use_under_a_tighter_list() {
    let peer = Peer::answering(OK).await;
    let before = http(loopback());
    assert_eq!(attempt(&before, &peer.url()).await, Outcome::Delivered);
    assert_eq!(attempt(&before, &peer.url()).await, Outcome::Delivered);
    assert_eq!((peer.connected(), peer.seen()), (1, 2), "it is kept");
    let tightened = http(Settings { policy: policy(&["127.0.0.2/32"]), ..Settings::default() });
    let outcome = attempt(&tightened, &peer.url()).await;
    assert!(matches!(outcome, Outcome::Permanent(Reason::Refused(_))), "{outcome:?}");
    assert_eq!((peer.connected(), peer.seen()), (1, 2));
}

#[tokio::test]
async fn no_redirect_of_any_kind_is_followed() {
    let trap = Trap::new();
    let elsewhere = Peer::answering(OK).await;
    let http = http(Settings { policy: policy(&["127.0.0.1/32"]), ..Settings::default() });
    let targets = [
        format!("http://[::1]:{}/", trap.port),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        elsewhere.url(),
        "/there".to_owned(),
        "//localhost/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    for status in [300, 301, 302, 303, 304, 305, 307, 308] {
        for target in &targets {
            let response = format!(
                "HTTP/1.1 {status} X\r\nlocation: {target}\r\nrefresh: 0; url={target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            let peer = Peer::new(move |mut peer| {
                let response = response.clone();
                async move {
                    while peer.read_request().await.is_some() {
                        peer.write(&response).await;
                    }
                }
            })
            .await;
            let outcome = attempt(&http, &peer.url()).await;
            let Outcome::Transient { reason: Reason::StatusNoted(told, note), .. } = outcome else {
                panic!("{outcome:?}")
            };
            assert!(told == status && note.contains("is not followed") && !note.contains("passwd"), "{note}");
            assert_eq!((peer.seen(), elsewhere.connected()), (1, 0));
        }
    }
    let page = Peer::answering("HTTP/1.1 200 OK\r\nrefresh: 0; url=http://localhost/\r\ncontent-length: 49\r\n\r\n<meta http-equiv=refresh content='0;url=//[::1]'>").await;
    assert_eq!(attempt(&http, &page.url()).await, Outcome::Delivered);
    assert_eq!(page.seen(), 1);
    trap.assert_untouched();
}

#[tokio::test]
async fn ambient_proxy_variables_have_no_effect_on_deliveries() {
    let proxy = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let world = World::new(|_| (200, std::time::Duration::ZERO)).await;
    world.send(&[job("g", 0), job("g", 1)]).await;
    let url = proxy.url();
    let names =
        ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "PROXY_URL"];
    let mut variables: Vec<(&str, &str)> = names.iter().map(|name| (*name, url.as_str())).collect();
    variables.push(("NO_PROXY", "127.0.0.2"));
    let _worker = world.worker(&["/"], &variables);
    world.wait_for(2).await;
    assert_eq!(proxy.connected(), 0);
}

#[tokio::test]
async fn a_refused_address_is_dead_lettered_at_once_with_what_to_set() {
    let world = World::new(|_| (200, std::time::Duration::ZERO)).await;
    world.send(&[job("g", 0)]).await;
    let _worker = world.worker(&["/"], &[("WEBHOOKS_ALLOWED_NETWORKS", "10.0.0.0/8 fd00::/8")]);
    world.wait_until_empty().await;
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["reason"], "address_refused");
    assert_eq!(letters[0]["attempts"], "1");
    let detail = &letters[0]["detail"];
    assert!(detail.contains("127.0.0.1 is loopback (127.0.0.0/8)"), "{detail}");
    assert!(detail.contains("add 127.0.0.1/32 or its network to WEBHOOKS_ALLOWED_NETWORKS"), "{detail}");
    assert!(world.arrivals.lock().unwrap().is_empty());
}
