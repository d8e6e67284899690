use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::board::blocked::Blocked;
use crate::board::{Attempt, GivenUp};
use crate::outcome::{Outcome, Reason};
use crate::queue::ReceiveError;

struct Worker {
    facts: Facts,
    health: Health,
    metrics: Metrics,
}

impl Worker {
    fn new() -> Self {
        let facts = Facts::new("webhooks.fifo".into(), "eu-west-1".into(), "task-1".into(), Vec::new());
        let health = Health::new(Duration::from_secs(30));
        health.received();
        Self { facts, health, metrics: Metrics::new() }
    }

    fn status(&self) -> Value {
        serde_json::from_str(&json(&self.facts, &self.health, &self.metrics)).unwrap()
    }

    fn attempt(&self, app_id: &str, webhook: &str, outcome: &Outcome) {
        self.metrics.board.attempted(&Attempt {
            app_id,
            webhook,
            destination: "hooks.example.com",
            outcome,
            took: Duration::from_millis(40),
        });
    }

    fn block(&self, group: &str, app_id: &str, detail: &str) {
        self.metrics.board.blocked(&Blocked {
            group,
            app_id,
            destination: "hooks.example.com",
            attempts: 3,
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
async fn it_stays_under_64_kib_whatever_the_number_of_tenants_and_their_names() {
    let mut worker = Worker::new();
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
    worker.facts.settings = vec![
        Setting {
            name: "NAME".repeat(8),
            value: "v\u{1f980}".repeat(30_000),
            source: "environment".into()
        };
        80
    ];
    *worker.facts.warnings.write().unwrap() = vec!["\u{1f980}\u{1}\"".repeat(30_000); 1000];
    let text = json(&worker.facts, &worker.health, &worker.metrics);
    assert!(text.len() <= MAX_BYTES, "{} bytes", text.len());
    let status: Value = serde_json::from_str(&text).unwrap();
    assert!(!status["destinations"]["rows"].as_array().unwrap().is_empty());
    assert_eq!(status["history"]["deliveries"].as_array().unwrap().len(), 90);
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
    let why = worker.status()["why"][0].as_str().unwrap().to_owned();
    let count: usize = why.split(' ').nth(2).unwrap().parse().unwrap();
    assert!(why.starts_with("at least ") && count > ROWS, "{why}");
    let status = worker.status();
    assert_eq!(status["failing"], serde_json::json!({"down": 0, "failing": count, "at_least": true}));
    assert_eq!(status["destinations"]["at_least"], true);
    assert_eq!(status["apps"]["at_least"], false, "there is one");
}

#[tokio::test(start_paused = true)]
async fn warnings_are_shown_as_far_as_they_fit_and_the_rest_is_counted() {
    let worker = Worker::new();
    *worker.facts.warnings.write().unwrap() = vec!["retention: too short".to_owned(); 1000];
    let status = worker.status();
    let shown = status["warnings"].as_array().unwrap();
    assert_eq!(shown[0], "retention: too short");
    let last = shown.last().unwrap().as_str().unwrap();
    assert!(
        shown.len() > 100
            && last == format!("and {} more: see hookferry check, and the log", 1001 - shown.len())
    );
}
