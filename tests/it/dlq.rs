//! `dlq`, over a real endpoint.

use std::process::Stdio;
use std::time::Duration;

use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::world::{World, create, hookferry, job, unique};

fn dlq(world: &World, arguments: &[&str]) -> Command {
    let mut command = hookferry("dlq");
    command
        .args(arguments)
        .env("QUEUE_SQS_URL", &world.queue)
        .env("QUEUE_SQS_ENDPOINT", &world.endpoint)
        .env("QUEUE_SQS_DLQ_URL", &world.dead_letters);
    command
}

async fn run(world: &World, arguments: &[&str]) -> (bool, String) {
    let output = dlq(world, arguments).output().await.unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// The endpoint, but for one action, which it denies.
async fn denying(world: &World, action: &'static str) -> String {
    relay(world, action, "").await
}

/// The endpoint, but that it leaves an attribute out of what it hands over.
async fn leaving_out(world: &World, attribute: &'static str) -> String {
    relay(world, "", attribute).await
}

async fn relay(world: &World, denied: &'static str, left_out: &'static str) -> String {
    let (client, endpoint) = (reqwest::Client::new(), world.endpoint.clone());
    let relay = move |headers: HeaderMap, body: Bytes| {
        let (client, endpoint) = (client.clone(), endpoint.clone());
        async move {
            let target = headers["x-amz-target"].to_str().unwrap().to_owned();
            let json = "application/x-amz-json-1.0";
            if target == format!("AmazonSQS.{denied}") {
                let why =
                    r#"{"__type":"com.amazon.coral.service#AccessDeniedException","message":"not you"}"#;
                let denied = Response::builder().status(StatusCode::FORBIDDEN).header("content-type", json);
                return denied.body(Body::from(why)).unwrap();
            }
            let call = client.post(&endpoint).header("x-amz-target", target).header("content-type", json);
            let answer = call.body(body).send().await.unwrap();
            let relayed = Response::builder().status(answer.status()).header("content-type", json);
            let mut answer: Value =
                serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
            for message in answer.get_mut("Messages").and_then(Value::as_array_mut).into_iter().flatten() {
                message["Attributes"].as_object_mut().unwrap().remove(left_out);
            }
            relayed.body(Body::from(answer.to_string())).unwrap()
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(relay)).await });
    address
}

/// Text of both streams, and the exit code.
async fn told(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().await.unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

/// Letters that say that they are of a queue of another name.
async fn foreign(world: &World, count: u64) {
    for n in 0..count {
        send_letter(world, "foreign", n, "shop", "status", None, "String.000000000000.other.fifo").await;
    }
}

/// A dead letter as the worker writes them.
async fn letter(world: &World, group: &str, n: u64, app: &str, reason: &str, body: Option<String>) -> String {
    send_letter(world, group, n, app, reason, body, "String").await
}

async fn send_letter(
    world: &World,
    group: &str,
    n: u64,
    app: &str,
    reason: &str,
    body: Option<String>,
    origin: &str,
) -> String {
    let typed = |kind: &str, value: &str| {
        MessageAttributeValue::builder().data_type(kind).string_value(value).build().unwrap()
    };
    let text = |value: &str| typed("String", value);
    let body = body.unwrap_or_else(|| job(group, n).body);
    let sent = world
        .client
        .send_message()
        .queue_url(&world.dead_letters)
        .message_group_id(group)
        .message_deduplication_id(unique())
        .message_body(body)
        .message_attributes("reason", text(reason))
        .message_attributes("app_id", text(app))
        .message_attributes("source_message_id", typed(origin, &format!("source-{group}-{n}")))
        .message_attributes("webhook", text("0123456789ab"))
        .message_attributes("destination", text("hooks.example.net"))
        .send();
    sent.await.unwrap().message_id.unwrap()
}

#[tokio::test]
async fn list_groups_letters_by_app_and_reason_and_gives_all_of_them_back() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    for n in 0..3 {
        letter(&world, "a", n, "shop", "status_500", None).await;
    }
    letter(&world, "b", 0, "chat", "bad_signature", None).await;
    for _ in 0..2 {
        let (ok, text) = run(&world, &["list", "--json"]).await;
        assert!(ok, "{text}");
        let listed: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&listed["letters"], &listed["complete"]), (&json!(4), &json!(true)), "{listed:#}");
        let shop = listed["groups"].as_array().unwrap().iter().find(|heap| heap["app_id"] == "shop").unwrap();
        assert_eq!((&shop["letters"], &shop["reason"]), (&json!(3), &json!("status_500")));
    }
    let (_, text) = run(&world, &["list", "--app", "chat"]).await;
    assert!(text.contains("chat") && !text.contains("shop"), "{text}");
    let (_, text) = run(&world, &["list", "--older", "1h"]).await;
    assert!(text.contains("no dead letters like that"), "{text}");
}

#[tokio::test]
async fn show_prints_one_letter_and_says_if_there_is_none() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let id = letter(&world, "a", 7, "shop", "status_500", None).await;
    for id in [id.as_str(), "source-a-7"] {
        let (ok, text) = run(&world, &["show", id]).await;
        let shown: Value = serde_json::from_str(&text).unwrap();
        assert!(
            ok && shown["attributes"]["reason"] == "status_500" && shown["body"]["appId"] == "app-id",
            "{text}"
        );
    }
    let (ok, text) = run(&world, &["show", "nobody"]).await;
    assert!(!ok && text.contains("nobody"), "{text}");
}

#[tokio::test]
async fn what_purge_writes_can_be_enqueued_again_and_nothing_is_purged_unasked() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    for n in 0..25 {
        letter(&world, "a", n, "shop", "status_500", None).await;
    }
    letter(&world, "b", 0, "chat", "status_500", None).await;
    let (ok, text) = run(&world, &["purge"]).await;
    assert!(!ok && text.contains("--yes"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("letters.jsonl");
    let purge = ["purge", "--yes", "--app", "shop", "--backup", backup.to_str().unwrap()];
    let (ok, text) = run(&world, &purge).await;
    assert!(ok && text.contains("25 letters deleted"), "{text}");
    let (ok, text) = run(&world, &purge).await;
    assert!(!ok && text.contains("cannot be written"), "an earlier backup is not written over: {text}");
    let lines = std::fs::read_to_string(&backup).unwrap();
    assert_eq!(lines.lines().count(), 25);
    let mut enqueue = hookferry("enqueue");
    enqueue
        .env("QUEUE_SQS_URL", &world.queue)
        .env("QUEUE_SQS_ENDPOINT", &world.endpoint)
        .stdin(std::fs::File::open(&backup).unwrap());
    assert!(enqueue.output().await.unwrap().status.success());
    let _worker = world.worker(&["/"], &[]);
    world.wait_for(25).await;
    let ns: Vec<_> = world.delivered().into_iter().map(|d| d.n).collect();
    assert_eq!(ns, (0..25).collect::<Vec<_>>());
    assert_eq!(world.dead().await.len(), 1);
}

#[tokio::test]
async fn a_redrive_beside_a_worker_that_gives_up_again_ends_and_tries_each_letter_once() {
    let world = World::new(|_| (410, Duration::ZERO)).await;
    world.send(&(0..12).map(|n| job("g", n)).collect::<Vec<_>>()).await;
    let _worker = world.worker(&["/"], &[]);
    world.wait_until_empty().await;
    assert_eq!(world.arrivals.lock().unwrap().len(), 12);
    let (ok, text) = run(&world, &["redrive"]).await;
    assert!(ok && text.contains("12 jobs put back"), "{text}");
    world.wait_until_empty().await;
    assert_eq!(world.arrivals.lock().unwrap().len(), 24, "{text}");
}

#[tokio::test]
async fn letters_that_sqs_moved_from_another_queue_are_left_there() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let name = world.dead_letters.rsplit('/').next().unwrap().to_owned();
    let policy = json!({"deadLetterTargetArn": format!("arn:aws:sqs:us-east-1:000000000000:{name}"), "maxReceiveCount": 1});
    let other = create(
        &world.client,
        &format!("{}.fifo", unique()),
        &[(QueueAttributeName::RedrivePolicy, &policy.to_string())],
    )
    .await;
    let foreign = job("foreign", 0);
    let send = world.client.send_message().queue_url(&other).message_group_id("foreign");
    send.message_deduplication_id("d").message_body(&foreign.body).send().await.unwrap();
    for _ in 0..2 {
        let receive = world.client.receive_message().queue_url(&other).visibility_timeout(0);
        receive.send().await.unwrap();
    }
    letter(&world, "a", 0, "shop", "status_500", None).await;
    let (ok, text) = run(&world, &["redrive"]).await;
    // The one that names no queue: two share the dead-letter queue, or it is ours.
    assert!(ok && text.contains("of another queue"), "{text}");
    let left = world.letters().await;
    assert!(left.iter().any(|letter| letter["body"] == foreign.body), "{left:?}");
}

#[tokio::test]
async fn large_letters_are_put_back_in_batches_that_sqs_takes() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    for n in 0..8 {
        letter(&world, "a", n, "shop", "status_500", Some("x".repeat(300_000))).await;
    }
    letter(&world, "a", 9, "shop", "status_500", Some("y".repeat(1_048_390))).await;
    let (ok, text) = run(&world, &["redrive"]).await;
    assert!(ok && text.contains("9 jobs put back"), "{text}");
    assert!(world.letters().await.is_empty());
}

#[tokio::test]
async fn letters_of_another_queue_are_neither_purged_nor_exported_and_list_says_whose_they_are() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    foreign(&world, 2).await;
    letter(&world, "a", 0, "shop", "status", None).await;
    let (ok, text) = run(&world, &["list"]).await;
    assert!(ok && text.contains("000000000000.other.fifo") && text.contains("hooks.example.net"), "{text}");
    let (ok, text) = run(&world, &["export"]).await;
    assert!(ok && text.contains("1 letters exported") && text.contains("2 left: of another queue"), "{text}");
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let name = world.queue.rsplit('/').next().unwrap();
    assert!(line["group"] == "a" && line["queue"].as_str().unwrap().ends_with(name), "{line}");
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("letters.jsonl");
    let (ok, text) = run(&world, &["purge", "--yes", "--backup", backup.to_str().unwrap()]).await;
    assert!(ok && text.contains("1 letters deleted") && text.contains("2 left: of another queue"), "{text}");
    assert!(!std::fs::read_to_string(&backup).unwrap().contains("foreign"));
    assert_eq!(world.dead().await.len(), 2);
}

#[tokio::test]
async fn a_dead_letter_queue_that_is_the_queue_is_refused_with_78_and_its_jobs_stay() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    world.send(&[job("g", 0)]).await;
    let spelled = world.queue.replace("127.0.0.1", "localhost");
    for arguments in [&["list"][..], &["purge", "--yes"], &["redrive"], &["export"]] {
        let (code, text) = told(dlq(&world, arguments).env("QUEUE_SQS_DLQ_URL", &spelled)).await;
        assert!(code == Some(78) && text.contains("the queue itself"), "{arguments:?}: {text}");
    }
    let _worker = world.worker(&["/"], &[]);
    world.wait_for(1).await;
}

/// A world with a letter of a job that `/has` took and `/lacks` refused for good.
async fn given_up_by_one_of_two() -> World {
    let world = World::new(|arrival| {
        let status = if arrival.path == "/has" { 200 } else { 410 };
        (status, Duration::ZERO)
    })
    .await;
    world.send(&[job("g", 0)]).await;
    let worker = world.worker(&["/has", "/lacks"], &[]);
    world.wait_until_empty().await;
    drop(worker);
    world
}

#[tokio::test]
async fn what_is_exported_and_enqueued_does_not_go_again_to_a_webhook_that_has_it() {
    let world = given_up_by_one_of_two().await;
    let ids = |world: &World| {
        let arrivals = world.arrivals.lock().unwrap();
        arrivals.iter().map(|arrival| arrival.id.clone()).collect::<Vec<_>>()
    };
    let before = ids(&world);
    let exported = dlq(&world, &["export"]).output().await.unwrap().stdout;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("letters.jsonl");
    std::fs::write(&file, exported).unwrap();
    let mut enqueue = hookferry("enqueue");
    enqueue.env("QUEUE_SQS_URL", &world.queue).env("QUEUE_SQS_ENDPOINT", &world.endpoint);
    let (code, text) = told(enqueue.stdin(std::fs::File::open(&file).unwrap())).await;
    assert_eq!(code, Some(0), "{text}");
    let _worker = world.worker(&["/has", "/lacks"], &[]);
    world.wait_until_empty().await;
    let paths: Vec<_> = world.arrivals.lock().unwrap().iter().map(|arrival| arrival.path.clone()).collect();
    assert_eq!(paths.iter().filter(|path| *path == "/has").count(), 1, "{paths:?}");
    assert_eq!(paths.iter().filter(|path| *path == "/lacks").count(), 2, "{paths:?}");
    assert!(before.contains(ids(&world).last().unwrap()), "under the id that it had");
}

#[tokio::test]
async fn a_redrive_says_why_the_app_source_does_not_answer_and_goes_on() {
    let world = given_up_by_one_of_two().await;
    let mut redrive = dlq(&world, &["redrive"]);
    let source = [
        ("APP_MANAGER_DRIVER", "dynamodb"),
        ("APP_MANAGER_DYNAMODB_TABLE", "apps"),
        ("APP_MANAGER_DYNAMODB_REGION", "eu-west-1"),
        // Who answers here knows no such call.
        ("APP_MANAGER_DYNAMODB_ENDPOINT", world.endpoint.as_str()),
    ];
    let (code, text) = told(redrive.envs(source)).await;
    assert_eq!(code, Some(0), "{text}");
    let says =
        ["the app source does not answer here: DynamoDB table \"apps\" in eu-west-1: ", "1 jobs put back"];
    assert!(says.iter().all(|says| text.contains(says)), "{text}");
}

#[tokio::test]
async fn a_letter_stays_whose_webhook_is_gone_though_others_of_its_app_are_for_other_events() {
    let world = given_up_by_one_of_two().await;
    letter(&world, "b", 0, "shop", "status", None).await;
    let webhook =
        |path: &str, event: &str| json!({"url": format!("{}{path}", world.receiver), "event_types": [event]});
    let redrive = |webhooks: Value| {
        let mut redrive = dlq(&world, &["redrive"]);
        redrive.env("DEFAULT_APP_WEBHOOKS", webhooks.to_string());
        redrive
    };
    let others = webhook("/others", "member_added");
    let (code, text) = told(&mut redrive(json!([others]))).await;
    assert!(code == Some(0) && text.contains("2 left: its webhook is gone"), "none has it: {text}");
    let (code, text) = told(&mut redrive(json!([webhook("/has", "client_event"), others]))).await;
    assert!(code == Some(0) && text.contains("1 left: its webhook is gone"), "one has it: {text}");
    assert!(text.contains("1 jobs put back"), "and lacks the other: {text}");
    let letters = world.letters().await;
    assert!(letters.len() == 1 && letters[0].contains_key("webhook"), "{letters:?}");
}

#[tokio::test]
async fn letters_are_seen_and_put_back_though_the_endpoint_does_not_say_when_they_were_sent() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    for n in 0..3 {
        letter(&world, "a", n, "shop", "status", None).await;
    }
    let untimed = leaving_out(&world, "SentTimestamp").await;
    let (code, text) = told(dlq(&world, &["list"]).env("QUEUE_SQS_ENDPOINT", &untimed)).await;
    assert!(code == Some(0) && text.contains("status") && text.contains("SentTimestamp"), "{text}");
    let (code, text) = told(dlq(&world, &["redrive"]).env("QUEUE_SQS_ENDPOINT", &untimed)).await;
    assert!(code == Some(0) && text.contains("3 jobs put back"), "{text}");
}

#[tokio::test]
async fn letters_without_a_group_are_an_error_of_the_endpoint_and_are_not_hidden() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    for n in 0..3 {
        letter(&world, "a", n, "shop", "status", None).await;
    }
    let no_groups = leaving_out(&world, "MessageGroupId").await;
    let (code, text) = told(dlq(&world, &["list"]).env("QUEUE_SQS_ENDPOINT", &no_groups)).await;
    assert!(code == Some(1) && text.contains("leaves MessageGroupId out"), "{text}");
    assert_eq!(world.letters().await.len(), 3);
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named_and_what_was_done_is_said() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    for n in 0..3 {
        letter(&world, "a", n, "shop", "status", None).await;
    }
    let no_delete = denying(&world, "DeleteMessageBatch").await;
    let (code, text) = told(dlq(&world, &["redrive"]).env("QUEUE_SQS_ENDPOINT", &no_delete)).await;
    assert!(
        code == Some(1) && text.contains("sqs:DeleteMessage") && text.contains("3 jobs put back"),
        "{text}"
    );
    assert!(text.contains("3 left: put back, but could not be deleted"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("letters.jsonl");
    let purge = ["purge", "--yes", "--backup", backup.to_str().unwrap()];
    let (code, text) = told(dlq(&world, &purge).env("QUEUE_SQS_ENDPOINT", &no_delete)).await;
    assert!(
        code == Some(1) && text.contains("sqs:DeleteMessage") && text.contains("0 letters deleted"),
        "{text}"
    );
    // They were given back each time: nothing is hidden.
    let (_, text) = run(&world, &["list", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["seen"], 3);
    let no_change = denying(&world, "ChangeMessageVisibilityBatch").await;
    let (code, text) = told(dlq(&world, &["list"]).env("QUEUE_SQS_ENDPOINT", &no_change)).await;
    assert!(
        code == Some(1) && text.contains("sqs:ChangeMessageVisibility") && text.contains("hidden"),
        "{text}"
    );
}

#[tokio::test]
async fn an_export_that_is_interrupted_says_how_far_it_came_and_fails() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    for n in 0..60 {
        letter(&world, &format!("g{n}"), n, "shop", "status", Some("x".repeat(10_000))).await;
    }
    let mut child = dlq(&world, &["export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It waits for its reader after the first lines: a pipe holds less than all of them.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next_line().await.unwrap().unwrap();
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    while lines.next_line().await.unwrap().is_some() {}
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(1), "{said}");
    assert!(said.contains("stopped after ") && said.contains("of about 60 letters"), "{said}");
}

#[tokio::test]
async fn what_is_named_and_not_found_and_what_lies_behind_others_is_said_and_fails() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let good = letter(&world, "a", 0, "shop", "status", None).await;
    let (ok, text) = run(&world, &["redrive", &good, "typo"]).await;
    assert!(!ok && text.contains("1 jobs put back") && text.contains("typo was not found"), "{text}");
    let (ok, text) = run(&world, &["redrive", "nope"]).await;
    assert!(!ok && text.contains("nope was not found"), "{text}");
    for n in 0..12 {
        letter(&world, "shared", n, "big", "status", None).await;
    }
    letter(&world, "shared", 12, "small", "status", None).await;
    let (ok, text) = run(&world, &["redrive", "--dry-run"]).await;
    assert!(
        ok && text.contains("10 jobs would be put back") && text.contains("up to 3 more behind"),
        "{text}"
    );
    let (ok, text) = run(&world, &["export"]).await;
    assert!(!ok && text.contains("10 letters exported") && text.contains("about 3 more"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("letters.jsonl");
    let purge = ["purge", "--yes", "--app", "small", "--backup", backup.to_str().unwrap()];
    let (ok, text) = run(&world, &purge).await;
    assert!(!ok && text.contains("about 3 could not be seen") && !backup.exists(), "{text}");
    let (ok, text) = run(&world, &["show", "source-shared-12"]).await;
    assert!(!ok && text.contains(r#"filter message_id = "source-shared-12""#), "{text}");
    // As another command would hold it.
    letter(&world, "held", 0, "shop", "status", None).await;
    let held = async || {
        let receive = world.client.receive_message().queue_url(&world.dead_letters).visibility_timeout(60);
        let message = receive.max_number_of_messages(1).send().await.unwrap().messages.unwrap().remove(0);
        message.receipt_handle.unwrap()
    };
    held().await;
    let (ok, text) = run(&world, &["redrive"]).await;
    assert!(!ok && text.contains("more are hidden"), "what all were asked for and some stay: {text}");
}

#[tokio::test]
async fn a_reason_that_no_letter_can_have_is_refused_with_the_nearest_one() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    for (wrong, near) in [("status_500", "'status'"), ("bad_signature", "'signature'")] {
        let (ok, text) = run(&world, &["list", "--reason", wrong]).await;
        assert!(!ok && text.contains(near), "{text}");
    }
    let (ok, text) = run(&world, &["list", "--reason", "received_too_often"]).await;
    assert!(ok, "{text}");
}
