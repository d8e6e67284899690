//! What an operator sees who got something wrong.

use std::process::Output;

use crate::world::hookferry;

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
