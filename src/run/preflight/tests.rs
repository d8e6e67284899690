use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

const URL: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo";
const DEAD: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/dead.fifo";
const DEAD_ARN: &str = "arn:aws:sqs:eu-west-1:123456789012:dead.fifo";

fn config(more: &[(&str, &str)]) -> Config {
    let base = [("QUEUE_SQS_URL", URL)];
    let all = base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_env(all).unwrap()
}

fn queue(name: &str, more: &[(&str, &str)]) -> Description {
    let base = [
        ("QueueArn", format!("arn:aws:sqs:eu-west-1:123456789012:{name}")),
        ("FifoQueue", "true".to_owned()),
        ("DelaySeconds", "0".to_owned()),
        ("ContentBasedDeduplication", "false".to_owned()),
        ("DeduplicationScope", "messageGroup".to_owned()),
        ("FifoThroughputLimit", "perMessageGroupId".to_owned()),
        ("MessageRetentionPeriod", "1209600".to_owned()),
        ("MaximumMessageSize", "1048576".to_owned()),
    ];
    let mut attributes: BTreeMap<String, String> =
        base.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Description {
        visibility: Duration::from_secs(5),
        dead_letter_url: Some(DEAD.to_owned()),
        max_receive_count: Some(1000),
        dead_letter_arn: (name == "jobs.fifo").then(|| DEAD_ARN.to_owned()),
        attributes,
    }
}

fn dead(more: &[(&str, &str)]) -> DeadLetters {
    DeadLetters { url: DEAD.to_owned(), description: Ok(queue("dead.fifo", more)), send: Probe::Allowed }
}

fn found(facts: &QueueFacts, config: &Config) -> Vec<(Severity, String)> {
    let wrong = judge(facts, config).into_iter().filter(|finding| finding.severity > Severity::Ok);
    wrong.map(|finding| (finding.severity, finding.line())).collect()
}

fn one(facts: &QueueFacts, config: &Config) -> (Severity, String) {
    let mut found = found(facts, config);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[test]
fn the_recommended_queue_has_nothing_to_be_said_of() {
    for by_content in ["false", "true"] {
        let queue = queue("jobs.fifo", &[("ContentBasedDeduplication", by_content)]);
        let facts = QueueFacts { queue, dead_letters: Some(dead(&[])) };
        assert_eq!(found(&facts, &config(&[])), [], "sockudo needs it");
    }
}

#[test]
fn a_receive_count_that_retries_can_use_up_is_refused_with_the_line_that_mends_it() {
    for most in [1, 3, 10, 100] {
        let mut facts = QueueFacts { queue: queue("jobs.fifo", &[]), dead_letters: Some(dead(&[])) };
        facts.queue.max_receive_count = Some(most);
        let (severity, line) = one(&facts, &config(&[]));
        assert_eq!(severity, Severity::Refused);
        assert!(
            line.contains(&format!("aws sqs set-queue-attributes --region eu-west-1 --queue-url {URL}"))
                && line.contains(r#"\"maxReceiveCount\":\"1000\""#)
                && line.contains(DEAD_ARN)
                && line.contains("QUEUE_SQS_ALLOW_LOW_RECEIVE_COUNT=true"),
            "{line}"
        );
        let anyway = config(&[("QUEUE_SQS_ALLOW_LOW_RECEIVE_COUNT", "true")]);
        assert_eq!(one(&facts, &anyway).0, Severity::Warning);
    }
}

#[test]
fn what_a_job_can_need_follows_from_window_base_and_cap() {
    let needed = |window, base_ms, cap_ms| {
        needed_receives(&crate::policy::Retry {
            window: Duration::from_secs(window),
            base: Duration::from_millis(base_ms),
            cap: Duration::from_millis(cap_ms),
        })
    };
    assert_eq!(needed(0, 1000, 60_000), 10, "one attempt each, and nine ahead");
    let default = needed(300, 1000, 60_000);
    assert!((200..=300).contains(&default), "{default}");
    assert!(needed(600, 1000, 60_000) > default);
    assert!(needed(300, 10_000, 60_000) < default);
    assert_eq!(needed(300, 1000, 1000), 3010, "SQS has none so high");
    assert_eq!(needed(1_209_600, 1, 1000), 12_096_010);
    assert_eq!(needed(1_209_600, 36_000_000, 36_000_000), 1350);
}

#[test]
fn a_window_that_the_highest_receive_count_does_not_cover_is_warned_of_with_the_cap_that_does() {
    let facts = QueueFacts { queue: queue("jobs.fifo", &[]), dead_letters: Some(dead(&[])) };
    assert_eq!(facts.queue.max_receive_count, Some(1000));
    for window in ["3600", "86400", "259200"] {
        let set = ("WEBHOOKS_RETRY_WINDOW_SECONDS", window);
        let warned = |facts: &QueueFacts, more: &[(&'static str, &str)]| {
            let set: Vec<_> = [&[set][..], more].concat();
            found(facts, &config(&set)).into_iter().find(|(_, line)| line.contains("maxReceiveCount"))
        };
        let (severity, line) = warned(&facts, &[]).unwrap();
        assert_eq!(severity, Severity::Warning, "{window}");
        assert!(line.contains("QUEUE_SQS_DLQ_URL") && !line.contains("set-queue-attributes"), "{line}");
        let cap = line.split("set WEBHOOKS_RETRY_MAX_MS=").nth(1).unwrap();
        let cap: u64 = cap.split(' ').next().unwrap().parse().unwrap();
        let with = |cap: u64| warned(&facts, &[("WEBHOOKS_RETRY_MAX_MS", cap.to_string().as_str())]);
        assert_eq!(with(cap), None, "{window}");
        assert!(with(cap - 1000).is_some(), "{window}: {cap} is the smallest");
        let mut fewer = QueueFacts { queue: queue("jobs.fifo", &[]), dead_letters: Some(dead(&[])) };
        fewer.queue.max_receive_count = Some(999);
        let (severity, line) = warned(&fewer, &[]).unwrap();
        assert_eq!(severity, Severity::Refused, "{window}");
        assert!(line.contains("QUEUE_SQS_ALLOW_LOW_RECEIVE_COUNT"), "{line}");
        let mut uncounted = QueueFacts { queue: queue("jobs.fifo", &[]), dead_letters: Some(dead(&[])) };
        uncounted.queue.max_receive_count = None;
        assert_eq!(warned(&uncounted, &[]), None);
    }
}

#[test]
fn where_no_cap_is_enough_a_shorter_window_is_asked_for() {
    let facts = QueueFacts { queue: queue("jobs.fifo", &[]), dead_letters: Some(dead(&[])) };
    let set = [("WEBHOOKS_RETRY_WINDOW_SECONDS", "1209600")];
    let (_, line) =
        found(&facts, &config(&set)).into_iter().find(|(_, line)| line.contains("maxReceiveCount")).unwrap();
    assert!(line.contains("lower WEBHOOKS_RETRY_WINDOW_SECONDS"), "{line}");
}

#[test]
fn a_retention_below_the_window_is_refused_and_below_four_times_of_it_warned_of() {
    for (kept, severity) in [
        ("60", Severity::Refused),
        ("299", Severity::Refused),
        ("300", Severity::Warning),
        ("1199", Severity::Warning),
    ] {
        let queue = queue("jobs.fifo", &[("MessageRetentionPeriod", kept)]);
        let (found, line) = one(&QueueFacts { queue, dead_letters: Some(dead(&[])) }, &config(&[]));
        assert_eq!(found, severity, "{line}");
        assert!(
            line.contains("WEBHOOKS_RETRY_WINDOW_SECONDS") && line.contains("MessageRetentionPeriod"),
            "{line}"
        );
    }
}

#[test]
fn where_the_queue_keeps_messages_for_as_long_as_can_be_the_window_is_to_be_shortened() {
    let queue = queue("jobs.fifo", &[("MessageRetentionPeriod", "1209600")]);
    let config =
        config(&[("WEBHOOKS_RETRY_WINDOW_SECONDS", "302401"), ("WEBHOOKS_RETRY_MAX_MS", "36000000")]);
    let (found, line) = one(&QueueFacts { queue, dead_letters: Some(dead(&[])) }, &config);
    assert!(
        found == Severity::Warning && line.contains("export WEBHOOKS_RETRY_WINDOW_SECONDS=302400"),
        "{line}"
    );
}

#[test]
fn what_differs_from_the_recommended_attributes_is_a_warning_each_with_its_line() {
    for (name, value) in
        [("DelaySeconds", "30"), ("DeduplicationScope", "queue"), ("FifoThroughputLimit", "perQueue")]
    {
        let facts = QueueFacts { queue: queue("jobs.fifo", &[(name, value)]), dead_letters: Some(dead(&[])) };
        let (severity, line) = one(&facts, &config(&[]));
        assert!(severity == Severity::Warning && line.contains("aws sqs set-queue-attributes"), "{line}");
        assert!(line.contains(&format!("{name} is {value}")), "{line}");
    }
}

#[test]
fn a_dead_letter_queue_that_is_the_queue_itself_is_refused_however_spelled() {
    for spelled in [
        URL.to_owned(),
        "https://eu-west-1.queue.amazonaws.com/123456789012/jobs.fifo".to_owned(),
        "https://sqs.eu-west-1.amazonaws.com//123456789012/jobs.fifo".to_owned(),
        "https://SQS.eu-west-1.amazonaws.com:443/123456789012/jobs.fifo".to_owned(),
    ] {
        for description in [Ok(queue("jobs.fifo", &[])), Err(ReceiveError::Denied("no".into()))] {
            let dead_letters = Some(DeadLetters { url: spelled.clone(), description, send: Probe::Allowed });
            let facts = QueueFacts { queue: queue("jobs.fifo", &[]), dead_letters };
            let (severity, line) = one(&facts, &config(&[("QUEUE_SQS_DLQ_URL", &spelled)]));
            assert!(severity == Severity::Refused && line.contains("the queue itself"), "{line}");
        }
    }
}

#[test]
fn a_dead_letter_queue_that_moves_its_letters_on_is_told_and_one_that_moves_them_back_is_refused() {
    let policy = |target: &str| Description {
        dead_letter_arn: Some(target.to_owned()),
        max_receive_count: Some(3),
        ..queue("dead.fifo", &[])
    };
    for (target, expected) in [
        ("arn:aws:sqs:eu-west-1:123456789012:jobs.fifo", Severity::Refused),
        ("arn:aws:sqs:eu-west-1:123456789012:attic.fifo", Severity::Warning),
    ] {
        let dead_letters =
            Some(DeadLetters { url: DEAD.to_owned(), description: Ok(policy(target)), send: Probe::Allowed });
        let facts = QueueFacts { queue: queue("jobs.fifo", &[]), dead_letters };
        let (severity, line) = one(&facts, &config(&[]));
        assert_eq!(severity, expected, "{line}");
        assert!(line.contains("after 3 receives") && line.contains(target), "{line}");
        assert!(line.contains(DEAD) && line.contains("set-queue-attributes"), "{line}");
    }
}

#[test]
fn what_is_wrong_with_a_dead_letter_queue_is_said_at_start() {
    let with = |dead_letters| QueueFacts { queue: queue("jobs.fifo", &[]), dead_letters };
    let told = |dead_letters, severity, word: &str| {
        let (found, line) = one(&with(dead_letters), &config(&[]));
        assert!(found == severity && line.contains(word), "{line}");
    };
    told(None, Severity::Warning, "QUEUE_SQS_DLQ_URL");
    let create =
        "remedy: aws sqs create-queue --region eu-west-1 --queue-name jobs-dead-letters.fifo --attributes '{";
    told(None, Severity::Warning, create);
    let name_it =
        format!("&& aws sqs set-queue-attributes --region eu-west-1 --queue-url {URL} --attributes '{{");
    told(None, Severity::Warning, &name_it);
    told(None, Severity::Warning, r#"arn:aws:sqs:eu-west-1:123456789012:jobs-dead-letters.fifo\""#);
    told(Some(dead(&[("FifoQueue", "false")])), Severity::Error, "no FIFO queue");
    told(Some(dead(&[("MaximumMessageSize", "262144")])), Severity::Warning, "262144 bytes");
    told(Some(dead(&[("DelaySeconds", "60")])), Severity::Warning, "set-queue-attributes");
    told(Some(dead(&[("DelaySeconds", "60")])), Severity::Warning, "DelaySeconds of");
    told(Some(dead(&[("MessageRetentionPeriod", "60")])), Severity::Warning, "less than the queue");
    let failing = |description, send| Some(DeadLetters { url: DEAD.to_owned(), description, send });
    told(
        failing(Err(ReceiveError::Missing("m".into())), Probe::Unknown("m".into())),
        Severity::Error,
        "create-queue --region eu-west-1 --queue-name dead.fifo",
    );
    let unseen = |why: &str| failing(Err(ReceiveError::Denied(why.into())), Probe::Allowed);
    let right = "AccessDenied: m (the role needs sqs:GetQueueAttributes on the queue)";
    told(
        unseen(right),
        Severity::Warning,
        &format!(r#"{{"Action":"sqs:GetQueueAttributes","Effect":"Allow","Resource":"{DEAD_ARN}"}}"#),
    );
    let denied = |why: &str| failing(Ok(queue("dead.fifo", &[])), Probe::Denied(why.into()));
    let right = "AccessDenied: m (the role needs sqs:SendMessage on the queue)";
    told(denied(right), Severity::Error, r#""Action":"sqs:SendMessage","Effect":"Allow","Resource":"arn"#);
    // The right is there: what lacks is the key's, or the way.
    for why in [
        "KMS.AccessDenied: m (the role needs kms:GenerateDataKey)",
        "status 403 (a proxy answers)",
        "AccessDeniedException: m (an explicit deny in a service control policy forbids it; no right of the role's helps: \
         sqs:SendMessage has to be let through there)",
        "AccessDeniedException: m (no VPC endpoint policy allows it; no right of the role's helps: sqs:GetQueueAttributes \
         has to be let through there)",
    ] {
        for (dead, severity) in [(denied(why), Severity::Error), (unseen(why), Severity::Warning)] {
            let (found, line) = one(&with(dead), &config(&[]));
            assert!(found == severity && line.contains(why) && !line.contains("remedy"), "{line}");
        }
    }
    let other = "https://sqs.eu-west-1.amazonaws.com/123456789012/other.fifo";
    let description = Ok(queue("other.fifo", &[]));
    let facts = with(Some(DeadLetters { url: other.to_owned(), description, send: Probe::Allowed }));
    let (severity, line) = one(&facts, &config(&[("QUEUE_SQS_DLQ_URL", other)]));
    assert!(severity == Severity::Warning && line.contains(DEAD_ARN), "{line}");
}
