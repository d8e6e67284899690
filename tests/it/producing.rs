//! Producers: the contract as vectors, the commands that speak it, and what becomes of it behind the queue.

use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use hookferry::job::Job;
use hookferry::producer::{Event, Signer};
use hookferry::queue::NewMessage;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::peer::{PATIENCE, Peer};
use crate::world::{World, hookferry};

const VECTORS: [&str; 4] = [
    include_str!("../vectors/soketi.json"),
    include_str!("../vectors/text.json"),
    include_str!("../vectors/numbers.json"),
    include_str!("../vectors/apps.json"),
];

fn vectors() -> impl Iterator<Item = Value> {
    VECTORS.into_iter().flat_map(|file| serde_json::from_str::<Vec<Value>>(file).unwrap())
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap()
}

/// Runs a command with something on its standard input.
pub async fn run(command: &str, arguments: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Output {
    let mut command = hookferry(command);
    command.args(arguments).envs(variables.iter().copied());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

#[test]
fn every_vector_is_what_a_signer_makes_and_what_the_worker_takes() {
    let mut seen = 0;
    for vector in vectors() {
        let payload = text(&vector, "payload");
        assert_eq!(payload.as_bytes(), bytes(text(&vector, "payload_hex")));
        let signer = Signer::new(text(&vector, "app_id"), text(&vector, "app_key"), text(&vector, "secret"));
        let made = signer.payload_in(text(&vector, "group").to_owned(), payload.to_owned());
        assert_eq!(made.body, text(&vector, "body"));
        assert_eq!(made.deduplication, text(&vector, "deduplication_id"));
        let job = Job::decode(&made.body.into()).unwrap();
        assert_eq!((job.signature.as_str(), &*job.payload), (text(&vector, "signature"), payload.as_bytes()));
        job.verify(&text(&vector, "secret").into()).unwrap();
        seen += 1;
    }
    assert!(seen >= 19, "{seen}");
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[tokio::test]
async fn enqueue_prints_what_it_would_send() {
    let variables =
        [("DEFAULT_APP_ID", "app-id"), ("DEFAULT_APP_KEY", "app-key"), ("DEFAULT_APP_SECRET", "s")];
    let line = r#"{"event":{"name":"order.paid","total":12.50},"group":"order-7"}"#;
    let output = run("enqueue", &["--print"], &variables, line.as_bytes()).await;
    assert!(output.status.success(), "{output:?}");
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["group"], "order-7");
    let job = Job::decode(&text(&printed, "body").to_owned().into()).unwrap();
    job.verify(&"s".into()).unwrap();
    assert!(
        String::from_utf8_lossy(&job.payload).ends_with(r#""events":[{"name":"order.paid","total":12.50}]}"#)
    );

    let lines = r#"{"group":"a b","body":"{}"}
{"group":"g","body":"{}"}
{"group":"g","body":"\uffff"}"#;
    let output = run("enqueue", &["--print"], &variables, lines.as_bytes()).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["group"], "g", "what SQS would refuse is not printed");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("job 1 of the input") && said.contains("job 3 of the input"), "{said}");

    let flags = ["--print", "--event", "member_added", "--fields", r#"{"user_id":"7"}"#];
    let output = run("enqueue", &flags, &variables, b"").await;
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["group"], "app-id_member_added_webhooks");
}

#[tokio::test]
async fn verify_tells_a_valid_job_from_one_that_is_not() {
    for vector in vectors() {
        let variables = [("THE_SECRET", text(&vector, "secret"))];
        if variables[0].1.is_empty() {
            continue;
        }
        let arguments = ["--secret-env", "THE_SECRET"];
        let line =
            json!({"body": vector["body"], "group": vector["group"], "dedup": vector["deduplication_id"]});
        let output = run("verify", &arguments, &variables, line.to_string().as_bytes()).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let body = text(&vector, "body").replace("time_ms", "time_ns");
        let output = run("verify", &arguments, &variables, body.as_bytes()).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains(variables[0].1), "the secret is not told");
    }
    let vector = vectors().next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    let app = json!([{"id": "i", "key": vector["app_key"], "secret": vector["secret"]}]);
    std::fs::write(&file, app.to_string()).unwrap();
    let variables = [("DEFAULT_APP_KEY", "another"), ("APPS_FILE", file.to_str().unwrap())];
    let output = run("verify", &[], &variables, text(&vector, "body").as_bytes()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let app = json!([{"id": "i", "key": vector["app_key"], "secret": "${NOT_SET_HERE}"}]);
    std::fs::write(&file, app.to_string()).unwrap();
    let output = run("verify", &[], &variables, text(&vector, "body").as_bytes()).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("NOT_SET_HERE"), "{output:?}");
    let signature = "6b7b8e8d";
    let output = run("verify", &["--signature", signature], &[], b"{}").await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn events_of_ones_own_are_delivered_in_the_order_of_their_group() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let signer = Signer::new("app-id", "app-key", "app-secret");
    let paid: Vec<NewMessage> = (0..12)
        .map(|n| Event::own("order.paid").unwrap().with("n", &n).unwrap().in_group("app-id_order-7"))
        .map(|event| signer.job(&event))
        .collect();
    world.send(&paid).await;
    let _worker = world.worker(&["/"], &[]);
    world.wait_until_empty().await;
    let arrivals = world.arrivals.lock().unwrap();
    let bodies: Vec<Value> = arrivals.iter().map(|a| serde_json::from_slice(&a.body).unwrap()).collect();
    let ns: Vec<_> = bodies.iter().map(|body| body["events"][0]["n"].as_u64().unwrap()).collect();
    assert_eq!(ns, (0..12).collect::<Vec<_>>());
    assert!(
        arrivals.iter().all(|arrival| arrival.verified) && bodies[0]["events"][0]["name"] == "order.paid"
    );
}

/// An SQS endpoint that answers 503 so often, then takes a batch but for its third entry and what is behind it,
/// and then everything. Gives its address, and what it has taken.
async fn endpoint_in_trouble(refusals: usize) -> (String, Arc<Mutex<Vec<String>>>) {
    let (taken, calls): (Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>) = Default::default();
    let kept = Arc::clone(&taken);
    let answer = move |body: Bytes| async move {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        if call < refusals {
            return (StatusCode::SERVICE_UNAVAILABLE, String::new());
        }
        let request: Value = serde_json::from_slice(&body).unwrap();
        let entries = request["Entries"].as_array().unwrap();
        let most = if call == refusals { 2 } else { entries.len() };
        let (good, bad) = entries.split_at(most.min(entries.len()));
        kept.lock().unwrap().extend(good.iter().map(|entry| text(entry, "MessageBody").to_owned()));
        let sent = good
            .iter()
            .map(|e| json!({"Id": e["Id"], "MessageId": e["MessageBody"], "MD5OfMessageBody": ""}));
        let failed =
            bad.iter().map(|e| json!({"Id": e["Id"], "Code": "InternalError", "SenderFault": false}));
        let answer = json!({"Successful": sent.collect::<Vec<_>>(), "Failed": failed.collect::<Vec<_>>()});
        (StatusCode::OK, answer.to_string())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    (address, taken)
}

#[tokio::test]
async fn lines_wait_for_a_queue_in_trouble_and_none_of_a_group_goes_before_another() {
    let (endpoint, taken) = endpoint_in_trouble(5).await;
    let queue = format!("{endpoint}/000000000000/jobs.fifo");
    let variables = [("QUEUE_SQS_URL", queue.as_str())];
    let lines: Vec<String> = (0..25)
        .map(|n| json!({"group": "g", "dedup": n.to_string(), "body": n.to_string()}).to_string())
        .collect();
    let output = run("enqueue", &[], &variables, lines.join("\n").as_bytes()).await;
    assert!(output.status.success(), "{output:?}");
    let expected: Vec<String> = (0..25).map(|n| n.to_string()).collect();
    assert_eq!(*taken.lock().unwrap(), expected, "in order, each once");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "the queue's ids, in the input's order");
}

#[tokio::test]
async fn enqueue_says_why_it_waits_for_a_queue_whose_answers_name_no_message() {
    let sqs = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let mut command = hookferry("enqueue");
    command.env("QUEUE_SQS_URL", format!("{}000000000000/jobs.fifo", sqs.url()));
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"event\":{\"name\":\"order.paid\"},\"group\":\"g\"}\n").await.unwrap();
    drop(stdin);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = async {
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.contains("no answer of SQS' form") {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert!(line.contains("sent again") && line.contains("QUEUE_SQS_ENDPOINT"), "{line}");
}
