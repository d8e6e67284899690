mod bad_values;
mod certificates;
mod unicode;

use secrecy::ExposeSecret;

use super::*;
use crate::apps::cache::CacheTtl;

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
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        {
            shown.push((name, value));
        }
    }
    assert_eq!(shown, VARIABLES);
    let given = |driver| {
        let but = ["QUEUE_SQS_URL", "APP_MANAGER_DRIVER", "DEFAULT_APP_WEBHOOKS"];
        let shown = shown.iter().filter(move |(name, _)| !but.contains(name));
        shown.copied().chain([("APP_MANAGER_DRIVER", driver)]).collect::<Vec<_>>()
    };
    for driver in ["array", "dynamodb", "postgres", "mysql"] {
        if !crate::config::apps::LEFT_OUT.contains(&driver) {
            let (by_default, by_example) = (read(&[("APP_MANAGER_DRIVER", driver)]), read(&given(driver)));
            assert_eq!(
                format!("{:?}", by_default.unwrap()).replace("well_known: true", ""),
                format!("{:?}", by_example.unwrap()).replace("well_known: true", "")
            );
        }
    }
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
fn quotes_around_a_value_do_not_count_as_with_soketi() {
    let config = read(&[
        ("SOKETI_DEFAULT_APP_KEY", "\"key\""),
        ("DEFAULT_APP_SECRET", r#" "a \"secret\"" "#),
        ("DEFAULT_APP_ID", "\"no JSON"),
        ("DEFAULT_APP_WEBHOOKS", r#""[{\"url\":\"http://h/\"}]""#),
        ("QUEUE_SQS_BATCH_SIZE", "\"5\""),
        ("QUEUE_SQS_WAIT_TIME_SECONDS", "\"\""),
    ])
    .unwrap();
    let app = &config.apps.default;
    assert_eq!((app.key.as_str(), app.secret.expose_secret()), ("key", "a \"secret\""));
    assert_eq!((app.id.as_str(), app.webhooks.len()), ("\"no JSON", 1));
    assert_eq!((config.queue.batch, config.queue.wait.as_secs()), (5, 10));
}

#[test]
fn jobs_go_out_together_only_where_that_is_asked_for() {
    let limits = [("WEBHOOKS_COALESCE_MAX_EVENTS", "7"), ("WEBHOOKS_COALESCE_MAX_BYTES", "1000")];
    assert_eq!(read(&limits).unwrap().coalesce, None);
    let on = |more: &[_]| read(&[&[("WEBHOOKS_COALESCE", "true")], more].concat()).unwrap().coalesce;
    assert_eq!(on(&limits), Some(Limits { events: 7, bytes: 1000 }));
    assert_eq!(on(&[]), Some(Limits { events: 100, bytes: 262_144 }));
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
fn a_default_app_that_nobody_asked_for_stands_aside_for_a_listed_one() {
    let listed = r#"[{"id":"app-id","key":"app-key","secret":"listed","webhooks":[{"url":"http://h/"}]}]"#;
    let known = |variables: &[(&str, &str)]| {
        let config = read(variables).unwrap();
        let known = config.apps.known();
        let remarks: String = known.remarks().into_iter().map(|remark| remark.text).collect();
        let secrets = known.apps.iter().map(|app| app.secret.expose_secret().to_owned());
        (secrets.collect::<Vec<_>>(), config.apps.well_known, remarks)
    };
    let (secrets, well_known, remarks) = known(&[("APPS", listed)]);
    assert_eq!((secrets, well_known, remarks.contains("before it")), (vec!["listed".into()], false, false));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), listed.replace("app-key", "another")).unwrap();
    let (secrets, ..) = known(&[("APPS_FILE", file.path().to_str().unwrap())]);
    assert_eq!(secrets, ["listed"], "it has the id");
    let (secrets, _, remarks) = known(&[("APPS", listed), ("SOKETI_DEFAULT_APP_SECRET", "own")]);
    assert_eq!(secrets, ["own", "listed"]);
    assert!(remarks.contains("another app before it has its key") && remarks.contains("DEFAULT_APP_KEY"));
    let other = ("APPS", r#"[{"id":"a","key":"k","secret":"listed"}]"#);
    let (secrets, well_known, _) = known(&[other]);
    assert_eq!(
        (secrets, well_known),
        (vec!["app-secret".into(), "listed".into()], false),
        "soketi has it too"
    );
    let (_, well_known, _) = known(&[other, ("DEFAULT_APP_WEBHOOKS", r#"[{"url":"http://h/"}]"#)]);
    assert!(well_known, "it is asked for, and everyone knows its secret");
    assert!(known(&[("APPS", "[]")]).1);
}

#[test]
fn what_webhooks_ask_for_beyond_the_workers_limits_is_told() {
    let webhooks = r#"[{"url":"http://h/","request_timeout_ms":4000,"retry":{"max_elapsed_time_ms":300000}},
        {"url":"http://i/","request_timeout_ms":30000,"retry":{"max_elapsed_time_ms":86400000}}]"#;
    let warnings = read(&[("DEFAULT_APP_WEBHOOKS", webhooks)]).unwrap().warnings;
    let said: Vec<_> = warnings.iter().filter(|warning| warning.contains("is cut to")).collect();
    assert_eq!(said.len(), 2, "{warnings:?}");
    assert!(
        said[0].contains("WEBHOOKS_TIMEOUT_MS") && said[0].contains("webhooks[1].request_timeout_ms: 30000")
    );
    assert!(said[1].contains("WEBHOOKS_RETRY_WINDOW_SECONDS") && said[1].contains("max_elapsed_time_ms"));
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
fn requests_are_signed_for_the_region_of_the_endpoint_that_is_dialled() {
    let reached = |url: &str, more: &[(&str, &str)]| {
        let config = read(&[&[("QUEUE_SQS_URL", url)], more].concat()).unwrap();
        (config.queue.region, config.queue.endpoint)
    };
    let vpce = "https://vpce-0abc-1234.sqs.eu-west-1.vpce.amazonaws.com";
    let ireland = ("AWS_REGION", "eu-west-1");
    for (url, more, region, endpoint) in [
        ("https://queue.amazonaws.com/1/w.fifo", &[ireland][..], "us-east-1", None),
        ("https://sqs.eu-west-1.api.aws/1/w.fifo", &[], "eu-west-1", Some("https://sqs.eu-west-1.api.aws")),
        (
            "https://sqs-fips.us-west-2.amazonaws.com/1/w.fifo",
            &[ireland, ("QUEUE_SQS_REGION", "eu-west-3")],
            "us-west-2",
            Some("https://sqs-fips.us-west-2.amazonaws.com"),
        ),
        (&format!("{vpce}/1/w.fifo"), &[], "eu-west-1", Some(vpce)),
        (
            "https://sqs.us-east-1.amazonaws.com/1/w.fifo",
            &[("QUEUE_SQS_ENDPOINT", vpce)],
            "eu-west-1",
            Some(vpce),
        ),
        ("https://sqs.us-east-1.amazonaws.com/1/w.fifo", &[("AWS_ENDPOINT_URL", vpce)], "eu-west-1", None),
        (
            "https://sqs.eu-west-2.amazonaws.com/1/w.fifo",
            &[("QUEUE_SQS_REGION", "eu-west-3")],
            "eu-west-2",
            None,
        ),
        (
            "https://sqs.eu-west-2.amazonaws.com/1/w.fifo",
            &[("QUEUE_SQS_REGION", "eu-west-3"), ("QUEUE_SQS_ENDPOINT", "http://h:1")],
            "eu-west-3",
            Some("http://h:1"),
        ),
        ("http://h:1/1/w.fifo", &[("AWS_DEFAULT_REGION", "eu-west-3")], "eu-west-3", Some("http://h:1")),
        (
            "http://h:1/1/w.fifo",
            &[("AWS_DEFAULT_REGION", "eu-west-3"), ireland],
            "eu-west-1",
            Some("http://h:1"),
        ),
        ("http://h:1/1/w.fifo", &[("QUEUE_SQS_REGION", "elasticmq")], "elasticmq", Some("http://h:1")),
        (
            "http://sqs.eu-west-2.localhost.localstack.cloud:4566/1/w.fifo",
            &[ireland],
            "eu-west-2",
            Some("http://sqs.eu-west-2.localhost.localstack.cloud:4566"),
        ),
    ] {
        assert_eq!(reached(url, more), (region.to_owned(), endpoint.map(str::to_owned)), "{url} {more:?}");
    }
}

#[test]
fn an_endpoint_of_the_sdks_counts_without_what_is_around_it_and_is_refused_if_it_is_none() {
    for wrapped in ["http://h:1\n", "\"http://h:1\"", " http://h:1"] {
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"] {
            let config = read(&[("QUEUE_SQS_URL", "http://h:1/1/w.fifo"), (name, wrapped)]).unwrap();
            assert_eq!(config.queue.endpoint.as_deref(), Some("http://h:1"), "{name}={wrapped:?}");
        }
    }
    let Errors(errors) = read(&[("AWS_ENDPOINT_URL", "localhost:4566")]).unwrap_err();
    assert!(errors.iter().any(|error| error.starts_with("AWS_ENDPOINT_URL: ")), "{errors:?}");
}

#[test]
fn quotes_around_credentials_do_not_count() {
    assert!(read(&[("AWS_ACCESS_KEY_ID", "\"AKIAX\""), ("AWS_SECRET_ACCESS_KEY", "\"s\"\n")]).is_ok());
}

#[test]
fn credentials_are_trimmed_and_refused_by_name_if_they_cannot_be_sent() {
    let options = r#"{"accessKeyId":"AK\n","secretAccessKey":" s ","sessionToken":"t\r\n"}"#;
    let config = read(&[("AWS_ACCESS_KEY_ID", "AKIAX\n"), ("QUEUE_SQS_CLIENT_OPTIONS", options)]).unwrap();
    let credentials = config.queue.client.sdk.credentials.unwrap();
    assert_eq!(
        (
            credentials.id.as_str(),
            credentials.secret.expose_secret(),
            credentials.session_token.as_ref().map(ExposeSecret::expose_secret)
        ),
        ("AK", "s", Some("t"))
    );
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "hu\nsh"),
        ("AWS_SECRET_ACCESS_KEY", "hu\u{1}sh"),
        ("AWS_SESSION_TOKEN", "hü sh"),
        ("QUEUE_SQS_CLIENT_OPTIONS", r#"{"accessKeyId":"hu\nsh","secretAccessKey":"s"}"#),
    ] {
        let text = errors(&[(name, value)]);
        assert!(text.starts_with(name) && !text.contains("sh "), "{text}");
    }
}

#[test]
fn what_is_no_region_is_refused_wherever_it_stands() {
    for variables in [
        &[("QUEUE_SQS_URL", "https://sqs.eu-west-1a.amazonaws.com/1/w.fifo")][..],
        &[("QUEUE_SQS_REGION", "eu-west-1a")],
        &[("QUEUE_SQS_URL", "http://h:1/1/w.fifo"), ("AWS_DEFAULT_REGION", "eu-west-1a")],
        &[("QUEUE_SQS_CLIENT_OPTIONS", r#"{"region":"eu-west-1a"}"#)],
        &[("QUEUE_SQS_ENDPOINT", "https://sqs.eu-west-1a.amazonaws.com")],
    ] {
        let text = errors(variables);
        assert!(text.contains(variables.last().unwrap().0) && text.contains("region is eu-west-1"), "{text}");
    }
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
mod databases {
    use secrecy::ExposeSecret;

    use super::{Source, errors, read};
    use crate::apps::settings::{Sql, Tls};

    fn sql(variables: &[(&str, &str)]) -> Sql {
        match read(variables).unwrap().apps.source {
            Source::Postgres(settings) | Source::MySql(settings) => settings,
            Source::Array | Source::DynamoDb(_) => panic!("no SQL"),
        }
    }

    #[test]
    fn soketis_database_variables_are_read_with_its_defaults() {
        for (driver, port, username) in [("postgres", 5432, "postgres"), ("mysql", 3306, "root")] {
            let settings = sql(&[("SOKETI_APP_MANAGER_DRIVER", driver)]);
            assert_eq!((settings.host.as_str(), settings.port), ("127.0.0.1", port));
            assert_eq!((settings.username.as_str(), settings.database.as_str()), (username, "main"));
            assert_eq!(settings.password.expose_secret(), "password");
            assert_eq!((settings.table.quoted('"').as_str(), settings.connections), ("\"apps\"", (0, 10)));
            assert_eq!(settings.tls, Tls::Prefer);
        }
        let settings = sql(&[
            ("APP_MANAGER_DRIVER", "mysql"),
            ("DB_MYSQL_HOST", "db"),
            ("DB_MYSQL_PORT", "1"),
            ("DB_MYSQL_USERNAME", "u"),
            ("DB_MYSQL_PASSWORD", "hush"),
            ("DB_MYSQL_DATABASE", "d"),
            ("APP_MANAGER_MYSQL_TABLE", "s.t"),
            ("APP_MANAGER_MYSQL_VERSION", "5.7"),
            ("DB_POOLING_ENABLED", "1"),
            ("DB_POOLING_MIN", "2"),
            ("DB_POOLING_MAX", "3"),
            ("DB_MYSQL_TLS", "off"),
        ]);
        assert_eq!((settings.host.as_str(), settings.port), ("db", 1));
        assert_eq!((settings.username.as_str(), settings.database.as_str()), ("u", "d"));
        assert_eq!((settings.table.quoted('`').as_str(), settings.connections), ("`s`.`t`", (2, 3)));
        assert_eq!(settings.tls, Tls::Off);
        assert!(!format!("{settings:?}").contains("hush"));
        let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let verified = sql(&[("APP_MANAGER_DRIVER", "postgres"), ("DB_POSTGRES_CA_FILE", authority)]);
        assert_eq!(verified.tls, Tls::Verify(Some(authority.into())));
    }

    #[test]
    fn wrong_database_variables_are_named() {
        let text = errors(&[
            ("APP_MANAGER_DRIVER", "postgres"),
            ("DB_POSTGRES_PORT", "0"),
            ("DB_POSTGRES_TLS", "maybe"),
            ("DB_POSTGRES_CA_FILE", "/nonexistent.pem"),
            ("APP_MANAGER_POSTGRES_TABLE", "a..b"),
            ("APP_MANAGER_CACHE_ENABLED", "perhaps"),
            ("DB_POOLING_ENABLED", "true"),
            ("DB_POOLING_MIN", "8"),
        ]);
        for name in [
            "DB_POSTGRES_PORT",
            "DB_POSTGRES_TLS",
            "DB_POSTGRES_CA_FILE",
            "APP_MANAGER_POSTGRES_TABLE",
            "APP_MANAGER_CACHE_ENABLED",
            "DB_POOLING_MIN: 8 is not a whole number from 0 to 7",
        ] {
            assert!(text.contains(name), "{name} in {text}");
        }
        assert!(errors(&[("APP_MANAGER_DRIVER", "redis")]).contains("APP_MANAGER_DRIVER: \"redis\""));
    }
}

#[test]
#[cfg(feature = "dynamodb")]
fn the_array_is_not_read_for_another_driver() {
    let config = read(&[
        ("APP_MANAGER_DRIVER", "dynamodb"),
        ("APP_MANAGER_DYNAMODB_TABLE", "t"),
        ("APP_MANAGER_DYNAMODB_ENDPOINT", "http://127.0.0.1:8000"),
        ("DEFAULT_APP_WEBHOOKS", "nonsense"),
        ("APPS_FILE", "/nonexistent.json"),
    ])
    .unwrap();
    assert!(!config.apps.well_known);
    assert!(config.warnings.iter().any(|warning| warning.contains("APPS_FILE")));
    let Source::DynamoDb(settings) = config.apps.source else { panic!("DynamoDB") };
    assert_eq!((settings.table.as_str(), settings.region.as_str()), ("t", "us-east-1"));
    assert_eq!(settings.endpoint.as_deref(), Some("http://127.0.0.1:8000"));
    let wrong = [("APP_MANAGER_DRIVER", "dynamodb"), ("APP_MANAGER_DYNAMODB_ENDPOINT", "nonsense")];
    assert!(errors(&wrong).contains("APP_MANAGER_DYNAMODB_ENDPOINT"));
}

#[test]
fn a_driver_may_have_the_name_that_sockudo_gives_it() {
    for name in ["memory", "Memory", "ARRAY", "array"] {
        let config = read(&[("APP_MANAGER_DRIVER", name)]).unwrap();
        assert!(matches!(config.apps.source, Source::Array), "{name}");
    }
    #[cfg(all(feature = "postgres", feature = "mysql", feature = "dynamodb"))]
    for (names, is) in [
        (&["pgsql", "postgresql", "PostgreSQL", "Postgres"][..], "Postgres"),
        (&["mariadb", "MySQL"], "MySql"),
        (&["DynamoDB"], "DynamoDb"),
    ] {
        for name in names {
            let source = read(&[("APP_MANAGER_DRIVER", *name)]).unwrap().apps.source;
            assert!(format!("{source:?}").starts_with(is), "{name}: {source:?}");
        }
    }
    for name in ["scylladb", "SurrealDB"] {
        let told = errors(&[("APP_MANAGER_DRIVER", name)]);
        assert!(told.contains("is not read here") && told.contains("APPS_FILE"), "{told}");
    }
}

#[test]
#[cfg(not(feature = "postgres"))]
fn a_driver_that_was_left_out_is_refused() {
    assert!(errors(&[("APP_MANAGER_DRIVER", "postgres")]).contains("the cargo feature postgres"));
}

#[test]
fn how_long_apps_are_kept_is_as_soketi_means_it_where_it_is_told_and_a_minute_where_not() {
    let minute = CacheTtl::For(Duration::from_secs(60));
    for (enabled, ttl, keep) in [
        ("", "", minute),
        ("", "-1", minute),
        ("", "0", minute),
        ("", "5", CacheTtl::For(Duration::from_secs(5))),
        ("true", "", minute),
        ("1", "-1", CacheTtl::Always),
        ("true", "0", CacheTtl::Always),
        ("TRUE", "5", CacheTtl::For(Duration::from_secs(5))),
        ("false", "5", CacheTtl::Nothing),
    ] {
        let given = [("APP_MANAGER_CACHE_ENABLED", enabled), ("APP_MANAGER_CACHE_TTL", ttl)];
        assert_eq!(read(&given).unwrap().apps.keep, keep, "{enabled:?} {ttl:?}");
    }
}

#[test]
fn lambdas_endpoint_and_the_allowed_functions_are_checked() {
    let config =
        read(&[("WEBHOOKS_ALLOWED_FUNCTIONS", "orders-*"), ("LAMBDA_ENDPOINT", "http://h:1")]).unwrap();
    assert_eq!((config.lambda.endpoint.as_deref(), config.lambda.concurrency), (Some("http://h:1"), 1000));
    assert_eq!(read(&[("WEBHOOKS_MAX_INVOCATIONS", "50")]).unwrap().lambda.concurrency, 50);
    let allows = |name: &str| config.lambda.allowed.allows(&name.parse().unwrap(), "us-east-1");
    assert!(allows("orders-new") && !allows("others"));
    let text = errors(&[("WEBHOOKS_ALLOWED_FUNCTIONS", "orders:live"), ("LAMBDA_ENDPOINT", "nonsense")]);
    assert!(text.contains("WEBHOOKS_ALLOWED_FUNCTIONS: ") && text.contains("LAMBDA_ENDPOINT: "), "{text}");
    // What strangers may name is the operator's to say.
    for (driver, given, allowed, said) in
        [("array", None, true, false), ("dynamodb", None, false, true), ("dynamodb", Some("*"), true, false)]
    {
        let mut variables = vec![("APP_MANAGER_DRIVER", driver)];
        variables.extend(given.map(|given| ("WEBHOOKS_ALLOWED_FUNCTIONS", given)));
        let config = read(&variables).unwrap();
        assert_eq!(
            config.lambda.allowed.allows(&"f".parse().unwrap(), "us-east-1"),
            allowed,
            "{driver} {given:?}"
        );
        let warned = config.warnings.iter().any(|warning| warning.contains("WEBHOOKS_ALLOWED_FUNCTIONS"));
        assert_eq!(warned, said, "{driver} {given:?}");
    }
}

#[test]
#[cfg(feature = "dynamodb")]
fn endpoints_are_dialled_as_they_were_understood() {
    let database = [("APP_MANAGER_DRIVER", "dynamodb"), ("WEBHOOKS_ALLOWED_FUNCTIONS", "*")];
    for (given, dialled) in [
        ("http://localhost:4566\n", "http://localhost:4566"),
        ("http:/localhost:4566", "http://localhost:4566"),
        (r"http:\\localhost:4566", "http://localhost:4566"),
        ("http://local\thost:4566/", "http://localhost:4566"),
        ("http://bücher.example:4566/sqs", "http://xn--bcher-kva.example:4566/sqs"),
    ] {
        let options = serde_json::json!({ "endpoint": given }).to_string();
        for (name, value) in [
            ("QUEUE_SQS_ENDPOINT", given),
            ("QUEUE_SQS_CLIENT_OPTIONS", options.as_str()),
            ("AWS_ENDPOINT_URL_SQS", given),
        ] {
            let config = read(&[(name, value)]).unwrap();
            assert_eq!(config.queue.endpoint.as_deref(), Some(dialled), "{name} {given:?}");
        }
        let others = [("APP_MANAGER_DYNAMODB_ENDPOINT", given), ("LAMBDA_ENDPOINT", given)];
        let config = read(&[&database[..], &others].concat()).unwrap();
        assert_eq!(config.lambda.endpoint.as_deref(), Some(dialled), "{given:?}");
        let Source::DynamoDb(settings) = config.apps.source else { panic!("{:?}", config.apps.source) };
        assert_eq!(settings.endpoint.as_deref(), Some(dialled), "{given:?}");
    }
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
    assert_eq!(plain.queue.endpoint.as_deref(), Some("https://h:1"), "its own scheme is not taken away");
    let plain = queue(r#"{"sslEnabled":false,"endpoint":"h:1"}"#, &[]);
    assert_eq!(plain.queue.endpoint.as_deref(), Some("http://h:1"));
    let aws = queue(r#"{"sslEnabled":false}"#, &[]);
    assert_eq!(aws.queue.endpoint, None, "the queue's URL says https");
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
    assert_eq!((http.max_per_host, http.turn_timeout), (Some(1000), Duration::from_millis(500)));
    assert_eq!(read(&[("WEBHOOKS_MAX_PER_HOST", "0")]).unwrap().http.max_per_host, None);
    let networks =
        read(&[("WEBHOOKS_ALLOWED_NETWORKS", " 10.0.0.0/8, fd12::1\n127.0.0.1 ,")]).unwrap().http.policy;
    for (address, allowed) in
        [("10.9.9.9", true), ("fd12::1", true), ("127.0.0.1", true), ("127.0.0.2", false)]
    {
        assert_eq!(networks.check(address.parse().unwrap()).is_ok(), allowed, "{address}");
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
        "WEBHOOKS_CA_FILE: \"/nonexistent/ca.pem\" cannot be read",
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

#[test]
#[cfg(feature = "postgres")]
fn a_database_elsewhere_whose_certificate_is_not_checked_is_told() {
    use crate::apps::settings::Tls;
    let tls = |variables: &[(&str, &str)]| {
        let driver = [("APP_MANAGER_DRIVER", "postgres")];
        let config = read(&[&driver, variables].concat()).unwrap();
        let Source::Postgres(settings) = config.apps.source else { panic!("PostgreSQL") };
        (settings.tls, config.warnings.iter().any(|warning| warning.starts_with("DB_POSTGRES_TLS")))
    };
    let elsewhere = ("DB_POSTGRES_HOST", "db.example.com");
    assert_eq!(tls(&[]), (Tls::Prefer, false), "on this machine");
    assert_eq!(tls(&[("DB_POSTGRES_HOST", "::1")]), (Tls::Prefer, false));
    assert_eq!(tls(&[elsewhere]), (Tls::Prefer, true));
    assert_eq!(tls(&[elsewhere, ("DB_POSTGRES_TLS", "require")]), (Tls::Require, true));
    assert_eq!(tls(&[elsewhere, ("DB_POSTGRES_TLS", "off")]), (Tls::Off, true));
    assert_eq!(tls(&[elsewhere, ("DB_POSTGRES_TLS", "verify-full")]), (Tls::Verify(None), false));
}

#[test]
fn what_the_environments_app_cannot_use_is_refused_and_what_a_list_cannot_is_left_out() {
    for webhook in [
        r#"[{"url":"ftp://receiver.example/"}]"#,
        r#"[{"url":"https://receiver.example/","headers":{"a b":"1"}}]"#,
        r#"[{"url":"http://256.1.1.1/"}]"#,
    ] {
        let text = errors(&[("DEFAULT_APP_WEBHOOKS", webhook)]);
        assert!(
            text.starts_with("DEFAULT_APP_WEBHOOKS: app \"app-id\": webhooks[0] cannot be used"),
            "{text}"
        );
        let listed = format!(r#"[{{"id":"a","key":"k","secret":"s","webhooks":{webhook}}}]"#);
        let config = read(&[("APPS", &listed)]).unwrap();
        assert_eq!(config.apps.listed.apps.len(), 1);
    }
    assert!(errors(&[("APPS", "{hush")]).starts_with("APPS: cannot be parsed"));
    let misspelt = read(&[
        ("DEFAULT_APP_WEBHOOKS", r#"[{"url":"https://receiver.example/","events":["client_event"]}]"#),
        ("WEBHOOK_TIMEOUT_MS", "1"),
    ]);
    let warnings = misspelt.unwrap().warnings.join("\n");
    assert!(warnings.contains("did you mean event_types?"), "{warnings}");
    assert!(warnings.contains("did you mean WEBHOOKS_TIMEOUT_MS?"), "{warnings}");
}

#[test]
fn a_dead_letter_queue_lies_at_the_queues_endpoint() {
    let of = |url: &str, dead: &str, more: &[(&str, &str)]| {
        read(&[&[("QUEUE_SQS_URL", url), ("QUEUE_SQS_DLQ_URL", dead)], more].concat())
    };
    let aws = "https://sqs.eu-west-1.amazonaws.com/1/jobs.fifo";
    for dead in [
        "https://sqs.us-east-1.amazonaws.com/1/jobs.fifo",
        "https://queue.amazonaws.com/1/dead.fifo",
        "http://localhost:4566/1/dead.fifo",
    ] {
        let text = of(aws, dead, &[]).unwrap_err().to_string();
        assert!(text.contains("QUEUE_SQS_DLQ_URL") && text.contains("eu-west-1"), "{text}");
    }
    let private = [("QUEUE_SQS_ENDPOINT", "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com")];
    for (url, dead, more) in [
        (aws, "https://sqs.eu-west-1.amazonaws.com:443/2/dead.fifo", &[][..]),
        (aws, "https://eu-west-1.queue.amazonaws.com/1/dead.fifo", &[]),
        (aws, "https://sqs.eu-west-1.api.aws/1/dead.fifo", &private),
        ("http://localhost:4566/1/jobs.fifo", "http://localhost:4566/1/dead.fifo", &[]),
    ] {
        let warnings = of(url, dead, more).unwrap().warnings.join("\n");
        assert!(!warnings.contains("QUEUE_SQS_DLQ_URL"), "{dead}: {warnings}");
    }
    let elsewhere =
        of("http://localhost:4566/1/jobs.fifo", "http://localhost:9324/1/jobs.fifo", &[]).unwrap();
    let told = elsewhere.warnings.join("\n");
    assert!(told.contains("http://localhost:4566, and not at http://localhost:9324"), "{told}");
}

#[test]
fn an_endpoint_is_aws_by_its_name_and_by_no_variable_that_the_sdk_passes_over() {
    let at_aws = |url: &str, more: &[(&str, &str)]| {
        let queue = read(&[&[("QUEUE_SQS_URL", url)], more].concat()).unwrap().queue;
        (queue.at_aws, queue.endpoint)
    };
    for host in [
        "sqs.eu-west-1.amazonaws.com",
        "sqs.eu-west-1.api.aws",
        "sqs-fips.us-east-1.api.aws",
        "vpce-1.sqs.eu-west-1.vpce.api.aws",
        "sqs.eusc-de-east-1.api.amazonwebservices.eu",
    ] {
        assert!(at_aws(&format!("https://{host}/1/jobs.fifo"), &[]).0, "{host}");
    }
    let local = "http://localhost:4566/1/jobs.fifo";
    assert_eq!(at_aws(local, &[]), (false, Some("http://localhost:4566".to_owned())));
    let ambient = ("AWS_ENDPOINT_URL_SQS", "https://sqs.eu-west-1.amazonaws.com");
    let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    assert_eq!(at_aws(local, &[ambient]), (true, None));
    assert_eq!(at_aws(local, &[ambient, ignored]), (false, Some("http://localhost:4566".to_owned())));
}

#[test]
fn the_default_apps_secret_is_read_alone_as_the_worker_reads_it() {
    let secret = |name: &str, value: &str| default_secret([(name.to_owned(), value.to_owned())]);
    assert_eq!(secret("DEFAULT_APP_SECRET", "a"), "a");
    assert_eq!(secret("SOKETI_DEFAULT_APP_SECRET", r#" "a b" "#), "a b");
    assert_eq!(secret("DEFAULT_APP_SECRET", ""), "app-secret");
}

#[test]
fn a_filter_that_would_silence_the_log_is_refused_with_the_target_that_was_meant() {
    for (level, meant) in [
        ("hookfery=debug", "did you mean hookferry=debug"),
        ("hookfery::worker=warn", "hookferry=LEVEL"),
        ("soketi=info", "hookferry=LEVEL"),
        ("aws_config=off,sqlx=warn", "hookferry=LEVEL"),
    ] {
        let text = errors(&[("LOG_LEVEL", level)]);
        assert!(text.starts_with("LOG_LEVEL: ") && text.contains(meant), "{text}");
    }
    for fine in
        ["info", "off", "hookferry=debug", "hookferry::worker=debug", "hookferry=off", "soketi=info,warn"]
    {
        read(&[("LOG_LEVEL", fine)]).unwrap_or_else(|error| panic!("{fine}: {error}"));
    }
}

#[test]
fn what_is_plainly_no_secret_of_the_default_app_is_refused_and_not_shown() {
    for (name, value) in [
        ("DEFAULT_APP_SECRET", r#"{"secret":"hush"}"#),
        ("DEFAULT_APP_SECRET", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:hush"),
        ("SOKETI_DEFAULT_APP_SECRET", "{{resolve:secretsmanager:hush}}"),
        ("DEFAULT_APP_SECRET", "$HUSH"),
        ("DEFAULT_APP_KEY", "${hush}"),
        ("DEFAULT_APP_PREVIOUS_SECRET", r#"["s","$HUSH"]"#),
    ] {
        let text = errors(&[(name, value)]);
        assert!(text.starts_with(&format!("{}: is ", name.trim_start_matches("SOKETI_"))), "{text}");
        assert!(!text.to_lowercase().contains("hush"), "{text}");
    }
    for (value, says) in
        [("null", "the word null"), ("undefined", "the word undefined"), ("'s'", "single quotes")]
    {
        let config = read(&[("DEFAULT_APP_SECRET", value)]).unwrap();
        assert!(config.warnings.iter().any(|warning| warning.contains(says)), "{:?}", config.warnings);
        assert_eq!(config.apps.default.secret.expose_secret(), value);
    }
}

#[test]
fn previous_secrets_are_a_list_where_they_are_written_as_one() {
    let config =
        read(&[("DEFAULT_APP_SECRET", "new"), ("DEFAULT_APP_PREVIOUS_SECRET", r#"["s","s2"]"#)]).unwrap();
    let secrets: Vec<_> =
        config.apps.default.secrets().map(|secret| secret.expose_secret().to_owned()).collect();
    assert_eq!(secrets, ["new", "s", "s2"]);
    // A template whose variable was empty: nobody signs with nothing.
    for empty in [r#"[""]"#, r#"["",""]"#, ""] {
        let config = read(&[("DEFAULT_APP_SECRET", "new"), ("DEFAULT_APP_PREVIOUS_SECRET", empty)]).unwrap();
        assert_eq!(config.apps.default.secrets().count(), 1, "{empty}");
    }
    let many = serde_json::to_string(&vec!["hush"; 1000]).unwrap();
    let text = errors(&[("DEFAULT_APP_PREVIOUS_SECRET", &many)]);
    assert!(text.contains("DEFAULT_APP_PREVIOUS_SECRET") && !text.contains("hush"), "{text}");
}

#[test]
fn a_number_that_javascript_writes_otherwise_is_told() {
    for (key, written) in
        [("12345678901234567890", "12345678901234567000"), ("1.0", "1"), ("1e3", "1000"), ("1E-7", "1e-7")]
    {
        let warnings = read(&[("DEFAULT_APP_KEY", key)]).unwrap().warnings;
        assert!(
            warnings.iter().any(|w| w.contains(&format!("set DEFAULT_APP_KEY={written} "))),
            "{warnings:?}"
        );
    }
    for key in ["7", "007", "\"12345678901234567890\"", "app-key"] {
        let warnings = read(&[("DEFAULT_APP_KEY", key)]).unwrap().warnings;
        assert!(!warnings.iter().any(|warning| warning.contains("number")), "{key}: {warnings:?}");
    }
}

#[test]
fn a_number_that_was_meant_in_another_unit_is_told() {
    for (name, value, says) in [
        ("WEBHOOKS_TIMEOUT_MS", "4", "in milliseconds"),
        ("QUEUE_SQS_VISIBILITY_TIMEOUT", "30000", "in seconds"),
    ] {
        let warnings = read(&[(name, value)]).unwrap().warnings;
        let told = warnings.iter().any(|warning| warning.starts_with(name) && warning.contains(says));
        assert!(told, "{warnings:?}");
    }
}

#[test]
fn what_is_no_url_of_a_queue_is_told_with_the_url_that_was_meant() {
    for (given, meant) in [
        (
            "arn:aws:sqs:eu-west-1:123456789012:jobs.fifo",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo",
        ),
        (
            "arn:aws-cn:sqs:cn-north-1:123456789012:jobs.fifo",
            "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs.fifo",
        ),
        ("arn:aws-iso:sqs:us-iso-east-1:123456789012:jobs.fifo", "get-queue-url --queue-name jobs.fifo"),
        ("jobs.fifo", "get-queue-url --queue-name jobs.fifo"),
        (
            "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo/",
            "did you mean \"https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo\"",
        ),
    ] {
        for name in ["QUEUE_SQS_URL", "QUEUE_SQS_DLQ_URL"] {
            let text = errors(&[(name, given)]);
            assert!(text.starts_with(name) && text.contains(meant), "{text}");
        }
    }
}

#[test]
fn a_proxy_of_other_programs_is_told_to_have_no_effect() {
    let warned = |more: &[(&str, &str)]| {
        let given = [("https_proxy", "http://u:hush@h:1")];
        let warnings = read(&[&given[..], more].concat()).unwrap().warnings;
        warnings.into_iter().find(|warning| warning.starts_with("https_proxy"))
    };
    let both = warned(&[]).unwrap();
    assert!(both.contains("WEBHOOKS_PROXY_URL") && both.contains("httpOptions.proxy"), "{both}");
    assert!(!both.contains("hush"), "{both}");
    let to_webhooks = ("WEBHOOKS_PROXY_URL", "http://h:1");
    assert!(!warned(&[to_webhooks]).unwrap().contains("WEBHOOKS_PROXY_URL"));
    let to_queue = ("QUEUE_SQS_CLIENT_OPTIONS", r#"{"httpOptions":{"proxy":"http://h:1"}}"#);
    assert_eq!(warned(&[to_webhooks, to_queue]), None);
}
