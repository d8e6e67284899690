//! Webhooks that come, go and move between attempts and before a redrive.

use super::*;
use crate::app::Target;
use crate::queue::Redriven;

const NOW: Duration = Duration::ZERO;

fn id(url: &str) -> WebhookId {
    WebhookId::of(&Target::Http(format!("http://{url}/")))
}

/// Which URL the request went to.
fn url(request: &Request) -> &str {
    let Target::Http(url) = &request.delivery.target else { panic!("{request:?}") };
    url.trim_start_matches("http://").trim_end_matches('/')
}

fn takes_all_but_b(request: &Request) -> (Takes, Outcome) {
    let outcome =
        if url(request) == "b" { Outcome::transient(Reason::Status(500)) } else { Outcome::Delivered };
    (Takes::Time(NOW), outcome)
}

impl World {
    fn registered(urls: &[&str]) -> Self {
        let mut world = Self::new(30, 4, 1);
        world.register(urls);
        world
    }

    fn register(&mut self, urls: &[&str]) {
        self.webhooks = urls.iter().map(|url| json!({"url": format!("http://{url}/")})).collect();
    }

    fn urls(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| url(request).to_owned()).collect()
    }

    /// The letters' reasons and who has each job.
    fn letters(&self) -> Vec<(&'static str, Vec<WebhookId>)> {
        self.queue.letters().iter().map(|l| (l.reason, l.delivered.clone())).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn inserting_removing_and_reordering_webhooks_between_attempts_repeats_nothing() {
    for (then, expected) in [
        (&["c", "a", "b"][..], &["c", "b"][..]),
        (&["b", "a"], &["b"]),
        (&["b"], &["b"]),
        (&["a", "corrected"], &["corrected"]),
    ] {
        let mut world = World::registered(&["a", "b"]);
        world.work(NOW, takes_all_but_b).await;
        sleep(2 * SECOND).await;
        world.register(then);
        world.work(NOW, delivered).await;
        assert_eq!(world.urls()[2..], *expected, "{then:?}");
        assert_eq!(world.letters(), [], "{then:?}");
        assert_eq!(world.queue.deletes(), [BatchEntryResult::Ok], "{then:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_last_webhook_is_removed_while_it_waits_is_kept_as_a_letter() {
    let mut world = World::registered(&["a", "b"]);
    world.work(NOW, takes_all_but_b).await;
    sleep(2 * SECOND).await;
    world.register(&["a"]);
    world.work(NOW, delivered).await;
    assert_eq!(world.urls().len(), 2, "who has it does not get it again");
    assert_eq!(world.letters(), [("no_webhook", vec![id("a")])], "its owner may be about to add another");
    assert_eq!(world.queue.deletes(), [BatchEntryResult::Ok]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_removed_while_another_is_waited_for_leaves_a_letter_for_its_successor() {
    let fails = |request: &Request| {
        let outcome = match url(request) {
            "a" => Outcome::transient(Reason::Status(503)),
            "gone" => Outcome::Permanent(Reason::Gone),
            _ => Outcome::transient(Reason::Status(500)),
        };
        (Takes::Time(NOW), outcome)
    };
    for removed in ["a", "gone"] {
        let mut world = World::registered(&[removed, "b"]);
        world.work(NOW, fails).await;
        sleep(2 * SECOND).await;
        world.register(&["b"]);
        world.work(NOW, delivered).await;
        assert_eq!(world.urls()[2..], ["b"], "{removed}");
        assert_eq!(world.letters(), [("no_webhook", vec![id("b")])], "{removed}");
        // With another in its stead there is nothing left to do.
        let mut world = World::registered(&[removed, "b"]);
        world.work(NOW, fails).await;
        sleep(2 * SECOND).await;
        world.register(&["corrected", "b"]);
        world.work(NOW, delivered).await;
        assert_eq!(world.urls()[2..], ["corrected", "b"], "{removed}");
        assert_eq!(world.letters(), [], "{removed}");
        assert_eq!(world.queue.deletes(), [BatchEntryResult::Ok], "{removed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_no_longer_wants_the_job_it_waits_for_is_counted_as_unmatched() {
    let mut world = World::registered(&["a", "b"]);
    world.work(NOW, takes_all_but_b).await;
    sleep(2 * SECOND).await;
    world.webhooks =
        json!([{"url": "http://a/"}, {"url": "http://b/", "filter": {"channel_name_starts_with": "no"}}]);
    world.work(NOW, delivered).await;
    assert_eq!((world.urls().len(), world.letters()), (2, vec![]));
    assert_eq!(world.metrics.unmatched.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_webhooks_with_one_url_the_one_that_lacks_it_gets_it_wherever_it_stands() {
    let all = json!({"url": "http://u/"});
    let private = json!({"url": "http://u/", "headers": {"X-Mine": "1"}});
    let is_private = |request: &Request| request.delivery.headers.iter().any(|(name, _)| name == "X-Mine");
    for then in [json!([private, all]), json!([private])] {
        let mut world = World::registered(&[]);
        world.webhooks = json!([all, private]);
        world
            .work(NOW, |request| {
                let private = request.delivery.headers.iter().any(|(name, _)| name == "X-Mine");
                let outcome =
                    if private { Outcome::transient(Reason::Status(500)) } else { Outcome::Delivered };
                (Takes::Time(NOW), outcome)
            })
            .await;
        sleep(2 * SECOND).await;
        world.webhooks = then.clone();
        world.work(NOW, delivered).await;
        let requests = world.requests.lock().unwrap();
        assert_eq!(requests.len(), 3, "{then}");
        assert!(is_private(&requests[2]), "{then}");
        assert_eq!(world.queue.deletes(), [BatchEntryResult::Ok], "{then}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_cannot_be_used_keeps_no_sibling_waiting_and_is_named() {
    let mut world = World::registered(&[]);
    world.webhooks = json!([{"url": "http://a/"}, {"url": "http://256.1.1.1/"}]);
    world.work(NOW, delivered).await;
    assert_eq!(world.urls(), ["a"]);
    assert_eq!(world.letters(), [("webhook_unusable", vec![id("a")])]);
    assert!(world.queue.letters()[0].detail.contains("invalid IPv4 address"), "{:?}", world.queue.letters());
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_failed_for_good_and_was_corrected_dead_letters_nothing() {
    let mut world = World::registered(&["a", "b", "c"]);
    world
        .work(NOW, |request| {
            let outcome = match url(request) {
                "a" => Outcome::Permanent(Reason::Gone),
                "b" => Outcome::transient(Reason::Status(500)),
                _ => Outcome::Delivered,
            };
            (Takes::Time(NOW), outcome)
        })
        .await;
    sleep(2 * SECOND).await;
    world.register(&["corrected", "b", "c"]);
    world.work(NOW, delivered).await;
    assert_eq!(world.urls()[3..], ["corrected", "b"]);
    assert_eq!(world.letters(), []);
}

#[tokio::test(start_paused = true)]
async fn a_redriven_job_goes_to_every_webhook_that_does_not_have_it_wherever_it_stands() {
    for (then, expected) in [
        (&["b", "a"][..], &["b"][..]),
        (&["b"], &["b"]),
        (&["a", "corrected"], &["corrected"]),
        (&["x", "a", "b"], &["x", "b"]),
    ] {
        let mut world = World::registered(then);
        world.queue.redriven = Some(Redriven { source: "first".into(), delivered: vec![id("a")] });
        world.work(NOW, delivered).await;
        assert_eq!(world.urls(), expected, "{then:?}");
        let ids: Vec<_> = expected.iter().map(|url| format!("first.{}", id(url))).collect();
        let requests = world.requests.lock().unwrap();
        let known_as = |request: &Request| {
            let mut headers = request.delivery.headers.iter();
            headers.find(|(name, _)| name == "X-Hookferry-Id").unwrap().1.clone()
        };
        assert_eq!(requests.iter().map(known_as).collect::<Vec<_>>(), ids);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redriven_job_that_no_webhook_is_left_for_goes_to_a_new_letter_and_is_not_lost() {
    let mut world = World::registered(&["a"]);
    world.queue.redriven = Some(Redriven { source: "first".into(), delivered: vec![id("a")] });
    world.work(NOW, delivered).await;
    assert!(world.urls().is_empty());
    assert_eq!(world.letters(), [("no_webhook", vec![id("a")])]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_says_who_has_the_job() {
    let mut world = World::registered(&["a", "b"]);
    world.rules.retry.window = NOW;
    sleep(SECOND).await;
    world.work(NOW, takes_all_but_b).await;
    assert_eq!(world.letters(), [("status", vec![id("a")])]);
    let letters = world.queue.letters();
    assert_eq!(letters[0].webhook, Some(id("b")));
    assert!(letters[0].first_sent.is_some() && letters[0].given_up >= letters[0].first_sent);
}
