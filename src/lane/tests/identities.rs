//! Webhooks that come, go and move between attempts and before a redrive.

use super::*;
use crate::app::Target;
use crate::queue::Redriven;

const NOW: Duration = Duration::ZERO;

fn id(url: &str) -> WebhookId {
    WebhookId::of(&Target::Http(format!("http://{url}/")))
}

/// All that a webhook with that URL is known by while no other has it.
fn both(url: &str) -> Vec<WebhookId> {
    let webhook = webhooks(&json!([{"url": format!("http://{url}/")}]).to_string(), "a").unwrap().0.remove(0);
    assert_eq!(webhook.id, id(url));
    vec![webhook.id, webhook.precise_id]
}

/// Which URL the request went to.
fn url(request: &Request) -> &str {
    let Target::Http(url) = &request.delivery.target else { panic!("{request:?}") };
    url.trim_start_matches("http://").trim_end_matches('/')
}

/// Under which id its receiver knows the job.
fn known_as(request: &Request) -> String {
    let mut headers = request.delivery.headers.iter();
    headers.find(|(name, _)| name == "X-Hookferry-Id").unwrap().1.clone()
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
    assert_eq!(world.letters(), [("no_webhook", both("a"))], "its owner may be about to add another");
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
        let letters = world.letters();
        assert_eq!((letters.len(), letters[0].0, &letters[0].1[0]), (1, "no_webhook", &id("b")), "{removed}");
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

fn down(_: &Request) -> Outcome {
    Outcome::transient(Reason::Status(500))
}

/// A takes it, and nobody else.
fn takes_a_alone(request: &Request) -> (Takes, Outcome) {
    let outcome =
        if url(request) == "a" { Outcome::Delivered } else { Outcome::transient(Reason::Status(503)) };
    (Takes::Time(NOW), outcome)
}

#[tokio::test(start_paused = true)]
async fn a_url_that_is_corrected_twice_or_changed_back_while_a_job_waits_leaves_no_letter() {
    for (steps, last) in [
        (&[&["a", "b"][..], &["a", "b2"], &["a", "b3"]][..], "b3"),
        (&[&["a", "b"], &["a", "b2"], &["a", "b"]], "b"),
        (&[&["a", "b"], &["a"], &["a", "b2"]], "b2"),
        (&[&["b"], &["b2"], &["b"]], "b"),
    ] {
        let mut world = World::registered(steps[0]);
        for step in &steps[..steps.len() - 1] {
            world.register(step);
            world.work(NOW, takes_a_alone).await;
            sleep(10 * SECOND).await;
        }
        world.register(steps[steps.len() - 1]);
        world.work(NOW, delivered).await;
        if steps[1] == ["a"] {
            // With nothing left to send it was given up, for its owner to put another in its place.
            assert_eq!(world.letters(), [("no_webhook", both("a"))]);
            continue;
        }
        assert_eq!(world.urls().last().map(String::as_str), Some(last), "{steps:?}");
        assert_eq!(world.letters(), [], "{steps:?}");
        assert_eq!(world.queue.deletes(), [BatchEntryResult::Ok], "{steps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_added_stands_for_none_that_is_removed_later() {
    let mut world = World::registered(&["a", "b", "d"]);
    world.work(NOW, takes_a_alone).await;
    sleep(10 * SECOND).await;
    world.register(&["a", "b", "c", "d"]);
    let takes_c = |request: &Request| {
        let outcome =
            if url(request) == "c" { Outcome::Delivered } else { Outcome::transient(Reason::Status(503)) };
        (Takes::Time(NOW), outcome)
    };
    world.work(NOW, takes_c).await;
    sleep(10 * SECOND).await;
    world.register(&["a", "c", "d"]);
    world.work(NOW, delivered).await;
    let letters = world.queue.letters();
    assert_eq!((letters.len(), letters[0].reason, &letters[0].webhook), (1, "no_webhook", &Some(id("b"))));
    assert!([id("a"), id("c"), id("d")].iter().all(|has| letters[0].delivered.contains(has)));
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_waits_and_no_longer_lists_the_event_leaves_a_letter() {
    // A misspelt type; with a sibling that has the job, and with one that still lacks it.
    let listing = |types: &str| json!([{"url": "http://a/"}, {"url": "http://b/", "event_types": [types]}]);
    for first in [takes_all_but_b, |_: &Request| (Takes::Time(NOW), Outcome::transient(Reason::Status(500)))]
    {
        let mut world = World::registered(&[]);
        world.webhooks = listing("client_event");
        world.work(NOW, first).await;
        sleep(10 * SECOND).await;
        world.webhooks = listing("client_events");
        world.work(NOW, delivered).await;
        let letters = world.queue.letters();
        assert_eq!((letters.len(), letters[0].reason, &letters[0].delivered[0]), (1, "no_webhook", &id("a")));
        assert_eq!(world.metrics.unmatched.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_removed_while_a_job_waits_leaves_a_letter_where_filters_stop_it_at_the_others() {
    let filtered = json!({"url": "http://c/", "filter": {"channel_name_starts_with": "no"}});
    let gone = |request: &Request| {
        let outcome = if url(request) == "a" { Outcome::Permanent(Reason::Gone) } else { down(request) };
        (Takes::Time(NOW), outcome)
    };
    let narrowed = json!({"url": "http://b/", "filter": {"channel_name_starts_with": "no"}});
    for (before, then) in [
        (json!([{"url": "http://b/"}, filtered]), json!([filtered])),
        (json!([{"url": "http://a/"}, {"url": "http://b/"}]), json!([narrowed])),
    ] {
        let mut world = World::registered(&[]);
        world.webhooks = before;
        world.work(NOW, gone).await;
        sleep(10 * SECOND).await;
        world.webhooks = then;
        world.work(NOW, delivered).await;
        let letters = world.queue.letters();
        assert_eq!((letters.len(), letters[0].reason), (1, "no_webhook"));
        assert_eq!(world.metrics.unmatched.get(), 0);
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
    assert!(world.metrics.unmatched("another") && !world.metrics.unmatched("another"), "said once an app");
}

#[tokio::test(start_paused = true)]
async fn a_job_without_events_is_no_job_that_a_filter_stopped() {
    let mut world = World::new(30, 4, 0);
    world.register(&["a"]);
    let payload = r#"{"time_ms":1,"events":[]}"#;
    let signature = crate::job::sign(&"s".into(), [payload.as_bytes()]);
    let body = format!(
        r#"{{"appKey":"k","appId":"a","payload":{payload},"originalPusherSignature":"{signature}"}}"#
    );
    world.queue.send("a:c", body);
    world.work(NOW, delivered).await;
    assert_eq!((world.urls().len(), world.letters()), (0, vec![("malformed", vec![])]));
    assert_eq!(world.metrics.unmatched.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_two_webhooks_with_one_url_the_one_that_lacks_it_gets_it_wherever_it_stands() {
    let all = json!({"url": "http://u/"});
    let private = json!({"url": "http://u/", "headers": {"X-Mine": "1"}});
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

/// A function of one name in some regions.
fn in_regions(regions: &[&str]) -> serde_json::Value {
    let of = |region| json!({"lambda_function": "f", "lambda": {"client_options": {"region": region}}});
    regions.iter().copied().map(of).collect()
}

/// The region that a request's function is in.
fn region(request: &Request) -> String {
    let Target::Lambda(lambda) = &request.delivery.target else { panic!("{request:?}") };
    let options: serde_json::Value = serde_json::from_str(lambda.client_options.as_ref().unwrap()).unwrap();
    options["region"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn of_two_functions_with_one_name_the_one_that_lacks_it_gets_it_wherever_it_stands() {
    let fails_in_us = |request: &Request| {
        let outcome = if region(request) == "us-east-1" {
            Outcome::transient(Reason::FunctionThrottled("rate".into()))
        } else {
            Outcome::Delivered
        };
        (Takes::Time(NOW), outcome)
    };
    for then in [&["us-east-1", "eu-west-1"][..], &["us-east-1"]] {
        let mut world = World::registered(&[]);
        world.webhooks = in_regions(&["eu-west-1", "us-east-1"]);
        world.work(NOW, fails_in_us).await;
        sleep(2 * SECOND).await;
        world.webhooks = in_regions(then);
        world.work(NOW, delivered).await;
        let regions: Vec<_> = world.requests.lock().unwrap().iter().map(region).collect();
        assert_eq!(regions, ["eu-west-1", "us-east-1", "us-east-1"], "{then:?}");
        assert_eq!(
            (world.letters(), world.queue.deletes()),
            (vec![], vec![BatchEntryResult::Ok]),
            "{then:?}"
        );
        // The same with a letter in between.
        let mut world = World::registered(&[]);
        world.rules.retry.window = NOW;
        world.webhooks = in_regions(&["eu-west-1", "us-east-1"]);
        world.work(NOW, fails_in_us).await;
        let delivered_to = world.letters().remove(0).1;
        let mut put_back = World::registered(&[]);
        put_back.webhooks = in_regions(then);
        put_back.queue.redriven =
            Some(Redriven { source: "first".into(), delivered: delivered_to, webhook: None });
        put_back.work(NOW, delivered).await;
        let regions: Vec<_> = put_back.requests.lock().unwrap().iter().map(region).collect();
        assert_eq!(regions, ["us-east-1"], "{then:?}");
    }
}

/// Its own header, if the request has it.
fn is_private(request: &Request) -> bool {
    request.delivery.headers.iter().any(|(name, _)| name == "X-Mine")
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_has_it_does_not_get_it_again_because_another_with_its_url_is_added() {
    let (all, private) =
        (json!({"url": "http://a/"}), json!({"url": "http://a/", "headers": {"X-Mine": "1"}}));
    let b = json!({"url": "http://b/"});
    for then in [json!([all, b, private]), json!([private, all, b])] {
        let mut world = World::registered(&["a", "b"]);
        world.work(NOW, takes_all_but_b).await;
        sleep(2 * SECOND).await;
        world.webhooks = then.clone();
        world.work(NOW, delivered).await;
        let requests = world.requests.lock().unwrap();
        let later: Vec<_> = requests[2..].iter().map(|request| (url(request), is_private(request))).collect();
        let expected = [("b", false), ("a", true)];
        assert!(later.len() == 2 && expected.iter().all(|one| later.contains(one)), "{then} {later:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_of_one_that_was_alone_with_its_url_counts_for_it_alone_once_another_is_added() {
    let (all, private) =
        (json!({"url": "http://a/"}), json!({"url": "http://a/", "headers": {"X-Mine": "1"}}));
    let mut world = World::registered(&["a", "b"]);
    world.rules.retry.window = NOW;
    world.work(NOW, takes_all_but_b).await;
    let delivered_to = world.queue.letters()[0].delivered.clone();
    let mut put_back = World::registered(&[]);
    put_back.webhooks = json!([private, all]);
    put_back.queue.redriven =
        Some(Redriven { source: "first".into(), delivered: delivered_to.clone(), webhook: None });
    put_back.work(NOW, delivered).await;
    assert!(matches!(&put_back.requests.lock().unwrap()[..], [request] if is_private(request)));
    // Edited, it is the same webhook as long as it is alone with its URL.
    let mut edited = World::registered(&[]);
    edited.webhooks = json!([private, {"url": "http://b/"}]);
    edited.queue.redriven = Some(Redriven { source: "first".into(), delivered: delivered_to, webhook: None });
    edited.work(NOW, delivered).await;
    assert_eq!(edited.urls(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_cannot_be_used_keeps_no_sibling_waiting_and_is_named() {
    let mut world = World::registered(&[]);
    world.webhooks = json!([{"url": "http://a/"}, {"url": "http://256.1.1.1/"}]);
    world.work(NOW, delivered).await;
    assert_eq!(world.urls(), ["a"]);
    assert_eq!(world.letters(), [("webhook_unusable", both("a"))]);
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
async fn a_letter_names_the_destination_that_failed_for_good_before_the_last_attempt() {
    let world = World::registered(&["a", "b"]);
    let gone_at_first = |request: &Request| {
        let outcome = match (url(request), request.before) {
            ("a", _) => Outcome::Permanent(Reason::Gone),
            (_, 0..2) => Outcome::transient(Reason::Status(500)),
            _ => Outcome::Delivered,
        };
        (Takes::Time(NOW), outcome)
    };
    for _ in 0..2 {
        world.work(NOW, gone_at_first).await;
        sleep(2 * SECOND).await;
    }
    let letters = world.queue.letters();
    assert_eq!((letters[0].reason, letters[0].destination.as_str()), ("gone", "a"));
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
        world.queue.redriven =
            Some(Redriven { source: "first".into(), delivered: vec![id("a")], webhook: None });
        world.work(NOW, delivered).await;
        assert_eq!(world.urls(), expected, "{then:?}");
        let ids: Vec<_> = expected.iter().map(|url| format!("first.{}", id(url))).collect();
        let requests = world.requests.lock().unwrap();
        assert_eq!(requests.iter().map(known_as).collect::<Vec<_>>(), ids);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redriven_job_that_no_webhook_is_left_for_goes_to_a_new_letter_and_is_not_lost() {
    let mut world = World::registered(&["a"]);
    world.queue.redriven = Some(Redriven { source: "first".into(), delivered: vec![id("a")], webhook: None });
    world.work(NOW, delivered).await;
    assert!(world.urls().is_empty());
    assert_eq!(world.letters(), [("no_webhook", vec![id("a")])]);
}

#[tokio::test(start_paused = true)]
async fn a_letters_webhook_that_is_gone_is_owed_where_filters_stop_the_job_at_the_others() {
    let filtered =
        |url: &str| json!({"url": format!("http://{url}/"), "filter": {"channel_name_starts_with": "no"}});
    for (has, then, is_lost) in [
        (vec![], json!([filtered("c")]), false),
        (vec![id("a")], json!([{"url": "http://a/"}, filtered("c")]), false),
        // It is there still, and its owner has narrowed its filter.
        (vec![], json!([filtered("c"), filtered("b")]), true),
    ] {
        let mut world = World::registered(&[]);
        world.webhooks = then.clone();
        let redriven = Redriven { source: "first".into(), delivered: has.clone(), webhook: Some(id("b")) };
        world.queue.redriven = Some(redriven);
        world.work(NOW, delivered).await;
        assert!(world.urls().is_empty());
        let letters = world.queue.letters();
        if is_lost {
            assert_eq!((letters.len(), world.metrics.unmatched.get()), (0, 1), "{then}");
        } else {
            assert_eq!(world.letters(), [("no_webhook", has)], "{then}");
            assert_eq!((&letters[0].webhook, world.metrics.unmatched.get()), (&Some(id("b")), 0), "{then}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_is_given_up_for_no_webhook_that_its_owner_has_mended_meanwhile() {
    let unusable = json!({"url": "http://h/", "headers": {"X-Bad": "a\nb"}});
    for (remembered, then, expected) in [
        // Its receiver answers 410 now, or cannot be reached.
        (json!([{"url": "http://old/"}]), json!([{"url": "http://new/"}]), &["old", "new"][..]),
        (
            json!([{"url": "http://a/"}, {"url": "http://256.1.1.1/"}]),
            json!([{"url": "http://a/"}, {"url": "http://b/"}]),
            &["a", "b"],
        ),
        (
            json!([{"url": "http://a/"}, unusable]),
            json!([{"url": "http://a/"}, {"url": "http://h/"}]),
            &["a", "h"],
        ),
    ] {
        let mut world = World::registered(&[]);
        world.webhooks = then;
        world.remembered = Some(Remembered::Webhooks(remembered.clone()));
        let old_is_gone = |request: &Request| {
            let gone = url(request) == "old";
            (Takes::Time(NOW), if gone { Outcome::Permanent(Reason::Gone) } else { Outcome::Delivered })
        };
        world.work(NOW, old_is_gone).await;
        assert_eq!(world.urls(), expected, "{remembered}");
        assert_eq!(world.letters(), [], "{remembered}");
        assert_eq!(world.queue.deletes(), [BatchEntryResult::Ok], "{remembered}");
    }
    // The window ends with the URL that is remembered.
    let mut world = World::registered(&["old"]);
    world.rules.retry.window = 20 * SECOND;
    for n in 0..3 {
        if n == 2 {
            world.remembered = Some(Remembered::Webhooks(world.webhooks.clone()));
            world.register(&["corrected"]);
        }
        let old_fails =
            |request: &Request| if url(request) == "old" { fails(request) } else { delivered(request) };
        world.work(NOW, old_fails).await;
        sleep(15 * SECOND).await;
    }
    assert_eq!(
        (world.urls(), world.letters()),
        (["old", "old", "old", "corrected"].map(str::to_owned).to_vec(), vec![])
    );
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_remembered_as_unusable_is_asked_for_before_its_job_is_given_up() {
    let mut world = World::registered(&["a"]);
    world.rules.retry.window = NOW;
    world.remembered = Some(Remembered::Unusable);
    world.work(NOW, delivered).await;
    assert_eq!((world.urls(), world.letters()), (vec!["a".to_owned()], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_tried_on_under_its_id_and_number_when_another_with_its_url_comes_or_goes() {
    let (all, private) =
        (json!({"url": "http://a/"}), json!({"url": "http://a/", "headers": {"X-Mine": "1"}}));
    let owed = [("no_webhook", both("a"))];
    for (before, then, letters) in [
        (json!([all]), json!([private, all]), &[][..]),
        // The one that goes has not had it.
        (json!([private, all]), json!([all]), &owed[..]),
    ] {
        let mut world = World::registered(&[]);
        world.webhooks = before;
        for _ in 0..2 {
            world.work(NOW, fails).await;
            sleep(20 * SECOND).await;
        }
        world.webhooks = then.clone();
        world.work(NOW, delivered).await;
        let requests = world.requests.lock().unwrap().clone();
        let of_all: Vec<_> = requests.iter().filter(|request| !is_private(request)).collect();
        assert_eq!(of_all.iter().map(|request| request.number).collect::<Vec<_>>(), [1, 2, 3], "{then}");
        assert!(of_all.iter().all(|request| known_as(request) == known_as(of_all[0])), "{then}");
        assert_eq!((&world.letters()[..], world.queue.is_empty()), (letters, true), "{then}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_corrected_url_backs_off_by_its_own_attempts() {
    let mut world = World::registered(&["wrong"]);
    for _ in 0..7 {
        world.work(NOW, fails).await;
        sleep(20 * SECOND).await;
    }
    world.register(&["corrected"]);
    world.work(NOW, fails).await;
    assert_eq!(world.queue.changes().last(), Some(&vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_live_webhook_has_a_window_of_its_own_beside_one_that_is_down() {
    let mut world = World::registered(&["dead", "b"]);
    world.down = Some(0);
    sleep(world.rules.retry.window * 2).await;
    let busy_at_first = |request: &Request| {
        let outcome = match url(request) {
            "dead" => Outcome::transient(Reason::Status(500)),
            _ if request.before < 2 => Outcome::transient(Reason::Status(429)),
            _ => Outcome::Delivered,
        };
        (Takes::Time(NOW), outcome)
    };
    world.work(NOW, busy_at_first).await;
    assert_eq!(world.letters(), []);
    sleep(5 * SECOND).await;
    world.work(NOW, busy_at_first).await;
    assert_eq!(world.urls(), ["dead", "b", "b"]);
    assert_eq!(world.letters(), [("destination_down", both("b"))]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_says_who_has_the_job() {
    let mut world = World::registered(&["a", "b"]);
    world.rules.retry.window = NOW;
    sleep(SECOND).await;
    world.work(NOW, takes_all_but_b).await;
    assert_eq!(world.letters(), [("status", both("a"))]);
    let letters = world.queue.letters();
    assert_eq!(letters[0].webhook, Some(id("b")));
    assert!(letters[0].first_sent.is_some() && letters[0].given_up >= letters[0].first_sent);
}

impl World {
    /// Which URL each request went to, and under which number.
    fn numbers(&self) -> Vec<(String, u32)> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|request| (url(request).to_owned(), request.number)).collect()
    }
}

fn fails(_: &Request) -> (Takes, Outcome) {
    (Takes::Time(NOW), Outcome::transient(Reason::Status(503)))
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_by_webhook_so_that_a_corrected_url_begins_anew() {
    let mut world = World::registered(&[]);
    let of = |url: &str| json!({"url": format!("http://{url}/"), "retry": {"max_attempts": 3}});
    world.webhooks = json!([of("wrong"), of("b")]);
    for _ in 0..2 {
        world.work(NOW, fails).await;
        sleep(10 * SECOND).await;
    }
    world.webhooks = json!([of("corrected"), of("b")]);
    world.work(NOW, fails).await;
    assert_eq!(world.letters(), [], "the corrected one has two attempts left");
    sleep(40 * SECOND).await;
    world.work(NOW, delivered).await;
    let expected =
        [("wrong", 1), ("b", 1), ("wrong", 2), ("b", 2), ("corrected", 1), ("b", 3), ("corrected", 2)];
    assert_eq!(world.numbers(), expected.map(|(url, number)| (url.to_owned(), number)));
    assert!(matches!(&world.letters()[..], [("status", has)] if has[0] == id("corrected")), "b is given up");
}

#[tokio::test(start_paused = true)]
async fn a_webhooks_own_window_begins_with_its_own_first_attempt() {
    let mut world = World::registered(&[]);
    let of = |url: &str| json!({"url": format!("http://{url}/"), "retry": {"max_elapsed_time_ms": 20_000}});
    world.webhooks = json!([of("wrong")]);
    world.work(NOW, fails).await;
    sleep(30 * SECOND).await;
    world.webhooks = json!([of("corrected")]);
    world.work(NOW, fails).await;
    assert_eq!(world.letters(), []);
    sleep(30 * SECOND).await;
    world.work(NOW, fails).await;
    assert_eq!(world.letters(), [("status", vec![])]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_cannot_be_used_counts_no_attempts_and_its_job_backs_off() {
    let unusable = |request: &Request| {
        let why = Reason::WebhookUnusable("no such host".into());
        let outcome = if request.before < 5 { Outcome::transient(why) } else { Outcome::Delivered };
        (Takes::Time(NOW), outcome)
    };
    for retry in [json!({"max_attempts": 3}), json!({"enabled": false})] {
        let mut world = World::registered(&["a"]);
        world.webhooks = json!([{"url": "http://a/", "retry": retry}]);
        for _ in 0..6 {
            world.work(NOW, unusable).await;
            sleep(60 * SECOND).await;
        }
        assert!(world.numbers().iter().all(|(_, number)| *number == 1), "{:?}", world.numbers());
        assert_eq!((world.numbers().len(), world.letters()), (6, vec![]), "{retry}");
        let backoffs: Vec<u64> = world.queue.changes().into_iter().flatten().collect();
        assert!(backoffs.iter().any(|backoff| *backoff > 2), "{backoffs:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_put_back_is_attempted_even_where_its_webhook_is_known_to_be_down() {
    let mut world = World::new(30, 4, 3);
    world.register(&["a", "b"]);
    world.down = Some(1);
    world.queue.redriven =
        Some(Redriven { source: "letter".into(), delivered: vec![id("a")], webhook: None });
    let mended = |request: &Request| {
        let outcome =
            if request.before == 0 { Outcome::transient(Reason::Status(500)) } else { Outcome::Delivered };
        (Takes::Time(NOW), outcome)
    };
    world.work(NOW, mended).await;
    assert_eq!(world.attempted(), [0, 1, 2], "each once, whether or not it is time for a probe");
    assert_eq!(world.letters().len(), 1, "the one that failed");
}
