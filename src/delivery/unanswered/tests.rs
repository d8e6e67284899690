use super::*;

#[tokio::test(start_paused = true)]
async fn two_unanswered_attempts_count_until_there_were_several_answers_for_each() {
    let unanswered = Unanswered::default();
    let (one, other) = ("https://a", "https://b");
    let fail = || drop(unanswered.watch("a", one));
    let answer = || unanswered.watch("a", one).ended(true);
    let standing = |origin: &str| unanswered.standing("a", origin);
    assert_eq!(standing(one), Standing::Unknown);
    fail();
    unanswered.watch("a", one).ended(false);
    assert_eq!(standing(one), Standing::Unknown, "an error at once");
    let watch = unanswered.watch("a", one);
    tokio::time::advance(SOON).await;
    watch.ended(false);
    assert_eq!((standing(one), standing(other)), (Standing::Mute, Standing::Unknown));
    assert_eq!(unanswered.standing("b", one), Standing::Unknown, "another app's");
    answer();
    assert_eq!(standing(one), Standing::Answers, "it took one more");
    // One of three answered.
    for _ in 0..20 {
        fail();
        answer();
        fail();
        assert_eq!(standing(one), Standing::Mute);
    }
    for answers in 1..=HEAVIEST - MUTE_WEIGHT {
        assert_eq!(standing(one), Standing::Mute, "after {answers}");
        answer();
    }
    answer();
    assert_eq!(standing(one), Standing::Answers);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_forgotten_after_a_while() {
    let unanswered = Unanswered::default();
    let one = "https://a";
    unanswered.watch("a", one).ended(true);
    tokio::time::advance(ANSWERED_MEMORY).await;
    assert_eq!(unanswered.standing("a", one), Standing::Unknown);
    for _ in 0..9 {
        drop(unanswered.watch("a", one));
    }
    tokio::time::advance(MUTE_MEMORY.checked_sub(SOON).unwrap()).await;
    assert_eq!(unanswered.standing("a", one), Standing::Mute);
    tokio::time::advance(SOON).await;
    assert_eq!(unanswered.standing("a", one), Standing::Unknown);
    drop(unanswered.watch("a", one));
    assert_eq!(unanswered.standing("a", one), Standing::Unknown, "one alone");
}
