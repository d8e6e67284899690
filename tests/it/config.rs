//! What an operator sees who got something wrong.

use std::os::unix::ffi::OsStringExt;
use std::process::Output;
use std::time::Duration;

use crate::world::{World, hookferry, job};

async fn run(variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = hookferry("run");
    command.env("METRICS_PORT", "0");
    for (name, value) in variables {
        command.env(name, value);
    }
    let Output { status, stderr, .. } = command.output().await.unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn all_configuration_errors_are_told_at_once_with_exit_code_78() {
    let (code, errors) = run(&[
        ("QUEUE_SQS_URL", "http://127.0.0.1:1/1/plain"),
        ("APPS_FILE", "/nonexistent.json"),
        ("SOKETI_DEFAULT_APP_WEBHOOKS", "nonsense"),
        ("QUEUE_SQS_VISIBILITY_TIMEOUT", "3"),
    ])
    .await;
    assert_eq!(code, Some(78), "{errors}");
    for name in
        ["QUEUE_SQS_URL", ".fifo", "APPS_FILE", "DEFAULT_APP_WEBHOOKS", "QUEUE_SQS_VISIBILITY_TIMEOUT"]
    {
        assert!(errors.contains(name), "{name} in {errors}");
    }
    assert!(!errors.contains("panicked"), "{errors}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_its_variable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, errors) =
        run(&[("QUEUE_SQS_URL", "http://127.0.0.1:1/1/q.fifo"), ("METRICS_PORT", &port)]).await;
    assert_eq!(code, Some(78));
    assert!(errors.contains("METRICS_PORT"), "{errors}");
}

/// What AWS' other SDKs take, or other programs, and what an empty line of a compose file comes to.
#[tokio::test]
async fn variables_of_the_sdk_and_of_libraries_that_others_take_end_no_worker() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("authorities.pem");
    let key = rcgen::generate_simple_self_signed(["h.test".to_owned()]).unwrap();
    std::fs::write(&file, key.cert.pem()).unwrap();
    let profile = dir.path().join("config");
    std::fs::write(&profile, "[default]\nretry_mode = legacy\nmax_attempts = many\n").unwrap();
    let quoted = format!(" \"{}\"", file.display());
    for variables in [
        &[
            ("AWS_RETRY_MODE", "legacy"),
            ("AWS_MAX_ATTEMPTS", "5 "),
            ("SSL_CERT_FILE", ""),
            ("SSL_CERT_DIR", ""),
        ][..],
        &[("AWS_RETRY_MODE", ""), ("AWS_MAX_ATTEMPTS", "0"), ("SSL_CERT_FILE", quoted.as_str())],
        &[("AWS_CONFIG_FILE", profile.to_str().unwrap())],
    ] {
        let world = World::new(|_| (200, Duration::ZERO)).await;
        let _worker = world.worker(&["/"], variables);
        world.send(&[job("g", 0)]).await;
        world.wait_for(1).await;
    }
    let mut command = hookferry("enqueue");
    command.args(["--event", "client_event"]).env("QUEUE_SQS_URL", "http://127.0.0.1:1/1/jobs.fifo");
    let output = command.env("SSL_CERT_FILE", "'/nonexistent.pem'").output().await.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{errors}");
    assert!(errors.contains("SSL_CERT_FILE: \"/nonexistent.pem\""), "{errors}");
}

#[tokio::test]
async fn a_variable_that_is_no_unicode_ends_a_command_by_its_name() {
    let mut command = hookferry("enqueue");
    command
        .args(["--event", "client_event", "--print"])
        .env("QUEUE_SQS_URL", "http://127.0.0.1:1/1/jobs.fifo");
    let secret = std::ffi::OsString::from_vec(b"hush\xe9".to_vec());
    let output = command.env("DEFAULT_APP_SECRET", secret).output().await.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(78), &b""[..]), "{errors}");
    assert!(errors.contains("DEFAULT_APP_SECRET: is no UTF-8") && !errors.contains("hush"), "{errors}");
}
