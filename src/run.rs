//! `run`: starts a worker. Checks the queue, wires the adapters to the ports, runs, and flushes at the end.
//!
//! The only room that names all adapters of a worker. Knows nothing of jobs.

mod destinations;
pub(super) mod facts;
pub mod preflight;
mod samples;
pub(super) mod sources;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use self::destinations::Destinations;
use self::preflight::{Finding, Severity};
use crate::admin::status::StatusFacts;
use crate::admin::{self, Served};
use crate::app::Host;
use crate::apps::Observer;
use crate::board::Limits;
use crate::config::{Config, Errors, LambdaConfig, QueueConfig, Source};
use crate::delivery::http::{Http, Settings};
#[cfg(feature = "lambda")]
use crate::delivery::lambda::Lambda;
use crate::delivery::standard::Standard;
use crate::descriptors;
use crate::egress::resolver::{Resolve, SystemResolver};
use crate::flow::scaler::DENIED_WAIT;
use crate::lease;
use crate::policy::rules::{Disposal, Rules};
use crate::policy::whole_milliseconds;
use crate::process::reload::Reload;
use crate::process::{Failure, configuration, env, log, signals};
use crate::queue::ReceiveError;
use crate::queue::sqs::{Address, Connection, Description, Policies, Usage};
use crate::random::Random;
use crate::telemetry::embedded::{Lines, Writing};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{Settings as TracesSettings, Traces};
use crate::telemetry::watchdog::Watchdog;
use crate::wall;
use crate::worker::{Bounds, Parts, Worker, operator_hint};

/// The wait between attempts to reach the queue at start.
const START_WAIT: Duration = Duration::from_secs(2);

/// What is said of an app that everyone knows the secret of.
pub(crate) const WELL_KNOWN: &str =
    "DEFAULT_APP_ID, DEFAULT_APP_KEY or DEFAULT_APP_SECRET is soketi's well-known default; set all three";

/// A poll loop that has not turned for so long is dead: it turns every second.
const STILL: Duration = Duration::from_secs(30);

pub(super) async fn main() -> Result<ExitCode, Failure> {
    let reload = Reload::new(log(None));
    let config = configuration(&[])?;
    let shutdown = signals::shutdown();
    let metrics = Arc::new(Metrics::new());
    let listener = TcpListener::bind(config.metrics)
        .await
        .map_err(|error| Errors(vec![preflight::cannot_listen(config.metrics, &error).line()]))?;
    let facts = Arc::new(facts::of(&config, env::in_force(Some(&config))?));
    Box::pin(worker(config, listener, (metrics, facts), shutdown, reload)).await?;
    Ok(ExitCode::SUCCESS)
}

/// How to reach a configured queue.
pub(super) fn address(queue: &QueueConfig) -> Address {
    Address {
        url: queue.url.clone(),
        region: queue.region.clone(),
        endpoint: queue.endpoint.clone(),
        options: queue.client.sdk.clone(),
    }
}

/// Runs a worker until `shutdown`, drain included.
#[allow(clippy::too_many_lines, reason = "the wiring of a worker from start to end, in its order")]
pub(super) async fn worker(
    config: Config,
    listener: TcpListener,
    (metrics, facts): (Arc<Metrics>, Arc<StatusFacts>),
    shutdown: CancellationToken,
    reload: Option<Reload>,
) -> Result<(), Failure> {
    announce(&config);
    let max_in_flight = places(config.queue.max_in_flight);
    let health = Arc::new(Health::new(STILL).with_backoffs_of(config.retry.cap));
    let _watchdog = Watchdog::start(Arc::clone(&health)).context("the watchdog's thread")?;
    // Health is served to the very end of the drain.
    let served = CancellationToken::new();
    let serving = tokio::spawn(admin::serve(
        listener,
        Served { health: Arc::clone(&health), metrics: Arc::clone(&metrics), facts: Arc::clone(&facts) },
        served.clone(),
    ));
    let _serving_ends = served.drop_guard();
    let connection = Connection::load(address(&config.queue)).await;
    let Some(description) = reach(&connection, &health, &shutdown).await else { return Ok(()) };
    let visibility = config.queue.visibility.unwrap_or(description.visibility);
    let disposal = Disposal::new(description.max_receive_count, description.retention());
    let policies = Policies::following(config.queue.dead_letter_url.clone(), &description);
    facts::show(&facts, &description, &config);
    let found = Box::pin(preflight::facts(&connection, description, &config)).await;
    let findings = preflight::judge(&found, &config);
    tell(&findings)?;
    let (said, warnings) = watch::channel(facts::warnings(&config, &findings));
    let kept = samples::Upkeep {
        queue: connection.clone(),
        config: Arc::new(config.clone()),
        policies: policies.clone(),
        disposal: disposal.clone(),
        metrics: Arc::clone(&metrics),
        facts: Arc::clone(&facts),
        warnings: said,
    };
    let _sampling = AbortOnDropHandle::new(tokio::spawn(samples::keep(kept, found, findings)));
    let traces = traces(config.traces.as_ref());
    let usage = Usage {
        wait: config.queue.wait,
        // Asked for each time: were the queue's own changed while this runs, leases would end unnoticed.
        visibility: Some(visibility),
        settle_timeout: visibility
            .saturating_sub(config.timeout)
            .clamp(lease::margins(), Duration::from_secs(5)),
        policies,
        traced: traces.is_on(),
    };
    let rules = Rules {
        visibility,
        attempt_timeout: config.timeout,
        retry: config.retry,
        disposal,
        coalesce: config.coalesce,
    };
    metrics.board.set_limits(limits(&config, visibility));
    metrics.max_in_flight.set(i64::try_from(max_in_flight).unwrap_or(i64::MAX));
    metrics.max_bytes_in_flight.set(i64::try_from(config.queue.max_bytes).unwrap_or(i64::MAX));
    let bounds = Bounds {
        wait: config.queue.wait,
        max_in_flight,
        max_bytes: config.queue.max_bytes,
        batch: config.queue.batch,
        pause: config.queue.pause,
        grace: config.grace,
    };
    make_known(&config, &metrics);
    let counted = Arc::clone(&metrics);
    let observer = Observer::new(move |look_up| counted.looked_up(look_up));
    let (apps, mut app_tasks) = sources::open(config.apps, config.timeout, observer, &shutdown).await?;
    app_tasks.spawn(facts::keep(Arc::clone(&facts), warnings, Arc::clone(&metrics), apps.clone()));
    if let Some(reload) = reload {
        let apps = apps.clone();
        let reload_apps = move || {
            let apps = apps.clone();
            async move { apps.reload().await }
        };
        let told = move |level: &str| facts.changed("LOG_LEVEL", level, "file of --env-file, at SIGHUP");
        app_tasks.spawn(reload.run(reload_apps, told));
    }
    let transport = destinations(config.http, config.lambda, config.timeout).await?;
    let transport = Standard::new(transport, config.standard_headers, wall::now);
    let parts = Parts {
        queue: connection.queue(usage),
        transport,
        apps,
        random: Random::from_system(),
        metrics,
        health,
        traces: traces.clone(),
    };
    let metrics = Arc::clone(&parts.metrics);
    let lines = config.embedded_metrics.then(|| Writing::begin(Lines::new(&config.queue.url), metrics));
    info!(visibility_s = visibility.as_secs(), timeout_ms = whole_milliseconds(config.timeout), "delivering");
    // On one of the runtime's own threads: the one that runs `main` would have to be woken for every lane.
    let working = tokio::spawn(Worker::new(parts, rules, bounds, shutdown).run());
    let worked = AbortOnDropHandle::new(working).await;
    if let Some(lines) = lines {
        lines.end().await;
    }
    traces.flush().await;
    worked.context("the worker failed")?;
    serving.abort();
    Ok(())
}

/// How many messages are taken at the most, by what is configured and by the limit of open files.
fn places(configured: usize) -> usize {
    let limit = descriptors::raise();
    let max_in_flight = descriptors::places(limit, configured);
    if max_in_flight < configured {
        warn!(
            limit,
            max_in_flight,
            "the limit of open files is too low for QUEUE_SQS_MAX_IN_FLIGHT, so fewer messages are taken (raise the hard limit: ulimit -Hn, nofile in ECS' ulimits)"
        );
    }
    max_in_flight
}

/// What the states of destinations are told by.
fn limits(config: &Config, visibility: Duration) -> Limits {
    Limits {
        retry_window: config.retry.window,
        attempt_timeout: config.timeout,
        // The next retry is made by then, here or by another replica.
        forgotten_after: config.retry.cap + visibility + config.queue.wait + config.timeout,
    }
}

/// Puts the webhooks that are known before a job comes on the board.
fn make_known(config: &Config, metrics: &Metrics) {
    if matches!(config.apps.source, Source::Array) {
        let apps = config.apps.known().apps;
        let webhooks = apps.iter().flat_map(|app| app.webhooks.iter().map(move |webhook| (app, webhook)));
        metrics.board.known(webhooks.map(|(app, webhook)| {
            (app.id.as_str(), webhook.id.as_str(), Host(Some(&webhook.target)).to_string())
        }));
    }
}

/// Starts to export spans. What keeps them from being exported keeps no job from being delivered.
fn traces(settings: Option<&TracesSettings>) -> Traces {
    let Some(settings) = settings else { return Traces::default() };
    Traces::start(settings).unwrap_or_else(|error| {
        warn!(%error, "no traces are exported (check OTEL_EXPORTER_OTLP_ENDPOINT and the other variables that begin like it)");
        Traces::default()
    })
}

#[cfg_attr(not(feature = "lambda"), allow(unused_variables, clippy::unused_async, reason = "Lambda's alone"))]
async fn destinations(
    http: Settings,
    LambdaConfig { endpoint, allowed, regions, concurrency }: LambdaConfig,
    timeout: Duration,
) -> anyhow::Result<Destinations> {
    let policy = http.policy.clone();
    let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver::new().context("host names")?);
    let http = Http::with_resolver(http, Arc::clone(&resolver)).context("HTTP deliveries")?;
    #[cfg(feature = "lambda")]
    // The SDK's loader is a large future.
    let lambda = Box::pin(Lambda::load(endpoint, allowed, regions, policy, resolver, timeout)).await;
    Ok(Destinations {
        #[cfg(feature = "lambda")]
        lambda: lambda.with_concurrency(concurrency).sharing(http.sockets()),
        http,
    })
}

fn announce(config: &Config) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        queue = config.queue.url,
        region = config.queue.region,
        endpoint = config.queue.endpoint.as_deref().unwrap_or("AWS"),
        metrics = %config.metrics,
        apps = sources::describe(&config.apps),
        "starting"
    );
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if config.apps.well_known {
        warn!("{WELL_KNOWN}");
    }
}

/// Says what is not as it should be; all that is refused at once.
fn tell(findings: &[Finding]) -> Result<(), Errors> {
    let mut refused = Vec::new();
    for finding in findings {
        match finding.severity {
            Severity::Ok => {}
            Severity::Warning => warn!("{}", finding.line()),
            Severity::Error => error!("{}", finding.line()),
            Severity::Refused => refused.push(finding.line()),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Errors(refused)) }
}

/// Asks until the queue answers; `None` if the worker is to end before that.
async fn reach(
    connection: &Connection,
    health: &Health,
    shutdown: &CancellationToken,
) -> Option<Description> {
    loop {
        let answer = shutdown.run_until_cancelled(connection.describe()).await?;
        match answer {
            Ok(description) => {
                health.received();
                return Some(description);
            }
            Err(error) => {
                let wait = match error {
                    ReceiveError::Denied(_) | ReceiveError::Missing(_) => DENIED_WAIT,
                    ReceiveError::NoResponse(_) | ReceiveError::Throttled(_) | ReceiveError::Service(_) => {
                        START_WAIT
                    }
                };
                error!(%error, retry_in_ms = whole_milliseconds(wait), "{}", operator_hint(&error));
                health.receive_failed(&error);
                shutdown.run_until_cancelled(sleep(wait)).await?;
            }
        }
    }
}
