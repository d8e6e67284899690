use super::super::request::RequestTarget;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_row_of_unanswered_attempts_counts_for_a_minute_and_ends_with_an_answer() {
    let unanswered = Unanswered::default();
    let (one, other) =
        (RequestTarget::parse("https://a/").unwrap(), RequestTarget::parse("https://b/").unwrap());
    let fail = || drop(unanswered.watch(&one.origin));
    let standing = |target: &RequestTarget| unanswered.standing(&target.origin);
    assert_eq!(standing(&one), Standing::Unknown);
    fail();
    fail();
    assert_eq!(standing(&one), Standing::Unknown);
    unanswered.watch(&one.origin).ended(false);
    fail();
    assert_eq!((standing(&one), standing(&other)), (Standing::Mute, Standing::Unknown));
    tokio::time::advance(MEMORY).await;
    assert_eq!(standing(&one), Standing::Unknown, "it is tried as any other again");
    fail();
    assert_eq!(standing(&one), Standing::Mute, "and has not changed");
    unanswered.watch(&one.origin).ended(true);
    assert_eq!(standing(&one), Standing::Answers);
    fail();
    assert_eq!(standing(&one), Standing::Unknown);
    unanswered.watch(&one.origin).ended(true);
    tokio::time::advance(MEMORY).await;
    assert_eq!(standing(&one), Standing::Unknown);
}
