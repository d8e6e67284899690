//! `dlq`, over a real endpoint.

use std::time::Duration;

use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use serde_json::{Value, json};
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

/// A dead letter as the worker writes them.
async fn letter(world: &World, group: &str, n: u64, app: &str, reason: &str, body: Option<String>) -> String {
    let text = |value: &str| {
        MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
    };
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
        .message_attributes("source_message_id", text(&format!("source-{group}-{n}")))
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
    letter(&world, "a", 9, "shop", "status_500", Some("y".repeat(1_048_450))).await;
    let (ok, text) = run(&world, &["redrive"]).await;
    assert!(ok && text.contains("9 jobs put back"), "{text}");
    assert!(world.letters().await.is_empty());
}
