//! The other commands.

use std::process::Stdio;
use std::time::Duration;

use hookferry::local::receiver::Arrival;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::world::{World, hookferry, job, signed};

#[tokio::test]
async fn dev_accounts_for_every_job_and_exits_0() {
    let mut command = hookferry("dev");
    command.args(["--jobs", "40", "--rate", "50", "--listen", "127.0.0.1:0"]);
    let output = command.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for said in ["QUEUE_SQS_URL=", "aws sqs send-message", "refused", "after failures", "dead", "all 40 jobs"]
    {
        assert!(text.contains(said), "{said} in {text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[tokio::test]
async fn enqueue_sends_lines_in_order_and_prints_their_ids() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let mut command = hookferry("enqueue");
    command.env("QUEUE_SQS_URL", &world.queue).env("QUEUE_SQS_ENDPOINT", &world.endpoint);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = (0..25)
        .map(|n| {
            let job = job("g", n);
            serde_json::json!({"group": job.group, "dedup": job.deduplication, "body": job.body}).to_string()
                + "\n"
        })
        .collect();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 25);
    let _worker = world.worker(&["/"], &[]);
    world.wait_for(25).await;
    let ns: Vec<_> = world.delivered().into_iter().map(|d| d.n).collect();
    assert_eq!(ns, (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn redriven_dead_letters_are_delivered_in_order_once_their_cause_is_gone() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let jobs: Vec<_> = (0..3).map(|n| signed("g", n, "late-key", "app-secret")).collect();
    world.send(&jobs).await;
    let mut worker = world.worker(&["/"], &[]);
    world.wait_until_empty().await;
    worker.kill().await.unwrap();
    assert!(world.delivered().is_empty());
    redrive(&world).await;
    let _worker = world.worker(&["/"], &[("DEFAULT_APP_KEY", "late-key")]);
    world.wait_for(3).await;
    let ns: Vec<_> = world.delivered().into_iter().map(|d| d.n).collect();
    assert_eq!(ns, [0, 1, 2]);
}

#[tokio::test]
async fn a_job_redriven_again_and_again_keeps_its_id_and_goes_to_who_does_not_have_it() {
    let world = World::new(|arrival| (if arrival.path == "/gone" { 410 } else { 200 }, Duration::ZERO)).await;
    world.send(&[job("g", 0)]).await;
    // The second time it comes to no attempt.
    for key in ["app-key", "another-key", "app-key"] {
        let mut worker = world.worker(&["/there", "/gone"], &[("DEFAULT_APP_KEY", key)]);
        world.wait_until_empty().await;
        worker.kill().await.unwrap();
        redrive(&world).await;
    }
    let _worker = world.worker(&["/there", "/gone"], &[]);
    world.wait_until_empty().await;
    let arrivals = world.arrivals.lock().unwrap();
    let mut paths: Vec<_> = arrivals.iter().map(|arrival| arrival.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/gone", "/gone", "/gone", "/there"]);
    let id = |arrival: &Arrival| arrival.id.split('.').next().unwrap().to_owned();
    assert!(arrivals.iter().all(|arrival| id(arrival) == id(&arrivals[0])), "{arrivals:?}");
}

#[tokio::test]
async fn healthcheck_exits_0_while_a_worker_lives_and_1_when_none_does() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let check = async || {
        let mut command = hookferry("healthcheck");
        command.env("SOKETI_METRICS_PORT", &port).output().await.unwrap().status.code()
    };
    assert_eq!(check().await, Some(1));
    let _worker = world.worker(&["/"], &[("METRICS_PORT", &port)]);
    world.send(&[job("g", 0)]).await;
    world.wait_for(1).await;
    assert_eq!(check().await, Some(0));
}

#[tokio::test]
async fn status_tells_which_endpoint_fails_since_when_and_why_before_the_window_ends() {
    let world = World::new(|_| (503, Duration::ZERO)).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let status = async |arguments: &[&str]| {
        let mut command = hookferry("status");
        let output = command.args(arguments).env("METRICS_PORT", &port).output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(status(&[]).await, (Some(1), String::new()));
    let more =
        [("METRICS_PORT", port.as_str()), ("WEBHOOKS_RETRY_MAX_MS", "60000"), ("WEBHOOK_TIMEOUT_MS", "1")];
    let _worker = world.worker(&["/"], &more);
    world.send(&[job("app-id_client_event_webhooks", 0)]).await;
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    let (code, text) = loop {
        let (code, text) = status(&[]).await;
        if text.contains("Blocked groups") || tokio::time::Instant::now() > end {
            break (code, text);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(code, Some(0), "{text}");
    let host = world.receiver.trim_start_matches("http://").split(':').next().unwrap();
    for said in [
        "degraded: 1 destination is failing; 1 group waits for a retry",
        "Failing destinations (1)",
        "of app app-id: failing for",
        "status 503",
        "Blocked groups (1)",
        "app-id_client_event_webhooks of app app-id",
        "next retry in",
        host,
        "did you mean WEBHOOKS_TIMEOUT_MS?",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let (code, json) = status(&["--json"]).await;
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &document["version"], &document["state"]), (Some(0), &1.into(), &"degraded".into()));
    let warnings = document["warnings"].as_array().unwrap();
    let warned = |words: &str| warnings.iter().any(|warning| warning.as_str().unwrap().contains(words));
    assert!(
        warned("WEBHOOK_TIMEOUT_MS") && warned("well-known") && warned("DeduplicationScope"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn dev_without_an_end_ends_when_nobody_reads_it() {
    let mut command = hookferry("dev");
    command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("Status page: "));
    drop(lines);
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn the_manual_tells_of_every_command_and_of_the_exit_codes() {
    let output = hookferry("man").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for said in [
        ".SH \"HOOKFERRY ENQUEUE\"",
        ".SH \"HOOKFERRY DLQ REDRIVE\"",
        "dry\\-run",
        ".SH \"HOOKFERRY DLQ PURGE\"",
        ".SH \"EXIT STATUS\"",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
}

#[tokio::test]
async fn a_reader_that_has_enough_is_no_failure_of_a_command() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    for (name, arguments) in [
        ("env", &["--effective"][..]),
        ("check", &["--json"]),
        ("dlq", &["list"]),
        ("man", &[]),
        ("verify", &[]),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = hookferry(name);
        command.args(arguments).stdout(writer).stderr(Stdio::piped()).env("QUEUE_SQS_URL", &world.queue);
        command.env("QUEUE_SQS_DLQ_URL", &world.dead_letters).env("METRICS_PORT", "0");
        let output = command.output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("panicked"), "{command:?}: {said}");
        if ["env", "man"].contains(&name) {
            assert_eq!(output.status.code(), Some(0), "{command:?}: {said}");
        }
    }
}

/// Puts the dead letters back by the command, which has to succeed.
async fn redrive(world: &World) {
    let mut command = hookferry("dlq");
    command
        .arg("redrive")
        .env("QUEUE_SQS_URL", &world.queue)
        .env("QUEUE_SQS_ENDPOINT", &world.endpoint)
        .env("QUEUE_SQS_DLQ_URL", &world.dead_letters);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
}
