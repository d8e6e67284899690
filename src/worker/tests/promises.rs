//! What is promised of windows, breakers, last receives and shutdowns, and what did not hold once.

use super::*;
use crate::job::{QueueType, group_id};
use crate::queue::{DeadLetter, ReceiveError};

const SECOND: Duration = Duration::from_secs(1);

fn since_start(at: Duration) -> Duration {
    at.checked_sub(Duration::from_secs(1_000_000)).unwrap()
}

fn asks_for_fewer() -> Outcome {
    Outcome::Transient { reason: Reason::Status(429), retry_after: None }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waited_behind_a_failing_head_is_at_its_first_attempt() {
    let world = World::new();
    world.send("g", 0);
    world.send("g", 1);
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&numbers);
    world.start(move |n, _, number, _| {
        seen.lock().unwrap().push((n, number));
        (Duration::ZERO, if n == 0 && number < 6 { down() } else { ok() })
    });
    world.drain().await;
    let numbers = numbers.lock().unwrap();
    assert_eq!(numbers.last(), Some(&(1, 1)), "{numbers:?}");
}

#[tokio::test(start_paused = true)]
async fn what_lay_in_the_queue_while_no_worker_ran_is_not_given_up_after_one_failure() {
    let world = World::new();
    for n in 0..300 {
        world.send(&format!("g{n}"), n);
    }
    sleep(Duration::from_secs(3 * 3600)).await;
    let answered = Arc::new(Mutex::new(std::collections::VecDeque::new()));
    world.start(move |_, _, _, at| {
        let mut answered = answered.lock().unwrap();
        while answered.front().is_some_and(|then| at.saturating_sub(*then) >= SECOND) {
            answered.pop_front();
        }
        if answered.len() >= 20 {
            return (Duration::from_millis(5), asks_for_fewer());
        }
        answered.push_back(at);
        (Duration::from_millis(5), ok())
    });
    world.drain().await;
    assert_eq!(world.queue.letters().len(), 0);
    assert_eq!(world.delivered().len(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_answers_429_is_never_down_and_is_sent_less_at_a_time() {
    let mut world = World::new();
    world.window = 60 * SECOND;
    for n in 0..100 {
        world.send(&format!("g{n}"), n);
    }
    world.start(|_, _, _, _| (Duration::from_millis(50), asks_for_fewer()));
    world.drain().await;
    let letters = world.queue.letters();
    assert_eq!(letters.len(), 100);
    assert!(letters.iter().all(|letter| letter.reason == "status"), "none for a destination that is down");
    let attempts = world.attempts();
    let late =
        attempts.iter().filter(|a| since_start(a.at) >= 10 * SECOND && since_start(a.at) < 20 * SECOND);
    assert!(late.count() < 100, "it is asked one at a time");
}

#[tokio::test(start_paused = true)]
async fn a_group_alone_probes_a_dead_destination_once_in_a_timeout() {
    let mut world = World::new();
    world.window = 60 * SECOND;
    for n in 0..10 {
        world.send("g", n);
    }
    world.start(|_, _, _, _| (4 * SECOND, Outcome::transient(Reason::Timeout(4 * SECOND))));
    world.drain().await;
    assert_eq!(world.queue.letters().len(), 10);
    let last = world.attempts().last().map(|a| since_start(a.at)).unwrap();
    assert!(last < 150 * SECOND, "{last:?}: what waited goes as soon as its window is over");
    let skipped = world.queue.letters().iter().filter(|l| l.reason == "destination_down").count();
    assert!(skipped >= 8, "{skipped}");
}

#[tokio::test(start_paused = true)]
async fn jobs_that_a_receiver_cannot_take_bury_none_behind_them() {
    for groups in 1..=2 {
        let mut world = World::new();
        world.window = 60 * SECOND;
        for n in 0..20 {
            world.send(&format!("g{}", n % groups), n);
        }
        // The heads never, the next ones at their second attempt.
        world.start(move |n, _, number, _| {
            let fails = n < groups || n < 2 * groups && number == 1;
            (Duration::ZERO, if fails { down() } else { ok() })
        });
        world.drain().await;
        let letters = world.queue.letters();
        assert!(letters.iter().all(|letter| letter.reason == "status"), "{letters:?}");
        assert_eq!((letters.len() as u64, world.delivered().len() as u64), (groups, 20 - groups));
    }
}

#[tokio::test(start_paused = true)]
async fn time_in_which_nothing_could_be_received_is_not_part_of_a_jobs_window() {
    let mut world = World::new();
    world.window = 60 * SECOND;
    let start = Instant::now();
    world.queue.receive_fault = Arc::new(move |_| {
        let is_away = (5 * SECOND..200 * SECOND).contains(&start.elapsed());
        is_away.then(|| ReceiveError::Throttled(String::new()))
    });
    world.send("g", 1);
    world.start(|_, _, number, _| (Duration::ZERO, if number < 6 { down() } else { ok() }));
    world.drain().await;
    assert_eq!((world.delivered(), world.queue.letters().len()), (vec![1], 0));
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_app_source_is_down_is_not_part_of_the_window_of_an_app_without_webhooks() {
    let mut world = World::new();
    (world.window, world.webhooks, world.source_down_for) = (60 * SECOND, 0, 150 * SECOND);
    (0..20).for_each(|n| world.send(&format!("g{}", n % 2), n));
    world.start(|_, _, _, _| (Duration::ZERO, ok()));
    world.drain().await;
    let letters = world.queue.letters();
    assert_eq!(letters.len(), 20);
    for letter in letters {
        let waited = letter.given_up.unwrap().duration_since(letter.first_sent.unwrap()).unwrap();
        assert!(letter.reason == "no_webhook" && waited >= 210 * SECOND, "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_window_every_job_is_attempted_once() {
    let mut world = World::new();
    world.window = Duration::ZERO;
    for n in 0..30 {
        world.send(&format!("g{}", n % 3), n);
    }
    world.start(|_, _, _, _| (Duration::from_millis(10), down()));
    world.drain().await;
    assert_eq!(world.attempts().len(), 30);
    assert!(world.queue.letters().iter().all(|letter| letter.reason == "status"));
}

#[tokio::test(start_paused = true)]
async fn once_a_webhook_is_down_its_healthy_sibling_is_no_longer_late() {
    let mut world = World::new();
    world.webhooks = 2;
    world.window = 30 * SECOND;
    world.start(
        |_, webhook, _, _| {
            if webhook == 0 { (Duration::from_millis(5), ok()) } else { (4 * SECOND, down()) }
        },
    );
    let mut sent = Vec::new();
    for n in 0..200 {
        world.send("g", n);
        sent.push(world.queue.now());
        sleep(SECOND).await;
    }
    world.drain().await;
    let attempts = world.attempts();
    let healthy = attempts.iter().filter(|a| a.webhook == 0 && a.n >= 80);
    let late: Vec<_> = healthy.map(|a| a.at.saturating_sub(sent[usize::try_from(a.n).unwrap()])).collect();
    assert_eq!(late.len(), 120);
    assert!(late.iter().all(|late| *late < 10 * SECOND), "{late:?}");
    let one_has_it = |letter: &DeadLetter| {
        let mut all = letter.delivered.iter().map(WebhookId::as_str);
        all.next().is_some_and(|plain| all.all(|precise| precise.starts_with(plain)))
    };
    assert!(world.queue.letters().iter().all(one_has_it));
}

#[tokio::test(start_paused = true)]
async fn a_job_on_its_last_receive_is_given_up_by_us_with_its_reason() {
    let mut world = World::new();
    world.max_receive_count = Some(3);
    world.send("g", 0);
    world.start(|_, _, _, _| (Duration::ZERO, down()));
    world.drain().await;
    assert_eq!(world.attempts().len(), 3);
    let letters = world.queue.letters();
    assert_eq!((letters.len(), letters[0].reason, letters[0].attempts), (1, "last_receive", 3));
    assert!(letters[0].detail.contains("status 500"), "{}", letters[0].detail);
}

#[tokio::test(start_paused = true)]
async fn what_comes_for_the_last_time_while_its_copy_is_worked_is_worked_after_it() {
    let mut world = World::new();
    world.max_receive_count = Some(3);
    world.queue.set_max_receive_count(3);
    // A late delete is refused a second later.
    world.queue.way = SECOND;
    world.stands_still = Some((0, 6 * SECOND));
    (0..2).for_each(|n| world.send("g", n));
    assert_eq!(world.queue.take(None).len(), 2, "another process");
    sleep(6 * SECOND).await;
    world.start(|_, _, _, _| (Duration::ZERO, ok()));
    world.drain().await;
    assert_eq!((world.delivered(), world.queue.letters().len()), (vec![0, 1], 0));
    assert_eq!(world.queue.moved(), "0", "by SQS, without a word");
}

#[tokio::test(start_paused = true)]
async fn what_sqs_would_delete_for_its_age_is_given_up_by_us_with_its_reason() {
    let mut world = World::new();
    world.retention = Some(120 * SECOND);
    world.queue.set_retention(120 * SECOND);
    for n in 0..30 {
        world.send("g", n);
    }
    world.start(|n, _, _, _| (Duration::ZERO, if n == 0 { down() } else { ok() }));
    world.drain().await;
    let letters = world.queue.letters();
    assert!(letters.iter().all(|letter| letter.reason == "retention"), "{letters:?}");
    assert!(letters[0].detail.contains("120 s") && letters[0].detail.contains("status 500"), "{letters:?}");
    assert_eq!(letters.len() + world.delivered().len(), 30, "none is gone without a word");
    let lasted = letters[0].given_up.unwrap().duration_since(letters[0].first_sent.unwrap()).unwrap();
    assert!(lasted > 50 * SECOND, "given up after {lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn behind_a_failing_head_no_job_is_left_to_sqs() {
    let mut world = World::new();
    world.max_receive_count = Some(4);
    for n in 0..10 {
        world.send("g", n);
    }
    world.start(|n, _, _, _| (Duration::ZERO, if n == 0 { down() } else { ok() }));
    world.drain().await;
    let letters = world.queue.letters();
    assert!(letters.iter().all(|letter| letter.reason == "last_receive"), "{letters:?}");
    assert_eq!(letters.len() + world.delivered().len(), 10);
    assert!(world.delivered().len() >= 9, "the rest was spared: {:?}", world.delivered());
}

#[tokio::test(start_paused = true)]
async fn at_a_shutdown_a_job_at_its_last_receive_waits_for_its_place_and_is_given_up_before_the_grace_ends() {
    for frees in [10, 60] {
        let mut world = World::new();
        world.max_receive_count = Some(1);
        world.send("g", 1);
        world.send("g", 2);
        let start = world.queue.now();
        let worker = world.start(move |_, _, _, at| {
            let free = at >= start + Duration::from_secs(frees);
            (Duration::ZERO, if free { ok() } else { Outcome::Deferred(Reason::Busy(2)) })
        });
        sleep(Duration::from_secs(1)).await;
        world.shutdown.cancel();
        worker.await.unwrap();
        let letters = world.queue.letters();
        if frees == 10 {
            assert_eq!((world.delivered(), letters.len()), (vec![1, 2], 0), "in its grace");
        } else {
            assert_eq!(letters.iter().map(|l| l.reason).collect::<Vec<_>>(), ["last_receive"; 2]);
            assert!(world.queue.is_empty(), "nothing is left for SQS to move");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_by_the_end_of_the_grace_at_its_last_receive_is_given_up_by_us() {
    let mut world = World::new();
    world.max_receive_count = Some(1);
    (0..10).for_each(|n| world.send("g", n));
    let worker = world.start(|_, _, _, _| (Duration::from_millis(3500), ok()));
    sleep(Duration::from_secs(1)).await;
    world.shutdown.cancel();
    worker.await.unwrap();
    let (delivered, letters) = (world.delivered(), world.queue.letters());
    assert_eq!((delivered.len(), letters.len()), (5, 5), "{delivered:?}");
    assert!(letters.iter().all(|letter| letter.reason == "last_receive"));
    assert!(world.queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_letter_of_what_is_cut_off_says_which_webhook_had_answered() {
    let mut world = World::new();
    (world.max_receive_count, world.webhooks) = (Some(1), 2);
    (0..10).for_each(|n| world.send("g", n));
    let takes = |webhook| if webhook == 0 { Duration::ZERO } else { Duration::from_millis(3500) };
    let worker = world.start(move |_, webhook, _, _| (takes(webhook), ok()));
    sleep(SECOND).await;
    world.shutdown.cancel();
    worker.await.unwrap();
    let letters = world.queue.letters();
    let delivered: Vec<Vec<_>> =
        letters.iter().map(|letter| letter.delivered.iter().map(WebhookId::as_str).collect()).collect();
    // Under its precise id as well.
    let id = delivered[0][0];
    assert!(delivered[0].iter().all(|other| other.starts_with(id)), "{delivered:?}");
    assert!(delivered[1..].iter().all(Vec::is_empty), "the others had no attempt: {delivered:?}");
    assert_eq!(letters.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn where_the_lease_cannot_be_extended_a_job_at_its_last_receive_is_given_up_by_us() {
    let mut world = World::new();
    world.max_receive_count = Some(1);
    world.queue.changes_denied = true;
    (0..10).for_each(|n| world.send("g", n));
    world.start(|_, _, _, _| (Duration::from_millis(1500), ok()));
    sleep(Duration::from_secs(30)).await;
    let letters = world.queue.letters();
    assert_eq!(world.delivered().len() + letters.len(), 10);
    assert!(letters.len() > 5 && letters.iter().all(|letter| letter.reason == "last_receive"));
    assert!(world.queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_signal_is_hidden_until_no_other_process_can_have_a_poll_of_that_time() {
    let world = World::new();
    let worker = world.start(|_, _, _, _| (Duration::ZERO, ok()));
    sleep(Duration::from_secs(2)).await;
    world.shutdown.cancel();
    sleep(Duration::from_millis(50)).await;
    (0..3).for_each(|n| world.send("g", n));
    worker.await.unwrap();
    assert_eq!(world.queue.changes(), [[10; 3]], "as long as a poll is parked");
    assert!(world.attempts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_fails_in_a_shutdown_is_hidden_until_no_poll_of_this_process_can_bring_it_again() {
    let world = World::new();
    world.send("g", 0);
    let worker = world.start(|_, _, _, _| (SECOND, down()));
    sleep(SECOND / 2).await;
    world.shutdown.cancel();
    worker.await.unwrap();
    assert_eq!(world.attempts().len(), 1);
    assert_eq!(world.queue.changes(), [[10]], "as long as a poll is parked");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_spends_one_receive_of_each_job() {
    let world = World::new();
    for n in 0..300 {
        world.send(&format!("g{}", n % 30), n);
    }
    let worker = world.start(|_, _, _, _| (3 * SECOND, ok()));
    sleep(2 * SECOND).await;
    world.shutdown.cancel();
    worker.await.unwrap();
    let mut left = 0;
    loop {
        let rest = world.queue.take(Some(3600 * SECOND));
        if rest.is_empty() {
            break;
        }
        left += rest.len();
        for message in rest {
            assert!(message.receive_count <= 2, "received {} times", message.receive_count);
            // Its group would be blocked, and the rest of it not be counted.
            world.queue.remove(&message);
        }
    }
    assert_eq!(left + world.delivered().len(), 300, "at once, all of them");
}

#[tokio::test(start_paused = true)]
async fn one_webhook_at_which_the_worker_panics_repeats_none_of_its_siblings_and_ends() {
    let mut world = World::new();
    world.webhooks = 2;
    world.window = 30 * SECOND;
    world.send("g", 1);
    world.send("g", 2);
    world.start(|n, webhook, _, _| {
        assert!(n != 1 || webhook != 1, "a fault of ours");
        (Duration::ZERO, ok())
    });
    world.drain().await;
    let count = |n, webhook| world.attempts().iter().filter(|a| a.n == n && a.webhook == webhook).count();
    assert_eq!((count(1, 0), count(2, 0)), (1, 1));
    assert_eq!(world.queue.letters()[0].reason, "panicked");
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_slow_apps_leave_room_for_a_quick_one() {
    for seed in 1..=3 {
        let latest = latest_of_a_quick_app_among(400, 0, seed).await;
        assert!(latest[0] < 4 * SECOND, "seed {seed}: its first job is {:?} late", latest[0]);
        let slowest = latest.iter().skip(50).max().unwrap();
        assert!(*slowest < SECOND, "seed {seed}: {slowest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn apps_that_stop_answering_leave_room_at_once() {
    for seed in 1..=3 {
        let latest = latest_of_a_quick_app_among(70, 20, seed).await;
        let slowest = latest.iter().max().unwrap();
        assert!(*slowest < 2 * SECOND, "seed {seed}: {slowest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn large_jobs_for_many_webhooks_that_hang_stop_no_poll_and_are_delivered_later() {
    for filter in [json!({}), json!({"channel_name_starts_with": "a"})] {
        let world = World { webhooks: 16, filter: filter.clone(), max_bytes: 8 << 20, ..World::new() };
        let send = |app: &str, n: u64, size: usize| {
            let data = "x".repeat(size);
            let event = |channel| {
                format!(r#"{{"name":"client_event","channel":"{channel}","n":{n},"data":"{data}"}}"#)
            };
            // A filter leaves the first, so that it is rendered.
            let payload = format!(r#"{{"events":[{},{{"name":"client_event","channel":"b"}}]}}"#, event("a"));
            let group = format!("{app}_{}", if size > 1 { n } else { 0 });
            let message = Signer::new(app, "k", SECRET).payload_in(group.clone(), payload);
            world.queue.send(&group, message.body);
        };
        (0..6).for_each(|n| send("large", n, 120_000));
        world.start(|n, _, _, at| {
            let hangs = n < 6 && since_start(at) < 30 * SECOND;
            (if hangs { 4 * SECOND } else { SECOND / 100 }, if hangs { down() } else { ok() })
        });
        sleep(SECOND).await;
        let mut times = Vec::new();
        for n in 100..200 {
            send("healthy", n, 1);
            times.push(world.queue.now());
            sleep(SECOND / 10).await;
        }
        world.drain().await;
        let first = |n: u64| world.attempts().iter().find(|attempt| attempt.n == n).unwrap().at;
        let late = (100..200).map(|n| first(n).saturating_sub(times[usize::try_from(n - 100).unwrap()]));
        let slowest = late.max().unwrap();
        assert!(slowest < SECOND / 2, "{filter}: {slowest:?}");
        assert_eq!(world.delivered().len(), 106 * 16, "{filter}");
    }
}

/// How long each job of a quick app takes from its sending, when so many apps with a hundred jobs each are there
/// whose receivers answer after 3.8 s, but for so many jobs at first, which they take at once.
async fn latest_of_a_quick_app_among(apps: u64, quick_at_first: u64, seed: u64) -> Vec<Duration> {
    const QUICK: u64 = 1_000_000;
    let world = World { seed, ..World::new() };
    let backlog = |from: u64, to: u64| {
        for n in from * apps..to * apps {
            let kind = QueueType::ALL[usize::try_from(n / apps % 6).unwrap()];
            let app = format!("slow{}", n % apps);
            world.send_as(&app, &group_id(&app, kind), n);
        }
    };
    backlog(0, quick_at_first.max(10));
    world.start(move |n, _, _, _| {
        let is_quick = n >= QUICK || n / apps < quick_at_first;
        (if is_quick { SECOND / 100 } else { 38 * SECOND / 10 }, ok())
    });
    sleep(SECOND).await;
    backlog(quick_at_first.max(10), 100);
    let mut sent = Vec::new();
    for n in 0..200 {
        world.send_as("quick", "quick_client_event_webhooks", QUICK + n);
        sent.push(world.queue.now());
        sleep(SECOND / 10).await;
    }
    sleep(20 * SECOND).await;
    let attempts = world.attempts();
    let quick = attempts.iter().filter(|attempt| attempt.n >= QUICK);
    let late: Vec<_> = quick
        .map(|attempt| attempt.at.saturating_sub(sent[usize::try_from(attempt.n - QUICK).unwrap()]))
        .collect();
    world.shutdown.cancel();
    assert_eq!(late.len(), 200, "seed {seed}");
    late
}
