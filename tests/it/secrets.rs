//! Nothing secret is in anything that the program prints, serves or attaches to a dead letter.

use std::process::{Output, Stdio};
use std::time::Duration;

use hookferry::job::sign;
use hookferry::queue::NewMessage;
use secrecy::SecretString;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::certificates::{Authority, Speaks};
use crate::peer::{Peer, read_request};
use crate::world::{World, hookferry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Every secret in this file begins so.
const PLANTED: &str = "hush-";

fn assert_clean(what: &str, text: &str) {
    let found =
        text.to_lowercase().find(PLANTED).map(|at| text.chars().skip(at.saturating_sub(300)).take(600));
    assert!(found.is_none(), "{what}: {}", found.map(String::from_iter).unwrap_or_default());
    // The same through `Authorization`.
    assert!(!text.contains("aHVzaC"), "{what} holds credentials: {text}");
}

fn job(group: &str, secret: &str, more: &serde_json::Value) -> NewMessage {
    let payload = r#"{"time_ms":1,"events":[{"name":"client_event","channel":"hush-channel","data":"hush-data","user_id":"hush-user"}]}"#;
    let signature = sign(&SecretString::from(secret), [payload.as_bytes()]);
    let mut body = json!({"appKey": "app-key", "appId": "app-id", "originalPusherSignature": signature});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut body = body.to_string();
    body.truncate(body.len() - 1);
    NewMessage::new(group.to_owned(), format!(r#"{body},"payload":{payload}}}"#))
}

/// A receiver that gives one answer to everything, and secrets of its own with it.
async fn answering(status: u16) -> Peer {
    let response = format!(
        "HTTP/1.1 {status} hush-reason\r\nlocation: http://127.0.0.1/?hush-location\r\nset-cookie: hush-cookie\r\n\
         content-length: 9\r\n\r\nhush-body"
    );
    Peer::answering(response.leak()).await
}

async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Everything that can go right or wrong with a webhook.
struct Receivers {
    answering: Vec<Peer>,
    untrusted: Peer,
    plain: Peer,
    broken: Peer,
}

impl Receivers {
    async fn new() -> Self {
        let acceptor = Authority::new().local().acceptor(Speaks::Tls12);
        let untrusted = Peer::new(move |peer| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut tls) = acceptor.accept(peer.stream).await else { return };
                read_request(&mut tls).await;
            }
        });
        let plain = Peer::new(|mut peer| async move {
            peer.write("HTTP/1.1 400 hush-reason\r\n\r\nhush-body").await;
            peer.read_request().await;
        });
        let broken = Peer::new(|mut peer| async move {
            peer.read_request().await;
            peer.write("hush-nonsense\r\n\r\n").await;
        });
        let mut answers = Vec::new();
        for status in [200, 302, 410, 500, 503] {
            answers.push(answering(status).await);
        }
        Self { answering: answers, untrusted: untrusted.await, plain: plain.await, broken: broken.await }
    }

    /// Webhooks to all of them and to where nothing is, full of secrets.
    fn webhooks(&self) -> String {
        let url = |scheme: &str, host: &str| {
            format!("{scheme}://hush-user:hush-password@{host}/hush-path?token=hush-token#hush-fragment")
        };
        let at = |scheme: &str, peer: &Peer| url(scheme, &peer.address.to_string());
        let mut urls: Vec<_> = self.answering.iter().map(|peer| at("http", peer)).collect();
        urls.extend([at("https", &self.untrusted), at("https", &self.plain), at("http", &self.broken)]);
        urls.extend(
            ["127.0.0.1:1", "10.0.0.1", "169.254.169.254", "none.invalid"].map(|host| url("http", host)),
        );
        urls.push(url("hush-scheme", "h"));
        let headers =
            json!({"Authorization": "Bearer hush-bearer", "X-Own": "hush-header", "Cookie": "hush-cookie"});
        let mut webhooks: Vec<_> = urls.iter().map(|url| json!({"url": url, "headers": headers})).collect();
        webhooks
            .push(json!({"url": urls[0], "headers": {"X-Bad": "hush-line\r\nX-Injected: hush-injected"}}));
        json!(webhooks).to_string()
    }
}

/// Reads both outputs to their ends.
fn reading(worker: &mut Child) -> tokio::task::JoinHandle<String> {
    let (mut stdout, mut stderr) = (worker.stdout.take().unwrap(), worker.stderr.take().unwrap());
    tokio::spawn(async move {
        let (mut out, mut err) = (String::new(), String::new());
        let (a, b) = tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
        a.and(b).unwrap();
        out + &err
    })
}

/// What a worker has to say of the jobs below, at least.
const SAID: [&str; 11] = [
    "delivered",
    "delivery failed",
    "job dead-lettered",
    "address refused",
    "unknown authority",
    "not answer in TLS",
    "status 302",
    "could not be resolved",
    "X-Bad",
    "neither http nor https",
    "httpOptions",
];

/// One worker that meets all of it.
async fn run(format: &str, level: &str) {
    let receivers = Receivers::new().await;
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let jobs = [
        job("good", "hush-secret", &json!({})),
        job("forged", "hush-forged", &json!({})),
        job("sockudo", "hush-secret", &json!({"app_secret": "hush-embedded"})),
        job("unknown", "hush-secret", &json!({"appKey": "another-key"})),
        NewMessage::new("malformed".to_owned(), r#"{"appKey":"hush-malformed"#.to_owned()),
        NewMessage::new("empty".to_owned(), "hush-malformed".to_owned()),
    ];
    world.send(&jobs).await;
    // In a file, what cannot be used is left out by name; in the environment it would end the start.
    let apps = tempfile::NamedTempFile::new().unwrap();
    let webhooks: serde_json::Value = serde_json::from_str(&receivers.webhooks()).unwrap();
    let app = json!([{"id": "app-id", "key": "app-key", "secret": "hush-secret", "webhooks": webhooks}]);
    std::fs::write(apps.path(), app.to_string()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = r#"{"credentials":{"accessKeyId":"local","secretAccessKey":"hush-options","sessionToken":"hush-token"},
                      "httpOptions":{"agent":"hush-agent"}}"#;
    let mut command = world.command(
        &[],
        &[
            ("APPS_FILE", apps.path().to_str().unwrap()),
            ("DEFAULT_APP_ID", "other"),
            ("DEFAULT_APP_KEY", "other"),
            ("DEFAULT_APP_SECRET", "hush-default"),
            ("WEBHOOKS_ALLOWED_NETWORKS", "127.0.0.0/8"),
            ("WEBHOOKS_RETRY_WINDOW_SECONDS", "1"),
            ("AWS_SECRET_ACCESS_KEY", "hush-aws"),
            ("AWS_SESSION_TOKEN", "hush-session"),
            ("QUEUE_SQS_CLIENT_OPTIONS", options),
            ("METRICS_PORT", &port.to_string()),
            ("LOG_LEVEL", level),
            ("LOG_FORMAT", format),
        ],
    );
    let mut worker = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let reading = reading(&mut worker);
    tokio::select! {
        () = world.wait_until_empty() => {}
        _ = worker.wait() => panic!("it ended by itself: {}", reading.await.unwrap()),
    }
    let address = format!("127.0.0.1:{port}");
    for path in ["/metrics", "/healthz", "/readyz", "/", "/status"] {
        let answer = get(&address, path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert_clean(path, &answer);
    }
    worker.kill().await.unwrap();
    let printed = reading.await.unwrap();
    for said in SAID {
        assert!(printed.contains(said), "{said:?} in {printed}");
    }
    assert_clean("the log", &printed);
    let letters = world.letters().await;
    assert_eq!(letters.len(), jobs.len());
    for mut letter in letters {
        let body = letter.remove("body").unwrap();
        assert!(body.contains(PLANTED), "the body is the job's own");
        assert_clean("a dead letter's attributes", &format!("{letter:?}"));
    }
    assert!(receivers.answering.iter().all(|peer| peer.seen() > 0));
}

#[tokio::test]
async fn a_run_at_trace_prints_no_secret() {
    run("json", "trace").await;
}

#[tokio::test]
async fn a_run_that_asks_for_every_librarys_lines_prints_no_secret() {
    run("human", "hyper=trace,h2=trace,rustls=trace,aws_sigv4=trace,aws_smithy_runtime=trace,hickory_resolver=trace,debug").await;
}

async fn told(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_told_without_its_secrets() {
    let mut command = hookferry("run");
    command
        .env("LOG_LEVEL", "trace")
        .env("QUEUE_SQS_URL", "https://user:hush-password@sqs.eu-west-1.amazonaws.com/1/jobs.fifo?hush-query")
        .env("QUEUE_SQS_ENDPOINT", "https://user:hush-password@h/")
        .env("QUEUE_SQS_DLQ_URL", "https://user:hush-password@h/dead")
        .env("QUEUE_SQS_CLIENT_OPTIONS", r#"{"secretAccessKey":"hush-key""#)
        .env("WEBHOOKS_PROXY_URL", "socks5://user:hush-password@proxy:1080")
        .env("DEFAULT_APP_SECRET", "hush-secret")
        .env("DEFAULT_APP_WEBHOOKS", r#"[{"url":"http://h/hush-path","headers":{"a":"hush-header"}]"#);
    let (code, text) = told(command).await;
    assert_eq!(code, Some(78), "{text}");
    for name in [
        "QUEUE_SQS_URL",
        "QUEUE_SQS_ENDPOINT",
        "QUEUE_SQS_DLQ_URL",
        "QUEUE_SQS_CLIENT_OPTIONS",
        "WEBHOOKS_PROXY_URL",
        "DEFAULT_APP_WEBHOOKS",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert_clean("the errors", &text);
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_told_without_its_password() {
    let proxy = Peer::new(|mut peer| async move {
        peer.read_request().await;
        peer.write("HTTP/1.1 407 hush-reason\r\nx-hint: hush-hint\r\ncontent-length: 0\r\n\r\n").await;
    })
    .await;
    let world = World::new(|_| (200, Duration::ZERO)).await;
    world.send(&[crate::world::job("g", 0)]).await;
    let url = format!("http://hush-user:hush-password@{}", proxy.address);
    let mut worker = world
        .command(
            &[],
            &[
                ("DEFAULT_APP_WEBHOOKS", r#"[{"url":"https://tenant.test/"},{"url":"http://tenant.test/"}]"#),
                ("WEBHOOKS_PROXY_URL", &url),
                ("WEBHOOKS_RETRY_WINDOW_SECONDS", "0"),
                ("LOG_LEVEL", "trace"),
            ],
        )
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    world.wait_until_empty().await;
    let mut stderr = worker.stderr.take().unwrap();
    worker.kill().await.unwrap();
    let mut printed = String::new();
    stderr.read_to_string(&mut printed).await.unwrap();
    assert!(printed.contains("WEBHOOKS_PROXY_URL, check its address and credentials: tunnel error: proxy authorization required"), "{printed}");
    assert_clean("the log", &printed);
    assert_clean("a dead letter", &format!("{:?}", world.letters().await));
}
