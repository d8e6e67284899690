use super::*;

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "work that does not give way is what is tested")]
async fn what_takes_long_takes_turns_and_is_given_up_for_its_own_time_alone() {
    let (long, longest) = (Duration::from_millis(5), Duration::from_millis(40));
    let work = || async {
        let mut turns = Turns::begin();
        for _ in 0..5 {
            turns.next().await;
            std::thread::sleep(long);
        }
        turns.next().await;
        turns.held = None;
        turns
    };
    let start = std::time::Instant::now();
    let (one, other, third) = tokio::join!(work(), work(), work());
    assert!(one.took >= long * 5, "{:?}", one.took);
    assert!(one.took + other.took + third.took <= start.elapsed(), "no time is counted twice");
    assert_eq!(one.over(longest), Outcome::Permanent(Reason::Unplannable(longest)));
    let begun = Turns::begin();
    assert_eq!(begun.over(longest), Outcome::Deferred(Reason::Unplannable(longest)));
}
