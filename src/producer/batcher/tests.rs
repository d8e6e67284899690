use super::*;

fn batches(max_events: usize, max_bytes: usize) -> Batches {
    let batching = Batching { window: Duration::from_millis(250), max_events, max_bytes };
    Batches::new(batching, Buffer::default())
}

fn event(n: u32) -> Event {
    Event::channel_occupied("lobby").unwrap().with("n", &n).unwrap()
}

fn added(group: &str, event: Event) -> Added {
    Added {
        group: group.to_owned(),
        called: Places::new(Buffer::default()).called(group),
        event,
        answer: Confirmation::pair().0,
        _place: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
    }
}

fn add(batches: &mut Batches, now: Instant, group: &str, n: u32) -> Vec<usize> {
    let mut added = added(group, event(n));
    if let Some(open) = batches.open.get(group) {
        added.called = open.called.clone();
    }
    batches.add(now, added).into_iter().map(|(_, open)| open.events.len()).collect()
}

#[test]
fn a_batch_closes_by_count_by_size_and_by_time_whatever_comes_first() {
    let now = Instant::now();
    let mut by_count = batches(3, 1 << 20);
    let closed: Vec<_> = (0..7).map(|n| add(&mut by_count, now, "g", n)).collect();
    assert_eq!(closed, [vec![], vec![], vec![3], vec![], vec![], vec![3], vec![]]);

    let size = event(1).json().len();
    let mut by_size = batches(100, 2 * size + 2);
    let closed: Vec<_> = (0..4).map(|n| add(&mut by_size, now, "g", n)).collect();
    assert_eq!(closed, [vec![], vec![], vec![2], vec![]]);
    let mut tiny = batches(100, 1);
    assert_eq!(add(&mut tiny, now, "g", 1), [1], "an event larger than the limit goes by itself");

    let mut by_time = batches(100, 1 << 20);
    add(&mut by_time, now, "g", 0);
    add(&mut by_time, now + Duration::from_millis(200), "g", 1);
    assert_eq!(by_time.next_close(), Some(now + Duration::from_millis(250)));
    assert!(by_time.due(now + Duration::from_millis(249)).is_empty());
    assert_eq!(by_time.due(now + Duration::from_millis(250))[0].1.events.len(), 2);
}

#[test]
fn open_batches_hold_no_more_than_the_buffer_may_and_the_oldest_makes_room() {
    let now = Instant::now();
    let size = event(1).json().len();
    let batching = Batching { window: Duration::MAX, ..Batching::default() };
    let by_jobs = Buffer { jobs: 2, bytes: 1 << 20 };
    let by_bytes = Buffer { jobs: 100, bytes: 2 * size + 2 };
    for most in [by_jobs, by_bytes] {
        let mut batches = Batches::new(batching, most);
        let mut closed = Vec::new();
        for group in ["a", "b", "c", "d"] {
            let now_closed = batches.add(now, added(group, event(1)));
            closed.extend(now_closed.into_iter().map(|(group, _)| group));
        }
        assert_eq!(closed, ["a", "b"], "{most:?}");
        assert_eq!((batches.open.len(), batches.order.len(), batches.bytes), (2, 2, 2 * size));
    }
}

#[test]
fn groups_never_share_a_batch() {
    let now = Instant::now();
    let mut batches = batches(2, 1 << 20);
    assert!(add(&mut batches, now, "a_client_event_webhooks", 0).is_empty());
    assert!(add(&mut batches, now, "b_client_event_webhooks", 1).is_empty());
    assert_eq!(batches.all().len(), 2);
}
