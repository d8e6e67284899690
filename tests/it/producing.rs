//! Producers: the contract as vectors, the commands that speak it, and what becomes of it behind the queue.

use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_sqs::config::Credentials;
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use futures_util::{StreamExt, stream};
use hookferry::job::Job;
use hookferry::producer::{Event, Producer, Signer};
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
    assert!(said.contains("line 1: ") && said.contains("line 3: ") && !said.contains("line 2"), "{said}");

    let letter = json!({"body": "x".repeat(1 << 20), "group": "g", "id": "m", "attributes": {"reason": "r", "odd": "x"}});
    let large = json!({"body": "x".repeat((1 << 20) + 1), "group": "g"});
    let output = run("enqueue", &["--print"], &variables, format!("{letter}\n{large}").as_bytes()).await;
    let said = String::from_utf8(output.stderr).unwrap();
    let warned = said.matches("too large for what is known of it").count();
    assert!(warned == 1 && said.contains("line 2: the job has 1048577 bytes"), "{said}");
    assert!(
        said.contains("not sent with its job") && said.contains("odd") && !said.contains("reason"),
        "{said}"
    );

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
    let mut line = json!({"body": vector["body"], "groupId": "g"});
    let variables = [("THE_SECRET", text(&vector, "secret"))];
    let output =
        run("verify", &["--secret-env", "THE_SECRET"], &variables, line.to_string().as_bytes()).await;
    assert!(
        output.status.code() == Some(1) && String::from_utf8_lossy(&output.stdout).contains("\"groupId\"")
    );
    let signer = Signer::new("i", text(&vector, "app_key"), text(&vector, "secret"));
    let seconds =
        signer.payload_in("g".to_owned(), r#"{"time_ms":1790000000,"events":[{"name":"a"}]}"#.to_owned());
    line = json!({"body": seconds.body, "group": "g"});
    let output =
        run("verify", &["--secret-env", "THE_SECRET"], &variables, line.to_string().as_bytes()).await;
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("is it in seconds?"));
    let body = text(&vector, "body").strip_suffix('}').unwrap();
    for (ids, says) in [
        (r#""group":"g","dedup":"7""#, "the deduplication id is not the body's SHA-256"),
        (r#""group":"a b""#, "its message group id"),
        (r#""dedup":"é""#, "its deduplication id"),
        (r#""group":7"#, "\"group\" is no text"),
    ] {
        let line = format!("{body},{ids}}}\n");
        let output = run("verify", &["--secret-env", "THE_SECRET"], &variables, line.as_bytes()).await;
        let found = String::from_utf8_lossy(&output.stdout);
        assert!(
            found.contains(says) && output.status.success() == ids.contains("dedup\":\"7"),
            "{ids}: {found}"
        );
    }
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
    assert!(line.contains("QUEUE_SQS_ENDPOINT"), "{line}");
}

/// An SQS endpoint that answers so; where that is nothing, it takes all entries of the batch. The answer is told how
/// many calls came before, and the groups of the entries.
struct Endpoint {
    queue: String,
    taken: Arc<Mutex<Vec<String>>>,
}

type Answer = (StatusCode, Value);

impl Endpoint {
    async fn new<F>(answer: F, delay: Duration) -> Self
    where
        F: Fn(usize, &[String]) -> Option<Answer> + Clone + Send + Sync + 'static,
    {
        let (taken, calls): (Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>) = Default::default();
        let kept = Arc::clone(&taken);
        let answering = move |body: Bytes| async move {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(delay).await;
            let request: Value = serde_json::from_slice(&body).unwrap();
            let entries = request["Entries"].as_array().unwrap();
            let groups: Vec<_> =
                entries.iter().map(|entry| text(entry, "MessageGroupId").to_owned()).collect();
            if let Some((status, answer)) = answer(call, &groups) {
                return (status, answer.to_string());
            }
            kept.lock().unwrap().extend(entries.iter().map(|entry| text(entry, "MessageBody").to_owned()));
            let sent = entries
                .iter()
                .map(|e| json!({"Id": e["Id"], "MessageId": e["MessageBody"], "MD5OfMessageBody": ""}));
            (StatusCode::OK, json!({"Successful": sent.collect::<Vec<_>>(), "Failed": []}).to_string())
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let queue = format!("http://{}/000000000000/jobs.fifo", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answering)).await.unwrap() });
        Self { queue, taken }
    }

    async fn enqueue(&self, arguments: &[&str], lines: &[String]) -> (Option<i32>, Vec<String>, String) {
        let output =
            run("enqueue", arguments, &[("QUEUE_SQS_URL", &self.queue)], lines.join("\n").as_bytes()).await;
        told(output)
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

/// The exit code, the printed lines, and what was said.
fn told(output: Output) -> (Option<i32>, Vec<String>, String) {
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), printed.lines().map(str::to_owned).collect(), said)
}

fn failure(status: StatusCode, code: &str) -> Answer {
    (status, json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": "as the test has it"}))
}

/// A line of that group, whose job the endpoint names by its number.
fn line(group: &str, n: u64) -> String {
    json!({"group": group, "dedup": n.to_string(), "body": n.to_string()}).to_string()
}

#[tokio::test]
async fn a_signal_ends_the_input_and_everything_on_the_queue_is_printed() {
    let slow = Endpoint::new(|_, _| None, Duration::from_millis(200)).await;
    // Another whose first line is never taken.
    let stuck = |_, groups: &[String]| {
        groups.contains(&"bad".to_owned()).then(|| failure(StatusCode::BAD_REQUEST, "ThrottlingException"))
    };
    let stuck = Endpoint::new(stuck, Duration::ZERO).await;
    let of_one: Vec<_> = (1..=400).map(|n| line("g", n)).collect();
    let of_many: Vec<_> =
        (1..=50).map(|n| line(&if n == 1 { "bad".to_owned() } else { n.to_string() }, n)).collect();
    for (endpoint, lines, signal, code, unsent) in
        [(slow, of_one, "-INT", 130, 0), (stuck, of_many, "-TERM", 143, 1)]
    {
        let mut command = hookferry("enqueue");
        command.env("QUEUE_SQS_URL", &endpoint.queue);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all((lines.join("\n") + "\n").as_bytes()).await.unwrap();
        while endpoint.taken().len() < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The input goes on, as that of a pipe does.
        let id = child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
        let (exit, printed, said) = told(child.wait_with_output().await.unwrap());
        drop(stdin);
        assert_eq!(exit, Some(code), "{said}");
        let mut taken = endpoint.taken();
        taken.sort_by_key(|n| n.parse::<u64>().unwrap());
        assert_eq!(printed, taken, "{said}");
        let summary = format!("{} sent, {unsent} failed, in ", taken.len());
        assert!(said.contains(&summary) && said.contains("stopped: nothing behind line "), "{said}");
        assert_eq!(
            said.contains("line 1: no answer from the queue, the job may be on it"),
            unsent > 0,
            "{said}"
        );
        assert!(!said.contains("goes on sending"), "{said}");
    }
}

#[tokio::test]
async fn after_a_job_that_is_denied_no_more_is_read_and_every_line_is_accounted_for() {
    let denies = |_, groups: &[String]| {
        groups.contains(&"bad".to_owned()).then(|| failure(StatusCode::FORBIDDEN, "AccessDeniedException"))
    };
    let endpoint = Endpoint::new(denies, Duration::from_millis(50)).await;
    let lines: Vec<_> = (1..=50)
        .map(|n| line(&if [1, 9].contains(&n) { "bad".to_owned() } else { n.to_string() }, n))
        .collect();
    let (code, printed, said) = endpoint.enqueue(&[], &lines).await;
    assert_eq!(code, Some(1), "{said}");
    let mut taken = endpoint.taken();
    taken.sort_by_key(|n| n.parse::<u64>().unwrap());
    assert_eq!(printed, taken, "{said}");
    // In one batch with the first, or behind it.
    let together = "2 lines, 1 to 9: access to the queue is denied";
    let behind = "line 9: the job was not sent, because one ahead of it in its group was given up: access to the queue is denied";
    let alone = said.contains("line 1: access to the queue is denied: ") && said.contains(behind);
    assert!((said.contains(together) || alone) && said.contains("48 sent, 2 failed"), "{said}");
    assert!(!said.contains("goes on sending") && !said.contains("producer ended"), "{said}");
}

#[tokio::test]
async fn a_line_that_the_queue_takes_for_another_is_told_of() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let variables = [("QUEUE_SQS_URL", &*world.queue), ("QUEUE_SQS_ENDPOINT", &*world.endpoint)];
    let lines = [line("g", 1), line("g", 2), line("g", 1)].join("\n");
    let (code, printed, said) = told(run("enqueue", &[], &variables, lines.as_bytes()).await);
    assert_eq!((code, printed.len()), (Some(1), 3), "{said}");
    assert!(said.contains("line 3: the queue took it for the job of line 1"), "{said}");
    assert!(said.contains("2 sent, 1 taken for an earlier one, 0 failed"), "{said}");
}

#[tokio::test]
async fn events_are_signed_under_the_secret_of_the_app_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    std::fs::write(&file, r#"[{"id":"a1","key":"k1","secret":"s1"}]"#).unwrap();
    let of_file = [("APPS_FILE", file.to_str().unwrap())];
    let flags = ["--print", "--event", "cache_miss"];
    for more in [&["--app-id", "a1", "--app-key", "k1"][..], &["--app-key", "k1"], &["--app-id", "a1"]] {
        let output = run("enqueue", &[&flags[..], more].concat(), &of_file, b"").await;
        let (code, printed, said) = told(output);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{more:?}");
        let printed: Value = serde_json::from_str(&printed[0]).unwrap();
        let job = Job::decode(&text(&printed, "body").to_owned().into()).unwrap();
        assert_eq!((job.app_id.as_str(), job.app_key.as_str()), ("a1", "k1"));
        job.verify(&"s1".into()).unwrap();
    }
    let unknown = [&flags[..], &["--app-key", "k2"]].concat();
    let (code, _, said) = told(run("enqueue", &unknown, &of_file, b"").await);
    assert_eq!(code, Some(1), "{said}");
    assert!(["\"k2\"", "DEFAULT_APP_SECRET", "APPS_FILE"].iter().all(|word| said.contains(word)), "{said}");
    let any = [("DEFAULT_APP_SECRET", "s2")];
    let (code, printed, said) = told(run("enqueue", &unknown, &any, b"").await);
    assert!(code == Some(0) && printed[0].contains("k2") && said.is_empty(), "{said}");
    let (code, _, said) = told(run("enqueue", &flags, &[], b"").await);
    assert!(code == Some(0) && said.contains("well-known secret"), "{said}");
    let line = br#"{"group":"g","body":"{}"}"#;
    let (code, _, said) = told(run("enqueue", &["--print", "--app-key", "k2"], &of_file, line).await);
    assert_eq!((code, said.as_str()), (Some(0), ""), "what is signed already needs no secret");
}

#[tokio::test]
async fn a_single_job_is_tried_again_and_what_is_said_of_it_is_so() {
    let throttles = |call, _: &[String]| {
        let failed = json!([{"Id": "0", "Code": "ThrottlingException", "Message": "m", "SenderFault": true}]);
        (call == 0).then(|| (StatusCode::OK, json!({"Successful": [], "Failed": failed})))
    };
    let endpoint = Endpoint::new(throttles, Duration::ZERO).await;
    let (code, printed, said) = endpoint.enqueue(&["--event", "cache_miss"], &[]).await;
    assert_eq!((code, printed.len()), (Some(0), 1), "{said}");

    let nowhere = [("QUEUE_SQS_URL", "http://127.0.0.1:1/000000000000/jobs.fifo")];
    let (code, _, said) = told(run("enqueue", &["--event", "cache_miss"], &nowhere, b"").await);
    assert!(code == Some(1) && said.contains("the job was not sent") && !said.contains("may be"), "{said}");
    assert!(said.contains("(3 attempts in ") && !said.contains("240"), "{said}");

    let denies = |_, _: &[String]| Some(failure(StatusCode::FORBIDDEN, "AccessDeniedException"));
    let endpoint = Endpoint::new(denies, Duration::ZERO).await;
    let (code, _, said) = endpoint.enqueue(&["--event", "cache_miss"], &[]).await;
    assert!(code == Some(1) && said.contains("error: access to the queue is denied"), "{said}");
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_an_endpoint_is_split_and_a_job_that_is_is_told_of() {
    let narrow = |_, groups: &[String]| {
        let large = groups.len() > 1 || groups[0] == "large";
        large.then(|| (StatusCode::PAYLOAD_TOO_LARGE, json!("too large")))
    };
    let endpoint = Endpoint::new(narrow, Duration::ZERO).await;
    let mut lines: Vec<_> = (0..20).map(|n| line("g", n)).collect();
    lines.push(line("large", 20));
    let (code, printed, said) = endpoint.enqueue(&[], &lines).await;
    assert_eq!((code, printed.len()), (Some(1), 20), "{said}");
    assert!(said.contains("line 21: the queue does not take the job: status 413"), "{said}");
    assert_eq!(endpoint.taken(), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn jobs_wait_where_something_else_than_sqs_refuses_and_none_is_refused_for_it() {
    let behind_a_proxy = |call, _: &[String]| match call {
        0 | 1 => Some((StatusCode::BAD_REQUEST, json!("<html>bad request</html>"))),
        2 => Some(failure(StatusCode::BAD_REQUEST, "MissingAction")),
        _ => None,
    };
    let endpoint = Endpoint::new(behind_a_proxy, Duration::ZERO).await;
    let lines: Vec<_> = (0..25).map(|n| line("g", n)).collect();
    let (code, printed, said) = endpoint.enqueue(&[], &lines).await;
    assert_eq!((code, printed.len()), (Some(0), 25), "{said}");
    assert_eq!(endpoint.taken(), (0..25).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Credentials that cannot be fetched at first.
#[derive(Debug)]
struct Interrupted {
    failures: AtomicUsize,
    with: fn() -> CredentialsError,
}

impl ProvideCredentials for Interrupted {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let left =
            self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        future::ProvideCredentials::ready(match left {
            Ok(_) => Err((self.with)()),
            Err(_) => Ok(Credentials::new("local", "local", None, None, "test")),
        })
    }
}

#[tokio::test]
async fn jobs_wait_for_credentials_that_cannot_be_fetched_for_a_moment() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let passing: [fn() -> CredentialsError; 3] = [
        || CredentialsError::provider_error("503 from STS"),
        || CredentialsError::unhandled("no answer"),
        || CredentialsError::provider_timed_out(Duration::from_secs(5)),
    ];
    let lasting: [fn() -> CredentialsError; 2] = [CredentialsError::not_loaded_no_source, || {
        CredentialsError::invalid_configuration("no such profile")
    }];
    let causes = passing.map(|with| (with, 25)).into_iter().chain(lasting.map(|with| (with, 0)));
    for (round, (with, sent)) in causes.enumerate() {
        let credentials = Interrupted { failures: AtomicUsize::new(2), with };
        let config = world.client.config().to_builder().credentials_provider(credentials).build();
        let producer = Producer::new(aws_sdk_sqs::Client::from_conf(config), world.queue.clone());
        let job = |n: u64| NewMessage::new(format!("g{round}"), format!("{round} {n}"));
        let results = producer.enqueue_all(stream::iter((0..25).map(job))).collect::<Vec<_>>().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), sent, "{:?}: {results:?}", with());
    }
    let mut bodies = Vec::new();
    while bodies.len() < 75 {
        let received = world.client.receive_message().queue_url(&world.queue).max_number_of_messages(10);
        for message in received.send().await.unwrap().messages.unwrap_or_default() {
            let handle = message.receipt_handle.unwrap();
            let delete = world.client.delete_message().queue_url(&world.queue).receipt_handle(handle);
            delete.send().await.unwrap();
            bodies.push(message.body.unwrap());
        }
    }
    bodies.sort_by_key(|body| body.split(' ').next().map(str::to_owned));
    let expected = (0..3).flat_map(|round| (0..25).map(move |n| format!("{round} {n}")));
    assert_eq!(bodies, expected.collect::<Vec<_>>(), "whole, and each group in order");
}

#[tokio::test]
async fn whoever_reads_what_is_printed_may_stop() {
    let lines: Vec<_> = (0..20_000).map(|n| line("g", n)).collect();
    let mut command = hookferry("enqueue");
    command.arg("--print").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take().unwrap());
    let mut stdin = child.stdin.take().unwrap();
    drop(stdin.write_all(lines.join("\n").as_bytes()).await);
    drop(stdin);
    let (code, _, said) = told(child.wait_with_output().await.unwrap());
    assert_eq!((code, said.as_str()), (Some(0), ""));
}
