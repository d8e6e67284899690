use super::super::request::RequestTarget;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_row_of_unanswered_attempts_counts_for_a_minute_and_ends_with_an_answer() {
    let unanswered = Unanswered::default();
    let (one, other) =
        (RequestTarget::parse("https://a/").unwrap(), RequestTarget::parse("https://b/").unwrap());
    let fail = || drop(unanswered.watch(&one.origin));
    let standing = |target: &RequestTarget| unanswered.standing(&target.origin);
    let is_apart = || unanswered.is_apart(&one.origin);
    assert_eq!((standing(&one), is_apart()), (Standing::Unknown, false));
    fail();
    assert!(!is_apart());
    fail();
    assert!(is_apart());
    assert_eq!(standing(&one), Standing::Unknown);
    unanswered.watch(&one.origin).ended(false);
    assert_eq!(standing(&one), Standing::Unknown, "an error at once");
    let watch = unanswered.watch(&one.origin);
    tokio::time::advance(SOON).await;
    watch.ended(false);
    assert_eq!((standing(&one), standing(&other)), (Standing::Mute, Standing::Unknown));
    tokio::time::advance(MEMORY).await;
    assert_eq!(standing(&one), Standing::Unknown, "it is tried as any other again");
    assert!(is_apart(), "but on threads of its own");
    fail();
    assert_eq!(standing(&one), Standing::Mute, "and has not changed");
    unanswered.watch(&one.origin).ended(true);
    assert_eq!((standing(&one), is_apart()), (Standing::Answers, false));
    fail();
    assert_eq!(standing(&one), Standing::Unknown);
    unanswered.watch(&one.origin).ended(true);
    tokio::time::advance(MEMORY).await;
    assert_eq!(standing(&one), Standing::Unknown);
    fail();
    fail();
    assert!(is_apart());
    tokio::time::advance(APART_MEMORY).await;
    assert!(!is_apart());
}
