//! What arrives, in which order and how often.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use hookferry::queue::NewMessage;

use crate::world::{World, assert_in_order, counts, delivered, job, signed, wait_until};

const NOW: Duration = Duration::ZERO;

#[tokio::test]
async fn thousands_of_jobs_in_hundreds_of_groups_arrive_once_each_in_order() {
    let world = World::new(|_| (200, NOW)).await;
    let jobs: Vec<_> = (0..1800).map(|n| job(&format!("g{}", n % 200), n / 200)).collect();
    world.send(&jobs).await;
    let _worker = world.worker(&["/"], &[]);
    world.wait_for(jobs.len()).await;
    world.wait_until_empty().await;
    let delivered = world.delivered();
    assert_in_order(&delivered);
    assert_eq!(counts(&delivered).len(), 1800);
    assert_eq!(delivered.len(), 1800, "no duplicate");
    assert!(world.arrivals.lock().unwrap().iter().all(|arrival| arrival.verified));
}

#[tokio::test]
async fn all_jobs_captured_from_soketi_arrive_byte_for_byte_with_valid_signatures() {
    let world = World::new(|_| (200, NOW)).await;
    let captured: Vec<serde_json::Value> = include_str!("../fixtures/soketi-1.6.1-jobs.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let text = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap().to_owned();
    let jobs: Vec<_> =
        captured.iter().map(|line| NewMessage::new(text(line, "group"), text(line, "body"))).collect();
    for (job, line) in jobs.iter().zip(&captured) {
        assert_eq!(job.deduplication, text(line, "dedup"));
    }
    world.send(&jobs).await;
    let _worker = world.worker(&["/"], &[]);
    wait_until(|| world.arrivals.lock().unwrap().len() >= 24).await;
    world.wait_until_empty().await;
    let arrivals = world.arrivals.lock().unwrap();
    assert_eq!(arrivals.len(), 24);
    assert!(arrivals.iter().all(|arrival| arrival.verified && arrival.key == "app-key"));
    let mut payloads: Vec<String> =
        arrivals.iter().map(|a| String::from_utf8(a.body.to_vec()).unwrap()).collect();
    let mut expected: Vec<String> = jobs
        .iter()
        .map(|job| {
            let start = job.body.find("\"payload\":").unwrap() + "\"payload\":".len();
            let end = job.body.find(",\"originalPusherSignature\"").unwrap();
            job.body[start..end].to_owned()
        })
        .collect();
    payloads.sort_unstable();
    expected.sort_unstable();
    assert_eq!(payloads, expected);
}

#[tokio::test]
async fn a_receiver_that_answers_500_twice_to_every_job_still_gets_every_job_in_order() {
    let failures: Mutex<HashMap<String, u32>> = Mutex::default();
    let world = World::new(move |arrival| {
        let mut failures = failures.lock().unwrap();
        let count = failures.entry(arrival.id.clone()).or_default();
        *count += 1;
        (if *count <= 2 { 500 } else { 200 }, NOW)
    })
    .await;
    let jobs: Vec<_> = (0..120).map(|n| job(&format!("g{}", n % 40), n / 40)).collect();
    world.send(&jobs).await;
    let _worker = world.worker(&["/"], &[]);
    world.wait_for(120).await;
    world.wait_until_empty().await;
    assert_in_order(&world.delivered());
    assert_eq!(world.delivered().len(), 120);
    let arrivals = world.arrivals.lock().unwrap();
    assert_eq!(arrivals.len(), 360, "three attempts each");
    let all: Vec<_> = arrivals.iter().filter_map(delivered).collect();
    assert_in_order(&all);
}

#[tokio::test]
async fn a_failing_head_is_never_overtaken_and_holds_up_no_other_group() {
    let world = World::new(|arrival| {
        let bad = delivered(arrival).is_some_and(|d| d.group == "bad" && d.n == 0);
        (if bad && arrival.attempt < 4 { 503 } else { 200 }, NOW)
    })
    .await;
    let mut jobs: Vec<_> = (0..10).map(|n| job("bad", n)).collect();
    jobs.extend((0..200).map(|n| job(&format!("good{}", n % 20), n / 20)));
    world.send(&jobs).await;
    let _worker = world.worker(&["/"], &[]);
    world.wait_for(210).await;
    let delivered = world.delivered();
    assert_in_order(&delivered);
    assert_eq!(delivered.len(), 210);
    assert!(delivered[200..].iter().all(|delivery| delivery.group == "bad"), "the others went ahead");
}

#[tokio::test]
async fn poison_too_long_for_a_letter_with_attributes_is_dead_lettered_without_and_blocks_no_one() {
    let world = World::new(|_| (200, NOW)).await;
    let longest = "x".repeat(1 << 20);
    world.send(&[NewMessage::new("g".to_owned(), longest.clone())]).await;
    world.send(&[job("g", 1)]).await;
    let _worker = world.worker(&["/"], &[]);
    world.wait_for(1).await;
    world.wait_until_empty().await;
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].len() == 1 && letters[0]["body"] == longest);
}

#[tokio::test]
async fn a_queue_whose_visibility_timeout_is_shortened_while_workers_run_repeats_nothing() {
    let world = World::new(|_| (200, Duration::from_secs(3))).await;
    let _workers = [world.worker(&["/"], &[]), world.worker(&["/"], &[])];
    world.send(&[job("g", 0)]).await;
    world.wait_for(1).await;
    let short = world.client.set_queue_attributes().queue_url(&world.queue);
    short.attributes(QueueAttributeName::VisibilityTimeout, "1").send().await.unwrap();
    world.send(&[job("g", 1)]).await;
    world.wait_for(2).await;
    world.wait_until_empty().await;
    assert_eq!(world.arrivals.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn poison_at_the_head_of_every_group_is_dead_lettered_and_the_rest_is_delivered() {
    let world = World::new(|_| (200, NOW)).await;
    let mut jobs = Vec::new();
    for group in 0..30 {
        let name = format!("g{group}");
        jobs.push(match group % 3 {
            0 => signed(&name, 99, "app-key", "forged"),
            1 => NewMessage::new(name.clone(), format!("no JSON {group}")),
            _ => signed(&name, 99, "unknown-key", "app-secret"),
        });
        jobs.extend((0..5).map(|n| job(&name, n)));
    }
    world.send(&jobs).await;
    let _worker = world.worker(&["/"], &[]);
    world.wait_for(150).await;
    world.wait_until_empty().await;
    assert_in_order(&world.delivered());
    assert_eq!(world.arrivals.lock().unwrap().len(), 150, "poison reaches no one");
    let dead = world.dead().await;
    let count = |reason: &str| dead.iter().filter(|(_, r)| r == reason).count();
    assert_eq!((count("signature"), count("malformed"), count("unknown_app"), dead.len()), (10, 10, 10, 30));
    let bodies: HashSet<_> = jobs.iter().map(|job| job.body.as_str()).collect();
    assert!(dead.iter().all(|(body, _)| bodies.contains(body.as_str())), "the same bodies");
}

#[tokio::test]
async fn of_two_webhooks_the_healthy_one_is_not_sent_the_same_job_again() {
    let world = World::new(|arrival| {
        let fails = arrival.path == "/b" && arrival.attempt < 3;
        (if fails { 500 } else { 200 }, NOW)
    })
    .await;
    let jobs: Vec<_> = (0..40).map(|n| job(&format!("g{}", n % 20), n / 20)).collect();
    world.send(&jobs).await;
    let _worker = world.worker(&["/a", "/b"], &[]);
    world.wait_for(80).await;
    world.wait_until_empty().await;
    let healthy = world.arrivals.lock().unwrap().iter().filter(|arrival| arrival.path == "/a").count();
    assert_eq!(healthy, 40);
    assert_in_order(&world.delivered());
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_cut_off_before_the_visibility_timeout() {
    let world = World::new(|arrival| {
        let hangs = arrival.attempt == 1;
        (200, if hangs { Duration::from_secs(600) } else { NOW })
    })
    .await;
    world.send(&[job("g", 0), job("g", 1)]).await;
    // Two workers: had the first attempt outlived its visibility, the other would have had the job
    // with a receive count of two while the first was still at it.
    let _workers = [world.worker(&["/"], &[]), world.worker(&["/"], &[])];
    world.wait_for(2).await;
    world.wait_until_empty().await;
    let arrivals = world.arrivals.lock().unwrap();
    let accepted: Vec<_> = arrivals.iter().filter_map(delivered).map(|d| d.n).collect();
    assert_eq!(accepted, [0, 1], "one answered attempt each");
}

#[tokio::test]
async fn a_receiver_that_is_gone_for_good_is_asked_once_and_the_group_goes_on() {
    let world =
        World::new(|arrival| (if delivered(arrival).is_some_and(|d| d.n == 0) { 410 } else { 200 }, NOW))
            .await;
    world.send(&[job("g", 0), job("g", 1), job("g", 2)]).await;
    let _worker = world.worker(&["/"], &[]);
    world.wait_for(2).await;
    world.wait_until_empty().await;
    assert_eq!(world.arrivals.lock().unwrap().len(), 3, "one attempt each");
    let dead = world.dead().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].1, "gone");
}
