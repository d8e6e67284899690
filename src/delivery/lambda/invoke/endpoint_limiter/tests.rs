use super::*;

fn endpoint(n: usize, port: u16) -> Url {
    Url::parse(&format!("http://h{n}:{port}/")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn endpoints_of_apps_have_few_invocations_at_a_time() {
    let limiter = EndpointLimiter::default();
    let one: Vec<_> = (0..MOST).map(|_| limiter.enter("a", &endpoint(0, 1)).unwrap()).collect();
    assert_eq!(limiter.enter("b", &endpoint(0, 2)).unwrap_err(), MOST, "whatever the port, whoever asks");
    drop(one);
    assert!(limiter.enter("a", &endpoint(0, 1)).is_ok());
    let under_way = limiter.under_way();
    assert!(under_way.all == 0 && under_way.apps.is_empty() && under_way.endpoints.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_app_takes_a_part_of_what_is_left_however_many_endpoints_it_names() {
    let limiter = EndpointLimiter::default();
    let all =
        |app: &str| (0..100).map_while(|n| limiter.enter(app, &endpoint(n, 1)).ok()).collect::<Vec<_>>();
    let mut held: Vec<_> = all("0");
    assert_eq!(held.len(), 16);
    held.extend((1..4).flat_map(|n| all(&n.to_string())));
    assert!(limiter.enter("new", &endpoint(200, 1)).is_ok(), "{}", held.len());
    limiter.enter("healthy", &endpoint(201, 1)).unwrap().answered();
    held.extend((4..100).flat_map(|n| all(&n.to_string())));
    assert_eq!(held.len(), MOST_OF_ALL - RESERVED);
    assert!(limiter.enter("healthy", &endpoint(201, 1)).is_ok());
    tokio::time::advance(MEMORY).await;
    assert!(limiter.enter("healthy", &endpoint(201, 1)).is_err(), "an answer counts for a while");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_leaves_attempts_unanswered_has_two_at_a_time_until_it_answers() {
    let limiter = EndpointLimiter::default();
    let enter = || limiter.enter("a", &endpoint(0, 1));
    let most = || std::iter::from_fn(|| enter().ok()).collect::<Vec<_>>().len();
    for _ in 0..IN_A_ROW {
        assert_eq!(most(), MOST);
        let unanswered = enter().unwrap();
        tokio::time::advance(SOON * 4).await;
        drop(unanswered);
    }
    assert_eq!(most(), MUTE);
    tokio::time::advance(MEMORY).await;
    assert_eq!(most(), MOST, "nothing is remembered for ever");
    let unanswered = enter().unwrap();
    tokio::time::advance(SOON).await;
    drop(unanswered);
    assert_eq!(most(), MUTE);
    enter().unwrap().answered();
    assert_eq!(most(), MOST);
}
