use futures_util::FutureExt;

use super::*;

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "work that does not give way is what is tested")]
async fn what_takes_long_takes_turns_and_is_given_up_for_its_own_time_alone() {
    let (long, longest) = (Duration::from_millis(5), Duration::from_millis(40));
    let work = async |app: &str| {
        let mut turns = Turns::begin(app);
        std::thread::sleep(LEAST_TURN);
        for _ in 0..5 {
            turns.next().await;
            std::thread::sleep(long);
        }
        turns.next().await;
        (turns.held, turns.leave) = (None, None);
        turns
    };
    let start = std::time::Instant::now();
    let (one, other, third) = tokio::join!(work("a"), work("b"), work("b"));
    assert!(one.took >= long * 5, "{:?}", one.took);
    assert!(one.took + other.took + third.took <= start.elapsed(), "no time is counted twice");
    assert_eq!(one.over(longest, Duration::ZERO), Outcome::Permanent(Reason::Unplannable(longest)));
    let begun = Turns::begin("a");
    let (before, less) = (longest / 2, longest / 4);
    assert_eq!(begun.over(longest, less), Outcome::Deferred(Reason::Unplannable(longest)));
    assert_eq!(begun.over(longest, before), Outcome::Permanent(Reason::Unplannable(longest)));
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "work that does not give way is what is tested")]
async fn apps_take_turns_and_of_one_apps_jobs_one_goes_on_until_it_is_worked_out() {
    let order = Mutex::new(Vec::new());
    let work = async |app: &'static str, job: usize| {
        let mut turns = Turns::begin(app);
        for _ in 0..4 {
            std::thread::sleep(LEAST_TURN);
            turns.next().await;
            order.lock().unwrap().push((app, job));
        }
    };
    tokio::join!(work("many", 0), work("many", 1), work("many", 2), work("one", 3));
    let order = order.into_inner().unwrap();
    let of = |app: &str| order.iter().filter(|turn| turn.0 == app).map(|turn| turn.1).collect::<Vec<_>>();
    let many = of("many");
    assert!(many.chunks(4).all(|turns| turns.iter().all(|job| *job == turns[0])), "{many:?}");
    let last = order.iter().rposition(|turn| turn.0 == "one").unwrap();
    assert!(last < 9, "it has every other turn: {order:?}");
    let app = Turns::begin("many").app;
    assert!(!apps().contains_key(&app), "nothing is kept");
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "work that does not give way is what is tested")]
async fn what_takes_a_part_of_its_estimate_does_not_wait_for_others() {
    let held = NEXT.acquire().await.unwrap();
    let goes_on = |turns: &mut Turns| (0..28).all(|_| turns.next().now_or_never().is_some());
    // The system may take the processor away for longer than a turn.
    assert!((0..20).any(|_| goes_on(&mut Turns::begin("quick"))));
    let mut turns = Turns::begin("quick");
    std::thread::sleep(LEAST_TURN);
    assert!(turns.next().now_or_never().is_none());
    drop(held);
    turns.next().await;
    assert!(turns.held.is_some());
}
