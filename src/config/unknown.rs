//! Variables that look as if they were meant for hookferry, and are none of its own.

use super::{ENV_FILE, VARIABLES};
use crate::app::{nearest, shown};

/// What the names of hookferry's variables begin with, and what is easily written in their place.
const PREFIXES: [&str; 13] = [
    "QUEUE_",
    "SQS_",
    "WEBHOOKS_",
    "WEBHOOK_",
    "APP_MANAGER_",
    "APPS_",
    "DEFAULT_APP_",
    "DB_",
    "METRICS_",
    "LOG_",
    "SHUTDOWN_",
    "LAMBDA_",
    "HOOKFERRY_",
];

/// What the servers beside a worker read themselves, and an environment that they share holds: soketi's
/// variables of its documentation, and sockudo's.
const SERVERS: [&str; 65] = [
    // soketi
    "DB_REDIS_CLUSTER_NODES",
    "DB_REDIS_DB",
    "DB_REDIS_HOST",
    "DB_REDIS_INSTANCE_NAME",
    "DB_REDIS_KEY_PREFIX",
    "DB_REDIS_PASSWORD",
    "DB_REDIS_PORT",
    "DB_REDIS_SENTINELS",
    "DB_REDIS_SENTINEL_PASSWORD",
    "DB_REDIS_USERNAME",
    "DEFAULT_APP_ENABLED",
    "DEFAULT_APP_ENABLE_CLIENT_MESSAGES",
    "DEFAULT_APP_MAX_BACKEND_EVENTS_PER_SEC",
    "DEFAULT_APP_MAX_CLIENT_EVENTS_PER_SEC",
    "DEFAULT_APP_MAX_CONNS",
    "DEFAULT_APP_MAX_READ_REQ_PER_SEC",
    "DEFAULT_APP_USER_AUTHENTICATION",
    "METRICS_DRIVER",
    "METRICS_ENABLED",
    "METRICS_PROMETHEUS_PREFIX",
    "METRICS_SERVER_PORT",
    "QUEUE_REDIS_CLUSTER_MODE",
    "QUEUE_REDIS_CONCURRENCY",
    "QUEUE_REDIS_OPTIONS",
    "SHUTDOWN_GRACE_PERIOD",
    "WEBHOOKS_BATCHING",
    "WEBHOOKS_BATCHING_DURATION",
    // sockudo
    "APP_MANAGER_REGISTER_INLINE_APPS",
    "LOG_COLORS_ENABLED",
    "LOG_INCLUDE_TARGET",
    "LOG_OUTPUT_FORMAT",
    "METRICS_TCP_EXPORTER_BUFFER_SIZE",
    "METRICS_TCP_EXPORTER_ENABLED",
    "METRICS_TCP_EXPORTER_HOST",
    "METRICS_TCP_EXPORTER_PORT",
    "QUEUE_COMPLETED_RETENTION",
    "QUEUE_DEDUPLICATION_TTL_MS",
    "QUEUE_EVENT_RETENTION",
    "QUEUE_FAILED_RETENTION",
    "QUEUE_IGGY_PARTITIONS_COUNT",
    "QUEUE_IGGY_PARTITION_ID",
    "QUEUE_LEASE_DURATION_MS",
    "QUEUE_LEASE_RENEW_INTERVAL_MS",
    "QUEUE_MAX_ATTEMPTS",
    "QUEUE_MAX_BATCH_SIZE",
    "QUEUE_MEMORY_CAPACITY",
    "QUEUE_REDIS_PREFIX",
    "QUEUE_REDIS_RESPONSE_TIMEOUT_MS",
    "QUEUE_RETRY_BASE_DELAY_MS",
    "QUEUE_RETRY_JITTER",
    "QUEUE_RETRY_MAX_DELAY_MS",
    "QUEUE_SHUTDOWN_TIMEOUT_MS",
    "QUEUE_SNS_ENDPOINT_URL",
    "QUEUE_SNS_REGION",
    "QUEUE_SNS_TOPIC_ARN",
    "QUEUE_SQS_CONCURRENCY",
    "QUEUE_SQS_ENDPOINT_URL",
    "QUEUE_SQS_FIFO",
    "QUEUE_SQS_MAX_MESSAGES",
    "QUEUE_STALLED_BATCH_SIZE",
    "QUEUE_WORKER_POLL_INTERVAL_MS",
    "QUEUE_WORKER_PREFETCH",
    "WEBHOOK_BATCHING_DURATION",
    "WEBHOOK_BATCHING_ENABLED",
    "WEBHOOK_BATCHING_SIZE",
];

/// The SDKs' own variables that lie so near.
const OF_THE_SDKS: [&str; 3] = ["AWS_ENDPOINT_URL_SNS", "AWS_ENDPOINT_URL_SES", "AWS_ENDPOINT_URL_STS"];

/// As many are told; an environment with more of them was not made for hookferry.
const MAX_TOLD: usize = 20;

/// A warning for each variable that begins like one of hookferry's and is neither that nor a server's, with
/// the known one that comes nearest. Names alone: a value may be a secret.
pub(super) fn warnings<'a>(environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut unknown: Vec<&str> = environment
        .into_iter()
        .filter(|(name, value)| is_unknown(name) && !is_of_kubernetes(name, value))
        .map(|(name, _)| name)
        .collect();
    unknown.sort_unstable();
    let left_out = unknown.len().saturating_sub(MAX_TOLD);
    let mut told: Vec<String> = unknown
        .into_iter()
        .take(MAX_TOLD)
        .map(|name| {
            let meant = meant(bare(bare(name, "SOKETI_"), "HOOKFERRY_"))
                .map(|known| format!("; did you mean {known}?"));
            // As it stands, without the quotes that a name of letters does not need.
            let name = shown(name).to_string();
            format!(
                "{}: no variable of hookferry's; ignored{}",
                name.trim_matches('"'),
                meant.unwrap_or_default()
            )
        })
        .collect();
    if left_out > 0 {
        told.push(format!("{left_out} variables more begin like hookferry's and are ignored"));
    }
    told
}

/// A name without a prefix, in whichever case that is.
fn bare<'a>(name: &'a str, prefix: &str) -> &'a str {
    let has = name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    name.get(prefix.len()..).filter(|_| has).unwrap_or(name)
}

pub(super) fn is_unknown(name: &str) -> bool {
    let plain = bare(name, "SOKETI_");
    let upper = plain.to_ascii_uppercase();
    // As the variables are read: a prefix in another case is none.
    let read = name.strip_prefix("SOKETI_").unwrap_or(name);
    name != ENV_FILE
        && (PREFIXES.iter().any(|prefix| upper.starts_with(prefix)) || is_one_slip_off(plain))
        && !VARIABLES.iter().any(|(known, _)| *known == read)
        && !SERVERS.contains(&upper.as_str())
}

/// Whether a name is one of hookferry's but for case, or for one slip in a name that is long enough for none to
/// come so near by chance. Others have `AWS_` and `OTEL_` variables of many names, and none of those does.
fn is_one_slip_off(name: &str) -> bool {
    let long = |known: &str| known.len() >= 8 && name.len().abs_diff(known.len()) <= 1;
    !OF_THE_SDKS.contains(&name)
        && VARIABLES.iter().any(|(known, _)| {
            name.eq_ignore_ascii_case(known) && name.contains('_')
                || long(known) && strsim::damerau_levenshtein(&name.to_ascii_uppercase(), known) == 1
        })
}

/// The variable that was probably meant: one that holds every word of the name, in the words that people use
/// for it, before one that is spelled alike.
fn meant(plain: &str) -> Option<&'static str> {
    let known = || VARIABLES.iter().map(|(known, _)| *known);
    let upper = plain.to_ascii_uppercase();
    let exact = known().find(|known| *known == upper);
    let words: Vec<&str> =
        upper.split('_').filter(|word| !word.is_empty()).enumerate().map(synonym).collect();
    let is_dead_letters = words.contains(&"DLQ") || words.windows(2).any(|pair| pair == ["DEAD", "LETTER"]);
    if exact.is_none() && is_dead_letters {
        return Some("QUEUE_SQS_DLQ_URL");
    }
    // A queue that was meant for jobs would get the letters.
    let known = || known().filter(|known| !known.contains("DLQ"));
    let of_these_words = || {
        let mut own = words.clone();
        own.sort_unstable();
        known().find(|known| {
            let mut theirs: Vec<&str> = known.split('_').collect();
            theirs.sort_unstable();
            theirs == own
        })
    };
    // One word may stand in the names of many.
    let with_these_words = || {
        let holds = |known: &&str| words.iter().all(|word| known.split('_').any(|other| other == *word));
        known().filter(|known| words.len() > 1 && holds(known)).min_by_key(|known| known.len())
    };
    let that_it_begins_with = || {
        let begins = |known: &&str| {
            let theirs: Vec<&str> = known.split('_').collect();
            theirs.len() > 1 && words.starts_with(&theirs)
        };
        known().filter(begins).max_by_key(|known| known.len())
    };
    exact
        .or_else(of_these_words)
        .or_else(with_these_words)
        .or_else(that_it_begins_with)
        .or_else(|| nearest(plain, known()))
}

/// A word as hookferry's variables have it. The first says what the variable is of.
fn synonym((place, word): (usize, &str)) -> &str {
    match word {
        _ if place == 0 => word,
        "USER" => "USERNAME",
        "PASS" | "PWD" => "PASSWORD",
        "DB" | "DBNAME" => "DATABASE",
        "SSL" | "SSLMODE" => "TLS",
        _ => word,
    }
}

/// What Kubernetes tells every container about a service called `queue`, `metrics` or the like.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let service = |end: &str| name.ends_with(end);
    service("_SERVICE_HOST")
        || service("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.contains("_PORT") && (value.starts_with("tcp://") || value.starts_with("udp://")))
        || ["_TCP", "_UDP", "_TCP_ADDR", "_TCP_PORT", "_TCP_PROTO", "_UDP_ADDR", "_UDP_PORT", "_UDP_PROTO"]
            .iter()
            .any(|end| service(end) && name.contains("_PORT_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_variable_is_told_with_the_nearest_known_one() {
        for (name, says) in [
            (
                "WEBHOOK_TIMEOUT_MS",
                "WEBHOOK_TIMEOUT_MS: no variable of hookferry's; ignored; did you mean WEBHOOKS_TIMEOUT_MS?",
            ),
            ("SOKETI_QUEUE_SQS_BATCHSIZE", "did you mean QUEUE_SQS_BATCH_SIZE?"),
            ("QUEUE_SQS_VISIBILTY_TIMEOUT", "did you mean QUEUE_SQS_VISIBILITY_TIMEOUT?"),
            ("METRICS_PROT", "did you mean METRICS_PORT?"),
            ("HOOKFERRY_LOG_LEVEL", "did you mean LOG_LEVEL?"),
            ("LOG_LEVELS", "did you mean LOG_LEVEL?"),
            ("DEFAULT_APP_WEBHOOK", "did you mean DEFAULT_APP_WEBHOOKS?"),
            ("QUEUE_SQS_DLQ", "did you mean QUEUE_SQS_DLQ_URL?"),
            ("QUEUE_SQS_DEAD_LETTER_URL", "did you mean QUEUE_SQS_DLQ_URL?"),
            ("SQS_QUEUE_URL", "did you mean QUEUE_SQS_URL?"),
            ("queue_sqs_url", "did you mean QUEUE_SQS_URL?"),
            ("Log_Level", "did you mean LOG_LEVEL?"),
            ("OTEL_EXPORTER_OTLP_ENDPONT", "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?"),
            ("METRIC_PORT", "did you mean METRICS_PORT?"),
            ("APP_FILE", "did you mean APPS_FILE?"),
            ("QUEUE_SQS_QUEUE_URL", "did you mean QUEUE_SQS_URL?"),
            ("QUEUE_URL", "did you mean QUEUE_SQS_URL?"),
            ("WEBHOOKS_RETRY_WINDOW", "did you mean WEBHOOKS_RETRY_WINDOW_SECONDS?"),
            ("QUEUE_SQS_WAIT_TIME", "did you mean QUEUE_SQS_WAIT_TIME_SECONDS?"),
            ("DB_POSTGRES_USER", "did you mean DB_POSTGRES_USERNAME?"),
            ("DB_MYSQL_USER", "did you mean DB_MYSQL_USERNAME?"),
            ("DB_POSTGRES_SSLMODE", "did you mean DB_POSTGRES_TLS?"),
            ("DB_POSTGRES_DB", "did you mean DB_POSTGRES_DATABASE?"),
            ("APPS_FILE_PATH", "did you mean APPS_FILE?"),
            ("hookferry_log_level", "did you mean LOG_LEVEL?"),
            ("soketi_queue_sqs_url", "did you mean QUEUE_SQS_URL?"),
            ("Soketi_Log_Level", "did you mean LOG_LEVEL?"),
        ] {
            let told = warnings([(name, "hush")]);
            assert_eq!(told.len(), 1, "{name}");
            assert!(told[0].contains(says) && !told[0].contains("hush"), "{told:?}");
        }
    }

    #[test]
    fn what_others_have_in_a_shared_environment_is_left_alone() {
        for (name, _) in VARIABLES {
            assert!(warnings([(*name, "")]).is_empty(), "{name}");
            assert!(warnings([(format!("SOKETI_{name}").as_str(), "")]).is_empty(), "{name}");
        }
        for (name, value) in [
            ("SOKETI_DEBUG", "1"),
            ("SOKETI_METRICS_ENABLED", "1"),
            ("DB_REDIS_HOST", "h"),
            ("WEBHOOKS_BATCHING", "1"),
            ("QUEUE_SERVICE_HOST", "10.0.0.1"),
            ("METRICS_PORT_9602_TCP_ADDR", "10.0.0.1"),
            ("QUEUE_PORT", "tcp://10.0.0.1:80"),
            ("PATH", "/bin"),
            ("apps", "1"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "h"),
            ("AWS_ENDPOINT_URL_S3", "h"),
            ("AWS_ENDPOINT_URL_STS", "h"),
            ("AWS_ENDPOINT_URL_SNS", "h"),
            ("AWS_PROFILE", "p"),
        ] {
            assert!(warnings([(name, value)]).is_empty(), "{name}");
        }
    }

    #[test]
    fn of_many_unknown_variables_the_first_are_named_and_the_rest_counted() {
        let many: Vec<String> = (0..100).map(|n| format!("QUEUE_SQS_{n}")).collect();
        let told = warnings(many.iter().map(|name| (name.as_str(), "")));
        assert_eq!(told.len(), MAX_TOLD + 1);
        assert!(told.last().unwrap().contains("80"), "{told:?}");
    }
}
