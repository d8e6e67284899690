//! The variables as they stand in the environment, and how single values are read.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::aws::can_be_sent;

/// Every variable that is read, with its default as `.env.example` shows it and as it is read where none is given.
pub const VARIABLES: &[(&str, &str)] = &[
    ("QUEUE_DRIVER", "sqs"),
    ("QUEUE_SQS_URL", ""),
    ("QUEUE_SQS_REGION", ""),
    ("QUEUE_SQS_ENDPOINT", ""),
    ("QUEUE_SQS_CLIENT_OPTIONS", ""),
    ("QUEUE_SQS_BATCH_SIZE", "10"),
    ("QUEUE_SQS_POLLING_WAIT_TIME_MS", "0"),
    ("QUEUE_SQS_PROCESS_BATCH", ""),
    ("QUEUE_SQS_WAIT_TIME_SECONDS", "10"),
    ("QUEUE_SQS_VISIBILITY_TIMEOUT", ""),
    ("QUEUE_SQS_DLQ_URL", ""),
    ("QUEUE_SQS_ALLOW_LOW_RECEIVE_COUNT", "false"),
    ("QUEUE_SQS_MAX_IN_FLIGHT", "2000"),
    ("QUEUE_SQS_MAX_IN_FLIGHT_BYTES", "67108864"),
    ("WEBHOOKS_TIMEOUT_MS", "4000"),
    ("WEBHOOKS_RETRY_WINDOW_SECONDS", "300"),
    ("WEBHOOKS_RETRY_BASE_MS", "1000"),
    ("WEBHOOKS_RETRY_MAX_MS", "60000"),
    ("WEBHOOKS_ALLOWED_FUNCTIONS", ""),
    ("WEBHOOKS_ALLOWED_REGIONS", ""),
    ("LAMBDA_ENDPOINT", ""),
    ("WEBHOOKS_ALLOWED_NETWORKS", ""),
    ("WEBHOOKS_PROXY_URL", ""),
    ("WEBHOOKS_CA_FILE", ""),
    ("WEBHOOKS_MAX_PER_HOST", "1000"),
    ("WEBHOOKS_MAX_INVOCATIONS", "1000"),
    ("WEBHOOKS_STANDARD_HEADERS", "false"),
    ("WEBHOOKS_COALESCE", "false"),
    ("WEBHOOKS_COALESCE_MAX_EVENTS", "100"),
    ("WEBHOOKS_COALESCE_MAX_BYTES", "262144"),
    ("APP_MANAGER_DRIVER", "array"),
    ("APP_MANAGER_CACHE_ENABLED", "true"),
    ("APP_MANAGER_CACHE_TTL", "60"),
    ("DEFAULT_APP_ID", "app-id"),
    ("DEFAULT_APP_KEY", "app-key"),
    ("DEFAULT_APP_SECRET", "app-secret"),
    ("DEFAULT_APP_PREVIOUS_SECRET", ""),
    ("DEFAULT_APP_WEBHOOKS", "[]"),
    ("APPS", ""),
    ("APPS_FILE", ""),
    ("APP_MANAGER_DYNAMODB_TABLE", "apps"),
    ("APP_MANAGER_DYNAMODB_REGION", "us-east-1"),
    ("APP_MANAGER_DYNAMODB_ENDPOINT", ""),
    ("APP_MANAGER_POSTGRES_TABLE", "apps"),
    ("APP_MANAGER_POSTGRES_VERSION", ""),
    ("DB_POSTGRES_HOST", "127.0.0.1"),
    ("DB_POSTGRES_PORT", "5432"),
    ("DB_POSTGRES_USERNAME", "postgres"),
    ("DB_POSTGRES_PASSWORD", "password"),
    ("DB_POSTGRES_DATABASE", "main"),
    ("DB_POSTGRES_TLS", "prefer"),
    ("DB_POSTGRES_CA_FILE", ""),
    ("APP_MANAGER_MYSQL_TABLE", "apps"),
    ("APP_MANAGER_MYSQL_VERSION", ""),
    ("APP_MANAGER_MYSQL_USE_V2", ""),
    ("DB_MYSQL_HOST", "127.0.0.1"),
    ("DB_MYSQL_PORT", "3306"),
    ("DB_MYSQL_USERNAME", "root"),
    ("DB_MYSQL_PASSWORD", "password"),
    ("DB_MYSQL_DATABASE", "main"),
    ("DB_MYSQL_TLS", "prefer"),
    ("DB_MYSQL_CA_FILE", ""),
    ("DB_POOLING_ENABLED", "false"),
    ("DB_POOLING_MIN", "0"),
    ("DB_POOLING_MAX", "7"),
    ("METRICS_HOST", "127.0.0.1"),
    ("METRICS_PORT", "9602"),
    ("METRICS_EMF", "false"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""),
    ("OTEL_EXPORTER_OTLP_HEADERS", ""),
    ("OTEL_SERVICE_NAME", "hookferry"),
    ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
    ("OTEL_TRACES_SAMPLER_ARG", ""),
    ("LOG_FORMAT", ""),
    ("LOG_LEVEL", "info"),
    ("SHUTDOWN_GRACE_SECONDS", "25"),
    ("AWS_ENDPOINT_URL", ""),
    ("AWS_ENDPOINT_URL_SQS", ""),
    ("AWS_REGION", ""),
    ("AWS_DEFAULT_REGION", ""),
];

#[derive(Debug, Deserialize)]
pub(super) struct Queue {
    pub url: Option<String>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub client_options: Option<String>,
    pub batch_size: Option<String>,
    pub polling_wait_time_ms: Option<String>,
    pub process_batch: Option<String>,
    pub wait_time_seconds: Option<String>,
    pub visibility_timeout: Option<String>,
    pub dlq_url: Option<String>,
    pub allow_low_receive_count: Option<String>,
    pub max_in_flight: Option<String>,
    pub max_in_flight_bytes: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Webhooks {
    pub timeout_ms: Option<String>,
    pub retry_window_seconds: Option<String>,
    pub retry_base_ms: Option<String>,
    pub retry_max_ms: Option<String>,
    pub allowed_functions: Option<String>,
    pub allowed_regions: Option<String>,
    pub allowed_networks: Option<String>,
    pub proxy_url: Option<String>,
    pub ca_file: Option<String>,
    pub max_per_host: Option<String>,
    pub max_invocations: Option<String>,
    pub standard_headers: Option<String>,
    pub coalesce: Option<String>,
    pub coalesce_max_events: Option<String>,
    pub coalesce_max_bytes: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct DefaultApp {
    pub id: Option<String>,
    pub key: Option<String>,
    pub secret: Option<String>,
    pub previous_secret: Option<String>,
    pub webhooks: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AppManager {
    pub driver: Option<String>,
    pub cache_enabled: Option<String>,
    pub cache_ttl: Option<String>,
    pub dynamodb_table: Option<String>,
    pub dynamodb_region: Option<String>,
    pub dynamodb_endpoint: Option<String>,
    pub postgres_table: Option<String>,
    pub mysql_table: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Server {
    pub host: Option<String>,
    pub port: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub database: Option<String>,
    pub tls: Option<String>,
    pub ca_file: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pooling {
    pub enabled: Option<String>,
    pub min: Option<String>,
    pub max: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metrics {
    pub host: Option<String>,
    pub port: Option<String>,
    pub emf: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Otel {
    pub exporter_otlp_endpoint: Option<String>,
    pub exporter_otlp_traces_endpoint: Option<String>,
    pub exporter_otlp_headers: Option<String>,
    pub service_name: Option<String>,
    pub traces_sampler: Option<String>,
    pub traces_sampler_arg: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Log {
    pub format: Option<String>,
    pub level: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Aws {
    pub endpoint_url: Option<String>,
    pub endpoint_url_sqs: Option<String>,
    pub region: Option<String>,
    pub default_region: Option<String>,
}

/// The variables without a prefix of their own.
#[derive(Debug, Deserialize)]
pub(super) struct Plain {
    pub queue_driver: Option<String>,
    pub apps: Option<String>,
    pub apps_file: Option<String>,
    pub lambda_endpoint: Option<String>,
    pub shutdown_grace_seconds: Option<String>,
}

/// One flat struct a prefix, everything still text.
pub(super) struct Raw {
    pub queue: Queue,
    pub webhooks: Webhooks,
    pub default_app: DefaultApp,
    pub app_manager: AppManager,
    pub postgres: Server,
    pub mysql: Server,
    pub pooling: Pooling,
    pub metrics: Metrics,
    pub otel: Otel,
    pub log: Log,
    pub aws: Aws,
    pub plain: Plain,
    /// Which of the SDK's credentials hold what cannot be sent.
    pub unsendable: Vec<&'static str>,
    /// Whether an endpoint of the SDK's has quotes or blanks around it, with which the SDK would take it.
    pub endpoint_is_wrapped: bool,
    /// Which of the default app's values are numbers that JavaScript writes otherwise, and how.
    pub rewritten_numbers: Vec<(&'static str, String)>,
    /// Whether the SDK is told to pass over its endpoints in the environment.
    pub endpoints_are_ignored: bool,
}

/// The SDK's credentials in the environment, which it reads by itself.
pub(super) const CREDENTIALS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// Its endpoints, which it reads by itself too.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"];

/// With which it does not.
const IGNORE_ENDPOINTS: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";

impl Raw {
    pub(super) fn read(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut variables: HashMap<String, String> = HashMap::new();
        let mut prefixed: Vec<(String, String)> = Vec::new();
        let (mut unsendable, mut rewritten_numbers) = (Vec::new(), Vec::new());
        let (mut endpoint_is_wrapped, mut endpoints_are_ignored) = (false, false);
        for (name, value) in environment {
            let credential = CREDENTIALS.into_iter().find(|known| *known == name);
            let plain = name.strip_prefix("SOKETI_").unwrap_or(&name);
            let of_app = OF_DEFAULT_APP.into_iter().find(|known| *known == plain);
            rewritten_numbers.extend(of_app.and_then(|known| Some((known, rewritten(&value)?))));
            let wrapped = value.len();
            let value = unquoted(value);
            unsendable.extend(credential.filter(|_| !can_be_sent(value.trim())));
            endpoint_is_wrapped |= ENDPOINTS.contains(&name.as_str()) && value.trim().len() != wrapped;
            endpoints_are_ignored |= name == IGNORE_ENDPOINTS && value.trim().eq_ignore_ascii_case("true");
            if value.trim().is_empty() {
                continue;
            }
            // By exact name alone: envy takes `X_y` for `X_Y`, and cannot have both.
            let known = |name: &str| VARIABLES.iter().any(|(known, _)| *known == name);
            match name.strip_prefix("SOKETI_") {
                Some(plain) if known(plain) => prefixed.push((plain.to_owned(), value)),
                None if known(&name) => drop(variables.insert(name, value)),
                Some(_) | None => {}
            }
        }
        for (name, value) in prefixed {
            variables.entry(name).or_insert(value);
        }
        Self {
            queue: section("QUEUE_SQS_", &variables),
            webhooks: section("WEBHOOKS_", &variables),
            default_app: section("DEFAULT_APP_", &variables),
            app_manager: section("APP_MANAGER_", &variables),
            postgres: section("DB_POSTGRES_", &variables),
            mysql: section("DB_MYSQL_", &variables),
            pooling: section("DB_POOLING_", &variables),
            metrics: section("METRICS_", &variables),
            otel: section("OTEL_", &variables),
            log: section("LOG_", &variables),
            aws: section("AWS_", &variables),
            plain: section("", &variables),
            unsendable,
            rewritten_numbers,
            endpoint_is_wrapped,
            endpoints_are_ignored,
        }
    }
}

/// What soketi takes for numbers where they are some.
const OF_DEFAULT_APP: [&str; 2] = ["DEFAULT_APP_ID", "DEFAULT_APP_KEY"];

/// How JavaScript writes the JSON number that a value is, if that is not as it stands: it keeps some sixteen digits.
fn rewritten(value: &str) -> Option<String> {
    let value = value.trim();
    let number: f64 = serde_json::from_str(value).ok()?;
    // Outside of these bounds it writes an exponent.
    let written = if number == 0.0 || (1e-6..1e21).contains(&number.abs()) {
        number.to_string()
    } else if number.abs() < 1.0 {
        format!("{number:e}")
    } else {
        format!("{number:e}").replace('e', "e+")
    };
    (written != value).then_some(written)
}

/// soketi reads every value as JSON if it is some, so that quotes around one, which a file given to
/// `docker run --env-file` keeps, do not count.
pub(super) fn unquoted(value: String) -> String {
    serde_json::from_str(&value).unwrap_or(value)
}

fn section<T: DeserializeOwned>(prefix: &str, variables: &HashMap<String, String>) -> T {
    let own = variables.iter().filter(|(name, _)| name.starts_with(prefix));
    let own = own.map(|(name, value)| (name.clone(), value.trim().to_owned()));
    envy::prefixed(prefix)
        .from_iter(own)
        .unwrap_or_else(|error| unreachable!("a struct of optional strings takes anything: {error}"))
}

/// Reads values and keeps what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
}

impl Reader {
    pub(super) fn error(&mut self, text: String) {
        self.errors.push(text);
    }

    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    pub(super) fn result<T, E: Display>(&mut self, name: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.error(format!("{name}: {error}"))).ok()
    }

    /// A value that parses, or the variable's default; `expected` completes "is not".
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, given: Option<&String>, expected: &str) -> T {
        let text = given.map_or(default_of(name), String::as_str);
        text.parse().unwrap_or_else(|_| {
            self.error(format!("{name}: {text:?} is not {expected}"));
            parsed_default(name)
        })
    }

    /// A truth value, if one is given.
    pub(super) fn truth(&mut self, name: &str, given: Option<&String>) -> Option<bool> {
        match given?.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => {
                self.error(format!("{name}: {:?} is neither true nor false", given?));
                None
            }
        }
    }

    /// A number within bounds, or the variable's default, which is held to them too.
    pub(super) fn number<T>(&mut self, name: &str, given: Option<&String>, bounds: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display,
    {
        let text = given.map_or(default_of(name), String::as_str);
        self.within(name, text, &bounds).unwrap_or_else(|| parsed_default(name))
    }

    pub(super) fn seconds(
        &mut self,
        name: &str,
        given: Option<&String>,
        bounds: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_secs(self.number(name, given, bounds))
    }

    /// Of a variable that has no default.
    pub(super) fn optional_seconds(
        &mut self,
        name: &str,
        given: Option<&String>,
        bounds: RangeInclusive<u64>,
    ) -> Option<Duration> {
        self.within(name, given?, &bounds).map(Duration::from_secs)
    }

    pub(super) fn milliseconds(
        &mut self,
        name: &str,
        given: Option<&String>,
        bounds: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_millis(self.number(name, given, bounds))
    }

    fn within<T>(&mut self, name: &str, text: &str, bounds: &RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        let number: Option<T> = text.parse().ok();
        if number.as_ref().is_some_and(|number| bounds.contains(number)) {
            return number;
        }
        let given = number.map_or_else(|| format!("{text:?}"), |number| number.to_string());
        let (least, most) = (bounds.start(), bounds.end());
        self.error(format!("{name}: {given} is not a whole number from {least} to {most}"));
        None
    }
}

/// A variable's default in [`VARIABLES`]; empty if it has none.
pub(super) fn default_of(name: &str) -> &'static str {
    VARIABLES.iter().find(|(known, _)| *known == name).map_or("", |(_, default)| default)
}

/// A value, or the variable's default.
pub(super) fn or_default(name: &str, given: Option<&String>) -> String {
    given.map_or_else(|| default_of(name).to_owned(), String::clone)
}

fn parsed_default<T: FromStr>(name: &str) -> T {
    default_of(name).parse().unwrap_or_else(|_| unreachable!("the default of {name} is of its type"))
}
