//! `check`: everything that a worker with this environment would meet, looked at without a job.

mod handshake;
mod keys;
mod report;
mod sockudo;
mod targets;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::apps::array::Listed;
use crate::apps::{Apps, LookUpError, Observer};
use crate::config::{Config, Errors, Source, environment};
use crate::descriptors;
use crate::process::ops::is_a_worker;
use crate::process::output::print;
use crate::process::{Failure, configuration, log};
use crate::queue::sqs::{Connection, Probe};
use crate::queue::{ReceiveError, lacks_right};
use crate::run::preflight::{self, Finding, Severity};
use crate::run::sources::Sources;
use crate::run::{WELL_KNOWN, address, sources};
use crate::shown;
use report::{Report, Section};

/// How many seconds a clock may be off without a word.
const SKEW_TOLD: u64 = 30;
/// How many it may be off without an error: AWS refuses signatures that are off by five minutes.
const SKEW_REFUSED: u64 = 240;

/// Fewer descriptors than this are few for a worker: each connection takes one.
const DESCRIPTORS: u64 = 4096;

/// As many apps are listed.
const LISTED: usize = 50;
/// As many remarks on the apps of the environment and the file are told.
const REMARKS: usize = 500;

/// The longest that an app source may take.
const LOOK_UP: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Exit 1 for warnings too.
    #[arg(long)]
    deny_warnings: bool,
}

pub(super) async fn main(options: Options) -> Result<ExitCode, Failure> {
    log(Some("off"));
    let mut report = Report::default();
    match configuration(&[]) {
        Err(Errors(errors)) => {
            let refused = |error| Finding::new(Severity::Refused, "configuration", error);
            report.add(Section::Configuration, errors.into_iter().map(refused));
        }
        Ok(config) => {
            report.add(Section::Configuration, settings(&config));
            let connection = Connection::load(address(&config.queue)).await;
            queue(&connection, &config, &mut report).await;
            report.add(Section::Apps, apps(&config).await);
            report.add(Section::Webhooks, targets::webhooks(&config).await);
            #[cfg(feature = "lambda")]
            report.add(Section::Functions, targets::functions(&config).await);
            report.add(Section::Process, process(&config).await);
        }
    }
    print(&if options.json {
        format!("{}\n", shown::json(&report.json().to_string()))
    } else {
        report.table()
    })?;
    Ok(report.exit(options.deny_warnings))
}

fn settings(config: &Config) -> Vec<Finding> {
    let about = "configuration";
    let mut findings: Vec<Finding> = config
        .warnings
        .iter()
        .map(|warning| Finding::new(Severity::Warning, about, warning.clone()))
        .collect();
    if config.apps.well_known {
        findings.push(Finding::new(Severity::Warning, about, WELL_KNOWN));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(about, "every variable can be used"));
    }
    findings
}

async fn queue(connection: &Connection, config: &Config, report: &mut Report) {
    let place = format!(
        "{} in {}, reached at {}",
        config.queue.url,
        config.queue.region,
        config.queue.endpoint.as_deref().unwrap_or(if config.queue.at_aws {
            "AWS' own endpoint"
        } else {
            "the endpoint of AWS_ENDPOINT_URL"
        })
    );
    // An emulator's credentials are none of AWS'.
    let caller = async { if config.queue.at_aws { Some(connection.caller().await) } else { None } };
    let (source, caller, described) =
        tokio::join!(connection.credentials_source(), caller, connection.describe());
    let source = match source {
        Ok(source) => Finding::ok("credentials", format!("from {source}")),
        Err(why) => Finding::new(Severity::Error, "credentials", why).remedy(
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the task's role (taskRoleArn)",
        ),
    };
    report.add(
        Section::Identity,
        [
            source,
            match caller {
                None => Finding::ok("identity", "the endpoint is not AWS': not asked"),
                Some(Ok(arn)) => Finding::ok("identity", arn),
                // A private network has a way to SQS, and may have none to STS.
                Some(Err(why)) => {
                    Finding::ok("identity", format!("not known, which a worker does not need: STS: {why}"))
                }
            },
        ],
    );
    let description = match described {
        Ok(description) => description,
        Err(error) => {
            let text = format!("{place}: {error}");
            let finding = Finding::new(Severity::Error, "queue", text).remedy(queue_remedy(&error));
            report.add(Section::Queue, [finding]);
            return;
        }
    };
    report.add(Section::Clock, [clock(connection.clock_ahead())]);
    report.add(Section::Queue, [Finding::ok("queue", place)]);
    let facts = preflight::facts(connection, description, config).await;
    report.add(Section::Queue, preflight::judge(&facts, config));
    report.add(Section::Queue, sockudo::judge(&environment(), config, &facts.queue));
    report.add(Section::Permissions, permissions(connection, &facts, config.queue.at_aws).await);
}

/// What is to be done about a queue that does not answer; a worker goes on trying, a check does not.
fn queue_remedy(error: &ReceiveError) -> &'static str {
    match error {
        ReceiveError::NoResponse(_) => "see QUEUE_SQS_ENDPOINT, QUEUE_SQS_REGION and the network",
        ReceiveError::Throttled(_) => "run this again: SQS throttles the account's calls",
        ReceiveError::Denied(why) if lacks_right(why, "sqs:") => {
            "allow the worker's role sqs:GetQueueAttributes, sqs:ReceiveMessage, sqs:DeleteMessage and \
             sqs:ChangeMessageVisibility on the queue"
        }
        ReceiveError::Denied(_) => {
            "see what it says; where there are no credentials, set some or a task role"
        }
        ReceiveError::Missing(_) => "see QUEUE_SQS_URL and QUEUE_SQS_REGION",
        ReceiveError::Service(_) => "run this again, and see the state of SQS in that region",
    }
}

fn clock(ahead: i64) -> Finding {
    let by = ahead.unsigned_abs() / 1000;
    if by < SKEW_TOLD {
        return Finding::ok("clock", "agrees with the queue's");
    }
    let severity = if by < SKEW_REFUSED { Severity::Warning } else { Severity::Error };
    let way = if ahead > 0 { "behind" } else { "ahead of" };
    Finding::new(severity, "clock", format!("this machine's clock is {by} s {way} the queue's"))
        .remedy("set it, and keep it set by NTP (timedatectl set-ntp true)")
}

async fn permissions(connection: &Connection, facts: &preflight::QueueFacts, aws: bool) -> Vec<Finding> {
    let about = "permissions";
    let (receive, delete, change) = tokio::join!(
        connection.probe_receive(),
        connection.probe_delete(),
        connection.probe_change_visibility()
    );
    let mut probes = vec![
        ("sqs:GetQueueAttributes", Probe::Allowed),
        ("sqs:ReceiveMessage", receive),
        ("sqs:DeleteMessage", delete),
        ("sqs:ChangeMessageVisibility", change),
    ];
    let own = facts.queue.attribute("QueueArn").unwrap_or("the queue's ARN");
    let dead = facts.dead_letters.as_ref().and_then(|dead| dead.description.as_ref().ok());
    let dead = dead.and_then(|dead| dead.attribute("QueueArn")).unwrap_or("the dead-letter queue's ARN");
    if let Some(dead) = &facts.dead_letters {
        probes.push(("sqs:SendMessage (dead-letter queue)", dead.send.clone()));
    }
    let certain = if aws {
        "by a call that had to fail"
    } else {
        "certain only on AWS: this endpoint may know no rights"
    };
    let finding = |(permission, probe): (&str, Probe)| match probe {
        Probe::Allowed => Finding::ok(about, format!("{permission}: {certain}")),
        Probe::Denied(why) => {
            let finding = Finding::new(Severity::Error, about, format!("{permission} is denied: {why}"));
            // Else the error itself says what would help: the queue's key, the credentials, a proxy.
            let (action, of) = permission.split_once(' ').unwrap_or((permission, ""));
            let resource = if of.is_empty() { own } else { dead };
            if lacks_right(&why, action) {
                finding.remedy(preflight::statement(action, resource))
            } else {
                finding
            }
        }
        Probe::Unknown(why) => {
            Finding::new(Severity::Warning, about, format!("{permission} is not known: {why}"))
        }
    };
    let keys = keys::judge(&facts.queue, facts.dead_letters.as_ref());
    probes.into_iter().map(finding).chain(keys).collect()
}

async fn apps(config: &Config) -> Vec<Finding> {
    let about = "apps";
    let place = sources::describe(&config.apps);
    if matches!(config.apps.source, Source::Array) {
        return known(&config.apps.known());
    }
    let ended = CancellationToken::new();
    let opened = sources::open(config.apps.clone(), config.timeout, Observer::default(), &ended).await;
    let (source, _tasks) = match opened {
        Ok(opened) => opened,
        Err(Errors(errors)) => {
            return errors.into_iter().map(|error| Finding::new(Severity::Refused, about, error)).collect();
        }
    };
    let answer = tokio::time::timeout(LOOK_UP, source.find_by_key("hookferry-check")).await;
    let mut findings = vec![match answer {
        Ok(Ok(_) | Err(LookUpError::Unusable(_))) => Finding::ok(about, format!("{place} answers")),
        Ok(Err(LookUpError::Unreachable(why))) => {
            Finding::new(Severity::Error, about, format!("{place} cannot be asked: {why}"))
                .remedy("see its address, network, credentials and permissions")
        }
        Err(_) => Finding::new(Severity::Error, about, format!("{place} does not answer"))
            .remedy("see its address and network"),
    }];
    if matches!(findings.as_slice(), [Finding { severity: Severity::Ok, .. }]) {
        findings.extend(of_a_database(&source).await);
    }
    ended.cancel();
    findings
}

/// Some apps of the environment and the file, and what is to be said of all of them.
fn known(apps: &Listed) -> Vec<Finding> {
    let about = "apps";
    let mut findings = targets::of_apps(apps.apps.iter().take(LISTED));
    if apps.apps.len() > LISTED {
        findings.push(Finding::ok(about, format!("the first {LISTED} of {} are listed", apps.apps.len())));
    }
    let remarks = apps.remarks();
    let told = remarks.iter().filter_map(|remark| match remark.severity {
        app::Severity::Error => Some((Severity::Error, &remark.text)),
        app::Severity::Warning => Some((Severity::Warning, &remark.text)),
        app::Severity::Note => None,
    });
    findings.extend(told.clone().take(REMARKS).map(|(severity, text)| {
        Finding::new(severity, about, text.clone()).remedy("correct it in APPS or APPS_FILE")
    }));
    let rest = told.count().saturating_sub(REMARKS);
    if rest > 0 {
        findings.push(Finding::new(Severity::Warning, about, format!("and {rest} remarks more on the apps")));
    }
    if apps.apps.iter().all(|app| app.webhooks.is_empty()) {
        findings.push(
            Finding::new(Severity::Warning, about, "no app has a webhook: nothing will be delivered")
                .remedy("set DEFAULT_APP_WEBHOOKS or APPS_FILE"),
        );
    }
    findings
}

/// Some apps of a database with their webhooks, each looked up as a job of it would be.
async fn of_a_database(source: &Sources) -> Vec<Finding> {
    let about = "apps";
    let keys = match tokio::time::timeout(LOOK_UP, source.keys(LISTED + 1)).await {
        Ok(Ok(keys)) => keys,
        Ok(Err(LookUpError::Unreachable(why) | LookUpError::Unusable(why))) => {
            return vec![Finding::ok(about, format!("not listed, which a worker does not need: {why}"))];
        }
        Err(_) => return vec![Finding::ok(about, "not listed: that took too long")],
    };
    let mut findings = Vec::new();
    for key in keys.iter().take(LISTED) {
        let shown = app::shown(key);
        findings.push(match tokio::time::timeout(LOOK_UP, source.find_by_key(key)).await {
            Ok(Ok(Some(app))) => {
                findings.extend(targets::of_apps([&*app]));
                continue;
            }
            Ok(Ok(None)) => Finding::new(
                Severity::Warning,
                about,
                format!("the app with the key {shown} is not found by it"),
            ),
            Ok(Err(LookUpError::Unusable(why))) => Finding::new(Severity::Warning, about, why)
                .remedy("correct its row: until then its jobs are dead-lettered after the retry window"),
            Ok(Err(LookUpError::Unreachable(why))) => Finding::new(Severity::Warning, about, why),
            Err(_) => {
                Finding::new(Severity::Warning, about, format!("no answer for the app with the key {shown}"))
            }
        });
    }
    match keys.len() {
        0 => findings.push(
            Finding::new(Severity::Warning, about, "there is no app: every job will be dead-lettered")
                .remedy("add apps to the table"),
        ),
        more if more > LISTED => {
            findings.push(Finding::ok(about, format!("the first {LISTED}; there are more")));
        }
        _ => {}
    }
    findings
}

async fn process(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match descriptors::hard_limit() {
        u64::MAX => Finding::ok("descriptors", "no limit"),
        // A worker raises its own limit to the hard one.
        most if most >= DESCRIPTORS => Finding::ok("descriptors", format!("{most} at the most")),
        most => {
            let text =
                format!("{most} at the most, {DESCRIPTORS} are recommended: each connection takes one");
            Finding::new(Severity::Warning, "descriptors", text).remedy(
                "raise nofile: ulimits in the task definition, --ulimit nofile=65536:65536 with docker",
            )
        }
    });
    let grace = config.grace.as_secs();
    findings.push(if grace < 30 {
        Finding::ok("shutdown grace", format!("{grace} s, inside ECS' default stopTimeout of 30 s"))
    } else {
        let text = format!(
            "{grace} s: ECS kills a task after its stopTimeout, 30 s by default and 120 s at the most"
        );
        Finding::new(Severity::Warning, "shutdown grace", text)
            .remedy(format!("set stopTimeout above {grace}, or SHUTDOWN_GRACE_SECONDS=25"))
    });
    findings.push(ops_port(config.metrics).await);
    findings
}

/// Whether a worker could listen there; that one does already is no reason to refuse anything.
async fn ops_port(address: SocketAddr) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Finding::ok("ops port", format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_a_worker(address).await => {
            Finding::ok("ops port", format!("a worker answers at {address}"))
        }
        Err(error) => preflight::cannot_listen(address, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_run_would_refuse_is_refused() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let in_use = ops_port(taken.local_addr().unwrap()).await;
        assert_eq!(in_use.severity, Severity::Refused, "no worker answers there");
        let not_here = ops_port("203.0.113.9:9602".parse().unwrap()).await;
        assert_eq!(not_here.severity, Severity::Refused);
        assert!(
            not_here.line().starts_with("METRICS_PORT: cannot listen on 203.0.113.9:9602"),
            "{not_here:?}"
        );
    }
}
