//! Traces: what a webhook carries, and what a collector gets, by a worker process and OTLP over HTTP.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use hookferry::queue::sqs::{AccessKey, Address, Connection, Options, Policies, Usage};
use hookferry::queue::{AttemptId, Queue};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::Child;

use crate::shutdown::terminate;
use crate::world::{World, job, wait_until};

const TRACE: &str = "5759e988bd862e3fe1be46a994272793";
const PARENT: &str = "53995c3f42cd8ad8";

type Requests = Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>;

/// A server that keeps what is posted to it, and its URL.
async fn server(status: StatusCode) -> (String, Requests) {
    let requests = Requests::default();
    let keep = move |State(kept): State<Requests>, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        kept.lock().unwrap().push((uri.path().to_owned(), headers, body));
        status
    };
    let router = Router::new().fallback(keep).with_state(Arc::clone(&requests));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, requests)
}

/// Sends a job as a producer within a span does.
async fn send_traced(world: &World) {
    let job = job("g", 0);
    let traceparent = MessageAttributeValue::builder()
        .data_type("String")
        .string_value(format!("00-{TRACE}-{PARENT}-01"))
        .build()
        .unwrap();
    let xray = MessageSystemAttributeValue::builder()
        .data_type("String")
        .string_value("Root=1-11111111-222222222222222222222222;Parent=3333333333333333;Sampled=1")
        .build()
        .unwrap();
    let sending = world.client.send_message().queue_url(&world.queue).message_body(job.body);
    sending
        .message_group_id(job.group)
        .message_deduplication_id(job.deduplication)
        .message_attributes("traceparent", traceparent)
        .message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, xray)
        .send()
        .await
        .unwrap();
}

/// The webhooks of an app, at the server with this URL.
fn webhooks(url: &str, own: &serde_json::Value) -> String {
    json!([{"url": format!("{url}/hook?token=hush"), "headers": own}]).to_string()
}

/// A field of a protobuf message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

/// The fields of a protobuf message by their numbers.
fn fields(mut bytes: &[u8]) -> HashMap<u64, Vec<Field<'_>>> {
    let mut fields: HashMap<_, Vec<_>> = HashMap::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let length = match tag & 7 {
            0 => {
                let number = varint(&mut bytes);
                fields.entry(tag >> 3).or_default().push(Field::Number(number));
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (field, rest) = bytes.split_at(length);
        bytes = rest;
        fields.entry(tag >> 3).or_default().push(Field::Bytes(field));
    }
    fields
}

fn parts(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let of = |field| match field {
        Field::Bytes(bytes) => Some(bytes),
        Field::Number(_) => None,
    };
    fields(bytes).remove(&number).unwrap_or_default().into_iter().filter_map(of).collect()
}

fn text(bytes: &[u8], number: u64) -> String {
    String::from_utf8_lossy(parts(bytes, number).first().copied().unwrap_or_default()).into_owned()
}

/// What is looked at of a span, by opentelemetry/proto/trace/v1/trace.proto.
struct Span {
    name: String,
    trace: String,
    id: String,
    parent: String,
    kind: u64,
    links: usize,
    attributes: HashMap<String, String>,
}

impl Span {
    fn of(bytes: &[u8]) -> Self {
        let hexed = |number| hex::encode(parts(bytes, number).first().copied().unwrap_or_default());
        let kind = match fields(bytes).get(&6).map(|kinds| &kinds[0]) {
            Some(Field::Number(kind)) => *kind,
            _ => 0,
        };
        // A key and an `AnyValue`: a string or a number.
        let attribute = |pair| {
            let value = parts(pair, 2)[0];
            let value = match fields(value).get(&3).map(|numbers| &numbers[0]) {
                Some(Field::Number(number)) => number.to_string(),
                _ => text(value, 1),
            };
            (text(pair, 1), value)
        };
        let attributes: Vec<_> = parts(bytes, 9).into_iter().map(attribute).collect();
        let count = attributes.len();
        let attributes: HashMap<_, _> = attributes.into_iter().collect();
        assert_eq!(attributes.len(), count, "no attribute is there twice");
        let (name, trace, id, parent) = (text(bytes, 5), hexed(1), hexed(2), hexed(4));
        Self { name, trace, id, parent, kind, links: parts(bytes, 13).len(), attributes }
    }
}

/// Every span that a collector got.
fn spans(requests: &Requests) -> Vec<Span> {
    let requests = requests.lock().unwrap();
    let of_scopes = |resource: &[u8]| {
        let scopes = parts(resource, 2).into_iter();
        scopes.flat_map(|scope| parts(scope, 2)).map(Span::of).collect::<Vec<_>>()
    };
    requests.iter().flat_map(|(_, _, body)| parts(body, 1)).flat_map(of_scopes).collect()
}

#[tokio::test]
async fn a_job_sent_within_a_trace_is_delivered_within_it_and_its_spans_are_exported() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let (receiver, arrived) = server(StatusCode::OK).await;
    let (collector, exported) = server(StatusCode::OK).await;
    send_traced(&world).await;
    let mut worker = world.worker(
        &[],
        &[
            ("DEFAULT_APP_WEBHOOKS", &webhooks(&receiver, &json!({}))),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20key"),
        ],
    );
    wait_until(|| !arrived.lock().unwrap().is_empty()).await;
    // The batch of five seconds is not waited for: what is left is exported at the end.
    terminate(&worker);
    assert_eq!(worker.wait().await.unwrap().code(), Some(0));
    let spans = spans(&exported);
    let find = |name: &str| {
        let mut named = spans.iter().filter(|span| span.name == name);
        (named.next().unwrap_or_else(|| panic!("a span {name}")), named.count())
    };
    let ((job, 0), (attempt, 0)) = (find("job"), find("attempt")) else { panic!("one of each") };
    // Consumer and client.
    assert_eq!((job.trace.as_str(), job.parent.as_str(), job.kind), (TRACE, PARENT, 5));
    assert_eq!((attempt.trace.as_str(), attempt.parent.as_str(), attempt.kind), (TRACE, job.id.as_str(), 3));
    for (name, value) in [
        ("messaging.system", "aws_sqs"),
        ("hookferry.app_id", "app-id"),
        ("hookferry.group", "g"),
        ("hookferry.attempt", "1"),
        ("hookferry.outcome", "delivered"),
    ] {
        assert_eq!(job.attributes[name], value);
    }
    assert_eq!(attempt.attributes["server.address"], "127.0.0.1");
    let posted = arrived.lock().unwrap();
    let [(_, headers, _)] = &posted[..] else { panic!("one webhook") };
    assert_eq!(headers["traceparent"], format!("00-{TRACE}-{}-01", attempt.id));
    assert_eq!(
        headers["x-amzn-trace-id"],
        format!("Root=1-{}-{};Parent={};Sampled=1", &TRACE[..8], &TRACE[8..], attempt.id)
    );
    let exported = exported.lock().unwrap();
    for (path, headers, body) in exported.iter() {
        assert_eq!((path.as_str(), &headers["api-key"]), ("/v1/traces", &"a key".parse().unwrap()));
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let holds = |words: &[u8]| body.windows(words.len()).any(|window| window == words);
        assert!(holds(b"hookferry") && !holds(b"hush") && !holds(b"private-x") && !holds(b"app-secret"));
    }
}

#[tokio::test]
async fn a_webhooks_own_traceparent_stays_and_one_that_fails_is_told_by_its_reason() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let (receiver, arrived) = server(StatusCode::GONE).await;
    let (collector, exported) = server(StatusCode::OK).await;
    send_traced(&world).await;
    let endpoint = format!("{collector}/own/path");
    let mut worker = world.worker(
        &[],
        &[
            ("DEFAULT_APP_WEBHOOKS", &webhooks(&receiver, &json!({"Traceparent": "own"}))),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint),
        ],
    );
    wait_until(|| !arrived.lock().unwrap().is_empty()).await;
    terminate(&worker);
    assert_eq!(worker.wait().await.unwrap().code(), Some(0));
    assert_eq!(arrived.lock().unwrap()[0].1["traceparent"], "own");
    let spans = spans(&exported);
    let of = |name: &str, attribute: &str| {
        let span = spans.iter().find(|span| span.name == name).unwrap();
        span.attributes.get(attribute).cloned().unwrap_or_default()
    };
    assert_eq!(of("job", "hookferry.outcome"), "dead_lettered");
    assert_eq!(of("job", "hookferry.reason"), "gone");
    assert_eq!(of("attempt", "http.response.status_code"), "410");
    assert_eq!(of("attempt", "error.type"), "gone");
    assert!(exported.lock().unwrap().iter().all(|(path, ..)| path == "/own/path"));
}

#[tokio::test]
async fn jobs_that_go_out_together_have_a_span_each_and_one_attempt_linked_with_all() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let (collector, exported) = server(StatusCode::OK).await;
    world.send(&[job("g", 0), job("g", 1), job("g", 2)]).await;
    let more = [("WEBHOOKS_COALESCE", "true"), ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)];
    let mut worker = world.worker(&["/"], &more);
    wait_until(|| !world.arrivals.lock().unwrap().is_empty()).await;
    terminate(&worker);
    assert_eq!(worker.wait().await.unwrap().code(), Some(0));
    let spans = spans(&exported);
    let (jobs, attempts): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.name == "job");
    assert!(jobs.len() == 3 && jobs.iter().all(|job| job.attributes["hookferry.outcome"] == "delivered"));
    let [attempt] = attempts[..] else { panic!("{} attempts", attempts.len()) };
    assert_eq!((attempt.attributes["hookferry.jobs"].as_str(), attempt.links), ("3", 2));
    assert!(jobs.iter().any(|job| job.id == attempt.parent && job.trace == attempt.trace));
}

#[tokio::test]
async fn a_message_is_asked_for_its_span_only_where_spans_are_made() {
    for traced in [false, true] {
        let (endpoint, asked) = server(StatusCode::OK).await;
        let key = AccessKey { id: "k".to_owned(), secret: "s".into(), session_token: None };
        let address = Address {
            url: format!("{endpoint}/1/q.fifo"),
            region: "us-east-1".to_owned(),
            endpoint: Some(endpoint),
            options: Options { credentials: Some(key), ..Options::default() },
        };
        let (wait, settle_timeout) = (Duration::ZERO, Duration::from_secs(1));
        let usage = Usage { wait, visibility: None, settle_timeout, policies: Policies::default(), traced };
        let queue = Connection::load(address).await.queue(usage);
        // Whatever comes of it.
        queue.receive(1, wait, &AttemptId("a".to_owned())).await.ok();
        let asked = asked.lock().unwrap();
        let body = String::from_utf8_lossy(&asked[0].2);
        assert!(body.contains("SentTimestamp") && body.contains("source_message_id"), "{body}");
        // By the parameter's older name too.
        assert_eq!(body.matches("AWSTraceHeader").count(), if traced { 2 } else { 0 }, "{body}");
        assert_eq!(body.contains("traceparent"), traced, "{body}");
    }
}

/// A worker that exports batches of ten to this collector, with its log for a pipe.
fn exporting(world: &World, collector: &str) -> Child {
    let more = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
        ("LOG_LEVEL", "warn"),
        ("LOG_FORMAT", "json"),
    ];
    world.command(&["/"], &more).stderr(Stdio::piped()).spawn().unwrap()
}

/// Ends a worker; gives its log.
async fn ended(mut worker: Child) -> String {
    terminate(&worker);
    let mut log = String::new();
    worker.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
    assert_eq!(worker.wait().await.unwrap().code(), Some(0), "{log}");
    log
}

#[tokio::test]
async fn a_collector_that_takes_nothing_is_told_once_and_costs_no_delivery() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let (collector, refused) = server(StatusCode::SERVICE_UNAVAILABLE).await;
    let jobs: Vec<_> = (0..100).map(|n| job(&format!("g{}", n % 10), n / 10)).collect();
    world.send(&jobs).await;
    let worker = exporting(&world, &collector);
    world.wait_for(100).await;
    wait_until(|| refused.lock().unwrap().len() >= 3).await;
    let log = ended(worker).await;
    let lines = log.lines().filter(|line| line.contains("spans cannot be exported")).collect::<Vec<_>>();
    assert!(lines.len() == 1 && lines[0].contains("status 503"), "{log}");
}

#[tokio::test]
async fn a_collector_that_never_answers_keeps_no_job_and_no_worker_from_its_end() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    // Connections wait in its backlog.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let jobs: Vec<_> = (0..100).map(|n| job(&format!("g{}", n % 10), n / 10)).collect();
    world.send(&jobs).await;
    let worker = exporting(&world, &format!("http://{}", mute.local_addr().unwrap()));
    world.wait_for(100).await;
    world.wait_until_empty().await;
    let log = ended(worker).await;
    assert!(log.contains("the last spans were not exported in time"), "{log}");
}

#[tokio::test]
async fn without_an_endpoint_no_header_is_added() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let (receiver, arrived) = server(StatusCode::OK).await;
    send_traced(&world).await;
    let _worker = world.worker(&[], &[("DEFAULT_APP_WEBHOOKS", &webhooks(&receiver, &json!({})))]);
    wait_until(|| !arrived.lock().unwrap().is_empty()).await;
    let posted = arrived.lock().unwrap();
    let headers = &posted[0].1;
    assert!(!headers.contains_key("traceparent") && !headers.contains_key("x-amzn-trace-id"), "{headers:?}");
}
