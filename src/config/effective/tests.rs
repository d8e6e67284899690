use super::*;

#[test]
fn a_value_in_force_is_shown_with_its_origin_and_no_secret_is() {
    let environment = [
        ("QUEUE_SQS_URL", "\"https://sqs.eu-west-1.amazonaws.com/1/q.fifo\""),
        ("SOKETI_LOG_LEVEL", "debug"),
        ("LOG_LEVEL", " "),
        ("DEFAULT_APP_SECRET", "hush"),
        ("DEFAULT_APP_WEBHOOKS", r#"[{"url":"http://h/hush"}]"#),
        ("SOKETI_DB_MYSQL_PASSWORD", "hush"),
        ("WEBHOOKS_PROXY_URL", "u:hush@h:1"),
        ("QUEUE_SQS_ENDPOINT", "http://u:hush@h:1"),
        ("DB_MYSQL_HOST", "u:hush@h"),
        ("APPS", "[{hush"),
        ("METRICS_HOST", "a\nb"),
    ];
    let shown = effective(environment.map(|(name, value)| (name.to_owned(), value.to_owned())), None);
    assert_eq!(shown.len(), VARIABLES.len());
    let of = |name| shown.iter().find(|shown| shown.name == name).unwrap();
    assert_eq!(of("QUEUE_SQS_URL").value, "https://sqs.eu-west-1.amazonaws.com/1/q.fifo");
    assert_eq!((of("LOG_LEVEL").value.as_str(), of("LOG_LEVEL").origin), ("debug", Origin::Soketi));
    assert_eq!((of("METRICS_PORT").value.as_str(), of("METRICS_PORT").origin), ("9602", Origin::Default));
    assert_eq!(of("DB_POSTGRES_PASSWORD").value, "password", "a default is no secret");
    for shown in &shown {
        assert!(!shown.value.contains("hush") && !shown.value.contains('\n'), "{shown:?}");
    }
}

#[test]
fn what_is_in_force_by_other_variables_is_shown_with_whose_it_is() {
    let of = |environment: &[(&str, &str)], name: &str| {
        let url = ("QUEUE_SQS_URL", "https://sqs.eu-west-1.amazonaws.com/1/q.fifo");
        let environment: Vec<_> = [url]
            .iter()
            .chain(environment)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let config = Config::from_env(environment.clone()).unwrap();
        let shown = effective(environment, Some(&config));
        let shown = shown.into_iter().find(|shown| shown.name == name).unwrap();
        (shown.value, shown.note.unwrap_or_default())
    };
    let pair = |value: &str, note: &str| (value.to_owned(), note.to_owned());
    assert_eq!(of(&[], "QUEUE_SQS_REGION"), pair("eu-west-1", "of QUEUE_SQS_URL"));
    let other = [("QUEUE_SQS_REGION", "us-east-1")];
    let said = pair("eu-west-1", "us-east-1 is not in force beside QUEUE_SQS_URL");
    assert_eq!(of(&other, "QUEUE_SQS_REGION"), said);
    let options = [("QUEUE_SQS_CLIENT_OPTIONS", r#"{"endpoint":"http://127.0.0.1:9324"}"#)];
    let said = pair("http://127.0.0.1:9324", "of QUEUE_SQS_CLIENT_OPTIONS");
    assert_eq!(of(&options, "QUEUE_SQS_ENDPOINT"), said);
    let local = [("QUEUE_SQS_ENDPOINT", "http://127.0.0.1:9324")];
    assert_eq!(of(&local, "QUEUE_SQS_ENDPOINT"), pair("http://127.0.0.1:9324", ""));
    assert_eq!(of(&[], "WEBHOOKS_ALLOWED_FUNCTIONS"), pair("*", ""));
    assert_eq!(of(&[], "QUEUE_SQS_VISIBILITY_TIMEOUT"), pair("", "the queue's own"));
    assert_eq!(of(&[], "DEFAULT_APP_ID").1, "");
    let apps = [("APPS", r#"[{"id":"app-id","key":"app-key","secret":"a-secret-of-its-own"}]"#)];
    assert_eq!(of(&apps, "DEFAULT_APP_ID").1, "no effect: a listed app stands in its place");
}
