use tokio::time::sleep;

use super::*;

const WAIT: Duration = Duration::from_millis(100);

fn admission(max_per_host: Option<usize>) -> Admission {
    Admission::new(HostLimiter::new(max_per_host, WAIT))
}

fn ask<'a>(app_id: &'a str, to: &'a u32) -> Ask<'a, u32, u32> {
    Ask { app_id, origin: to, host: to, https: true, refused_http1: false, is_name: false, wait: WAIT }
}

#[tokio::test(start_paused = true)]
async fn apps_that_answer_here_and_hang_there_leave_leave_to_one_that_asks_a_new_destination() {
    let admission = admission(None);
    let hostile: Vec<_> = (0..5).map(|n| format!("hostile {n}")).collect();
    for app in &hostile {
        drop(admission.unanswered.watch(app, 1_u32));
        admission.sockets.app_answered(app);
    }
    let mut held = Vec::new();
    for to in 0..99 {
        for app in &hostile {
            held.extend(admission.enter(&ask(app, &to), || ()).await);
        }
    }
    admission.sockets.app_answered("honest");
    let begun = Instant::now();
    let honest = admission.enter(&ask("honest", &1000), || ()).await;
    assert!(honest.is_ok_and(|admitted| admitted.costly.is_some()), "{}", held.len());
    assert!(begun.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_speaks_http2_alone_needs_no_leave_for_having_been_quiet() {
    let admission = admission(None);
    let ask = Ask { refused_http1: true, ..ask("a", &1) };
    let is_costly = async || admission.enter(&ask, || ()).await.unwrap().costly.is_some();
    assert!(is_costly().await);
    (0..20).for_each(|_| admission.unanswered.watch("a", 1_u32).ended(true));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(admission.unanswered.standing("a", 1_u32), Standing::Unknown);
    assert!(!is_costly().await);
    tokio::time::advance(Duration::from_secs(600)).await;
    assert!(is_costly().await);
}

#[tokio::test(start_paused = true)]
async fn all_waits_of_an_attempt_together_end_at_half_of_its_time() {
    let mut admission = admission(Some(1));
    let ask = Ask { refused_http1: true, ..ask("a", &1) };
    let watch = admission.unanswered.watch("a", 1_u32);
    sleep(WAIT * 3).await;
    watch.ended(true);
    admission.unproven_http2 = Sockets::costly(0, 0);
    let other = admission.hosts.acquire("b", 1_u32, Standing::Answers, || None, WAIT).await.unwrap();
    let (asked, admission) = (Instant::now(), &admission);
    let held = async {
        sleep(WAIT * 7 / 2).await;
        drop(other);
    };
    let (admitted, ()) = tokio::join!(admission.enter(&ask, || ()), held);
    assert_eq!(admitted.unwrap_err(), Reason::UnprovenBusy(0));
    assert_eq!(asked.elapsed(), WAIT * 4, "half of an attempt whose eighth is the wait");
}

#[test]
fn http2_is_offered_to_the_proven_while_few_requests_share_it_and_to_those_that_refuse_http1() {
    let over = |https: bool, refused_http1: bool| {
        let ask = Ask { https, refused_http1, ..ask("a", &1) };
        let http2 = |standing, is_crowded| !ask.speaks_http1_alone(standing, is_crowded);
        let others = [Standing::Answers, Standing::Unknown, Standing::Mute].map(|other| http2(other, false));
        (http2(Standing::Proven, false), http2(Standing::Proven, true), others)
    };
    assert_eq!(over(true, false), (true, false, [false; 3]));
    assert_eq!(over(true, true), (true, true, [true; 3]));
    assert_eq!(over(false, true), (false, false, [false; 3]));
}
