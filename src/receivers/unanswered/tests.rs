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
    tokio::time::advance(QUICK).await;
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
    tokio::time::advance(MUTE_MEMORY.checked_sub(QUICK).unwrap()).await;
    assert_eq!(unanswered.standing("a", one), Standing::Mute);
    tokio::time::advance(QUICK).await;
    assert_eq!(unanswered.standing("a", one), Standing::Unknown);
    drop(unanswered.watch("a", one));
    assert_eq!(unanswered.standing("a", one), Standing::Unknown, "one alone");
}

#[tokio::test(start_paused = true)]
async fn quick_answers_prove_and_a_slow_one_counts_for_a_minute() {
    let unanswered = Unanswered::default();
    let one = "https://a";
    let standing = || unanswered.standing("a", one);
    let quick = || unanswered.watch("a", one).ended(true);
    let slow = async || {
        let watch = unanswered.watch("a", one);
        tokio::time::advance(QUICK).await;
        watch.ended(true);
    };
    for _ in 0..30 {
        slow().await;
        assert_eq!(standing(), Standing::Answers, "it costs nothing");
    }
    tokio::time::advance(SLOW_MEMORY).await;
    for answers in 0..PROVEN {
        assert_ne!(standing(), Standing::Proven, "after {answers}");
        quick();
    }
    for _ in 0..3 {
        assert_eq!(standing(), Standing::Proven);
        slow().await;
        (0..100).for_each(|_| quick());
        assert_eq!(standing(), Standing::Answers);
        tokio::time::advance(SLOW_MEMORY).await;
        quick();
    }
}

#[tokio::test(start_paused = true)]
async fn how_long_the_last_answer_took_is_remembered_whatever_came_after_it() {
    let unanswered = Unanswered::default();
    let took = || unanswered.last_took("a", "https://a");
    assert_eq!(took(), None);
    let watch = unanswered.watch("a", "https://a");
    tokio::time::advance(Duration::from_millis(800)).await;
    watch.ended(true);
    drop(unanswered.watch("a", "https://a"));
    assert_eq!((took(), unanswered.last_took("b", "https://a")), (Some(Duration::from_millis(800)), None));
}

#[tokio::test(start_paused = true)]
async fn answers_of_an_app_make_up_for_what_others_of_its_destinations_leave_unanswered() {
    let unanswered = Unanswered::default();
    for n in 0..6 {
        drop(unanswered.watch("hostile", format!("https://h{n}")));
        for _ in 0..n {
            drop(unanswered.watch("honest", "https://flaky"));
            (0..UNANSWERED).for_each(|_| unanswered.watch("honest", "https://flaky").ended(true));
        }
    }
    assert_eq!(unanswered.standing("hostile", "https://new"), Standing::Mute);
    assert_eq!(unanswered.standing("honest", "https://new"), Standing::Unknown);
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_those_are_forgotten_that_were_used_longest_ago() {
    let unanswered = Unanswered::default();
    let origin = |n: usize| format!("https://a{n}");
    for n in 0..=MAX_REMEMBERED {
        unanswered.watch("a", origin(n)).ended(true);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert_eq!(unanswered.rows().len(), MAX_REMEMBERED / 2);
    assert_eq!(unanswered.standing("a", origin(0)), Standing::Unknown);
    assert_eq!(unanswered.standing("a", origin(MAX_REMEMBERED - 1)), Standing::Answers);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_long_counts_while_it_is_under_way() {
    let unanswered = Unanswered::default();
    let one = "https://a";
    (0..20).for_each(|_| unanswered.watch("a", one).ended(true));
    assert_eq!(unanswered.standing("a", one), Standing::Proven);
    let watch = unanswered.watch("a", one);
    let never = std::pin::pin!(std::future::pending::<()>());
    assert!(timeout(QUICK * 2, watch.observe(never)).await.is_err());
    assert_eq!(unanswered.standing("a", one), Standing::Answers);
    drop(watch);
}
