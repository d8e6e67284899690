//! Variables, their file, and what a signal reloads: by the binary itself.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::world::{World, hookferry, job, signed};

async fn output(command: &mut tokio::process::Command) -> (Option<i32>, String) {
    let output = command.output().await.unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn env_prints_the_annotated_list_and_with_effective_the_values_in_force_and_their_origin() {
    let (code, list) = output(&mut hookferry("env")).await;
    assert_eq!((code, list.as_str()), (Some(0), include_str!("../../.env.example")));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("worker.env");
    std::fs::write(&file, "WEBHOOKS_TIMEOUT_MS=2500\nMETRICS_PORT=1\nDEFAULT_APP_SECRET=hush\n").unwrap();
    let mut command = hookferry("env");
    command.args(["--effective", "--env-file"]).arg(&file);
    command.env("METRICS_PORT", "2").env("SOKETI_LOG_LEVEL", "debug");
    command.env("QUEUE_SQS_URL", "https://sqs.eu-west-1.amazonaws.com/111111111111/webhooks.fifo");
    let (code, shown) = output(&mut command).await;
    assert_eq!(code, Some(0), "{shown}");
    for (line, origin) in [
        ("WEBHOOKS_TIMEOUT_MS=2500", "# file "),
        ("METRICS_PORT=2", "# environment"),
        ("LOG_LEVEL=debug", "# environment, SOKETI_"),
        ("QUEUE_SQS_BATCH_SIZE=10", "# default"),
        ("DEFAULT_APP_SECRET=********", "# file "),
        ("QUEUE_SQS_REGION=eu-west-1", "# default: of QUEUE_SQS_URL"),
    ] {
        let found = shown
            .lines()
            .find(|shown| shown.starts_with(line))
            .unwrap_or_else(|| panic!("{line} in {shown}"));
        assert!(found.contains(origin), "{found}");
    }
    assert!(!shown.contains("hush"), "{shown}");
}

#[tokio::test]
async fn a_file_of_variables_that_cannot_be_read_is_refused_by_name_with_78() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("worker.env");
    std::fs::write(&file, "A=1\nhush hush\n").unwrap();
    for (path, says) in [(file, "line 2"), (dir.path().join("none"), "cannot be read")] {
        let (code, said) = output(hookferry("env").arg("--env-file").arg(path)).await;
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("--env-file") && said.contains(says) && !said.contains("hush"), "{said}");
    }
}

#[tokio::test]
async fn completions_and_the_manual_are_printed() {
    for (arguments, says) in [
        (&["completions", "bash"][..], "_hookferry"),
        (&["completions", "zsh"], "#compdef hookferry"),
        (&["man"], ".TH hookferry"),
    ] {
        let mut command = hookferry(arguments[0]);
        let (code, said) = output(command.args(&arguments[1..])).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(says), "{says} in {said}");
    }
    let (_, manual) = output(&mut hookferry("man")).await;
    assert!(manual.contains("HOOKFERRY ENV") && manual.contains("effective"), "{manual}");
}

#[tokio::test]
async fn one_unusable_app_in_the_environment_or_the_file_is_left_out_and_the_others_deliver() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    let webhook =
        |path: &str| format!(r#"[{{"url":"{}/{path}","event_types":["client_event"]}}]"#, world.receiver);
    let app = |key: &str| {
        format!(r#"{{"id":"{key}","key":"{key}","secret":"app-secret","webhooks":{}}}"#, webhook(key))
    };
    std::fs::write(&file, format!(r#"[{{"id":"bad","key":"bad"}},7,{}]"#, app("in-file"))).unwrap();
    let listed =
        format!(r#"[{{"id":"bad2","key":"bad2","secret":"s","webhooks":7}},{}]"#, app("in-environment"));
    let _worker = world.worker(&["/"], &[("APPS_FILE", file.to_str().unwrap()), ("APPS", &listed)]);
    world
        .send(&[signed("g1", 0, "in-file", "app-secret"), signed("g2", 1, "in-environment", "app-secret")])
        .await;
    world.wait_for(2).await;
}

#[tokio::test]
async fn sighup_reloads_the_log_level_and_does_not_end_the_worker() {
    let world = World::new(|_| (200, Duration::ZERO)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("worker.env");
    std::fs::write(&file, "LOG_LEVEL=error\n").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let mut command = world.command(&["/"], &[("METRICS_PORT", &port)]);
    command.env_remove("LOG_LEVEL").arg("--env-file").arg(&file).stderr(Stdio::piped());
    let mut worker = command.spawn().unwrap();
    let mut log = BufReader::new(worker.stderr.take().unwrap()).lines();
    world.send(&[job("g", 0)]).await;
    world.wait_for(1).await;
    std::fs::write(&file, "LOG_LEVEL=info\n").unwrap();
    let pid = i32::try_from(worker.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::HUP).unwrap();
    loop {
        let line = log.next_line().await.unwrap().expect("it says which level is in force");
        if line.contains("log level in force") && line.contains("info") {
            break;
        }
    }
    let (_, status) = output(hookferry("status").arg("--json").env("METRICS_PORT", &port)).await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let settings = status["settings"].as_array().unwrap();
    let level = settings.iter().find(|setting| setting["name"] == "LOG_LEVEL").unwrap();
    assert_eq!(level["value"], "info", "{level}");
    world.send(&[job("g", 1)]).await;
    world.wait_for(2).await;
    assert!(worker.try_wait().unwrap().is_none(), "it still runs");
}

#[tokio::test]
async fn a_webhook_may_end_its_retries_and_its_attempts_earlier_than_the_worker() {
    let world = World::new(|arrival| match arrival.path.as_str() {
        "/never-again" => (500, Duration::ZERO),
        "/slow" => (200, Duration::from_secs(3)),
        _ => (200, Duration::ZERO),
    })
    .await;
    let to = |path: &str| format!("{}{path}", world.receiver);
    let webhooks = serde_json::json!([
        {"url": to("/never-again"), "retry": {"enabled": false}},
        {"url": to("/slow"), "request_timeout_ms": 100, "retry": {"max_attempts": 2}},
        {"url": to("/private"), "filter": {"channel_prefix": "private-"}},
        {"url": to("/public"), "filter": {"channel_pattern": "^public-"}},
    ]);
    let _worker = world.worker(&[], &[("DEFAULT_APP_WEBHOOKS", &webhooks.to_string())]);
    world.send(&[job("g", 0)]).await;
    world.wait_until_empty().await;
    let arrived: Vec<String> =
        world.arrivals.lock().unwrap().iter().map(|arrival| arrival.path.clone()).collect();
    let count = |path: &str| arrived.iter().filter(|arrived| *arrived == path).count();
    assert_eq!((count("/never-again"), count("/public")), (1, 0), "{arrived:?}");
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1, "given up for the two that do not have it");
    // What goes unanswered is no arrival, so the letter alone tells of the attempts at "/slow".
    assert_eq!(letters[0]["attempts"], "2", "{letters:?}");
}
