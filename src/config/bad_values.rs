//! What an operator sees of bad values: each with its variable, all at once, no secret among them.

use super::*;

fn read(variables: &[(&str, String)]) -> Result<Config, Errors> {
    let base = [("QUEUE_SQS_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs.fifo".to_owned())];
    Config::from_env(base.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), value.clone())))
}

/// The variable that a line of the errors begins with.
fn blamed(line: &str) -> &str {
    let end = line.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(line.len());
    let name = &line[..end];
    assert!(VARIABLES.iter().any(|(known, _)| *known == name), "{line:?} begins with no variable");
    name
}

#[test]
fn two_spellings_of_one_name_are_two_variables() {
    let config = read(&[
        ("QUEUE_SQS_BATCH_SIZE", "5".to_owned()),
        ("QUEUE_SQS_batch_size", "6".to_owned()),
        ("shutdown_grace_seconds", "7".to_owned()),
        ("SHUTDOWN_GRACE_SECONDS", "20".to_owned()),
    ])
    .unwrap();
    assert_eq!((config.queue.batch, config.grace), (5, Duration::from_secs(20)));
}

#[test]
fn credentials_that_are_no_object_are_not_passed_over() {
    let Errors(lines) =
        read(&[("QUEUE_SQS_CLIENT_OPTIONS", r#"{"credentials":"hush"}"#.to_owned())]).unwrap_err();
    assert!(lines[0].contains("QUEUE_SQS_CLIENT_OPTIONS") && !lines[0].contains("hush"), "{lines:?}");
}

#[test]
fn a_queue_url_has_no_place_for_a_password_and_its_error_shows_none() {
    for name in ["QUEUE_SQS_URL", "QUEUE_SQS_DLQ_URL", "QUEUE_SQS_ENDPOINT", "QUEUE_SQS_CLIENT_OPTIONS"] {
        for url in [
            "https://u:hush@h/1/q.fifo",
            "https://hush@h/1/q.fifo",
            "https://h/1/q.fifo?token=hush",
            "u:hush@h",
        ] {
            let value = match name {
                "QUEUE_SQS_CLIENT_OPTIONS" => serde_json::json!({ "endpoint": url }).to_string(),
                _ => url.to_owned(),
            };
            let Errors(lines) = read(&[(name, value)]).unwrap_err();
            assert_eq!(blamed(&lines[0]), name);
            assert!(!lines[0].contains("hush"), "{lines:?}");
        }
    }
}
