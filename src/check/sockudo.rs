//! Whether sockudo is set up as a producer: by its own variables, where an environment is shared with it.
//!
//! From sockudo's source (commit 7040dc04): it sends to the queue `webhooks`, with `.fifo` behind it and
//! `queue.sqs.queue_url_prefix` before it, in one message group; starts consumers on that queue, which delete
//! a job whatever its receiver answered; and sends some jobs without a deduplication id.

use std::collections::HashMap;

use crate::config::{Config, Source};
use crate::queue::sqs::Description;
use crate::run::preflight::{Finding, Remedy, Severity};

/// Variables of sockudo that say that it is there, and sends to SQS.
const SIGNS: [&str; 4] =
    ["QUEUE_SQS_FIFO", "QUEUE_SQS_CONCURRENCY", "WEBHOOK_BATCHING_ENABLED", "WEBHOOK_BATCHING_SIZE"];
/// What the name of its queue ends with.
const QUEUE: &str = "webhooks.fifo";
const ABOUT: &str = "sockudo";

pub(super) fn judge(
    environment: &HashMap<String, String>,
    config: &Config,
    queue: &Description,
) -> Vec<Finding> {
    let value = |name: &str| environment.get(name).map(|value| value.trim().to_ascii_lowercase());
    let its_queue = config.queue.url.ends_with(QUEUE);
    if !SIGNS.iter().any(|name| environment.contains_key(*name)) {
        let text = "the queue has the name of sockudo's; if sockudo is the producer: QUEUE_SQS_FIFO=true, \
                    QUEUE_SQS_CONCURRENCY=0 and WEBHOOK_BATCHING_ENABLED=true there, ContentBasedDeduplication=true on the queue";
        return if its_queue { vec![Finding::ok(ABOUT, text)] } else { Vec::new() };
    }
    let mut findings = Vec::new();
    let mut wrong = |severity, text: &str, remedy: &str| {
        findings.push(Finding::new(severity, ABOUT, text).remedy(remedy));
    };
    // What its environment says nothing of, its configuration file may say.
    let severity = |said: &Option<String>| if said.is_some() { Severity::Error } else { Severity::Warning };
    let fifo = value("QUEUE_SQS_FIFO");
    if !fifo.as_deref().is_some_and(is_true) {
        wrong(
            severity(&fifo),
            "without QUEUE_SQS_FIFO=true it sends to a queue that is no FIFO queue",
            "set QUEUE_SQS_FIFO=true for sockudo",
        );
    }
    let consumers = value("QUEUE_SQS_CONCURRENCY");
    if consumers.as_deref() != Some("0") {
        wrong(
            severity(&consumers),
            "it starts consumers of its own on the queue, five by default: what they take they delete, delivered or not",
            "set QUEUE_SQS_CONCURRENCY=0 for sockudo",
        );
    }
    if value("WEBHOOK_BATCHING_ENABLED").is_some_and(|value| !is_true(&value)) {
        wrong(
            Severity::Warning,
            "without batching it sends each event as it happens, several at a time: two can swap before they are on the queue",
            "set WEBHOOK_BATCHING_ENABLED=true for sockudo",
        );
    }
    if !its_queue {
        wrong(
            Severity::Error,
            "it sends to a queue whose name ends in webhooks.fifo, which QUEUE_SQS_URL does not",
            "set QUEUE_SQS_URL to that queue's URL, or queue.sqs.queue_url_prefix in sockudo's configuration",
        );
    }
    if queue.attribute("ContentBasedDeduplication") == Some("false") {
        wrong(
            Severity::Error,
            "it sends jobs of AI events without a deduplication id: SQS refuses them",
            &Remedy { config }.attribute("ContentBasedDeduplication", "true"),
        );
    }
    let unread = unread(environment, &config.apps.source);
    if !unread.is_empty() {
        let (its, ours): (Vec<_>, Vec<_>) = unread.into_iter().unzip();
        wrong(
            Severity::Warning,
            &format!("{} are sockudo's, and not read here", its.join(", ")),
            &format!("set {} to the same", ours.join(", ")),
        );
    }
    let together = if config.coalesce.is_some() {
        "WEBHOOKS_COALESCE sends what waits of one app together"
    } else {
        "WEBHOOKS_COALESCE=true would send what waits of one app together"
    };
    findings.push(Finding::ok(
        ABOUT,
        format!(
            "one message group holds all its apps' jobs: one delivery at a time, 20 a second where a receiver takes 50 ms; {together}"
        ),
    ));
    findings
}

/// Its variables of the database in use that are set, where hookferry's own for the same are not: both names.
fn unread(environment: &HashMap<String, String>, source: &Source) -> Vec<(String, String)> {
    let sql = |name: &str| {
        let member = |member: &str| (format!("DATABASE_{name}_{member}"), format!("DB_{name}_{member}"));
        let mut pairs = ["HOST", "PORT", "USERNAME", "PASSWORD", "DATABASE"].map(member).to_vec();
        pairs.push((format!("DATABASE_{name}_TABLE_NAME"), format!("APP_MANAGER_{name}_TABLE")));
        pairs
    };
    let mut pairs = match source {
        Source::Array => Vec::new(),
        Source::Postgres(_) => sql("POSTGRES"),
        Source::MySql(_) => sql("MYSQL"),
        Source::DynamoDb(_) => [("TABLE_NAME", "TABLE"), ("REGION", "REGION"), ("ENDPOINT_URL", "ENDPOINT")]
            .map(|(its, ours)| (format!("DATABASE_DYNAMODB_{its}"), format!("APP_MANAGER_DYNAMODB_{ours}")))
            .to_vec(),
    };
    let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.trim().is_empty());
    pairs.retain(|(its, ours)| is_set(its) && !is_set(ours) && !is_set(&format!("SOKETI_{ours}")));
    pairs
}

/// What sockudo takes for true.
fn is_true(value: &str) -> bool {
    ["true", "1", "yes", "on"].contains(&value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    const GOOD: [(&str, &str); 2] = [("QUEUE_SQS_FIFO", "true"), ("QUEUE_SQS_CONCURRENCY", "0")];

    fn judged(name: &str, variables: &[(&str, &str)], by_content: &str) -> Vec<Finding> {
        let url = format!("https://sqs.eu-west-1.amazonaws.com/123456789012/{name}");
        let environment: HashMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let own = environment.clone().into_iter().filter(|(name, _)| !name.starts_with("QUEUE_SQS_"));
        let config = Config::from_env(own.chain([("QUEUE_SQS_URL".to_owned(), url)])).unwrap();
        let description = Description {
            visibility: Duration::from_secs(5),
            dead_letter_url: None,
            max_receive_count: None,
            dead_letter_arn: None,
            attributes: BTreeMap::from([("ContentBasedDeduplication".to_owned(), by_content.to_owned())]),
        };
        judge(&environment, &config, &description)
    }

    fn faults(name: &str, variables: &[(&str, &str)], by_content: &str) -> Vec<(Severity, String)> {
        let judged = judged(name, variables, by_content).into_iter();
        let wrong = judged.filter(|finding| finding.severity > Severity::Ok);
        wrong.map(|finding| (finding.severity, finding.line())).collect()
    }

    #[test]
    fn sockudo_as_the_documentation_sets_it_up_has_nothing_to_be_said_of_but_its_one_group() {
        assert_eq!(faults("live-webhooks.fifo", &GOOD, "true"), []);
        let told = judged("webhooks.fifo", &GOOD, "true");
        assert!(told.len() == 1 && told[0].text.contains("WEBHOOKS_COALESCE"), "{told:?}");
        assert_eq!(judged("jobs.fifo", &[], "false"), [], "no sockudo");
        assert_eq!(judged("webhooks.fifo", &[], "false").len(), 1, "its queue's name is a hint");
    }

    #[test]
    #[cfg(feature = "postgres")]
    fn its_variables_of_the_database_are_told_with_those_that_are_read() {
        let its = [
            ("APP_MANAGER_DRIVER", "pgsql"),
            ("DATABASE_POSTGRES_HOST", "db.internal"),
            ("DATABASE_POSTGRES_PASSWORD", "hush"),
            ("DATABASE_POSTGRES_TABLE_NAME", "applications"),
            ("DATABASE_MYSQL_HOST", "not in use"),
        ];
        let ours =
            [("DB_POSTGRES_HOST", "db.internal"), ("SOKETI_APP_MANAGER_POSTGRES_TABLE", "applications")];
        let found = faults("webhooks.fifo", &[&GOOD[..], &its, &ours].concat(), "true");
        let [(Severity::Warning, line)] = &found[..] else { panic!("{found:?}") };
        assert!(
            line.contains("DATABASE_POSTGRES_PASSWORD") && line.contains("DB_POSTGRES_PASSWORD"),
            "{line}"
        );
        assert!(!["HOST", "TABLE", "MYSQL", "hush"].iter().any(|other| line.contains(other)), "{line}");
        let array = faults("webhooks.fifo", &[&GOOD[..], &its[1..]].concat(), "true");
        assert_eq!(array, [], "no database is asked");
    }

    #[test]
    fn each_setting_that_is_wrong_is_told_with_what_mends_it() {
        for (name, changed, by_content, severity, says) in [
            ("webhooks.fifo", ("QUEUE_SQS_FIFO", "false"), "true", Severity::Error, "QUEUE_SQS_FIFO=true"),
            (
                "webhooks.fifo",
                ("QUEUE_SQS_CONCURRENCY", "5"),
                "true",
                Severity::Error,
                "QUEUE_SQS_CONCURRENCY=0",
            ),
            ("jobs.fifo", ("QUEUE_SQS_CONCURRENCY", "0"), "true", Severity::Error, "queue_url_prefix"),
            (
                "webhooks.fifo",
                ("WEBHOOK_BATCHING_ENABLED", "off"),
                "true",
                Severity::Warning,
                "WEBHOOK_BATCHING_ENABLED=true",
            ),
            (
                "webhooks.fifo",
                ("QUEUE_SQS_CONCURRENCY", "0"),
                "false",
                Severity::Error,
                r#"{"ContentBasedDeduplication":"true"}"#,
            ),
        ] {
            let mut variables = GOOD.to_vec();
            variables.retain(|(name, _)| *name != changed.0);
            variables.push(changed);
            let found = faults(name, &variables, by_content);
            let [(found, line)] = &found[..] else { panic!("{changed:?}: {found:?}") };
            assert!(*found == severity && line.contains(says), "{line}");
        }
        let silent = faults("webhooks.fifo", &[("WEBHOOK_BATCHING_SIZE", "50")], "true");
        assert_eq!(silent.len(), 2, "its defaults are neither FIFO nor without consumers: {silent:?}");
        assert!(
            silent.iter().all(|(severity, _)| *severity == Severity::Warning),
            "a file may say otherwise"
        );
    }
}
