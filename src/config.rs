//! Environment → checked configuration. Every error at once, each with its variable and its remedy, and
//! no secret in any of them.
//!
//! Every variable is also read with a `SOKETI_` prefix, so that one block of environment serves
//! soketi's container and this one; the plain name wins. An empty value counts as none.

mod apps;
mod certificates;
mod client_options;
mod effective;
mod queue;
mod traces;
mod unicode;
mod unknown;
mod variables;
mod webhooks;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::app;
use crate::apps::array::Variables;
use crate::aws::region::{RegionError, Regions};
use crate::delivery::http;
use crate::delivery::lambda::function_name::{Allowed, PatternError};
use crate::lease::check_visibility;
use crate::plan::Limits;
use crate::policy::Retry;
use crate::telemetry::traces::Settings as TracesConfig;
#[cfg(not(all(feature = "dynamodb", feature = "mysql", feature = "postgres")))]
pub use apps::left_out_of_this_build;
pub use apps::{AppsConfig, Source, WELL_KNOWN_SECRET};
pub use effective::{ENV_FILE, Effective, Origin, effective};
pub use queue::QueueConfig;
pub use unicode::not_unicode;
pub use variables::VARIABLES;
use variables::{Raw, Reader, default_of, or_default};

/// The exit code of a configuration that cannot be used (`EX_CONFIG` of sysexits).
pub const EXIT_CODE: u8 = 78;

/// Whoever sets a shorter attempt timeout may have meant seconds.
const LEAST_USUAL_TIMEOUT: Duration = Duration::from_millis(100);

/// How functions are invoked.
#[derive(Clone, Debug)]
pub struct LambdaConfig {
    /// Another endpoint than AWS' own.
    pub endpoint: Option<String>,
    /// The functions that apps may name.
    pub allowed: Allowed,
    /// The regions that apps may name besides AWS' known ones.
    pub regions: Regions,
    /// Invocations under way, those at endpoints of apps aside.
    pub concurrency: usize,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; the default on a terminal.
    Human,
    /// One JSON object a line; the default elsewhere.
    Json,
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The queue.
    pub queue: QueueConfig,
    /// The longest an attempt may take.
    pub timeout: Duration,
    /// How deliveries go out.
    pub http: http::Settings,
    /// Backoff and window.
    pub retry: Retry,
    /// Whether jobs of a group go out together, and how much of them at the most.
    pub coalesce: Option<Limits>,
    /// Whether webhooks that say nothing of it get the headers of Standard Webhooks.
    pub standard_headers: bool,
    /// The apps.
    pub apps: AppsConfig,
    /// Lambda.
    pub lambda: LambdaConfig,
    /// Where health and metrics are served.
    pub metrics: SocketAddr,
    /// Whether the numbers that alarms and autoscaling need are written as CloudWatch metric lines.
    pub embedded_metrics: bool,
    /// Where spans go, if anywhere.
    pub traces: Option<TracesConfig>,
    /// From the first signal to the end.
    pub grace: Duration,
    /// Things to say at start-up.
    pub warnings: Vec<String>,
}

/// Everything that is wrong with a configuration, a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Errors(pub Vec<String>);

/// How logging is set up. Read on its own: errors of the rest have to be shown somehow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The format, if it is set.
    pub format: Option<LogFormat>,
    /// A level, or a filter in `tracing`'s syntax.
    pub level: String,
}

impl Config {
    /// Reads and checks the whole configuration.
    pub fn from_env(environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Errors> {
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let mut reader = Reader::default();
        certificates::check(&environment, &mut reader);
        let pairs = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for warning in unknown::warnings(pairs) {
            reader.warn(warning);
        }
        let proxies: Vec<String> = environment
            .iter()
            .filter(|(name, value)| {
                PROXIES.iter().any(|known| name.eq_ignore_ascii_case(known)) && !value.trim().is_empty()
            })
            .map(|(name, _)| name.clone())
            .collect();
        let variables = Variables::new(environment.iter().cloned());
        let raw = Raw::read(environment);
        let queue = queue::read(&raw, &mut reader);
        let timeout =
            reader.milliseconds("WEBHOOKS_TIMEOUT_MS", raw.webhooks.timeout_ms.as_ref(), 1..=900_000);
        if timeout < LEAST_USUAL_TIMEOUT {
            reader.warn(format!(
                "WEBHOOKS_TIMEOUT_MS: it is in milliseconds, and few receivers answer within {} of them",
                timeout.as_millis()
            ));
        }
        let http = webhooks::read(&raw.webhooks, timeout, &mut reader);
        warn_of_proxies(&proxies, queue.client.sdk.proxy.is_some(), http.proxy.is_some(), &mut reader);
        let retry = read_retry(&raw, &mut reader);
        let coalesce = webhooks::read_coalesce(&raw.webhooks, &mut reader);
        let standard_headers =
            reader.truth("WEBHOOKS_STANDARD_HEADERS", raw.webhooks.standard_headers.as_ref());
        let apps = apps::read(&raw, variables, &mut reader);
        if let Some(apps) = &apps {
            apps::warn_of_limits(apps, timeout, retry.window, &mut reader);
        }
        let lambda = read_lambda(&raw, apps.as_ref(), &mut reader);
        let metrics = read_metrics(&raw, &mut reader);
        let embedded_metrics = reader.truth("METRICS_EMF", raw.metrics.emf.as_ref()).unwrap_or_default();
        let traces = traces::read(&raw.otel, &mut reader);
        let grace =
            reader.seconds("SHUTDOWN_GRACE_SECONDS", raw.plain.shutdown_grace_seconds.as_ref(), 5..=3600);
        read_log(&raw, &mut reader);
        if queue.wait + Duration::from_secs(5) > grace {
            reader.error(format!(
                "QUEUE_SQS_WAIT_TIME_SECONDS: {} s must end at least 5 s inside SHUTDOWN_GRACE_SECONDS ({} s): lower the one or raise the other",
                queue.wait.as_secs(), grace.as_secs()
            ));
        }
        if let Some(visibility) = queue.visibility {
            check_visibility(timeout, visibility, "QUEUE_SQS_VISIBILITY_TIMEOUT")
                .unwrap_or_else(|error| reader.error(error));
        }
        let (Some(apps), Some(lambda), true) = (apps, lambda, reader.errors.is_empty()) else {
            return Err(Errors(reader.errors));
        };
        let warnings = reader.warnings;
        Ok(Self {
            queue,
            timeout,
            http,
            retry,
            coalesce,
            standard_headers: standard_headers.unwrap_or_default(),
            apps,
            lambda,
            metrics,
            embedded_metrics,
            traces,
            grace,
            warnings,
        })
    }
}

impl LogConfig {
    /// Reads `LOG_FORMAT` and `LOG_LEVEL`, falling back to the defaults where they are wrong: the
    /// error is reported with all others.
    #[must_use]
    pub fn from_env(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        read_log(&Raw::read(environment), &mut Reader::default())
    }

    /// Reads them, and takes nothing for what is wrong.
    pub fn checked(environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Errors> {
        let mut reader = Reader::default();
        let log = read_log(&Raw::read(environment), &mut reader);
        if reader.errors.is_empty() { Ok(log) } else { Err(Errors(reader.errors)) }
    }
}

/// Where a worker with this environment serves health and metrics; read as the worker itself reads it.
pub fn metrics_address(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<SocketAddr, Errors> {
    let mut reader = Reader::default();
    let address = read_metrics(&Raw::read(environment), &mut reader);
    if reader.errors.is_empty() { Ok(address) } else { Err(Errors(reader.errors)) }
}

/// The default app's secret; read as the worker itself reads it.
#[must_use]
pub fn default_secret(environment: impl IntoIterator<Item = (String, String)>) -> String {
    Raw::read(environment).default_app.secret.unwrap_or_else(|| apps::WELL_KNOWN_SECRET.to_owned())
}

fn read_metrics(raw: &Raw, reader: &mut Reader) -> SocketAddr {
    let (host, port) = (raw.metrics.host.as_ref(), raw.metrics.port.as_ref());
    let host = reader.parsed::<IpAddr>("METRICS_HOST", host, "an IP address");
    SocketAddr::new(host, reader.parsed("METRICS_PORT", port, "a port"))
}

/// What other programs take their proxy from.
const PROXIES: [&str; 2] = ["HTTPS_PROXY", "ALL_PROXY"];

/// Says that a proxy in the environment has no effect, where there is none in hookferry's own variables.
fn warn_of_proxies(given: &[String], to_queue: bool, to_webhooks: bool, reader: &mut Reader) {
    let queue = "QUEUE_SQS_CLIENT_OPTIONS httpOptions.proxy names that to SQS";
    let webhooks = "WEBHOOKS_PROXY_URL that to receivers";
    let remedy = match (to_queue, to_webhooks) {
        (true, true) => return,
        (true, false) => webhooks.replace("that", "names that"),
        (false, true) => queue.to_owned(),
        (false, false) => format!("{queue}, {webhooks}"),
    };
    for name in given {
        reader.warn(format!("{name} has no effect here: {remedy}"));
    }
}

fn read_retry(raw: &Raw, reader: &mut Reader) -> Retry {
    let webhooks = &raw.webhooks;
    let retry = Retry {
        window: reader.seconds(
            "WEBHOOKS_RETRY_WINDOW_SECONDS",
            webhooks.retry_window_seconds.as_ref(),
            0..=1_209_600,
        ),
        base: reader.milliseconds("WEBHOOKS_RETRY_BASE_MS", webhooks.retry_base_ms.as_ref(), 1..=3_600_000),
        cap: reader.milliseconds("WEBHOOKS_RETRY_MAX_MS", webhooks.retry_max_ms.as_ref(), 1000..=36_000_000),
    };
    if retry.base > retry.cap {
        reader.error("WEBHOOKS_RETRY_BASE_MS: must not be above WEBHOOKS_RETRY_MAX_MS".to_owned());
    }
    retry
}

fn read_lambda(raw: &Raw, apps: Option<&AppsConfig>, reader: &mut Reader) -> Option<LambdaConfig> {
    let endpoint = raw.plain.lambda_endpoint.as_deref();
    let endpoint =
        endpoint.and_then(|text| reader.result("LAMBDA_ENDPOINT", crate::aws::endpoint::endpoint(text)));
    let strangers = apps.is_some_and(|apps| !matches!(apps.source, Source::Array));
    let allowed = raw.webhooks.allowed_functions.as_deref();
    if strangers && allowed.is_none() && cfg!(feature = "lambda") {
        reader.warnings.push(
            "WEBHOOKS_ALLOWED_FUNCTIONS is not set and apps come from a database: no Lambda function is invoked for \
             them (name those that apps may invoke with the worker's role, or * for all)"
                .to_owned(),
        );
    }
    // An app of the environment is the operator's own; who writes to a database may be anyone.
    let allowed: Result<_, PatternError> = allowed.unwrap_or(if strangers { "" } else { "*" }).parse();
    let allowed = reader.result("WEBHOOKS_ALLOWED_FUNCTIONS", allowed);
    let regions: Result<_, RegionError> = raw.webhooks.allowed_regions.as_deref().unwrap_or_default().parse();
    let regions = reader.result("WEBHOOKS_ALLOWED_REGIONS", regions);
    let concurrency = raw.webhooks.max_invocations.as_ref();
    let concurrency = reader.number("WEBHOOKS_MAX_INVOCATIONS", concurrency, 1..=100_000_usize);
    Some(LambdaConfig { endpoint, allowed: allowed?, regions: regions?, concurrency })
}

fn read_log(raw: &Raw, reader: &mut Reader) -> LogConfig {
    let format = match raw.log.format.as_deref() {
        None => None,
        Some("human") => Some(LogFormat::Human),
        Some("json") => Some(LogFormat::Json),
        Some(other) => {
            reader.error(format!("LOG_FORMAT: {other:?} is neither human nor json"));
            None
        }
    };
    let level = or_default("LOG_LEVEL", raw.log.level.as_ref());
    // A filter takes a word alone for a target and turns everything else off: `warning` would silence
    // the log.
    let word = |part: &str| !part.contains('=') && part.trim().parse::<LevelFilter>().is_err();
    if level.parse::<Targets>().is_err() || level.split(',').any(word) {
        reader.error(format!(
            "LOG_LEVEL: {level:?} is no level (error, warn, info, debug, trace, off) and no filter such as hookferry=debug,info"
        ));
        return LogConfig { format, level: default_of("LOG_LEVEL").to_owned() };
    }
    if let Ok(targets) = level.parse::<Targets>()
        && targets.default_level().is_none()
        && !targets.iter().any(|(target, _)| target.split("::").next() == Some(OWN_TARGET))
    {
        let meant = targets.iter().find(|(target, _)| app::nearest(target, [OWN_TARGET]).is_some());
        let meant =
            meant.map(|(_, level)| format!("; did you mean {OWN_TARGET}={level}?")).unwrap_or_default();
        reader.error(format!(
            "LOG_LEVEL: {level:?} names neither {OWN_TARGET} nor a level for all, so that nothing would be logged{meant} (write \
             {OWN_TARGET}=LEVEL, or a level alone)"
        ));
        return LogConfig { format, level: default_of("LOG_LEVEL").to_owned() };
    }
    LogConfig { format, level }
}

/// The target of hookferry's own log lines.
const OWN_TARGET: &str = env!("CARGO_CRATE_NAME");

/// All variables of the process, those that are no Unicode left out: of them [`not_unicode`] tells.
#[must_use]
pub fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests;
