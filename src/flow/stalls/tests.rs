use super::*;

#[tokio::test(start_paused = true)]
async fn an_answer_that_waited_while_the_process_did_not_run_counts_from_before_that() {
    let start = Instant::now();
    let (send, answer) = tokio::sync::oneshot::channel();
    let arrival = tokio::spawn(detecting_stalls(answer, |_, _| ()));
    tokio::time::sleep(TICK * 4 + TICK / 2).await;
    send.send(()).unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(arrival.await.unwrap().1, start + TICK * 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_right_after_waking_counts_from_before_the_sleep_and_a_later_one_from_now() {
    for (after, expected) in [(TICK / 2, TICK), (TICK * 3 / 2, Duration::from_secs(10) + TICK * 3)] {
        let start = Instant::now();
        let (send, answer) = tokio::sync::oneshot::channel();
        let arrival = tokio::spawn(detecting_stalls(answer, |_, _| ()));
        tokio::time::sleep(TICK + TICK / 2).await;
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::time::sleep(after).await;
        send.send(()).unwrap();
        assert_eq!(arrival.await.unwrap().1, start + expected, "{after:?}");
    }
}
