//! Jobs that go out together: which, how often, and what becomes of each.

use super::*;
use crate::plan::Limits;
use crate::queue::Redriven;

const NOW: Duration = Duration::ZERO;

fn world(jobs: u64) -> World {
    let mut world = World::new(30, 4, jobs);
    world.rules.coalesce = Some(Limits { events: 100, bytes: 1 << 18 });
    world
}

fn fails(_: &Request) -> (Takes, Outcome) {
    (Takes::Time(NOW), Outcome::transient(Reason::Status(500)))
}

fn gone(_: &Request) -> (Takes, Outcome) {
    (Takes::Time(NOW), Outcome::Permanent(Reason::Gone))
}

impl World {
    /// The jobs of each request, by webhook, in order of arrival.
    fn requests(&self) -> Vec<(usize, Vec<u64>)> {
        self.requests.lock().unwrap().iter().map(|r| (r.webhook, r.jobs.clone())).collect()
    }

    /// The jobs of each request, where there is one webhook.
    fn runs(&self) -> Vec<Vec<u64>> {
        self.requests().into_iter().map(|(_, jobs)| jobs).collect()
    }

    /// The dead letters: why, and for which webhook.
    fn lettered(&self) -> Vec<(&'static str, Option<usize>)> {
        let ids = self.ids();
        let place = |id: &Option<WebhookId>| id.as_ref().and_then(|id| ids.iter().position(|i| i == id));
        self.queue.letters().iter().map(|l| (l.reason, place(&l.webhook))).collect()
    }

    fn header(&self, request: usize, name: &str) -> String {
        let requests = self.requests.lock().unwrap();
        let mut headers = requests[request].delivery.headers.iter();
        headers.find(|(header, _)| header == name).unwrap().1.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_of_a_lane_go_out_as_one_and_each_is_acknowledged() {
    let world = world(10);
    world.work(NOW, delivered).await;
    assert_eq!(world.runs(), [(0..10).collect::<Vec<_>>()]);
    assert_eq!(world.queue.deletes(), [const { BatchEntryResult::Ok }; 10]);
    let ids = world.header(0, "X-Hookferry-Id");
    assert_eq!(
        ids.split(',').filter(|id| id.ends_with(&format!(".{}", world.ids()[0]))).count(),
        10,
        "{ids}"
    );
    assert_eq!(world.metrics.delivered.get(), 1);
    world.work(NOW, delivered).await;
    assert_eq!(world.runs().len(), 1, "nothing is left");
}

#[tokio::test(start_paused = true)]
async fn without_leave_every_job_goes_alone() {
    let mut world = world(3);
    world.rules.coalesce = None;
    world.work(NOW, delivered).await;
    assert_eq!(world.runs(), [[0], [1], [2]]);
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_at_its_limit_and_a_single_job_is_as_it_came() {
    let mut world = world(7);
    world.rules.coalesce = Some(Limits { events: 3, bytes: 1 << 18 });
    world.work(NOW, delivered).await;
    assert_eq!(world.runs(), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    let alone = World::new(30, 4, 7);
    alone.work(NOW, delivered).await;
    let body = |world: &World, request: usize| world.requests.lock().unwrap()[request].delivery.body.clone();
    assert_eq!(body(&world, 2), body(&alone, 6));
    for header in ["X-Hookferry-Id", "X-Pusher-Signature"] {
        assert_eq!(world.header(2, header), alone.header(6, header));
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_beyond_the_limits_goes_alone() {
    let mut world = world(4);
    world.rules.coalesce = Some(Limits { events: 100, bytes: 1 });
    world.work(NOW, delivered).await;
    assert_eq!(world.runs(), [[0], [1], [2], [3]]);
}

#[tokio::test(start_paused = true)]
async fn what_failed_together_goes_on_alone() {
    let world = world(3);
    world.work(NOW, fails).await;
    assert_eq!(world.runs(), [[0, 1, 2]]);
    assert_eq!(world.queue.changes(), [[1; 3]], "one change for all");
    assert!(world.queue.deletes().is_empty());
    sleep(2 * SECOND).await;
    world.send(3, "k", "s", "c");
    world.send(4, "k", "s", "c");
    world.work(NOW, delivered).await;
    assert_eq!(world.runs()[1..], [vec![0], vec![1], vec![2], vec![3, 4]]);
    let numbers: Vec<_> = world.requests.lock().unwrap().iter().map(|request| request.number).collect();
    assert_eq!(numbers, [1, 2, 2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_took_a_run_gets_none_of_its_jobs_again() {
    let mut world = world(2);
    world.webhooks = json!([{"url": "http://h/"}, {"url": "http://g/"}]);
    world.work(NOW, |request| if request.webhook == 0 { delivered(request) } else { fails(request) }).await;
    sleep(2 * SECOND).await;
    world.work(NOW, delivered).await;
    assert_eq!(world.requests(), [(0, vec![0, 1]), (1, vec![0, 1]), (1, vec![0]), (1, vec![1])]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_with_the_others_is_worked_in_its_turn() {
    let mut world = world(2);
    world.webhooks = json!([
        {"url": "http://h/"},
        {"url": "http://g/", "filter": {"channel_name_starts_with": "both"}},
    ]);
    world.send(2, "k", "forged", "c");
    world.send(3, "k", "s", "c");
    world.send(4, "k", "s", "both");
    world.send(5, "k", "s", "both");
    world.send(6, "other", "s", "both");
    world.send(7, "nobody", "s", "c");
    world.send(8, "k", "s", "c");
    world.work(NOW, delivered).await;
    let (both, one) = ([4, 5], [6]);
    let expected = [
        (0, vec![0, 1]),
        (0, vec![3]),
        (0, both.to_vec()),
        (1, both.to_vec()),
        (0, one.to_vec()),
        (1, one.to_vec()),
        (0, vec![8]),
    ];
    assert_eq!(world.requests(), expected);
    assert_eq!(world.lettered(), [("signature", None), ("unknown_app", None)]);
    assert_eq!(world.queue.deletes().len(), 9);
}

#[tokio::test(start_paused = true)]
async fn what_was_put_back_goes_alone_since_its_app_is_asked_for_anew() {
    let mut world = world(2);
    world.queue.redriven = Some(Redriven { source: "first".into(), delivered: Vec::new(), webhook: None });
    world.work(NOW, delivered).await;
    assert_eq!(world.runs(), [[0], [1]]);
}

#[tokio::test(start_paused = true)]
async fn a_lambda_function_gets_each_job_alone() {
    let mut world = world(2);
    world.webhooks = json!([{"url": "http://h/"}, {"lambda_function": "f"}]);
    world.work(NOW, delivered).await;
    assert_eq!(world.requests(), [(0, vec![0]), (1, vec![0]), (0, vec![1]), (1, vec![1])]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_for_good_is_asked_for_each_job_of_a_run_before_it_is_given_up() {
    let world = world(3);
    world.work(NOW, gone).await;
    assert_eq!(world.runs(), [vec![0, 1, 2], vec![0], vec![1], vec![2]]);
    assert_eq!(world.lettered(), vec![("gone", Some(0)); 3]);
    assert_eq!(world.queue.deletes(), [const { BatchEntryResult::Ok }; 3]);
    let numbers: Vec<_> = world.requests.lock().unwrap().iter().map(|request| request.number).collect();
    assert_eq!(numbers, [1, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn one_event_that_a_receiver_refuses_for_good_gets_no_other_job_dead_lettered() {
    let mut world = world(6);
    world.rules.coalesce = Some(Limits { events: 5, bytes: 1 << 18 });
    world
        .work(NOW, |request| if request.jobs.contains(&2) { gone(request) } else { delivered(request) })
        .await;
    let alone = (0..5).map(|job| vec![job]);
    let runs: Vec<_> = [vec![0, 1, 2, 3, 4]].into_iter().chain(alone).chain([vec![5]]).collect();
    assert_eq!(world.runs(), runs, "at once, in order, each but the last alone");
    assert_eq!(world.lettered(), [("gone", Some(0))]);
    assert_eq!(world.queue.deletes(), [const { BatchEntryResult::Ok }; 6]);
    assert!(world.queue.changes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_window_and_at_the_last_receive_each_job_of_a_run_that_failed_goes_alone_at_once() {
    let refuses_one = |request: &Request| {
        if request.jobs.contains(&1) { fails(request) } else { delivered(request) }
    };
    for (window, most, reason) in [(NOW, None, "status"), (300 * SECOND, Some(1), "last_receive")] {
        let mut world = world(3);
        world.rules.retry.window = window;
        world.rules.disposal.set_max_receive_count(most);
        world.work(NOW, refuses_one).await;
        assert_eq!(world.runs(), [vec![0, 1, 2], vec![0], vec![1], vec![2]], "{reason}");
        assert_eq!(world.lettered(), [(reason, Some(0))]);
        assert_eq!(world.queue.deletes(), [const { BatchEntryResult::Ok }; 3], "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_behind_a_run_at_its_last_receive_is_not_given_up_for_what_failed_together() {
    let mut world = world(2);
    world.rules.disposal.set_max_receive_count(Some(2));
    world.rules.coalesce = Some(Limits { events: 2, bytes: 1 << 18 });
    world.send(2, "other", "s", "c");
    assert_eq!(world.queue.take(None).len(), 3, "another process");
    sleep(31 * SECOND).await;
    world.work(NOW, |request| if request.jobs.len() > 1 { fails(request) } else { delivered(request) }).await;
    assert_eq!((world.lettered(), world.attempted().last()), (vec![], Some(&2)));
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_wants_no_retries_gets_each_job_once_and_alone() {
    for retry in [json!({"enabled": false}), json!({"max_attempts": 1})] {
        let mut world = world(3);
        world.webhooks = json!([{"url": "http://h/", "retry": retry}]);
        world.work(NOW, fails).await;
        assert_eq!(world.runs(), [[0], [1], [2]], "{retry}");
        assert_eq!(world.lettered(), vec![("status", Some(0)); 3], "{retry}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_down_is_probed_with_one_job_alone() {
    let mut world = world(3);
    world.rules.retry.window = 10 * SECOND;
    world.webhooks = json!([{"url": "http://h/"}, {"url": "http://g/"}]);
    world.down = Some(1);
    sleep(20 * SECOND).await;
    world.work(NOW, |request| if request.webhook == 0 { delivered(request) } else { fails(request) }).await;
    assert_eq!(world.requests(), [(0, vec![0, 1, 2]), (1, vec![0])]);
    assert_eq!(
        world.lettered(),
        [("status", Some(1)), ("destination_down", Some(1)), ("destination_down", Some(1))]
    );
    assert!(world.queue.changes().is_empty(), "none of them waits for what is down");
}

#[tokio::test(start_paused = true)]
async fn one_event_that_the_probe_of_a_run_failed_for_keeps_no_webhook_down() {
    let mut world = world(3);
    world.webhooks = json!([{"url": "http://h/"}, {"url": "http://g/"}]);
    world.down = Some(1);
    sleep(301 * SECOND).await;
    let refuses_one = |request: &Request| {
        if request.webhook == 1 && request.jobs.contains(&1) { fails(request) } else { delivered(request) }
    };
    world.work(NOW, refuses_one).await;
    assert_eq!(world.requests(), [(0, vec![0, 1, 2]), (1, vec![0]), (1, vec![1])]);
    assert_eq!(world.lettered(), []);
}

#[tokio::test(start_paused = true)]
async fn what_failed_together_past_its_window_is_given_up_only_after_it_failed_alone() {
    let mut world = world(2);
    world.rules.retry.window = 10 * SECOND;
    let slowly = |_: &Request| (Takes::Time(3 * SECOND), Outcome::transient(Reason::Status(500)));
    world.work(8 * SECOND, slowly).await;
    assert_eq!((world.runs(), world.lettered()), (vec![vec![0, 1]], vec![]));
    sleep(8 * SECOND).await;
    world.work(NOW, slowly).await;
    assert_eq!(world.runs()[1..], [[0], [1]]);
    assert_eq!(world.lettered(), vec![("status", Some(0)); 2]);
}

#[tokio::test(start_paused = true)]
async fn what_lay_in_the_queue_for_long_goes_together_as_ever() {
    let world = world(2);
    sleep(301 * SECOND).await;
    world.send(2, "k", "s", "c");
    world.send(3, "k", "s", "c");
    world.work(NOW, delivered).await;
    assert_eq!(world.runs(), [[0, 1, 2, 3]]);
}

#[tokio::test(start_paused = true)]
async fn a_run_has_one_deadline_inside_the_lease() {
    let mut world = World::new(5, 4, 3);
    world.rules.coalesce = Some(Limits { events: 100, bytes: 1 << 18 });
    let start = Instant::now();
    world.work(NOW, |_| (Takes::Time(60 * SECOND), Outcome::Delivered)).await;
    assert_eq!((world.runs(), world.queue.changes()), (vec![vec![0, 1, 2]], vec![vec![1; 3]]));
    assert!(start.elapsed() < 5 * SECOND);
}
