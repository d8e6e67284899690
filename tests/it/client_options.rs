//! `QUEUE_SQS_CLIENT_OPTIONS`, as SQS sees them.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::peer::Peer;
use crate::world::{World, hookferry, job};

const AWS: &str = "https://sqs.eu-west-1.amazonaws.com/111111111111/jobs.fifo";
const FAILURE: &str = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";

struct Run {
    succeeded: bool,
    took: Duration,
    errors: String,
}

/// Sends one job with these options.
async fn enqueue(queue: &str, options: &serde_json::Value, more: &[(&str, &str)]) -> Run {
    let mut command = hookferry("enqueue");
    command.args(["--event", "client_event"]);
    command.env("QUEUE_SQS_URL", queue).env("QUEUE_SQS_CLIENT_OPTIONS", options.to_string());
    for (name, value) in more {
        command.env(name, value);
    }
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    Run { succeeded: output.status.success(), took: began.elapsed(), errors }
}

fn queue_at(peer: &Peer) -> String {
    format!("{}111111111111/jobs.fifo", peer.url())
}

/// The value of a header in the first request that a peer saw.
fn header(peer: &Peer, name: &str) -> String {
    let request = peer.requests.lock().unwrap()[0].clone();
    let line = request.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name} in {request}"))
}

#[tokio::test]
async fn max_retries_and_the_base_of_their_delay_are_kept_to() {
    for (retries, base) in [(0, 1), (1, 1), (8, 1)] {
        let sqs = Peer::answering(FAILURE).await;
        let options = json!({"maxRetries": retries, "retryDelayOptions": {"base": base}});
        let run = enqueue(&queue_at(&sqs), &options, &[]).await;
        assert!(!run.succeeded && run.errors.contains("status 500"), "{}", run.errors);
        assert_eq!(sqs.seen(), retries + 1);
        // At most 255 ms of delay; with the default base it would be 12 s at most and 6 s on average.
        assert!(run.took < Duration::from_secs(3), "{:?}", run.took);
    }
    let sqs = Peer::answering(FAILURE).await;
    enqueue(&queue_at(&sqs), &json!({}), &[]).await;
    assert_eq!(sqs.seen(), 3, "the default");
}

#[tokio::test]
async fn credentials_region_and_user_agent_are_in_the_request() {
    let nested = json!({
        "apiVersion": "2012-11-05",
        "region": "eu-south-2",
        "customUserAgent": "my-host/1.2 (staging)",
        "maxRetries": 0,
        "credentials": {"accessKeyId": "NESTED", "secretAccessKey": "s", "sessionToken": "token-1"},
    });
    let flat = json!({"region": "eu-south-2", "accessKeyId": "FLAT", "secretAccessKey": "s", "sessionToken": "token-1",
        "customUserAgent": "my-host/1.2 (staging)", "maxRetries": "0"});
    for (options, id) in [(nested, "NESTED"), (flat, "FLAT")] {
        let sqs = Peer::answering(FAILURE).await;
        // soketi spreads the options over its own settings.
        let run = enqueue(&queue_at(&sqs), &options, &[("QUEUE_SQS_REGION", "us-west-2")]).await;
        assert_eq!(sqs.seen(), 1, "{}", run.errors);
        let authorization = header(&sqs, "authorization");
        assert!(authorization.contains(&format!("Credential={id}/")), "{authorization}");
        assert!(authorization.contains("/eu-south-2/sqs/aws4_request"), "{authorization}");
        assert_eq!(header(&sqs, "x-amz-security-token"), "token-1");
        let agent = header(&sqs, "user-agent");
        assert!(agent.starts_with("aws-sdk-rust/") && agent.ends_with(" my-host/1.2 (staging)"), "{agent}");
        assert!(!run.errors.contains("ignored"), "{}", run.errors);
    }
}

#[tokio::test]
async fn an_endpoint_in_them_is_where_requests_go_with_a_scheme_or_without() {
    for (scheme, ssl) in
        [("http://", None), ("", Some(false)), ("http://", Some(false)), ("http://", Some(true))]
    {
        let sqs = Peer::answering(FAILURE).await;
        let options =
            json!({"endpoint": format!("{scheme}{}", sqs.address), "sslEnabled": ssl, "maxRetries": 0});
        let run = enqueue(AWS, &options, &[("QUEUE_SQS_ENDPOINT", "http://127.0.0.1:1")]).await;
        assert!(run.errors.contains("status 500"), "{scheme} {ssl:?}: {}", run.errors);
        assert_eq!(sqs.seen(), 1);
    }
    for (scheme, ssl) in [("", None), ("", Some(true)), ("https://", Some(false))] {
        let sqs = Peer::answering(FAILURE).await;
        let endpoint = format!("{scheme}{}", sqs.address);
        enqueue(AWS, &json!({"endpoint": endpoint, "sslEnabled": ssl, "maxRetries": 0}), &[]).await;
        assert_eq!((sqs.seen(), sqs.connected()), (0, 1), "{scheme} {ssl:?} is TLS");
    }
}

#[tokio::test]
async fn the_proxy_is_asked_for_the_endpoint_that_the_options_make() {
    for (more, expected) in [
        (json!({}), "CONNECT sqs.eu-west-1.amazonaws.com:443 HTTP/1.1\r\n"),
        (json!({"useDualstackEndpoint": true}), "CONNECT sqs.eu-west-1.api.aws:443 HTTP/1.1\r\n"),
        (json!({"useFipsEndpoint": true}), "CONNECT sqs-fips.eu-west-1.amazonaws.com:443 HTTP/1.1\r\n"),
        (
            json!({"useFipsEndpoint": true, "useDualstackEndpoint": true}),
            "CONNECT sqs-fips.eu-west-1.api.aws:443 HTTP/1.1\r\n",
        ),
        (json!({"sslEnabled": false}), "CONNECT sqs.eu-west-1.amazonaws.com:443 HTTP/1.1\r\n"),
        (
            json!({"sslEnabled": false, "endpoint": "sqs.cn-north-1.amazonaws.com.cn"}),
            "POST http://sqs.cn-north-1.amazonaws.com.cn/ HTTP/1.1\r\n",
        ),
    ] {
        let proxy = Peer::answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
        let mut options =
            json!({"maxRetries": 0, "httpOptions": {"proxy": format!("http://user:hush@{}", proxy.address)}});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let run = enqueue(AWS, &options, &[("LOG_LEVEL", "trace")]).await;
        assert!(!run.succeeded && !run.errors.contains("hush"), "{}", run.errors);
        let requests = proxy.requests.lock().unwrap();
        assert!(requests.len() == 1 && requests[0].starts_with(expected), "{requests:?}");
        let head = requests[0].to_lowercase();
        assert!(head.contains("proxy-authorization: basic dxnlcjpodxno\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_try_ends_with_the_timeout_and_a_connect_with_its_own() {
    let silent = Peer::new(|mut peer| async move { while peer.read_request().await.is_some() {} }).await;
    let options = json!({"maxRetries": 2, "retryDelayOptions": {"base": 1}, "httpOptions": {"timeout": 300}});
    let run = enqueue(&queue_at(&silent), &options, &[]).await;
    assert_eq!(silent.seen(), 3);
    assert!(run.took > Duration::from_millis(900) && run.took < Duration::from_secs(5), "{:?}", run.took);

    // A listener whose backlog is full: the kernel drops what more would connect.
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    deaf.listen(0).unwrap();
    let address = deaf.local_addr().unwrap().as_socket().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        filling.push(stream.unwrap());
        assert!(filling.len() < 100, "the backlog is never full");
    }
    let options = json!({"maxRetries": 0, "httpOptions": {"connectTimeout": 400}});
    let run = enqueue(&format!("http://{address}/1/jobs.fifo"), &options, &[]).await;
    assert!(!run.succeeded && run.errors.contains("timeout"), "{}", run.errors);
    assert!(run.errors.contains("the job was not sent"), "{}", run.errors);
    assert!(
        run.took >= Duration::from_millis(400) && run.took < Duration::from_millis(1900),
        "2 s without: {:?}",
        run.took
    );
}

#[tokio::test]
async fn a_worker_delivers_with_a_timeout_shorter_than_its_poll_and_says_what_is_ignored_once() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let options = json!({
        "httpOptions": {"timeout": 500, "agent": "hush", "xhrAsync": true},
        "retryDelayOptions": {"customBackoff": "hush"},
        "logger": "hush",
        "credentials": {"accessKeyId": "local", "secretAccessKey": "hush", "expired": false},
        "convertResponseTypes": null,
        "maxRetries": 5,
    });
    let mut worker = world
        .command(&["/"], &[("QUEUE_SQS_CLIENT_OPTIONS", &options.to_string()), ("LOG_LEVEL", "warn")])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first poll, of 2 s, ends empty.
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.send(&[job("g", 0), job("g", 1)]).await;
    world.wait_for(2).await;
    world.wait_until_empty().await;
    assert_eq!(world.delivered().len(), 2);
    let mut stderr = worker.stderr.take().unwrap();
    worker.kill().await.unwrap();
    let mut told = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut told).await.unwrap();
    let ignored: Vec<_> = told.lines().filter(|line| line.contains("ignored")).collect();
    assert_eq!(ignored.len(), 1, "{told}");
    let names = "convertResponseTypes, logger, httpOptions.agent, httpOptions.xhrAsync, retryDelayOptions.customBackoff";
    assert!(ignored[0].contains(names) && ignored[0].contains("credentials.expired"), "{}", ignored[0]);
    assert!(told.contains("httpOptions.timeout is not longer than QUEUE_SQS_WAIT_TIME_SECONDS"), "{told}");
    assert!(
        !told.contains("hush") && !told.contains("receive failed") && !told.contains("no response"),
        "{told}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_them_is_a_configuration_error_without_their_values() {
    for (options, expected) in [
        ("{\"maxRetries\": hush", "is not a JSON object"),
        ("[\"hush\"]", "is not a JSON object"),
        ("\"hush\"", "is not a JSON object"),
        (r#"{"maxRetries":"hush"}"#, "maxRetries is not a whole number"),
        (r#"{"maxRetries":-1}"#, "maxRetries is not a whole number"),
        (r#"{"maxRetries":1.5}"#, "maxRetries is not a whole number"),
        (r#"{"region":["hush"]}"#, "region is not a string"),
        (r#"{"sslEnabled":"hush"}"#, "sslEnabled is not true or false"),
        (r#"{"httpOptions":"hush"}"#, "httpOptions is not an object"),
        (r#"{"httpOptions":{"timeout":"hush"}}"#, "httpOptions.timeout is not a whole number"),
        (r#"{"httpOptions":{"proxy":"socks5://u:hush@h"}}"#, "httpOptions.proxy is not of the form"),
        (r#"{"retryDelayOptions":{"base":{"hush":1}}}"#, "retryDelayOptions.base is not a whole number"),
        (r#"{"credentials":"hush"}"#, "credentials is not an object"),
        (r#"{"credentials":{"secretAccessKey":"hush"}}"#, "accessKeyId and secretAccessKey go together"),
        (r#"{"endpoint":"http://u:hush@h"}"#, "endpoint must hold no user name or password"),
        (r#"{"customUserAgent":"hush\r\nx: y"}"#, "customUserAgent holds more than printable ASCII"),
    ] {
        let mut command = hookferry("run");
        let output = command
            .env("QUEUE_SQS_URL", AWS)
            .env("QUEUE_SQS_CLIENT_OPTIONS", options)
            .output()
            .await
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{options}: {errors}");
        assert!(
            errors.contains("QUEUE_SQS_CLIENT_OPTIONS") && errors.contains(expected),
            "{options}: {errors}"
        );
        assert!(!errors.contains("hush"), "{errors}");
    }
}
