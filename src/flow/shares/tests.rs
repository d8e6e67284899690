use futures_util::FutureExt;

use super::*;

const MB: usize = 1 << 20;

/// Fills in turns with every app that may, ten messages at a time, until none may.
fn fill(shares: &Arc<Shares>, apps: &[String], held: &mut Vec<Share>) {
    loop {
        let before = held.len();
        for app in apps {
            let count = shares.admits(app, &[0; 10]);
            // The permits bound it all.
            let count = count.min(shares.messages.saturating_sub(held.len()));
            held.extend((0..count).map(|_| shares.take(app, 0)));
        }
        if held.len() == before {
            return;
        }
    }
}

async fn ended(share: &Share, took: Duration, delivered: bool) {
    let attempting = share.begin_attempt();
    tokio::time::advance(took).await;
    attempting.ended(delivered);
}

fn apps(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("hostile{n}")).collect()
}

#[tokio::test(start_paused = true)]
async fn however_many_slow_apps_there_are_a_quick_one_finds_room() {
    for count in [1, 2, 70, 500] {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        ended(&shares.take("healthy", 0), Duration::from_millis(5), true).await;
        let again = shares.take("healthy", 0);
        ended(&again, Duration::from_millis(5), true).await;
        let mut held = Vec::new();
        let hostile = apps(count);
        for app in &hostile {
            let first = shares.take(app, 0);
            ended(&first, Duration::from_secs(4), false).await;
            held.push(first);
        }
        fill(&shares, &hostile, &mut held);
        assert!(held.len() <= 1750, "{count} apps hold {}", held.len());
        assert_eq!(shares.admits("healthy", &[0; 10]), 10, "{count}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_apps_still_get_most_of_the_places_when_there_are_many_of_them() {
    let shares = Arc::new(Shares::new(2000, 1 << 26));
    let hostile = apps(70);
    let mut held: Vec<Share> = hostile.iter().map(|app| shares.take(app, 0)).collect();
    for share in &held {
        ended(share, Duration::from_secs(4), true).await;
    }
    fill(&shares, &hostile, &mut held);
    assert!(held.len() >= 1000, "{}", held.len());
}

#[tokio::test(start_paused = true)]
async fn polls_wait_for_quick_apps_until_there_is_room_or_they_are_quick_no_more() {
    let shares = Arc::new(Shares::new(2000, 1 << 26));
    let waits = async || timeout(Duration::from_millis(1), shares.wait_for_the_quick()).await.is_err();
    let first = shares.take("busy", 0);
    ended(&first, Duration::from_millis(5), true).await;
    let mut held = vec![first];
    fill(&shares, &["busy".to_owned()], &mut held);
    assert!(held.len() > 1900, "{}", held.len());
    assert_eq!(shares.admits("new", &[0; 10]), 0);
    assert!(waits().await);
    let waiting = async {
        shares.wait_for_the_quick().await;
        Instant::now()
    };
    let now = Instant::now();
    let (went_on, ()) = tokio::join!(waiting, async { held.truncate(1300) });
    assert_eq!(went_on, now, "at once");
    assert_eq!(shares.admits("new", &[0; 10]), 1);
    fill(&shares, &["busy".to_owned()], &mut held);
    let _attempting = held[0].begin_attempt();
    assert!(waits().await);
    tokio::time::advance(SLOW * 2).await;
    assert!(!waits().await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_app_that_holds_too_much_gives_way_and_a_quick_one_does_not() {
    let shares = Arc::new(Shares::new(2000, 1 << 26));
    let slow: Vec<_> = (0..1500).map(|_| shares.take("slow", 0)).collect();
    let quick = shares.take("quick", 0);
    ended(&quick, Duration::from_millis(5), true).await;
    assert!(slow[0].gives_way());
    ended(&slow[0], Duration::from_secs(4), true).await;
    assert!(slow[0].gives_way() && !quick.gives_way());
    drop(slow);
    let slow = shares.take("slow", 0);
    assert!(!slow.gives_way(), "without pressure nobody does");
}

#[tokio::test(start_paused = true)]
async fn where_attempts_take_long_though_not_too_long_a_lane_holds_what_is_worked_in_a_second() {
    for (took, admitted) in [(20, 10), (200, 5), (450, 2)] {
        let shares = Arc::new(Shares::new(2000, 1 << 26));
        let held: Vec<_> = (0..1200).map(|_| shares.take("a", 0)).collect();
        ended(&held[0], Duration::from_millis(took), true).await;
        assert_eq!(shares.admits("a", &[0; 10]), admitted, "{took}");
    }
}

#[tokio::test(start_paused = true)]
async fn polls_go_on_soon_after_a_very_quick_app_has_stopped_answering() {
    let shares = Arc::new(Shares::new(2000, 1 << 26));
    let held: Vec<_> = (0..1500).map(|_| shares.take("a", 0)).collect();
    ended(&held[0], Duration::from_millis(1), true).await;
    let attempting: Vec<_> = held.iter().take(150).map(Share::begin_attempt).collect();
    assert!(shares.is_crowded_by_the_quick());
    tokio::time::advance(LEAST_LATE + Duration::from_millis(1)).await;
    assert!(!shares.is_crowded_by_the_quick());
    for attempting in attempting {
        attempting.ended(true);
    }
    assert!(shares.is_crowded_by_the_quick(), "it was a pause");
}

/// Plays for so many seconds an app of which one attempt in `one_in` hangs for 4 s and all others take 5 ms, and
/// which has more jobs than there are places; gives the least part of the places that was free past the first two
/// seconds, and how often none of a quick app's would have been admitted.
async fn free_beside(one_in: u64, seconds: u64) -> (f64, usize) {
    const STEP: Duration = Duration::from_millis(5);
    let shares = Arc::new(Shares::new(2000, 1 << 26));
    let (healthy, begun) = (shares.take("healthy", 0), Instant::now());
    // Lanes of jobs, the heads attempted until then.
    let (mut lanes, mut attempts) = (Vec::<(Vec<Share>, Instant, Instant)>::new(), 0_u64);
    let mut next_end = |now: Instant| {
        attempts += 1;
        // Not in turns: a row of quick ones must not hide those that hang.
        let hash = attempts.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        now + if hash.is_multiple_of(one_in) { Duration::from_secs(4) } else { STEP }
    };
    let (mut least, mut refused) = (1.0_f64, 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        tokio::time::advance(STEP).await;
        healthy.begin_attempt().ended(true);
        let now = Instant::now();
        let mut kept = Vec::new();
        for (mut jobs, began, ends) in std::mem::take(&mut lanes) {
            if now < ends {
                kept.push((jobs, began, ends));
                continue;
            }
            let share = jobs.pop().unwrap();
            let quick = now - began <= SLOW;
            {
                let mut book = shares.lock();
                let app = book.apps.get_mut("mixed").unwrap();
                app.attempted(began, now - began, quick);
                app.leaves(began, now);
            }
            if !jobs.is_empty() && !share.gives_way() {
                shares.lock().apps.get_mut("mixed").unwrap().begins(now);
                kept.push((jobs, now, next_end(now)));
            }
        }
        lanes = kept;
        // Six full receives a step.
        for _ in 0..6 {
            if shares.is_crowded_by_the_quick() {
                break;
            }
            let count = shares.admits("mixed", &[0; 10]);
            let jobs: Vec<_> = (0..count).map(|_| shares.take("mixed", 0)).collect();
            if !jobs.is_empty() {
                shares.lock().apps.get_mut("mixed").unwrap().begins(now);
                lanes.push((jobs, now, next_end(now)));
            }
        }
        if begun.elapsed() > Duration::from_secs(2) {
            least = least.min(1.0 - shares.part(shares.lock().held));
            let held_up = shares.is_crowded_by_the_quick();
            refused += usize::from(held_up || shares.admits("healthy", &[0; 10]) != 10);
        }
    }
    (least, refused)
}

#[tokio::test(start_paused = true)]
async fn an_app_of_whose_attempts_some_hang_leaves_as_much_as_one_of_which_all_do() {
    for one_in in [1, 2, 4, 8, 32] {
        let (least, refused) = free_beside(one_in, 30).await;
        assert!(least > RESERVED && refused == 0, "1 in {one_in}: {least:.3} free, {refused} refused");
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_with_a_slow_attempt_now_and_then_is_quick() {
    let shares = Arc::new(Shares::new(2000, 1 << 26));
    let held: Vec<_> = (0..1500).map(|_| shares.take("a", 0)).collect();
    for n in 0..400 {
        let took = if n % 20 == 10 { 1000 } else { 5 };
        ended(&held[0], Duration::from_millis(took), true).await;
        assert!(took > 500 || !held[0].gives_way(), "{n}");
    }
    for _ in 0..20 {
        ended(&held[0], Duration::from_secs(4), false).await;
    }
    assert!(held[0].gives_way());
    for _ in 0..40 {
        ended(&held[0], Duration::from_millis(5), true).await;
    }
    assert!(!held[0].gives_way(), "it has recovered");
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_new_apps_are_attempted_at_once_and_leave_room_for_one_more() {
    let shares = Arc::new(Shares::new(2000, 1 << 26));
    let (new, mut held) = (apps(500), Vec::new());
    fill(&shares, &new, &mut held);
    let attempted: std::collections::HashSet<_> = held.iter().map(|share| Arc::clone(&share.app)).collect();
    assert_eq!(attempted.len(), 500);
    assert_eq!(shares.admits("new", &[0; 10]), 1);
}

#[tokio::test(start_paused = true)]
async fn an_app_of_which_no_attempt_ends_is_slow_before_one_has() {
    let shares = Arc::new(Shares::new(2000, 1 << 26));
    let first = shares.take("a", 0);
    ended(&first, Duration::from_millis(5), true).await;
    let mut held = Vec::new();
    fill(&shares, &["a".to_owned()], &mut held);
    let attempting = first.begin_attempt();
    assert!(!first.gives_way());
    tokio::time::advance(SLOW * 2).await;
    assert!(first.gives_way());
    attempting.ended(true);
    assert!(first.gives_way());
    ended(&first, Duration::from_millis(5), true).await;
    assert!(!first.gives_way());
}

#[tokio::test(start_paused = true)]
async fn bytes_count_as_messages_do() {
    let shares = Arc::new(Shares::new(2000, 10 << 20));
    let held: Vec<_> = (0..5).map(|_| shares.take("large", 1 << 20)).collect();
    for share in &held {
        ended(share, Duration::from_secs(4), true).await;
    }
    assert_eq!(shares.admits("large", &[1 << 20]), 0);
    drop(held);
    assert_eq!(shares.admits("large", &[1 << 20]), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_made_counts_in_its_apps_share_and_waits_for_room() {
    let shares = Arc::new(Shares::new(2000, 100 * MB));
    let (slow, quick) = (shares.take("slow", MB), shares.take("quick", MB));
    ended(&slow, Duration::from_secs(4), false).await;
    ended(&quick, Duration::from_millis(5), true).await;
    let mut made: Vec<Made> = std::iter::from_fn(|| slow.make(MB)).collect();
    assert_eq!(made.len(), 49, "half of all, as with messages");
    assert_eq!(shares.admits("slow", &[MB]), 0);
    assert!(slow.gives_way());
    let all: Vec<Made> = std::iter::from_fn(|| quick.make(MB)).take(1000).collect();
    assert_eq!(all.len(), 39 + 10, "until little is left, and that little at a time beyond it");
    let longest = Duration::from_millis(500);
    assert!(slow.make_within(MB, longest).await.is_none());
    let now = Instant::now();
    let (more, ()) = tokio::join!(slow.make_within(MB, longest), async { drop((all, made.pop())) });
    assert!(more.is_some() && now.elapsed() < longest);
    drop((made, more, slow, quick));
    let book = shares.lock();
    assert_eq!((book.held.bytes, book.made_beyond, book.waiting), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn many_small_messages_keep_no_small_body_from_being_made() {
    let shares = Arc::new(Shares::new(200, 8 << 20));
    let held: Vec<_> = (0..190).map(|_| shares.take("slow", 100)).collect();
    ended(&held[0], Duration::from_secs(4), false).await;
    assert!(held[0].gives_way());
    assert!(held[0].make(100).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_worker_filled_by_what_is_to_be_worked_still_makes_something() {
    for (messages, bytes) in [(2000, 64 << 20), (10, 1 << 20)] {
        let shares = Arc::new(Shares::new(messages, bytes));
        let held = shares.take("quick", bytes);
        ended(&held, Duration::from_millis(5), true).await;
        let made = held.make(bytes / 50);
        assert!(made.is_some());
        assert!(held.make(bytes / 2).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_few_places_are_not_shared() {
    let shares = Arc::new(Shares::new(MIN_MESSAGES - 1, 1 << 26));
    let held: Vec<_> = (0..MIN_MESSAGES - 10).map(|_| shares.take("large", 0)).collect();
    for share in &held {
        ended(share, Duration::from_secs(4), false).await;
    }
    assert_eq!(shares.admits("large", &[0; 9]), 9);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_has_just_been_busy_is_not_forgotten_for_those_of_long_ago() {
    let shares = Arc::new(Shares::new(2000, 1 << 26));
    for n in 0..=MAX_APPS {
        ended(&shares.take(&n.to_string(), 0), Duration::ZERO, true).await;
    }
    tokio::time::advance(Duration::from_secs(3600)).await;
    for n in 0..20 {
        ended(&shares.take("healthy", 0), Duration::from_millis(5), true).await;
        // Others come and go meanwhile.
        ended(&shares.take(&format!("other {n}"), 0), Duration::from_millis(5), true).await;
    }
    assert!(is_quick(shares.lock().slowness("healthy")));
    for n in 0..2 * MAX_APPS {
        ended(&shares.take(&format!("another {n}"), 0), Duration::from_millis(1), true).await;
        assert!(shares.lock().apps.len() <= MAX_APPS);
        if n % (MAX_APPS / 4) == 0 {
            ended(&shares.take("healthy", 0), Duration::from_millis(5), true).await;
        }
    }
    assert!(is_quick(shares.lock().slowness("healthy")), "of those used, the half of long ago is forgotten");
}

#[tokio::test(start_paused = true)]
async fn so_many_attempts_wait_for_room_and_are_woken_where_bytes_come_back() {
    let shares = Arc::new(Shares::new(2000, 64 * MB));
    let slow: Vec<_> = (0..20).map(|n| shares.take(&format!("slow {n}"), MB)).collect();
    for share in &slow {
        ended(share, Duration::from_secs(4), false).await;
    }
    let _all = shares.take("slow 0", 40 * MB);
    let longest = Duration::from_millis(500);
    let ask = |share: &'static Share| Box::pin(share.make_within(MB, longest));
    let slow: &'static [Share] = Vec::leak(slow);
    let mut waiting = Vec::new();
    for share in slow {
        for _ in 0..1000 {
            let mut one = ask(share);
            match (&mut one).now_or_never() {
                None => waiting.push(one),
                Some(made) => assert!(made.is_none()),
            }
        }
    }
    assert_eq!(waiting.len(), MAX_WAITING);
    let looks = || shares.lock().looks;
    let before = looks();
    for _ in 0..300 {
        drop(shares.take("other", 0));
    }
    for one in &mut waiting {
        assert!(one.now_or_never().is_none());
    }
    assert_eq!(looks(), before, "nothing came back that they wait for");
    drop(waiting);
    let mut again: Vec<_> = (0..MAX_WAITING_OF_APP).map(|_| ask(&slow[0])).collect();
    for one in &mut again {
        assert!(one.now_or_never().is_none());
    }
    assert!(ask(&slow[0]).now_or_never().is_some_and(|made| made.is_none()), "one app's are fewer");
    assert!(ask(&slow[1]).now_or_never().is_none());
}
