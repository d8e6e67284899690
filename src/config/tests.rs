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

#[test]
fn endpoints_of_the_client_options_win_and_ssl_and_variants_of_aws_follow_them() {
    let queue = |options: &str, more: &[(&str, &str)]| {
        let mut variables = vec![("QUEUE_SQS_CLIENT_OPTIONS", options)];
        variables.extend(more);
        read(&variables).unwrap()
    };
    let both = queue(
        r#"{"region":"eu-west-3","endpoint":"h:1"}"#,
        &[("QUEUE_SQS_REGION", "us-west-2"), ("QUEUE_SQS_ENDPOINT", "http://other:1")],
    );
    assert_eq!(
        (both.queue.region.as_str(), both.queue.endpoint.as_deref()),
        ("eu-west-3", Some("https://h:1"))
    );
    let plain = queue(r#"{"sslEnabled":false}"#, &[("QUEUE_SQS_ENDPOINT", "https://h:1")]);
    assert_eq!(plain.queue.endpoint.as_deref(), Some("http://h:1"));
    let aws = queue(r#"{"sslEnabled":false}"#, &[]);
    assert_eq!(aws.queue.endpoint.as_deref(), Some("http://sqs.eu-west-1.amazonaws.com"));
    let sdks = queue(r#"{"sslEnabled":false}"#, &[("AWS_ENDPOINT_URL", "https://h:1")]);
    assert_eq!(sdks.queue.endpoint, None, "the SDK's own variables have their say");
    let fips = queue(r#"{"useFipsEndpoint":true,"useDualstackEndpoint":true}"#, &[]);
    assert!(fips.queue.client.sdk.fips && fips.queue.client.sdk.dual_stack && fips.warnings.is_empty());
    let beside = queue(r#"{"useFipsEndpoint":true,"endpoint":"http://h:1"}"#, &[]);
    assert!(
        !beside.queue.client.sdk.fips
            && beside.warnings.iter().any(|w| w.contains("have no effect beside an endpoint"))
    );
}

#[test]
fn how_deliveries_go_out_is_checked() {
    let http = read(&[]).unwrap().http;
    assert_eq!((http.max_per_host, http.patience), (Some(1000), Duration::from_millis(500)));
    assert_eq!(read(&[("WEBHOOKS_MAX_PER_HOST", "0")]).unwrap().http.max_per_host, None);
    let networks =
        read(&[("WEBHOOKS_ALLOWED_NETWORKS", " 10.0.0.0/8, fd12::1\n127.0.0.1 ,")]).unwrap().http.guard;
    for (address, allowed) in
        [("10.9.9.9", true), ("fd12::1", true), ("127.0.0.1", true), ("127.0.0.2", false)]
    {
        assert_eq!(networks.judge(address.parse().unwrap()).is_ok(), allowed, "{address}");
    }
    let text = errors(&[
        ("WEBHOOKS_ALLOWED_NETWORKS", "10.0.0.0/8,inside"),
        ("WEBHOOKS_PROXY_URL", "proxy:3128"),
        ("WEBHOOKS_CA_FILE", "/nonexistent/ca.pem"),
        ("WEBHOOKS_MAX_PER_HOST", "-1"),
    ]);
    for part in [
        "WEBHOOKS_ALLOWED_NETWORKS: \"inside\" is no network",
        "WEBHOOKS_PROXY_URL: is not of the form",
        "WEBHOOKS_CA_FILE: /nonexistent/ca.pem cannot be read",
        "WEBHOOKS_MAX_PER_HOST: \"-1\" is not a whole number",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let never = errors(&[("WEBHOOKS_ALLOWED_NETWORKS", "169.254.169.254")]);
    assert!(
        never.contains("169.254.169.254/32 is link-local") && never.contains("can never be allowed"),
        "{never}"
    );
    let empty = tempfile::NamedTempFile::new().unwrap();
    let no_certificate = errors(&[("WEBHOOKS_CA_FILE", empty.path().to_str().unwrap())]);
    assert!(no_certificate.contains("holds no certificate in PEM"), "{no_certificate}");
}
