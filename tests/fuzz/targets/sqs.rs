//! Any requests to the local queue, in both of SQS' protocols: each answer is well formed, none makes or
//! loses a message that it should not, and in the end every message comes, once and in order.
//!
//! The input is a script of requests, with a line of `---` between them:
//! - `+7`: seven seconds pass;
//! - `SendMessage`, and a body below it: JSON, with that `X-Amz-Target`;
//! - `? /000000000000/jobs.fifo`, and a body below it: the query protocol, to that path;
//! - `$1` anywhere is the first receipt handle that was handed out, `$2` the second, …
#![no_main]

mod books;

use std::time::Duration;

use axum::body::to_bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use books::Books;
use hookferry::fifo::Broker;
use hookferry::local::server::{ACCOUNT, Clock, Endpoint};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::time::{Instant, advance};

/// Longer scripts only take longer.
const MAX_REQUESTS: usize = 40;
/// All the time that may pass: less than messages are retained for while the books are balanced.
const MAX_TIME: Duration = Duration::from_secs(600_000);

fuzz_target!(|input: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(run(&String::from_utf8_lossy(input)));
});

async fn run(script: &str) {
    let start = Instant::now();
    let endpoint = Endpoint::new(Broker::new(1, "us-east-1", ACCOUNT), Clock::Since(start));
    let mut handles: Vec<String> = Vec::new();
    for request in script.split("\n---\n").take(MAX_REQUESTS) {
        let request = with_handles(request, &handles);
        let (head, body) = request.split_once('\n').unwrap_or((&request, ""));
        if let Some(seconds) = head.strip_prefix('+') {
            let left = MAX_TIME.saturating_sub(start.elapsed());
            advance(Duration::from_secs(seconds.trim().parse::<u32>().unwrap_or(1).into()).min(left)).await;
            continue;
        }
        let books = Books::open(&endpoint);
        let began = Instant::now();
        let Some((answer, action)) = ask(&endpoint, head, body).await else { continue };
        let messages = if head.starts_with('?') { xml(answer).await } else { json(answer).await };
        assert!(messages.len() <= 10);
        for (n, (id, _)) in messages.iter().enumerate() {
            assert!(!messages[..n].iter().any(|(other, _)| other == id), "a message twice in one answer");
        }
        handles.extend(messages.into_iter().map(|(_, handle)| handle));
        books.compare(&endpoint, &action, began.elapsed());
    }
    books::balance(&endpoint).await;
}

/// Makes one request; gives the answer and the action, unless the request cannot be made.
async fn ask(endpoint: &Endpoint, head: &str, body: &str) -> Option<(Response, String)> {
    let Some(path) = head.strip_prefix('?') else {
        let target = HeaderValue::from_str(&format!("AmazonSQS.{head}")).ok()?;
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-amz-target"), target)]);
        let root = Uri::from_static("/");
        let answer = endpoint.answer(&Method::POST, &root, &headers, body.as_bytes()).await;
        return Some((answer, head.to_owned()));
    };
    let uri: Uri = path.trim().parse().unwrap_or_default();
    let (method, parameters) = match body {
        "" => (Method::GET, uri.query().unwrap_or_default()),
        _ => (Method::POST, body),
    };
    let action = url::form_urlencoded::parse(parameters.as_bytes()).find(|(name, _)| name == "Action");
    let action = action.map(|(_, action)| action.into_owned()).unwrap_or_default();
    let answer = endpoint.answer(&method, &uri, &HeaderMap::new(), body.as_bytes()).await;
    if method == Method::GET && answer.status() == StatusCode::METHOD_NOT_ALLOWED {
        assert!(answer.headers().contains_key("allow"));
        return None;
    }
    Some((answer, action))
}

/// Puts the handles in their places.
fn with_handles(request: &str, handles: &[String]) -> String {
    let mut parts = request.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let handle = part[..digits].parse::<usize>().ok().and_then(|n| handles.get(n.checked_sub(1)?));
        text.push_str(handle.map_or("$", String::as_str));
        text.push_str(if handle.is_some() { &part[digits..] } else { part });
    }
    text
}

/// Status and body of an answer.
async fn read(answer: Response) -> (StatusCode, String) {
    let status = answer.status();
    assert!(matches!(status, StatusCode::OK | StatusCode::BAD_REQUEST), "{status}");
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Holds an answer to AWS JSON 1.0; gives the ids and handles of its messages.
async fn json(answer: Response) -> Vec<(String, String)> {
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    assert_eq!(header("content-type").as_deref(), Some("application/x-amz-json-1.0"));
    assert!(header("x-amzn-requestid").is_some());
    let code = header("x-amzn-query-error");
    let (status, text) = read(answer).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value.is_object());
    if status != StatusCode::OK {
        assert!(value["__type"].as_str().unwrap().starts_with("com.amazonaws.sqs#"));
        assert!(value["message"].is_string());
        assert!(code.unwrap().ends_with(";Sender"));
    }
    let member = |message: &Value, name: &str| message[name].as_str().unwrap().to_owned();
    let messages = value["Messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    messages.iter().map(|message| (member(message, "MessageId"), member(message, "ReceiptHandle"))).collect()
}

/// Holds an answer to the query protocol; gives the ids and handles of its messages.
async fn xml(answer: Response) -> Vec<(String, String)> {
    let (status, text) = read(answer).await;
    if text.starts_with("hookferry's local queue") {
        return Vec::new();
    }
    let document = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let root = document.root_element();
    let child = |node: roxmltree::Node<'_, '_>, name: &str| {
        let found = node.descendants().find(|node| node.tag_name().name() == name);
        found.unwrap_or_else(|| panic!("no {name}: {text}")).text().unwrap_or_default().to_owned()
    };
    assert_eq!(child(root, "RequestId").len(), 36);
    if status == StatusCode::OK {
        assert!(root.tag_name().name().ends_with("Response"));
    } else {
        assert_eq!(root.tag_name().name(), "ErrorResponse");
        assert!(!child(root, "Code").is_empty() && !child(root, "Message").is_empty());
    }
    let messages = root.descendants().filter(|node| {
        let parent = node.parent().map(|parent| parent.tag_name().name());
        node.tag_name().name() == "Message" && parent == Some("ReceiveMessageResult")
    });
    messages.map(|message| (child(message, "MessageId"), child(message, "ReceiptHandle"))).collect()
}
