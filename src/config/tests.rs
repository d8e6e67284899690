use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Config, Errors> {
    let base = [("QUEUE_SQS_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs.fifo")];
    Config::from_env(
        base.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

fn errors(variables: &[(&str, &str)]) -> String {
    read(variables).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_those_of_the_example_file() {
    let example = include_str!("../../.env.example");
    let mut shown = Vec::new();
    for line in example.lines().filter(|line| !line.trim().is_empty()) {
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some((name, value)) = line.split_once('=')
            && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        {
            shown.push((name, value));
        }
    }
    assert_eq!(shown, VARIABLES);
    let explicit: Vec<_> = shown.into_iter().filter(|(name, _)| *name != "QUEUE_SQS_URL").collect();
    let (by_default, by_example) = (read(&[]).unwrap(), read(&explicit).unwrap());
    assert_eq!(
        format!("{by_default:?}").replace("well_known: true", ""),
        format!("{by_example:?}").replace("well_known: true", "")
    );
}

#[test]
fn every_error_is_reported_at_once_and_names_its_variable() {
    let text = errors(&[
        ("QUEUE_SQS_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs"),
        ("QUEUE_SQS_BATCH_SIZE", "11"),
        ("WEBHOOKS_TIMEOUT_MS", "soon"),
        ("APPS_FILE", "/nonexistent/apps.json"),
        ("METRICS_PORT", "99999"),
        ("DEFAULT_APP_WEBHOOKS", "{hush"),
        ("LOG_FORMAT", "xml"),
        ("QUEUE_DRIVER", "redis"),
    ]);
    for name in [
        "QUEUE_SQS_URL",
        ".fifo",
        "QUEUE_SQS_BATCH_SIZE",
        "WEBHOOKS_TIMEOUT_MS",
        "APPS_FILE",
        "METRICS_PORT",
        "DEFAULT_APP_WEBHOOKS",
        "LOG_FORMAT",
        "QUEUE_DRIVER",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn single_errors_say_what_to_do() {
    assert!(errors(&[("QUEUE_SQS_URL", "not a url")]).contains("no URL"));
    assert!(Config::from_env([]).unwrap_err().to_string().contains("QUEUE_SQS_URL: is not set"));
    let visibility = errors(&[("QUEUE_SQS_VISIBILITY_TIMEOUT", "4")]);
    assert!(
        visibility.contains("WEBHOOKS_TIMEOUT_MS") && visibility.contains("QUEUE_SQS_VISIBILITY_TIMEOUT")
    );
    assert!(
        errors(&[("DEFAULT_APP_WEBHOOKS", r#"[{"event_types":[]}]"#)])
            .contains("neither url nor lambda_function")
    );
    assert!(errors(&[("QUEUE_SQS_CLIENT_OPTIONS", "{")]).contains("QUEUE_SQS_CLIENT_OPTIONS"));
}

#[test]
fn soketis_prefix_is_read_and_the_plain_name_wins() {
    let config = read(&[
        ("SOKETI_DEFAULT_APP_ID", "one"),
        ("SOKETI_DEFAULT_APP_KEY", "two"),
        ("DEFAULT_APP_KEY", "three"),
        ("SOKETI_QUEUE_SQS_BATCH_SIZE", "5"),
    ])
    .unwrap();
    assert_eq!((config.apps.default.id.as_str(), config.apps.default.key.as_str()), ("one", "three"));
    assert_eq!(config.queue.batch, 5);
    assert!(config.apps.well_known, "the secret is still soketi's");
}

#[test]
fn region_and_endpoint_come_from_the_url_where_they_are_not_set() {
    let config = read(&[]).unwrap();
    assert_eq!((config.queue.region.as_str(), config.queue.endpoint), ("eu-west-1", None));
    let local = read(&[("QUEUE_SQS_URL", "http://127.0.0.1:9324/000000000000/jobs.fifo")]).unwrap();
    assert_eq!(local.queue.region, "us-east-1");
    assert_eq!(local.queue.endpoint.as_deref(), Some("http://127.0.0.1:9324"));
    let options = read(&[("QUEUE_SQS_CLIENT_OPTIONS",
        r#"{"region":"eu-west-3","endpoint":"http://h:1","credentials":{"accessKeyId":"a","secretAccessKey":"hush"},"systemClockOffset":3}"#)]).unwrap();
    assert_eq!(
        (options.queue.region.as_str(), options.queue.endpoint.as_deref()),
        ("eu-west-3", Some("http://h:1"))
    );
    assert!(options.warnings.iter().any(|warning| warning.contains("systemClockOffset")));
    assert!(!format!("{options:?}").contains("hush"));
}
