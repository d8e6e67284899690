//! What an operator sees of bad values: each with its variable, all at once, no secret among them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Variables with a value that cannot be. What is absent here takes any text.
const BAD: [(&str, &str); 40] = [
    ("QUEUE_DRIVER", "redis"),
    ("QUEUE_SQS_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs"),
    ("QUEUE_SQS_REGION", "eu west\n1"),
    ("QUEUE_SQS_ENDPOINT", "ftp://h"),
    ("QUEUE_SQS_CLIENT_OPTIONS", "[]"),
    ("QUEUE_SQS_BATCH_SIZE", "0"),
    ("QUEUE_SQS_POLLING_WAIT_TIME_MS", "-1"),
    ("QUEUE_SQS_WAIT_TIME_SECONDS", "21"),
    ("QUEUE_SQS_VISIBILITY_TIMEOUT", "43201"),
    ("QUEUE_SQS_DLQ_URL", "dead.fifo"),
    ("QUEUE_SQS_ALLOW_LOW_RECEIVE_COUNT", "perhaps"),
    ("QUEUE_SQS_MAX_IN_FLIGHT", "18446744073709551616"),
    ("QUEUE_SQS_MAX_IN_FLIGHT_BYTES", "1"),
    ("WEBHOOKS_TIMEOUT_MS", "4s"),
    ("WEBHOOKS_RETRY_WINDOW_SECONDS", "1e3"),
    ("WEBHOOKS_RETRY_BASE_MS", "0"),
    ("WEBHOOKS_RETRY_MAX_MS", "999"),
    ("WEBHOOKS_ALLOWED_NETWORKS", "169.254.0.0/16"),
    ("WEBHOOKS_PROXY_URL", "u:hush@h"),
    ("WEBHOOKS_CA_FILE", "/nonexistent\n.pem"),
    ("WEBHOOKS_MAX_PER_HOST", "100001"),
    ("WEBHOOKS_MAX_INVOCATIONS", "0"),
    ("WEBHOOKS_STANDARD_HEADERS", "perhaps"),
    ("WEBHOOKS_COALESCE", "sometimes"),
    ("WEBHOOKS_COALESCE_MAX_EVENTS", "0"),
    ("WEBHOOKS_COALESCE_MAX_BYTES", "256k"),
    ("WEBHOOKS_ALLOWED_FUNCTIONS", "orders:live"),
    ("WEBHOOKS_ALLOWED_REGIONS", "eu-west-1.evil.test"),
    ("LAMBDA_ENDPOINT", "nonsense"),
    ("APP_MANAGER_DRIVER", "mongodb"),
    ("APP_MANAGER_CACHE_ENABLED", "perhaps"),
    ("APP_MANAGER_CACHE_TTL", "-2"),
    ("DEFAULT_APP_WEBHOOKS", "{}"),
    ("APPS_FILE", "/nonexistent\n/apps.json"),
    ("METRICS_HOST", "localhost"),
    ("METRICS_PORT", "65536"),
    ("METRICS_EMF", "sometimes"),
    ("LOG_FORMAT", "xml"),
    ("LOG_LEVEL", "warning"),
    ("SHUTDOWN_GRACE_SECONDS", "4"),
];

fn read(variables: &[(&str, String)]) -> Result<Config, Errors> {
    let base = [("QUEUE_SQS_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs.fifo".to_owned())];
    Config::from_env(base.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), value.clone())))
}

/// Bad values of the variables that a driver alone looks at.
#[cfg(all(feature = "dynamodb", feature = "postgres", feature = "mysql"))]
const BAD_FOR: [(&str, &str, &str); 11] = [
    ("dynamodb", "APP_MANAGER_DYNAMODB_REGION", "eu_west\n"),
    ("dynamodb", "APP_MANAGER_DYNAMODB_ENDPOINT", "u:hush@h"),
    ("postgres", "APP_MANAGER_POSTGRES_TABLE", "a..b"),
    ("postgres", "DB_POSTGRES_PORT", "0"),
    ("postgres", "DB_POSTGRES_TLS", "maybe"),
    ("postgres", "DB_POSTGRES_CA_FILE", "/nonexistent\n.pem"),
    ("postgres", "DB_POOLING_ENABLED", "2"),
    ("mysql", "APP_MANAGER_MYSQL_TABLE", "a.b.c.d"),
    ("mysql", "DB_MYSQL_PORT", "3306.0"),
    ("mysql", "DB_MYSQL_TLS", "on\noff"),
    ("mysql", "DB_MYSQL_CA_FILE", "/nonexistent.pem"),
];

/// The variable that a line of the errors begins with.
fn blamed(line: &str) -> &str {
    let end = line.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(line.len());
    let name = &line[..end];
    assert!(VARIABLES.iter().any(|(known, _)| *known == name), "{line:?} begins with no variable");
    name
}

#[test]
fn each_bad_value_is_told_alone_with_its_variable() {
    for (name, value) in BAD {
        let Errors(lines) = read(&[(name, value.to_owned())]).unwrap_err();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert_eq!(blamed(&lines[0]), name);
        assert!(!lines[0].contains('\n'), "{:?}", lines[0]);
    }
}

#[test]
#[cfg(all(feature = "dynamodb", feature = "postgres", feature = "mysql"))]
fn each_bad_value_of_a_driver_is_told_with_its_variable() {
    for (driver, name, value) in BAD_FOR {
        let Errors(lines) =
            read(&[("APP_MANAGER_DRIVER", driver.to_owned()), (name, value.to_owned())]).unwrap_err();
        assert_eq!(lines.iter().map(|line| blamed(line)).collect::<Vec<_>>(), [name]);
        assert!(!lines[0].contains('\n'), "{:?}", lines[0]);
    }
}

#[test]
fn all_bad_values_are_told_at_once() {
    let all: Vec<_> = BAD.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let Errors(lines) = read(&all).unwrap_err();
    let told: BTreeSet<&str> = lines.iter().map(|line| blamed(line)).collect();
    assert_eq!(told, BAD.iter().map(|(name, _)| *name).collect());
}

#[test]
fn an_unreadable_file_hides_no_other_error() {
    let Errors(lines) = read(&[
        ("APPS_FILE", "/nonexistent/apps.json".to_owned()),
        ("DEFAULT_APP_WEBHOOKS", "[{}]".to_owned()),
        ("METRICS_PORT", "no".to_owned()),
    ])
    .unwrap_err();
    let told: BTreeSet<&str> = lines.iter().map(|line| blamed(line)).collect();
    assert_eq!(told, BTreeSet::from(["APPS_FILE", "DEFAULT_APP_WEBHOOKS", "METRICS_PORT"]), "{lines:#?}");
}

#[test]
fn a_region_is_checked_wherever_it_is_told() {
    for (name, value) in [
        ("QUEUE_SQS_REGION", "h/"),
        ("QUEUE_SQS_CLIENT_OPTIONS", r#"{"region":"a\nb"}"#),
        ("AWS_REGION", "Ü"),
    ] {
        let url = ("QUEUE_SQS_URL", "http://127.0.0.1/0/q.fifo".to_owned());
        let Errors(lines) = read(&[url, (name, value.to_owned())]).unwrap_err();
        assert_eq!(lines.iter().map(|line| blamed(line)).collect::<Vec<_>>(), [name]);
    }
}

#[test]
fn a_warning_is_one_line() {
    let options = r#"{"a\nb":1,"c\r":2}"#;
    let config = read(&[("QUEUE_SQS_CLIENT_OPTIONS", options.to_owned())]).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(!config.warnings[0].contains(['\n', '\r']), "{:?}", config.warnings);
}

#[test]
fn credentials_that_are_no_object_are_not_passed_over() {
    let Errors(lines) =
        read(&[("QUEUE_SQS_CLIENT_OPTIONS", r#"{"credentials":"hush"}"#.to_owned())]).unwrap_err();
    assert!(lines[0].contains("QUEUE_SQS_CLIENT_OPTIONS") && !lines[0].contains("hush"), "{lines:?}");
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

fn matching(regex: &str) -> impl Strategy<Value = String> + use<> {
    prop::string::string_regex(regex).unwrap()
}

/// Values that nearly fit, with `hush` wherever a secret may stand.
fn secret_values() -> impl Strategy<Value = (&'static str, String)> {
    let url = "(https?://|HTTP:/|)(u:hush@|hush@|)(h|\\[::1\\]|h h|)(:1|:x|)/1/q(\\.fifo|)(\\?t=hush|#hush|)";
    let word = "(\"|\\{|\\[|\\\\|)hush(\"|\\}|,|)";
    let webhooks = format!(
        r#"\[\{{"url":("{url}"|hush|1|null),"headers":(\{{"Authorization":("hush"|1)\}}|"hush"),"filter":(\{{\}}|"hush")(\}}\]|\}}|,)"#
    );
    let options = format!(
        r#"\{{"credentials":(\{{"accessKeyId":("hush"|1)(,"secretAccessKey":("hush"|7)|)\}}|"hush"),"sessionToken":("hush"|\[\]),"endpoint":"{url}"(\}}|)"#
    );
    prop_oneof![
        (Just("QUEUE_SQS_URL"), url),
        (Just("QUEUE_SQS_DLQ_URL"), url),
        (Just("QUEUE_SQS_ENDPOINT"), url),
        (Just("DEFAULT_APP_SECRET"), word),
        (Just("DB_POSTGRES_PASSWORD"), word),
        (Just("DB_MYSQL_PASSWORD"), word),
        (Just("APP_MANAGER_DYNAMODB_ENDPOINT"), url),
        (Just("LAMBDA_ENDPOINT"), url),
        (Just("WEBHOOKS_PROXY_URL"), url),
        (Just("APP_MANAGER_DRIVER"), "array|dynamodb|postgres|mysql"),
        (Just("DEFAULT_APP_WEBHOOKS"), word),
        (Just("DEFAULT_APP_WEBHOOKS"), matching(&webhooks)),
        (Just("QUEUE_SQS_CLIENT_OPTIONS"), word),
        (Just("QUEUE_SQS_CLIENT_OPTIONS"), matching(&options)),
        (Just("APPS_FILE"), Just(String::new())),
        (prop::sample::select(VARIABLES).prop_map(|(name, _)| name), "[0-9a-z.:/\\[{}\"]{0,8}"),
    ]
    .prop_filter("no file of this machine is read", |(name, value)| {
        !name.ends_with("_FILE") || value.is_empty()
    })
}

proptest! {
    #[test]
    fn no_error_and_no_warning_shows_a_secret(variables in prop::collection::vec(secret_values(), 0..6)) {
        let told = match read(&variables) {
            Ok(config) => config.warnings,
            Err(Errors(lines)) => {
                for line in &lines {
                    blamed(line);
                }
                lines
            }
        };
        prop_assert!(!told.iter().any(|line| line.contains("hush")), "{told:#?}");
    }

    #[test]
    fn the_visibility_timeout_is_refused_that_does_not_exceed_the_timeout_and_the_margins(
        timeout in 1_u64..900_000, visibility in 1_u64..43_200,
    ) {
        let variables =
            [("WEBHOOKS_TIMEOUT_MS", timeout.to_string()), ("QUEUE_SQS_VISIBILITY_TIMEOUT", visibility.to_string())];
        prop_assert_eq!(read(&variables).is_ok(), timeout + 750 < visibility * 1000);
    }
}
