//! The producer under paused time, over the local queue's state machine.

mod queue;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::{Instant, advance};

use super::*;
use queue::{Fault, Queue};

fn signer() -> Signer {
    Signer::new("app-id", "app-key", "app-secret")
}

fn job(group: &str, n: u64) -> NewMessage {
    NewMessage::new(group.to_owned(), serde_json::json!({"g": group, "n": n}).to_string())
}

#[tokio::test(start_paused = true)]
async fn the_jobs_of_a_group_arrive_in_the_order_of_the_calls_ten_a_batch() {
    let queue = Queue::new();
    let producer = Producer::over(queue.clone(), Buffer::default());
    for n in 0..25 {
        drop(producer.enqueue(job("g", n)).await.unwrap());
    }
    producer.flush().await.unwrap();
    assert_eq!(queue.batches(), [vec!["g"; 10], vec!["g"; 10], vec!["g"; 5]]);
    assert_eq!(queue.arrived(), BTreeMap::from([("g".to_owned(), (0..25).collect::<Vec<_>>())]));
}

#[tokio::test(start_paused = true)]
async fn a_group_has_one_send_under_way_and_others_do_not_wait_for_it() {
    let queue = Queue::new();
    queue.fault("slow", Fault::Hangs(Duration::from_secs(5)));
    let producer = Producer::over(queue.clone(), Buffer::default());
    let began = Instant::now();
    let slow = producer.enqueue(job("slow", 0)).await.unwrap();
    let behind = producer.enqueue(job("slow", 1)).await.unwrap();
    for n in 0..3 {
        producer.enqueue(job("quick", n)).await.unwrap().await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(queue.under_way("slow"), 1);
    slow.await.unwrap();
    behind.await.unwrap();
    assert_eq!(queue.most_under_way("slow"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_failed_in_part_goes_on_from_the_failed_entry() {
    let queue = Queue::new();
    queue.fault("g", Fault::FailsFrom(3));
    let producer = Producer::over(queue.clone(), Buffer::default());
    for n in 0..12 {
        drop(producer.enqueue(job("g", n)).await.unwrap());
    }
    producer.flush().await.unwrap();
    assert_eq!(queue.sent(), vec![(0..10).collect::<Vec<_>>(), (3..12).collect()]);
    assert_eq!(queue.arrived()["g"], (0..12).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_is_asked_again_and_nothing_arrives_twice() {
    let queue = Queue::new();
    queue.fault("g", Fault::LosesResponse);
    let producer = Producer::over(queue.clone(), Buffer::default());
    let first = producer.enqueue(job("g", 0)).await.unwrap().await.unwrap();
    assert_eq!(queue.sent().len(), 2);
    assert_eq!(queue.arrived()["g"], [0]);
    assert!(!first.is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_job_is_sent_after_its_deduplication_id_may_be_forgotten() {
    for (fault, ends, may_be) in [
        (Fault::Throttles, "the queue throttled the job: slow down (", false),
        (Fault::LosesRequest, "no answer from the queue, the job may be on it: lost (", true),
        (Fault::Breaks, "the queue failed: broken (", true),
        (Fault::Expires, "access to the queue is denied: old (", false),
        (Fault::IsUnreachable, "the queue cannot be reached, the job was not sent: refused (", false),
    ] {
        let queue = Queue::new();
        queue.for_ever("g", fault);
        let producer = Producer::over(queue.clone(), Buffer::default());
        let began = Instant::now();
        let error = producer.enqueue(job("g", 0)).await.unwrap().await.unwrap_err();
        assert!(
            error.to_string().starts_with(ends) && error.to_string().contains(" attempts in 24"),
            "{error}"
        );
        assert_eq!(error.may_be_on_the_queue(), may_be, "{error}");
        let lasted = began.elapsed();
        assert!(lasted >= error::RETRY_WINDOW && lasted < Duration::from_secs(290), "{lasted:?}");
        let failed = producer.flush().await.unwrap_err();
        assert_eq!(failed.failed, 1);
        assert_eq!(producer.flush().await, Ok(()), "told once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_may_be_on_the_queue_is_not_sent_again_after_a_standstill() {
    for (fault, sent_again) in
        [(Fault::LosesResponse, false), (Fault::Breaks, false), (Fault::Throttles, true)]
    {
        let queue = Queue::new();
        queue.fault("g", fault);
        let producer = Producer::over(queue.clone(), Buffer::default());
        let first = producer.enqueue(job("g", 0)).await.unwrap();
        let behind = producer.enqueue(job("g", 1)).await.unwrap();
        while queue.sent().is_empty() || queue.under_way("g") > 0 {
            tokio::task::yield_now().await;
        }
        advance(Duration::from_secs(400)).await;
        let first = first.await;
        assert_eq!(first.is_ok(), sent_again, "{fault:?}: {first:?}");
        assert!(first.err().is_none_or(|error| error.may_be_on_the_queue()));
        behind.await.unwrap_or_default();
        let arrived = queue.arrived().remove("g").unwrap_or_default();
        assert!(arrived.iter().filter(|n| **n == 0).count() <= 1, "{fault:?}: {arrived:?}");
    }
}

#[test]
fn time_that_the_machine_slept_counts() {
    let mut outbox = outbox::Outbox::new(RetryPolicy::default());
    let began = outbox::Moment::now();
    outbox.push(job("g", 0), 10, ());
    let batch = outbox.take(began, 0).unwrap();
    outbox.push(job("g", 9), 10, ());
    let lost = Err(CallError::NoResponse("lost".into()));
    assert!(outbox.settle(began, batch, lost, 0.5).is_empty());
    let slept = |seconds| outbox::Moment {
        tick: began.tick + Duration::from_secs(1),
        wall: began.wall + Duration::from_secs(seconds),
    };
    assert!(outbox.take(slept(400), 0).is_none());
    let behind = outbox.expired.pop().unwrap().result.unwrap_err();
    assert!(matches!(behind, Error::Behind(_)) && !behind.may_be_on_the_queue(), "{behind}");
    let error = outbox.expired.pop().unwrap().result.unwrap_err();
    assert!(error.may_be_on_the_queue() && error.to_string().contains("(1 attempt in 400.0 s)"), "{error}");
    assert!(outbox.expired.is_empty());
    outbox.push(job("g", 1), 10, ());
    assert!(outbox.take(slept(400), 0).is_some(), "the group goes on");
}

#[tokio::test(start_paused = true)]
async fn however_many_wait_for_a_queue_that_does_not_answer_none_arrives_twice() {
    let queue = Queue::new();
    queue.silent_for(Duration::from_secs(309));
    let producer = Producer::over(queue.clone(), Buffer::default());
    for n in 0..3000 {
        drop(producer.enqueue(job(&format!("g{n}"), n)).await.unwrap());
    }
    let failed = producer.flush().await.unwrap_err();
    assert!(failed.first.may_be_on_the_queue(), "{failed}");
    let arrived = queue.arrived();
    let twice: Vec<_> = arrived.iter().filter(|(_, ns)| ns.len() > 1).collect();
    assert!(twice.is_empty() && arrived.len() == 3000, "{} arrived, twice {twice:?}", arrived.len());
}

/// An uplink of so many bytes a second, which the calls under way share.
struct Uplink {
    queue: Queue,
    rate: usize,
    under_way: std::sync::atomic::AtomicUsize,
}

impl SendBatch for Uplink {
    async fn send_batch(&self, batch: &[&NewMessage]) -> Result<Vec<EntryResult>, CallError> {
        use std::sync::atomic::Ordering::Relaxed;
        struct Ends<'a>(&'a Uplink);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.under_way.fetch_sub(1, Relaxed);
            }
        }
        self.under_way.fetch_add(1, Relaxed);
        let _ends = Ends(self);
        let step = Duration::from_millis(50);
        let mut left: usize = batch.iter().map(|job| job.body.len()).sum();
        while left > 0 {
            tokio::time::sleep(step).await;
            left = left.saturating_sub(self.rate / 20 / self.under_way.load(Relaxed));
        }
        Ok(self.queue.put(batch))
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_uplink_has_so_few_calls_that_they_end_in_time() {
    let queue = Queue::new();
    let uplink = Uplink { queue: queue.clone(), rate: 500_000, under_way: 0.into() };
    let producer = Producer::over(uplink, Buffer::default());
    for n in 0..640 {
        let group = format!("g{}", n % 64);
        let body = serde_json::json!({"g": group, "n": n / 64, "x": "x".repeat(60_000)}).to_string();
        drop(producer.enqueue(NewMessage::new(group, body)).await.unwrap());
    }
    producer.flush().await.unwrap();
    let arrived = queue.arrived();
    assert!(arrived.len() == 64 && arrived.values().all(|ns| ns.iter().copied().eq(0..10)), "{arrived:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_denies_or_does_not_have_is_told_at_once() {
    for (fault, ends) in
        [(Fault::Denies, Error::Denied("no".into())), (Fault::IsMissing, Error::Missing("none".into()))]
    {
        let queue = Queue::new();
        queue.for_ever("g", fault);
        let producer = Producer::over(queue, Buffer::default());
        assert_eq!(producer.enqueue(job("g", 0)).await.unwrap().await, Err(ends));
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_have_expired_make_no_hole_in_a_group() {
    let queue = Queue::new();
    queue.fault("g", Fault::Expires);
    let producer = Producer::over(queue.clone(), Buffer::default());
    let jobs = stream::iter((0..25).map(|n| job("g", n)));
    let results: Vec<_> = producer.enqueue_all(jobs).collect().await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(queue.arrived()["g"], (0..25).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_group_goes_before_a_job_that_is_denied() {
    for (fault, sent) in [(Fault::Denies, 0), (Fault::IsMissing, 0), (Fault::DeniesEntry(3), 3)] {
        let queue = Queue::new();
        queue.fault("g", fault);
        let producer = Producer::over(queue.clone(), Buffer::default());
        let jobs = stream::iter((0..25).map(|n| job("g", n)));
        let results: Vec<_> = producer.enqueue_all(jobs).collect().await;
        let ok = results.iter().map(Result::is_ok);
        assert!(ok.eq((0..25).map(|n| n < sent)), "{fault:?}: {results:?}");
        assert_eq!(queue.arrived().remove("g").unwrap_or_default(), (0..sent).collect::<Vec<_>>());
        producer.enqueue(job("g", 25)).await.unwrap().await.unwrap();
        assert_eq!(queue.arrived()["g"], [25], "what comes later is the sender's to decide");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_group_goes_before_a_job_that_the_queue_did_not_take_for_the_whole_window() {
    let away = [Fault::Throttles, Fault::LosesRequest, Fault::Breaks, Fault::Expires, Fault::IsUnreachable];
    for fault in away {
        let queue = Queue::new();
        queue.for_ever("g", fault);
        let producer = Producer::over(queue.clone(), Buffer::default());
        let began = Instant::now();
        let jobs = stream::iter((0..2000).map(|n| job("g", n)));
        let results = producer.enqueue_all(jobs).collect::<Vec<_>>();
        let back = async {
            tokio::time::sleep(Duration::from_secs(250)).await;
            queue.answers_again("g");
        };
        let (results, ()) = tokio::join!(results, back);
        producer.flush().await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(300), "{fault:?}: one window for all of them");
        let arrived = queue.arrived().remove("g").unwrap_or_default();
        assert!(arrived.is_empty() && results.iter().all(Result::is_err), "{fault:?}: {arrived:?}");
        let behind = results.iter().filter(|result| matches!(result, Err(Error::Behind(_)))).count();
        assert!((1990..2000).contains(&behind), "{fault:?}: all but what was attempted: {behind}");
        producer.enqueue(job("g", 2000)).await.unwrap().await.unwrap();
        assert_eq!(queue.arrived()["g"], [2000], "what comes later is the sender's to decide");
    }
}

/// Denies a group's first batch, just after the next job of the group was handed over.
#[derive(Clone, Default)]
struct DeniesLate(Arc<Mutex<Handed>>);

/// Its producer, and what was handed over meanwhile.
type Handed = Option<(Producer, Vec<Confirmation>)>;

impl SendBatch for DeniesLate {
    async fn send_batch(&self, batch: &[&NewMessage]) -> Result<Vec<EntryResult>, CallError> {
        match &mut *self.0.lock().unwrap() {
            Some((producer, handed)) if handed.is_empty() => {
                handed.push(producer.try_enqueue(job("g", 1)).unwrap());
                Err(CallError::Denied("no".into()))
            }
            _ => Ok(batch.iter().map(|_| EntryResult::Sent("id".into())).collect()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_over_before_an_answer_was_known_shares_its_groups_end() {
    for _ in 0..30 {
        let port = DeniesLate::default();
        let producer = Producer::over(port.clone(), Buffer::default());
        *port.0.lock().unwrap() = Some((producer.clone(), Vec::new()));
        let denied = producer.enqueue(job("g", 0)).await.unwrap().await;
        assert_eq!(denied, Err(Error::Denied("no".into())));
        let (_, handed) = port.0.lock().unwrap().take().unwrap();
        for behind in handed {
            assert!(matches!(behind.await, Err(Error::Behind(_))));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_place_when_its_group_ends_is_not_sent_before_it() {
    let queue = Queue::new();
    queue.fault("g", Fault::Denies);
    let producer = Producer::over(queue.clone(), Buffer { jobs: 2, ..Buffer::default() });
    let first = producer.enqueue(job("g", 0)).await.unwrap();
    let mut waiting = Box::pin(producer.enqueue(job("g", 1)));
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(first.await, Err(Error::Denied("no".into())));
    let anew = producer.enqueue(job("g", 2));
    let (behind, anew) = tokio::join!(async { waiting.await?.await }, async { anew.await?.await });
    assert_eq!(behind, Err(Error::Behind(Box::new(Error::Denied("no".into())))));
    anew.unwrap();
    assert_eq!(queue.arrived()["g"], [2], "what was called for after the end");
    assert_eq!(producer.flush().await.unwrap_err().failed, 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_batcher_holds_when_its_group_ends_is_not_sent_before_it() {
    let queue = Queue::new();
    queue.fault("g", Fault::Denies);
    let producer = Producer::over(queue.clone(), Buffer { jobs: 2, ..Buffer::default() });
    let batching = Batching { max_events: 2, ..Batching::default() };
    let batcher = producer.batched(signer(), batching);
    let event = |n: u64| Event::own("order.paid").unwrap().with("n", &n).unwrap().in_group("g");
    let mut added = Vec::new();
    for n in 0..7 {
        added.push(batcher.add(event(n)).await.unwrap());
    }
    // One batch is denied, one waits for its place, one for its turn and one for its second event.
    let first = added.remove(0).await;
    assert_eq!(first, Err(Error::Denied("no".into())));
    let anew = batcher.add(event(7)).await.unwrap();
    assert_eq!(added.remove(0).await, first, "of the same batch");
    for behind in added {
        assert!(matches!(behind.await, Err(Error::Behind(_))));
    }
    anew.await.unwrap();
    let bodies = queue.bodies();
    assert_eq!((bodies.len(), count(&bodies[0].1, b"order.paid")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_answer_was_lost_may_be_on_the_queue_whatever_comes_after() {
    let denials = [Fault::Denies, Fault::DeniesEntry(0)];
    let first = [Fault::LosesResponse, Fault::TakesAndBreaks];
    for (first, last) in first.into_iter().flat_map(|first| denials.map(|last| (first, last))) {
        let queue = Queue::new();
        queue.fault("g", first);
        queue.fault("g", last);
        let producer = Producer::over(queue.clone(), Buffer::default());
        let error = producer.enqueue(job("g", 0)).await.unwrap().await.unwrap_err();
        assert_eq!(error, Error::Unconfirmed(Box::new(Error::Denied("no".into()))));
        assert!(error.may_be_on_the_queue() && error.to_string().contains("denied: no"), "{error}");
        assert_eq!(queue.arrived()["g"], [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_panics_counts_as_one_that_does_not_answer() {
    let queue = Queue::new();
    queue.fault("g", Fault::Panics);
    let producer = Producer::over(queue.clone(), Buffer::default());
    for n in 0..3 {
        drop(producer.enqueue(job("g", n)).await.unwrap());
    }
    producer.flush().await.unwrap();
    assert_eq!(queue.arrived()["g"], [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn every_handles_flush_is_told_of_what_failed_since_its_last_one() {
    let queue = Queue::new();
    let theirs = Producer::over(queue.clone(), Buffer::default());
    let ours = theirs.clone();
    let failed = |flushed: Result<(), FlushError>| flushed.err().map_or(0, |error| error.failed);
    queue.fault("a", Fault::Denies);
    drop(theirs.enqueue(job("a", 0)).await.unwrap());
    drop(ours.enqueue(job("b", 0)).await.unwrap());
    assert_eq!(failed(ours.flush().await), 1, "which handle sent it is not known");
    assert_eq!(failed(ours.flush().await), 0, "told once");
    let heir = theirs.clone();
    assert_eq!(failed(theirs.flush().await), 1);
    assert_eq!(failed(heir.flush().await), 1, "it has what its origin was not told of");
    assert_eq!(failed(ours.clone().flush().await), 0);

    queue.fault("a", Fault::Denies);
    drop(ours.enqueue(job("a", 1)).await.unwrap());
    assert!(ours.flush().now_or_never().is_none(), "given up");
    let (one, other) = tokio::join!(ours.flush(), ours.flush());
    assert_eq!((failed(one), failed(other)), (1, 1));
    assert_eq!((failed(theirs.flush().await), failed(ours.flush().await)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn one_job_that_is_refused_takes_no_other_of_its_batch_along() {
    let queue = Queue::new();
    queue.refuse("g", 4);
    let producer = Producer::over(queue.clone(), Buffer::default());
    let jobs = stream::iter((0..10).map(|n| job("g", n)));
    let results: Vec<_> = producer.enqueue_all(jobs).collect().await;
    let failed: Vec<_> = (0..).zip(&results).filter(|(_, result)| result.is_err()).map(|(n, _)| n).collect();
    assert_eq!(failed, [4]);
    assert_eq!(queue.arrived()["g"], [0, 1, 2, 3, 5, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn what_no_queue_takes_is_told_before_it_is_sent() {
    let queue = Queue::new();
    let producer = Producer::over(queue.clone(), Buffer::default());
    let large = NewMessage::new("g".into(), "x".repeat((1 << 20) + 1));
    let refused = producer.enqueue(large).await.map(drop);
    assert_eq!(refused, Err(Error::TooLarge { size: (1 << 20) + 1, limit: 1 << 20 }));
    for (group, body, dedup) in
        [("a b", "{}", "d"), ("", "{}", "d"), ("g", "", "d"), ("g", "\u{0}", "d"), ("g", "{}", "é")]
    {
        let mut wrong = NewMessage::new(group.into(), body.into());
        dedup.clone_into(&mut wrong.deduplication);
        let refused = producer.try_enqueue(wrong).map(drop).unwrap_err();
        assert!(matches!(refused.error, Error::Refused(_)), "{refused:?}");
    }
    assert!(queue.sent().is_empty());
    let largest = NewMessage::new("g".into(), "x".repeat(1 << 20));
    producer.enqueue(largest).await.unwrap().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_makes_enqueue_wait_and_try_enqueue_give_the_job_back() {
    let queue = Queue::new();
    queue.fault("g", Fault::Hangs(Duration::from_secs(5)));
    let producer = Producer::over(queue.clone(), Buffer { jobs: 6, ..Buffer::default() });
    for n in 0..3 {
        drop(producer.try_enqueue(job("g", n)).unwrap());
    }
    let back = producer.try_enqueue(job("g", 3)).map(drop).unwrap_err();
    assert_eq!((back.error, back.job), (Error::Full, job("g", 3)));
    assert!(producer.enqueue(job("g", 3)).now_or_never().is_none());
    drop(producer.try_enqueue(job("h", 0)).expect("a group has half of it"));
    let began = Instant::now();
    producer.enqueue(job("g", 3)).await.unwrap().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(5));

    let queue = Queue::new();
    queue.fault("g", Fault::Hangs(Duration::from_secs(5)));
    let producer = Producer::over(queue, Buffer { bytes: 0, ..Buffer::default() });
    let half = NewMessage::new("g".into(), "x".repeat(600_000));
    drop(producer.try_enqueue(half.clone()).unwrap());
    assert_eq!(producer.try_enqueue(half).map(drop).unwrap_err().error, Error::Full);
}

#[tokio::test(start_paused = true)]
async fn a_batch_holds_no_more_bytes_than_the_queue_takes() {
    let queue = Queue::new();
    let producer = Producer::over(queue.clone(), Buffer::default());
    for n in 0..5 {
        let body = serde_json::json!({"g": "g", "n": n, "x": "x".repeat(400_000)}).to_string();
        drop(producer.enqueue(NewMessage::new("g".into(), body)).await.unwrap());
    }
    producer.flush().await.unwrap();
    assert_eq!(queue.sent(), [vec![0, 1], vec![2, 3], vec![4]]);
}

#[tokio::test(start_paused = true)]
async fn what_a_dropped_producer_held_is_still_sent() {
    let queue = Queue::new();
    let producer = Producer::over(queue.clone(), Buffer::default());
    let all: Vec<_> = (0..30).map(|n| producer.try_enqueue(job("g", n)).unwrap()).collect();
    drop(producer);
    for confirmation in all {
        confirmation.await.unwrap();
    }
    assert_eq!(queue.arrived()["g"].len(), 30);
}

#[tokio::test(start_paused = true)]
async fn more_groups_than_calls_share_batches_and_stay_in_order() {
    let queue = Queue::new();
    let producer = Producer::over(queue.clone(), Buffer::default());
    let jobs = stream::iter((0..3000).map(|n| job(&format!("g{}", n % 600), n / 600)));
    let failed = producer.enqueue_all(jobs).filter(|result| std::future::ready(result.is_err())).count();
    assert_eq!(failed.await, 0);
    let arrived = queue.arrived();
    assert_eq!(arrived.len(), 600);
    assert!(arrived.values().all(|ns| *ns == [0, 1, 2, 3, 4]));
    assert!(queue.sent().len() < 600, "{} calls", queue.sent().len());
}

#[tokio::test(start_paused = true)]
async fn batched_events_are_one_job_of_their_type_that_verifies() {
    let queue = Queue::new();
    let producer = Producer::over(queue.clone(), Buffer::default());
    let batcher = producer.batched(signer(), Batching::default());
    let mut confirmations = Vec::new();
    for n in 0..50 {
        let joined = Event::member_added("presence-a", &n.to_string()).unwrap();
        confirmations.push(batcher.add(joined).await.unwrap());
        confirmations.push(batcher.add(Event::channel_occupied("presence-a").unwrap()).await.unwrap());
    }
    advance(Duration::from_millis(251)).await;
    for confirmation in confirmations {
        confirmation.await.unwrap();
    }
    let mut sizes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (group, body) in queue.bodies() {
        let job = crate::job::Job::decode(&body).unwrap();
        job.verify(&"app-secret".into()).unwrap();
        let payload: serde_json::Value = serde_json::from_slice(&job.payload).unwrap();
        sizes.entry(group).or_default().push(payload["events"].as_array().unwrap().len());
    }
    let expected = ["app-id_channel_occupied_webhooks", "app-id_member_added_webhooks"];
    assert_eq!(sizes, BTreeMap::from(expected.map(|group| (group.to_owned(), vec![20, 20, 10]))));
}

#[tokio::test(start_paused = true)]
async fn a_flush_takes_along_what_batchers_hold_dropped_ones_too() {
    let queue = Queue::new();
    let producer = Producer::over(queue.clone(), Buffer::default());
    let batching = Batching { window: Duration::from_secs(3600), ..Batching::default() };
    let event = |n: u64| Event::own("order.paid").unwrap().with("n", &n).unwrap();
    let live = producer.batched(signer(), batching);
    drop(live.add(event(0)).await.unwrap());
    producer.flush().await.unwrap();
    assert_eq!(queue.bodies().len(), 1);
    let dropped = producer.clone().batched(signer(), batching);
    for n in 1..4 {
        drop(dropped.add(event(n)).await.unwrap());
    }
    drop(dropped);
    producer.flush().await.unwrap();
    let bodies = queue.bodies();
    assert_eq!((bodies.len(), count(&bodies[0].1, b"order.paid")), (1, 3));
    drop(live);
    producer.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_batch_is_larger_than_a_message_and_an_event_that_is_counts_for_flush() {
    let queue = Queue::new();
    let producer = Producer::over(queue.clone(), Buffer::default());
    let batching = Batching { max_bytes: usize::MAX, max_events: usize::MAX, ..Batching::default() };
    let batcher = producer.batched(signer(), batching);
    for size in [100, 50_000, 300_000] {
        for n in 0..3 * (1 << 20) / size {
            let event = Event::own("order.paid").unwrap().with("n", &n).unwrap();
            drop(batcher.add(event.with("x", &"x".repeat(size)).unwrap()).await.unwrap());
        }
        batcher.flush().await.unwrap();
    }
    producer.flush().await.unwrap();
    let bodies = queue.bodies();
    assert!(bodies.iter().all(|(_, body)| body.len() <= 1 << 20));
    let full = bodies.iter().filter(|(_, body)| body.len() > (1 << 20) - 1000).count();
    assert!(full > 1, "as full as a message can be");
    let events: usize = bodies.iter().map(|(_, body)| count(body, b"order.paid")).sum();
    assert_eq!(events, [100, 50_000, 300_000].map(|size| 3 * (1 << 20) / size).iter().sum::<usize>());

    let large = Event::own("order.paid").unwrap().with("x", &"x".repeat(1 << 20)).unwrap();
    let refused = batcher.add(large).await.unwrap();
    let failed = producer.flush().await.unwrap_err();
    assert!(failed.failed == 1 && matches!(failed.first, Error::TooLarge { .. }), "{failed}");
    assert!(matches!(refused.await, Err(Error::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_the_default_size_fits_a_queue_of_256_kib() {
    let queue = Queue::new();
    let producer = Producer::over(queue.clone(), Buffer::default());
    let batcher = producer.batched(signer(), Batching::default());
    // Twenty of them have a few bytes less than that.
    for _ in 0..30 {
        let event = Event::own("order.paid").unwrap().with("x", &"x".repeat(13_076)).unwrap();
        drop(batcher.add(event).await.unwrap());
    }
    producer.flush().await.unwrap();
    let bodies = queue.bodies();
    let sizes: Vec<_> = bodies.iter().map(|(_, body)| body.len()).collect();
    assert!(sizes.iter().all(|size| *size <= 256 << 10), "{sizes:?}");
    assert_eq!(bodies.iter().map(|(_, body)| count(body, b"order.paid")).sum::<usize>(), 30);
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}

/// What is logged while a runtime of one thread runs something to its end, and ends.
fn logged<F: Future>(run: impl FnOnce() -> F) -> String {
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&log);
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || Log(Arc::clone(&kept))).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        drop(runtime.block_on(run()));
        drop(runtime);
    });
    let log = log.lock().unwrap().clone();
    String::from_utf8(log).unwrap()
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_runtime_takes_along_is_counted_in_the_log() {
    let unsent = logged(async || {
        let producer = Producer::over(Queue::new(), Buffer::default());
        for n in 0..3 {
            drop(producer.enqueue(job("g", n)).await.unwrap());
        }
    });
    assert!(unsent.contains("jobs=3"), "the task never ran: {unsent}");
    for yields in [0, 1] {
        let unsent = logged(async || {
            let producer = Producer::over(Queue::new(), Buffer::default());
            let batcher = producer.batched(signer(), Batching::default());
            for n in 0..5 {
                let event = Event::own("order.paid").unwrap().with("n", &n).unwrap();
                drop(batcher.add(event).await.unwrap());
            }
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            batcher
        });
        assert!(unsent.contains("events=5"), "{yields}: {unsent}");
    }
    let flushed = logged(async || {
        let producer = Producer::over(Queue::new(), Buffer::default());
        drop(producer.enqueue(job("g", 0)).await.unwrap());
        producer.flush().await.unwrap();
    });
    assert_eq!(flushed, "");
}

#[test]
fn a_queue_that_takes_no_jobs_is_told_of_at_once_and_every_half_minute() {
    let said = logged(async || {
        let queue = Queue::new();
        queue.for_ever("g", Fault::Throttles);
        let producer = Producer::over(queue, Buffer::default());
        let other = producer.enqueue(job("h", 0)).await.unwrap();
        drop(producer.enqueue(job("g", 0)).await.unwrap().await);
        other.await.unwrap();
    });
    let lines: Vec<_> = said.lines().filter(|line| line.contains("WARN")).collect();
    assert!((7..=9).contains(&lines.len()), "{said}");
    assert!(lines[0].contains("jobs=2") && lines[0].contains("throttled the job: slow down"), "{said}");
    let well = logged(async || {
        let queue = Queue::new();
        for _ in 0..50 {
            queue.fault("g", Fault::Throttles);
        }
        let producer = Producer::over(queue, Buffer::default());
        drop(producer.enqueue(job("g", 0)).await.unwrap().await);
    });
    assert!(well.contains("the queue takes jobs again"), "{well}");
}

#[tokio::test(start_paused = true)]
async fn batches_that_only_their_count_closes_are_sent_and_fill_no_memory() {
    let queue = Queue::new();
    let producer = Producer::over(queue.clone(), Buffer { jobs: 10, bytes: 0 });
    let batching = Batching { window: Duration::MAX, max_events: 2, ..Batching::default() };
    let batcher = producer.batched(signer(), batching);
    for n in 0..100_u64 {
        let event = Event::own("order.paid").unwrap().with("n", &n).unwrap();
        drop(batcher.add(event.in_group(format!("order-{n}"))).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(queue.bodies().len(), 90, "the oldest made room");
    batcher.flush().await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(queue.bodies().len(), 10);
}

#[test]
fn builders_write_what_soketi_writes_byte_for_byte() {
    let fixture = include_str!("../../tests/fixtures/soketi-1.6.1-jobs.jsonl");
    let mut same = 0;
    for line in fixture.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let body = line["body"].as_str().unwrap();
        let (_, rest) = body.split_once(r#""time_ms":"#).unwrap();
        let time_ms = &rest[..rest.find(',').unwrap()];
        let event = rebuilt(body);
        let payload = format!(r#"{{"time_ms":{time_ms},"events":[{}]}}"#, event.json());
        let made = signer().payload_in(signer().group(&event), payload);
        assert_eq!((made.body.as_str(), &line["group"]), (body, &made.group.as_str().into()));
        assert_eq!(line["dedup"], made.deduplication);
        same += 1;
    }
    assert_eq!(same, 24);
}

/// The event of a captured job, made again by the builders.
fn rebuilt(body: &str) -> Event {
    #[derive(serde::Deserialize)]
    struct Captured<'a> {
        #[serde(borrow)]
        payload: Payload<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        events: Vec<BTreeMap<&'a str, &'a serde_json::value::RawValue>>,
    }
    let captured: Captured<'_> = serde_json::from_str(body).unwrap();
    let event = &captured.payload.events[0];
    let text = |name: &str| serde_json::from_str::<String>(event[name].get()).unwrap();
    let channel = text("channel");
    match text("name").as_str() {
        "client_event" => {
            let mut made = Event::client_event(&channel, &text("event"), event["data"]).unwrap();
            if event.contains_key("socket_id") {
                made = made.socket_id(&text("socket_id")).unwrap();
            }
            if event.contains_key("user_id") {
                made = made.user_id(&text("user_id")).unwrap();
            }
            made
        }
        "member_added" => Event::member_added(&channel, &text("user_id")).unwrap(),
        "member_removed" => Event::member_removed(&channel, &text("user_id")).unwrap(),
        "channel_occupied" => Event::channel_occupied(&channel).unwrap(),
        "channel_vacated" => Event::channel_vacated(&channel).unwrap(),
        "cache_miss" => Event::cache_miss(&channel).unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn builders_hold_events_to_pushers_rules() {
    let kind = |event: Result<Event, InvalidEvent>| event.unwrap_err();
    assert!(matches!(kind(Event::channel_occupied("a b")), InvalidEvent::Channel(_)));
    assert!(matches!(kind(Event::channel_occupied("")), InvalidEvent::Channel(_)));
    assert!(matches!(kind(Event::channel_occupied(&"x".repeat(201))), InvalidEvent::Channel(_)));
    assert!(matches!(kind(Event::member_added("private-a", "1")), InvalidEvent::ChannelKind { .. }));
    assert!(matches!(kind(Event::member_removed("presence-a", "")), InvalidEvent::Empty("user_id")));
    assert!(matches!(kind(Event::cache_miss("news")), InvalidEvent::ChannelKind { .. }));
    assert!(matches!(kind(Event::client_event("news", "client-a", "")), InvalidEvent::ChannelKind { .. }));
    let encrypted = Event::client_event("private-encrypted-a", "client-a", "");
    assert!(matches!(kind(encrypted), InvalidEvent::ChannelKind { .. }));
    assert!(matches!(kind(Event::client_event("private-a", "a", "")), InvalidEvent::ClientEvent(_)));
    let private = Event::client_event("private-a", "client-a", "").unwrap();
    assert!(matches!(kind(private.clone().user_id("1")), InvalidEvent::ChannelKind { .. }));
    assert!(matches!(kind(private.with("channel", "b")), InvalidEvent::Member(_)));
    assert!(matches!(kind(Event::own("member_added")), InvalidEvent::Pushers("member_added")));
    for event in [
        Event::channel_occupied("presence-a").unwrap().user_id("7"),
        Event::cache_miss("presence-cache-a").unwrap().user_id("7"),
        Event::member_added("presence-a", "7").unwrap().socket_id("1.2"),
        Event::channel_vacated("presence-a").unwrap().with("socket_id", "1.2"),
        Event::client_event("presence-a", "client-a", "").unwrap().with("user_id", &7),
    ] {
        assert!(matches!(kind(event), InvalidEvent::Sender { .. }));
    }
    let twice = Event::member_added("presence-a", "7").unwrap();
    assert!(matches!(kind(twice.clone().user_id("7")), InvalidEvent::Member(_)));
    assert!(matches!(kind(twice.with("user_id", "7")), InvalidEvent::Member(_)));
    Event::own("order.paid").unwrap().with("user_id", &7).unwrap().socket_id("1.2").unwrap();
    for (longest, more) in [("é".repeat(193), "é"), ("😀".repeat(96), "😀")] {
        Event::client_event("private-a", &format!("client-{longest}"), "").unwrap();
        let longer = Event::client_event("private-a", &format!("client-{longest}{more}"), "");
        assert!(matches!(kind(longer), InvalidEvent::ClientEvent(_)), "{more}");
    }
    Event::member_added("presence-chat:1", "7").unwrap();
    Event::own("subscription_count").unwrap().on_channel("chat:1#7").unwrap();
    let own = Event::own("order.paid").unwrap().with("order", &7).unwrap();
    assert_eq!(own.json(), r#"{"name":"order.paid","order":7}"#);
    assert_eq!(signer().group(&own), "app-id_order.paid");
    assert_eq!(signer().group(&own.in_group("order-7")), "order-7");
}
