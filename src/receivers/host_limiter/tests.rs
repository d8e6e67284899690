use futures_util::FutureExt;

use super::*;

const WAIT: Duration = Duration::from_millis(500);

/// A destination: whatever can be hashed.
const ORIGIN: &str = "http://a/";

/// What an app can get of a number of permits.
async fn take(limiter: &HostLimiter, app: &str, standing: Standing, most: usize) -> Vec<HostPermit> {
    let mut taken = Vec::new();
    while taken.len() < most
        && let Ok(permit) = limiter.acquire(app, ORIGIN, standing, || None, Duration::MAX).await
    {
        taken.extend(permit);
    }
    taken
}

fn is_idle(limiter: &HostLimiter) -> bool {
    let table = limiter.table.lock().unwrap();
    table.hosts.is_empty() && table.apps.is_empty()
}

#[tokio::test(start_paused = true)]
async fn a_destination_has_a_permit_more_with_each_answer_until_it_is_idle() {
    let limiter = HostLimiter::new(Some(1000), WAIT);
    // The part of an app that is alone there.
    let part = |permits: usize| permits * 3 / 4;
    let first = take(&limiter, "a", Standing::Unknown, 5000).await;
    assert_eq!(first.len(), part(FIRST_PERMITS));
    (0..4).for_each(|_| first[0].answered());
    let few = take(&limiter, "a", Standing::Unknown, 5000).await;
    assert_eq!(few.len(), 3);
    drop(few);
    for _ in 0..2000 {
        first[0].answered();
    }
    let all = take(&limiter, "a", Standing::Unknown, 5000).await;
    assert_eq!(first.len() + all.len(), part(1000), "and no more");
    drop((first, all));
    assert!(is_idle(&limiter));
    assert_eq!(take(&limiter, "a", Standing::Unknown, 5000).await.len(), part(FIRST_PERMITS));
    let some = take(&limiter, "a", Standing::Mute, 5000).await;
    some[0].answered();
    assert_eq!(
        (some.len(), take(&limiter, "a", Standing::Mute, 5000).await.len()),
        (MOST_WHILE_MUTE, 0),
        "though it has answered"
    );
    drop(some);
    assert_eq!(take(&limiter, "a", Standing::Answers, 5000).await.len(), part(1000));
    let few = HostLimiter::new(Some(3), Duration::ZERO);
    let three = take(&few, "a", Standing::Unknown, 5000).await;
    three[0].answered();
    assert_eq!((three.len(), take(&few, "a", Standing::Unknown, 5000).await.len()), (3, 0));
    drop(three);
    assert!(is_idle(&few));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_destination_goes_on_as_soon_as_it_answers_or_a_request_ends() {
    let limiter = HostLimiter::new(Some(1000), WAIT);
    let mut first = take(&limiter, "a", Standing::Unknown, 5000).await;
    let next = || limiter.acquire("a", ORIGIN, Standing::Unknown, || None, Duration::MAX);
    let (one, ()) = tokio::join!(next(), async { (0..4).for_each(|_| first[0].answered()) });
    let mut ending = first.split_off(2);
    let (two, ()) = tokio::join!(next(), async {
        tokio::task::yield_now().await;
        ending.pop();
    });
    assert!(one.is_ok() && two.is_ok());
    drop((first, ending, one, two));
    assert!(is_idle(&limiter));
}

#[tokio::test(start_paused = true)]
async fn an_app_whose_requests_take_long_leaves_permits_to_the_others() {
    for (bound, standing, others) in
        [(10, Standing::Answers, 1), (1000, Standing::Answers, 4), (1000, Standing::Unknown, 2)]
    {
        let limiter = HostLimiter::new(Some(bound), WAIT);
        let mut held = vec![take(&limiter, "greedy", standing, 5000).await];
        for n in 0..others - 1 {
            held.push(take(&limiter, &format!("greedy {n}"), standing, 5000).await);
        }
        let one = limiter.acquire("new", ORIGIN, standing, || None, Duration::MAX).await;
        assert!(one.is_ok(), "{bound} {standing:?}: {:?}", held.iter().map(Vec::len).collect::<Vec<_>>());
        drop((held, one));
        assert!(is_idle(&limiter));
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_goes_to_an_app_with_few_before_one_with_many_that_came_first() {
    let limiter = HostLimiter::new(Some(8), WAIT);
    let mut greedy = take(&limiter, "greedy", Standing::Answers, 5000).await;
    let others = take(&limiter, "other", Standing::Answers, 5000).await;
    let none = limiter.table.lock().unwrap().hosts[&hash::of(ORIGIN)].free == 0;
    assert!(none, "{} {}", greedy.len(), others.len());
    let wait = |app: &'static str| limiter.acquire(app, ORIGIN, Standing::Answers, || None, Duration::MAX);
    let (first, second, ()) = tokio::join!(wait("greedy"), wait("new"), async {
        tokio::task::yield_now().await;
        greedy.pop();
    });
    assert!(first.is_err() && second.is_ok());
    drop((greedy, others, first, second));
    assert!(is_idle(&limiter));
}

#[tokio::test(start_paused = true)]
async fn what_a_destination_leaves_unanswered_of_one_app_says_nothing_of_another() {
    let limiter = HostLimiter::new(Some(1000), WAIT);
    let mut held = Vec::new();
    for n in 0..100 {
        let taken = take(&limiter, &format!("mute {n}"), Standing::Mute, 5000).await;
        assert_eq!(taken.len(), MOST_WHILE_MUTE);
        held.extend(taken);
    }
    let others = take(&limiter, "other", Standing::Unknown, 5000).await;
    assert_eq!(others.len(), FIRST_PERMITS * 3 / 4);
    drop((held, others));
    assert!(is_idle(&limiter));
    // The operator's bound is all there is.
    let limiter = HostLimiter::new(Some(3), WAIT);
    let mut held = take(&limiter, "a", Standing::Mute, 5000).await;
    held.extend(take(&limiter, "b", Standing::Mute, 5000).await);
    assert_eq!(held.len(), 3);
    drop(held);
    assert!(is_idle(&limiter));
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_as_long_as_the_last_answer_took_if_the_rest_of_the_attempt_is_enough_for_another() {
    let limiter = HostLimiter::new(Some(1000), WAIT);
    let _first = take(&limiter, "a", Standing::Unknown, 5000).await;
    for (took, waits) in
        [(None, 500), (Some(100), 500), (Some(800), 1000), (Some(1600), 2000), (Some(3800), 500)]
    {
        let begun = tokio::time::Instant::now();
        let took = || took.map(Duration::from_millis);
        assert!(limiter.acquire("a", ORIGIN, Standing::Unknown, took, Duration::MAX).await.is_err());
        assert_eq!(begun.elapsed().as_millis() / 10 * 10, waits);
    }
}

#[tokio::test(start_paused = true)]
async fn of_an_apps_attempts_so_many_wait_and_others_are_deferred_at_once() {
    let limiter = HostLimiter::new(Some(1), WAIT);
    let first = take(&limiter, "a", Standing::Answers, 1).await;
    let ask = |app: &'static str| limiter.acquire(app, ORIGIN, Standing::Answers, || None, Duration::MAX);
    let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(ask("a"))).collect();
    for one in &mut waiting {
        assert!(one.now_or_never().is_none());
    }
    assert!(matches!(ask("a").now_or_never(), Some(Err(1))));
    let mut other = Box::pin(ask("b"));
    assert!((&mut other).now_or_never().is_none(), "another app's do");
    waiting.pop();
    let mut again = Box::pin(ask("a"));
    assert!((&mut again).now_or_never().is_none());
    drop((first, waiting, other, again));
    assert!(is_idle(&limiter));
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_is_passed_over() {
    let limiter = HostLimiter::new(Some(1), WAIT);
    let first = take(&limiter, "a", Standing::Answers, 1).await;
    let wait = || limiter.acquire("b", ORIGIN, Standing::Answers, || None, Duration::MAX);
    assert!(timeout(Duration::from_millis(10), wait()).await.is_err());
    let (next, ()) = tokio::join!(wait(), async { drop(first) });
    assert!(next.is_ok());
    drop(next);
    assert!(is_idle(&limiter));
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_share_a_connection_than_receivers_allow_streams() {
    let limiter = HostLimiter::new(Some(1000), WAIT);
    let mut taken = take(&limiter, "a", Standing::Proven, 96).await;
    assert_eq!(taken.iter().filter(|permit| !permit.is_crowded()).count(), MAX_STREAMS);
    taken.truncate(MAX_STREAMS - 1);
    let one = take(&limiter, "b", Standing::Proven, 1).await;
    assert!(!one[0].is_crowded());
}

#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "the processor's time is what is tested")]
async fn what_it_costs_to_wait_does_not_grow_with_how_many_others_do() {
    let limiter = HostLimiter::new(Some(1000), WAIT);
    let apps: Vec<_> = (0..100).map(|n| format!("app {n}")).collect();
    let mut held: Vec<_> = Vec::new();
    for app in &apps {
        held.extend(take(&limiter, app, Standing::Answers, 10).await);
    }
    // Those who wait hold too much for what is free.
    assert_eq!(limiter.table.lock().unwrap().hosts[&hash::of(ORIGIN)].free, 2);
    let ask = |app| limiter.acquire(app, ORIGIN, Standing::Answers, || None, Duration::MAX);
    let mut waiting: Vec<_> = apps.iter().flat_map(|app| (0..96).map(|_| Box::pin(ask(&**app)))).collect();
    let begun = std::time::Instant::now();
    for one in &mut waiting {
        assert!(one.now_or_never().is_none());
    }
    held.truncate(held.len() - 10);
    drop(waiting);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    drop(held);
    assert!(is_idle(&limiter));
}
