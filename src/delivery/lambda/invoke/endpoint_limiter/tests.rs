use std::time::Duration;

use super::*;

fn endpoint(n: usize, port: u16) -> Url {
    Url::parse(&format!("http://h{n}:{port}/")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn endpoints_of_apps_have_few_invocations_at_a_time() {
    let limiter = EndpointLimiter::default();
    let one: Vec<_> = (0..MOST).map(|_| limiter.enter("a", &endpoint(0, 1)).unwrap()).collect();
    assert_eq!(limiter.enter("b", &endpoint(0, 2)).unwrap_err(), MOST, "whatever the port, whoever asks");
    for permit in one {
        permit.ended(false);
    }
    limiter.enter("a", &endpoint(0, 1)).unwrap().ended(false);
    assert!(limiter.quota.taken() == 0 && limiter.quota.apps() == 0 && limiter.hosts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_app_takes_a_part_of_what_is_left_however_many_endpoints_it_names() {
    let limiter = EndpointLimiter::default();
    let all =
        |app: &str| (0..100).map_while(|n| limiter.enter(app, &endpoint(n, 1)).ok()).collect::<Vec<_>>();
    let mut held: Vec<_> = all("0");
    assert_eq!(held.len(), 16);
    held.extend((1..4).flat_map(|n| all(&n.to_string())));
    let new = limiter.enter("new", &endpoint(200, 1)).map(|permit| permit.ended(false));
    assert!(new.is_ok(), "{}", held.len());
    limiter.enter("healthy", &endpoint(201, 1)).unwrap().ended(true);
    held.extend((4..100).flat_map(|n| all(&n.to_string())));
    assert_eq!(held.len(), MOST_OF_ALL - RESERVED);
    limiter.enter("healthy", &endpoint(201, 1)).unwrap().ended(false);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(limiter.enter("healthy", &endpoint(201, 1)).is_err(), "an answer counts for a while");
}

#[tokio::test(start_paused = true)]
async fn an_app_that_an_endpoint_leaves_unanswered_has_two_at_a_time_there_and_other_apps_have_theirs() {
    let limiter = EndpointLimiter::default();
    let enter = |app: &str| limiter.enter(app, &endpoint(0, 1));
    let most = |app: &str| {
        let entered: Vec<_> = std::iter::from_fn(|| enter(app).ok()).collect();
        let count = entered.len();
        // At once, which says nothing of the endpoint.
        for permit in entered {
            permit.ended(false);
        }
        count
    };
    for _ in 0..2 {
        assert_eq!(most("a"), MOST);
        drop(enter("a").unwrap());
    }
    assert_eq!((most("a"), most("b")), (MOST_WHILE_MUTE, MOST));
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(most("a"), MOST, "nothing is remembered for ever");
    for _ in 0..2 {
        let unanswered = enter("a").unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        unanswered.ended(false);
    }
    assert_eq!(most("a"), MOST_WHILE_MUTE, "an error that took its time is no answer");
    enter("a").unwrap().ended(true);
    assert_eq!(most("a"), MOST);
}

#[tokio::test(start_paused = true)]
async fn what_an_endpoint_leaves_unanswered_of_one_app_says_nothing_of_another_that_it_left_so_too() {
    let limiter = EndpointLimiter::default();
    for app in ["a", "b", "c"] {
        for _ in 0..2 {
            drop(limiter.enter(app, &endpoint(0, 1)).unwrap());
        }
    }
    let all = |app: &str| std::iter::from_fn(|| limiter.enter(app, &endpoint(0, 1)).ok()).collect::<Vec<_>>();
    let held = ["a", "b", "c"].map(all);
    assert_eq!(held.each_ref().map(Vec::len), [MOST_WHILE_MUTE; 3]);
    drop(held);
    assert!(limiter.hosts().is_empty());
}
