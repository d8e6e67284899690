use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::admin::summary::summary;
use crate::apps::LookUp;
use crate::board::blocked::Blocked;
use crate::board::{Attempt, GivenUp};
use crate::outcome::{Outcome, Reason};
use crate::queue::ReceiveError;

struct Worker {
    facts: StatusFacts,
    health: Health,
    metrics: Metrics,
}

impl Worker {
    fn new() -> Self {
        let facts = StatusFacts::new("webhooks.fifo".into(), "eu-west-1".into(), "task-1".into(), Vec::new());
        let health = Health::new(Duration::from_secs(30));
        health.received();
        Self { facts, health, metrics: Metrics::new() }
    }

    fn status(&self) -> Value {
        serde_json::from_str(&json(&self.facts, &self.health, &self.metrics)).unwrap()
    }

    fn summary(&self) -> String {
        summary(&json(&self.facts, &self.health, &self.metrics)).unwrap()
    }

    fn attempt(&self, app_id: &str, webhook: &str, outcome: &Outcome) {
        self.metrics.board.attempted(&Attempt {
            app_id,
            webhook,
            destination: "hooks.example.com",
            outcome,
            took: Duration::from_millis(40),
            failing: Duration::ZERO,
        });
    }

    fn block(&self, group: &str, app_id: &str, detail: &str) {
        self.metrics.board.blocked(&Blocked {
            group,
            app_id,
            destination: "hooks.example.com",
            attempts: 3,
            receives: 5,
            failing: Duration::ZERO,
            reason: "status",
            detail,
            retry_in: Duration::from_secs(7),
            lost_after: Duration::from_secs(15),
            age: Duration::from_secs(30),
            behind: 9,
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_is_the_first_that_holds_of_draining_unready_degraded_and_delivering() {
    let worker = Worker::new();
    worker.attempt("shop", "a", &Outcome::Delivered);
    assert_eq!(worker.status()["state"], "delivering");
    worker.attempt("shop", "b", &Outcome::transient(Reason::Status(500)));
    worker.block("shop_client_event_webhooks", "shop", "status 500");
    let status = worker.status();
    assert_eq!(status["state"], "degraded");
    assert_eq!(status["why"], serde_json::json!(["1 destination is failing", "1 group waits for a retry"]));
    worker.health.receive_failed(&ReceiveError::Throttled("slow down".into()));
    assert_eq!(worker.status()["state"], "unready");
    worker.health.draining();
    assert_eq!(worker.status()["state"], "draining");
}

#[tokio::test(start_paused = true)]
async fn an_app_source_that_does_not_answer_is_named_until_it_does() {
    let worker = Worker::new();
    worker.metrics.looked_up(LookUp::Failed);
    tokio::time::advance(Duration::from_secs(40)).await;
    worker.metrics.looked_up(LookUp::Remembered);
    worker.metrics.looked_up(LookUp::Failed);
    let status = worker.status();
    assert_eq!(status["state"], "degraded");
    let why = "apps cannot be looked up for 40 s: serving nothing: jobs wait (the log names the error)";
    assert_eq!(status["why"], serde_json::json!([why]));
    assert_eq!(status["app_source"], serde_json::json!({"unanswered_s": 40, "served": false}));
    worker.metrics.looked_up(LookUp::Stale);
    assert_eq!(worker.status()["app_source"]["served"], true);
    worker.metrics.looked_up(LookUp::Asked);
    let status = worker.status();
    assert_eq!((&status["state"], &status["app_source"]), (&"delivering".into(), &Value::Null));
    worker.metrics.looked_up(LookUp::Failed);
    tokio::time::advance(Duration::from_secs(121)).await;
    assert_eq!(worker.status()["state"], "delivering", "nothing has asked since");
}

#[tokio::test(start_paused = true)]
async fn letters_that_wait_in_the_dead_letter_queue_are_told_apart_from_those_given_up_here() {
    let worker = Worker::new();
    let text = worker.summary();
    assert!(
        text.contains("the queue is not sampled, no dead-letter queue is sampled; 0 given up here"),
        "{text}"
    );
    worker.metrics.queue_has([("visible", 7), ("hidden", 2), ("delayed", 0)]);
    worker.metrics.dead_letter_queue_has(12);
    worker.metrics.dead_lettered(&Reason::Gone);
    let text = worker.summary();
    let said = "7 visible and 2 hidden in the queue, 12 waiting in the dead-letter queue (as sampled); 1 given up here since the start";
    assert!(text.contains(said), "{text}");
    assert!(worker.status()["totals"]["dead_letter_queue_sampled"].as_i64() > Some(0));
    for sampled in [&worker.metrics.queue_sampled, &worker.metrics.dead_letter_queue_sampled] {
        sampled.set(sampled.get() - 7200);
    }
    let text = worker.summary();
    let said =
        "hidden in the queue (sampled 2 h ago), 12 waiting in the dead-letter queue (sampled 2 h ago);";
    assert!(text.contains(said), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_job_lost_beside_a_dead_letter_queue_is_not_said_to_have_none() {
    let worker = Worker::new();
    worker.metrics.dead_letter_queue_has(12);
    worker.metrics.lost.inc();
    let text = worker.summary();
    assert!(text.contains("0 given up here since the start, 1 lost without a dead letter\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_blocked_group_says_what_since_when_why_and_what_comes_next() {
    let worker = Worker::new();
    worker.block("shop_client_event_webhooks", "shop", "status 500");
    tokio::time::advance(Duration::from_secs(3)).await;
    let group = &worker.status()["blocked"]["rows"][0];
    for (field, expected) in [
        ("app", Value::from("shop")),
        ("queue_type", "client_event".into()),
        ("blocked_s", 3.into()),
        ("attempts", 3.into()),
        ("detail", "status 500".into()),
        ("next_retry_s", 4.into()),
        ("behind", 9.into()),
        ("age_s", 33.into()),
    ] {
        assert_eq!(group[field], expected, "{field} of {group}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_document_stays_under_64_kib_whatever_the_number_of_tenants_and_their_names() {
    let worker = Worker::new();
    for name in ["x".repeat(30_000), "\u{1f980}".repeat(30_000), "\"\\\n".repeat(30_000)] {
        for n in 0..500 {
            let id = format!("{n}{name}");
            worker.attempt(&id, &id, &Outcome::transient(Reason::Connect(name.clone())));
            worker.block(&id, &id, &name);
            worker.metrics.board.dead_lettered(&GivenUp {
                id: &id,
                group: &id,
                app_id: &id,
                webhook: &id,
                destination: &id,
                others: &[],
                reason: "gone",
                detail: &name,
                attempts: 1,
                kept: true,
            });
        }
        for _ in 0..200 {
            tokio::time::advance(Duration::from_secs(10)).await;
            worker.metrics.sample();
        }
    }
    *worker.facts.settings.write().unwrap() = vec![
        Setting {
            name: "NAME".repeat(8),
            value: "v\u{1f980}".repeat(30_000),
            source: "environment".into()
        };
        80
    ];
    worker.facts.warnings.write().unwrap().first = vec!["\u{1f980}\u{1}\"".repeat(30_000); 1000];
    let text = json(&worker.facts, &worker.health, &worker.metrics);
    assert!(text.len() <= MAX_BYTES, "{} bytes", text.len());
    let status: Value = serde_json::from_str(&text).unwrap();
    assert!(!status["destinations"]["rows"].as_array().unwrap().is_empty());
    assert_eq!(status["history"]["deliveries"].as_array().unwrap().len(), 90);
}

#[tokio::test(start_paused = true)]
async fn a_level_that_was_changed_while_it_runs_is_shown_as_in_force() {
    let worker = Worker::new();
    let setting = |name: &str, value: &str| Setting {
        name: name.to_owned(),
        value: value.to_owned(),
        source: "file worker.env".to_owned(),
    };
    *worker.facts.settings.write().unwrap() =
        vec![setting("LOG_LEVEL", "info"), setting("LOG_FORMAT", "json")];
    worker.facts.changed("LOG_LEVEL", "info", "elsewhere");
    assert_eq!(worker.status()["settings"][0]["source"], "file worker.env", "it is the same");
    worker.facts.changed("LOG_LEVEL", "debug", "file of --env-file, at SIGHUP");
    let settings = &worker.status()["settings"];
    assert_eq!(settings[0]["value"], "debug");
    assert_eq!(settings[0]["source"], "file of --env-file, at SIGHUP");
    assert_eq!(settings[1]["value"], "json");
}

#[tokio::test(start_paused = true)]
async fn all_failing_destinations_are_counted_and_not_those_that_are_listed_alone() {
    let worker = Worker::new();
    let failure = Outcome::transient(Reason::Status(500));
    for n in 0..100 {
        worker.attempt("shop", &n.to_string(), &failure);
    }
    assert_eq!(worker.status()["why"][0], "100 destinations are failing");
    for n in 100..400 {
        worker.attempt("shop", &n.to_string(), &failure);
    }
    let status = worker.status();
    assert_eq!(status["why"][0], "400 destinations are failing");
    assert_eq!(status["failing"], serde_json::json!({"down": 0, "failing": 400, "at_least": false}));
    assert_eq!(status["destinations"]["at_least"], true);
    assert_eq!(status["apps"]["at_least"], false, "there is one");
}

#[tokio::test(start_paused = true)]
async fn warnings_are_shown_as_far_as_they_fit_and_the_rest_is_counted() {
    let worker = Worker::new();
    let first = vec!["retention: too short".to_owned(); 1000];
    *worker.facts.warnings.write().unwrap() = Warnings { first, more: 250 };
    let status = worker.status();
    let shown = status["warnings"].as_array().unwrap();
    assert!(shown.len() > 100 && shown.iter().all(|warning| warning == "retention: too short"));
    let left_out = 1250 - shown.len();
    assert_eq!(status["warnings_left_out"], left_out);
    let text = worker.summary();
    assert!(text.contains("\nWarnings (1250)\n"), "{text}");
    let rest = format!(
        "  and 1230 more: the first {} are in hookferry status --json; see hookferry check",
        shown.len()
    );
    assert!(text.contains(&rest), "{rest} in {text}");
}

#[tokio::test(start_paused = true)]
async fn rows_beyond_those_of_the_document_are_counted_and_not_promised() {
    let worker = Worker::new();
    for n in 0..100 {
        worker.block(&n.to_string(), "shop", "status 500");
    }
    let text = worker.summary();
    assert!(text.contains("Blocked groups (100)"), "{text}");
    assert!(text.contains("  and 80 more: the first 40 are in hookferry status --json\n"), "{text}");
}
