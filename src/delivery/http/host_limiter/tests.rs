use super::super::request::RequestTarget;
use super::*;

async fn take(
    limiter: &HostLimiter,
    origin: &Arc<Origin>,
    standing: Standing,
    most: usize,
) -> Vec<HostPermit> {
    let mut taken = Vec::new();
    while taken.len() < most
        && let Ok(permit) = limiter.acquire(origin, standing).await
    {
        taken.extend(permit);
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn a_destination_has_a_permit_more_with_each_answer_until_it_is_idle() {
    let limiter = HostLimiter::new(Some(1000), Duration::from_millis(500));
    let origin = RequestTarget::parse("http://a/").unwrap().origin;
    let first = take(&limiter, &origin, Standing::Unknown, 5000).await;
    assert_eq!(first.len(), UNPROVEN);
    first[0].answered();
    first[1].answered();
    let few = take(&limiter, &origin, Standing::Unknown, 5000).await;
    assert_eq!(few.len(), 2);
    drop(few);
    for _ in 0..2000 {
        first[0].answered();
    }
    let all = take(&limiter, &origin, Standing::Unknown, 5000).await;
    assert_eq!(first.len() + all.len(), 1000, "and no more");
    drop((first, all));
    assert!(limiter.hosts.lock().unwrap().is_empty());
    assert_eq!(take(&limiter, &origin, Standing::Unknown, 5000).await.len(), UNPROVEN);
    let some = take(&limiter, &origin, Standing::Mute, 5000).await;
    some[0].answered();
    assert_eq!(
        (some.len(), take(&limiter, &origin, Standing::Mute, 5000).await.len()),
        (MOST_WHILE_MUTE, 0),
        "though it has answered"
    );
    drop(some);
    assert_eq!(take(&limiter, &origin, Standing::Answers, 5000).await.len(), 1000);
    let few = HostLimiter::new(Some(3), Duration::ZERO);
    let three = take(&few, &origin, Standing::Unknown, 5000).await;
    three[0].answered();
    assert_eq!((three.len(), take(&few, &origin, Standing::Unknown, 5000).await.len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_destination_goes_on_as_soon_as_it_answers() {
    let limiter = HostLimiter::new(Some(1000), Duration::from_millis(500));
    let origin = RequestTarget::parse("http://a/").unwrap().origin;
    let first = take(&limiter, &origin, Standing::Unknown, UNPROVEN).await;
    let (next, ()) = tokio::join!(limiter.acquire(&origin, Standing::Unknown), async { first[0].answered() });
    assert!(next.is_ok());
}
