//! What the worker refuses or says at start, and `check`.

use std::process::Output;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};

use crate::world::{World, create, hookferry, job, unique, wait_until};

/// A worker on a queue with these attributes, until it ends by itself.
async fn refused(world: &World, attributes: &[(QueueAttributeName, &str)], more: &[(&str, &str)]) -> Output {
    let queue = create(&world.client, &format!("{}.fifo", unique()), attributes).await;
    let mut command = world.command(&["/"], &[("QUEUE_SQS_URL", queue.as_str()), ("LOG_FORMAT", "human")]);
    command.envs(more.iter().copied());
    tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap()
}

fn policy(world: &World, most: u32) -> String {
    let name = world.dead_letters.rsplit('/').next().unwrap();
    json!({"deadLetterTargetArn": format!("arn:aws:sqs:us-east-1:000000000000:{name}"), "maxReceiveCount": most}).to_string()
}

#[tokio::test]
async fn a_low_receive_count_ends_the_worker_with_78_and_the_line_that_mends_it() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let output = refused(&world, &[(QueueAttributeName::RedrivePolicy, &policy(&world, 3))], &[]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("aws sqs set-queue-attributes") && said.contains("maxReceiveCount"), "{said}");
    assert!(said.contains("QUEUE_SQS_ALLOW_LOW_RECEIVE_COUNT"), "{said}");
}

#[tokio::test]
async fn a_retention_below_the_window_and_a_dead_letter_queue_that_is_the_queue_end_it_with_78() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let output = refused(&world, &[(QueueAttributeName::MessageRetentionPeriod, "60")], &[]).await;
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("MessageRetentionPeriod"));
    let spelled = world.queue.replace("127.0.0.1", "localhost");
    let mut command = world.command(&["/"], &[("QUEUE_SQS_DLQ_URL", spelled.as_str())]);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the queue itself"));
}

#[tokio::test]
async fn what_is_changed_of_the_queue_while_a_worker_runs_holds_without_a_restart() {
    let world = World::new(|_| (410, Duration::ZERO)).await;
    let mut command = world.command(&["/"], &[]);
    command.env_remove("QUEUE_SQS_DLQ_URL");
    let _worker = command.spawn().unwrap();
    world.send(&[job("g", 0)]).await;
    world.wait_until_empty().await;
    assert!(world.dead().await.is_empty(), "there is no dead-letter queue yet");
    let set = world.client.set_queue_attributes().queue_url(&world.queue);
    set.attributes(QueueAttributeName::RedrivePolicy, policy(&world, 1000)).send().await.unwrap();
    world.send(&[job("g", 1), job("h", 2)]).await;
    world.wait_until_empty().await;
    assert_eq!(world.dead().await.len(), 2);
}

#[tokio::test]
async fn a_receive_count_that_is_lowered_under_a_worker_moves_no_job_without_a_reason() {
    let world = World::new(|_| (500, Duration::ZERO)).await;
    let set = async |most| {
        let set = world.client.set_queue_attributes().queue_url(&world.queue);
        set.attributes(QueueAttributeName::RedrivePolicy, policy(&world, most)).send().await.unwrap();
    };
    set(1000).await;
    let mut worker = world.worker(&["/"], &[("WEBHOOKS_RETRY_WINDOW_SECONDS", "60")]);
    world.send(&[job("g", 0)]).await;
    wait_until(|| !world.arrivals.lock().unwrap().is_empty()).await;
    // High enough to be found before the job has used it up.
    set(40).await;
    world.wait_until_empty().await;
    let letters = world.dead().await;
    assert_eq!(letters.len(), 1);
    assert!(worker.try_wait().unwrap().is_none(), "it goes on");
}

async fn check(world: &World, more: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, Value) {
    let webhooks = json!([{"url": format!("{}/", world.receiver)}]).to_string();
    let mut command = hookferry("check");
    command
        .args(["--json"])
        .args(arguments)
        .env("QUEUE_SQS_URL", &world.queue)
        .env("QUEUE_SQS_ENDPOINT", &world.endpoint)
        .env("QUEUE_SQS_DLQ_URL", &world.dead_letters)
        .env("DEFAULT_APP_WEBHOOKS", webhooks)
        .env("WEBHOOKS_ALLOWED_NETWORKS", "127.0.0.0/8")
        .env("METRICS_PORT", "0")
        .envs(more.iter().copied());
    let output = command.output().await.unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

fn found<'a>(report: &'a Value, severity: &str, words: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    let is = |finding: &&Value| {
        finding["severity"] == severity && finding["text"].as_str().unwrap().contains(words)
    };
    findings.iter().find(is).unwrap_or_else(|| panic!("{severity} {words} in {report:#}"))
}

#[tokio::test]
async fn check_looks_at_everything_and_warns_without_failing() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let (code, report) = check(&world, &[], &[]).await;
    assert_eq!(code, Some(0), "{report:#}");
    found(&report, "ok", "sqs:ChangeMessageVisibility");
    found(&report, "ok", "agrees with the queue's");
    found(&report, "ok", &world.receiver);
    found(&report, "ok", "app-id: 1 webhooks");
    let throughput = found(&report, "warning", "FifoThroughputLimit");
    assert!(throughput["remedy"].as_str().unwrap().contains("aws sqs set-queue-attributes"));
    assert!(world.arrivals.lock().unwrap().is_empty(), "no request was made");
    assert_eq!(check(&world, &[], &["--deny-warnings"]).await.0, Some(1));
}

#[tokio::test]
async fn check_says_where_credentials_come_from() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let (_, report) = check(&world, &[], &[]).await;
    found(&report, "ok", "from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    let options = r#"{"accessKeyId":"AKIAX","secretAccessKey":"hush"}"#;
    let (_, report) = check(&world, &[("QUEUE_SQS_CLIENT_OPTIONS", options)], &[]).await;
    found(&report, "ok", "from QUEUE_SQS_CLIENT_OPTIONS");
    let given = r#"{"Version":1,"AccessKeyId":"a","SecretAccessKey":"hush"}"#;
    let file = std::env::temp_dir().join(unique());
    std::fs::write(&file, format!("[profile p]\ncredential_process = echo '{given}'\n")).unwrap();
    let by_profile =
        [("AWS_PROFILE", "'p'\n"), ("AWS_CONFIG_FILE", file.to_str().unwrap()), ("AWS_ACCESS_KEY_ID", "")];
    let (_, report) = check(&world, &by_profile, &[]).await;
    std::fs::remove_file(&file).unwrap();
    found(&report, "ok", "from a profile's credential_process");
    assert!(!report.to_string().contains("hush"));
}

#[tokio::test]
async fn credentials_that_a_role_cannot_be_asked_for_with_are_told_as_such() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let dir = tempfile::tempdir().unwrap();
    let (keys, profiles) = (dir.path().join("keys.json"), dir.path().join("config"));
    std::fs::write(&keys, r#"{"Version":1,"AccessKeyId":"AKIAX\n","SecretAccessKey":"hush"}"#).unwrap();
    let role = "[profile p]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n";
    let base = format!("[profile base]\ncredential_process = cat '{}'\n", keys.display());
    std::fs::write(&profiles, format!("{role}{base}")).unwrap();
    let by_profile =
        [("AWS_PROFILE", "p"), ("AWS_CONFIG_FILE", profiles.to_str().unwrap()), ("AWS_ACCESS_KEY_ID", "")];
    let (code, report) = check(&world, &by_profile, &[]).await;
    assert_eq!(code, Some(1), "{report:#}");
    found(&report, "error", "hold what no header can");
    assert!(!report.to_string().contains("hush"));
}

#[tokio::test]
async fn check_fails_with_1_for_what_would_fail_and_with_78_for_what_is_refused() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let gone = world.dead_letters.replace("-dead", "-gone");
    let (code, report) = check(&world, &[("QUEUE_SQS_DLQ_URL", &gone)], &[]).await;
    assert_eq!(code, Some(1), "{report:#}");
    found(&report, "error", "does not exist");
    let (code, report) =
        check(&world, &[("DEFAULT_APP_WEBHOOKS", r#"[{"url":"http://10.1.2.3/"}]"#)], &[]).await;
    assert_eq!(code, Some(1), "{report:#}");
    found(&report, "error", "10.1.2.3");
    let (code, report) = check(&world, &[("QUEUE_SQS_DLQ_URL", &world.queue)], &[]).await;
    assert_eq!(code, Some(78), "{report:#}");
    let (code, report) = check(&world, &[("METRICS_PORT", "99999")], &[]).await;
    assert_eq!(code, Some(78), "{report:#}");
    found(&report, "error", "METRICS_PORT");
}

#[tokio::test]
async fn check_looks_at_the_apps_of_the_file_and_what_cannot_be_used_of_them() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    let apps = serde_json::json!([
        {"id": "good", "key": "g", "secret": "s", "webhooks": [{"url": "http://10.1.2.3/"}]},
        {"id": "bad", "key": "b", "secret": "s", "webhooks": [{"url": "http://256.1.1.1/"}]},
        {"id": "worse", "key": "w"},
    ]);
    std::fs::write(&file, apps.to_string()).unwrap();
    let (code, report) = check(&world, &[("APPS_FILE", file.to_str().unwrap())], &[]).await;
    let report = report.to_string();
    assert_eq!(code, Some(1), "{report}");
    for says in [
        "good: 1 webhooks",
        "app good",
        "webhooks[0] cannot be used",
        "\\\"worse\\\": apps[2] cannot be used",
    ] {
        assert!(report.contains(says), "{says}: {report}");
    }
}

#[tokio::test]
async fn check_tries_a_bounded_number_of_the_receivers_of_a_file() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    let app = |n: u32| {
        let webhook = serde_json::json!({"url": format!("http://10.1.{n}.1/")});
        serde_json::json!({"id": format!("app-{n}"), "key": n, "secret": "s", "webhooks": [webhook]})
    };
    std::fs::write(&file, (0..250).map(app).collect::<Value>().to_string()).unwrap();
    let (_, report) = check(&world, &[("APPS_FILE", file.to_str().unwrap())], &[]).await;
    let report = report.to_string();
    assert!(report.contains("more are not tried: 200 is the most"), "{report}");
    assert!(report.contains("the first 50 of 251 are listed"), "{report}");
}

#[tokio::test]
async fn check_says_how_sockudo_has_to_be_set_up_by_the_variables_that_it_shares() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let (code, report) =
        check(&world, &[("QUEUE_SQS_FIFO", "true"), ("QUEUE_SQS_CONCURRENCY", "5")], &[]).await;
    assert_eq!(code, Some(1), "{report:#}");
    found(&report, "error", "consumers of its own");
    found(&report, "error", "webhooks.fifo");
    found(&report, "error", "without a deduplication id");
    found(&report, "ok", "one message group");
}
