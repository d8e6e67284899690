//! Jobs of a group that go out together, by a worker process.

use std::time::Duration;

use hookferry::local::receiver::Arrival;

use crate::world::{World, job, wait_until};

const ON: (&str, &str) = ("WEBHOOKS_COALESCE", "true");

/// The group and number of each event that arrived.
fn events(arrival: &Arrival) -> Vec<(String, u64)> {
    let body: serde_json::Value = serde_json::from_slice(&arrival.body).unwrap();
    let event = |event: &serde_json::Value| {
        (event["group"].as_str().unwrap().to_owned(), event["n"].as_u64().unwrap())
    };
    body["events"].as_array().unwrap().iter().map(event).collect()
}

/// The numbers of one group's events that were accepted, in order.
fn accepted(world: &World, group: &str) -> Vec<u64> {
    let arrivals = world.arrivals.lock().unwrap();
    let accepted = arrivals.iter().filter(|arrival| arrival.status == 200).flat_map(events);
    accepted.filter(|(of, _)| of == group).map(|(_, n)| n).collect()
}

#[tokio::test]
async fn a_hot_group_arrives_in_a_fifth_of_the_requests_once_and_in_order() {
    let world = World::new(|_| (200, Duration::from_millis(50))).await;
    let jobs: Vec<_> = (0..200).map(|n| job(&format!("g{}", n % 4), n / 4)).collect();
    world.send(&jobs).await;
    let _worker = world.worker(&["/"], &[ON]);
    wait_until(|| (0..4).all(|group| accepted(&world, &format!("g{group}")).len() >= 50)).await;
    world.wait_until_empty().await;
    for group in 0..4 {
        assert_eq!(accepted(&world, &format!("g{group}")), (0..50).collect::<Vec<_>>());
    }
    let arrivals = world.arrivals.lock().unwrap();
    assert!(arrivals.len() <= 40, "{} requests", arrivals.len());
    for arrival in arrivals.iter() {
        assert!(arrival.verified && arrival.attempt == 1);
        let of_one = events(arrival);
        assert!(of_one.iter().all(|(group, _)| *group == of_one[0].0), "{of_one:?}");
        assert_eq!(arrival.id.split(',').count(), of_one.len());
    }
}

#[tokio::test]
async fn an_event_that_is_never_accepted_takes_none_of_those_beside_it_along() {
    let world = World::new(|arrival| {
        let poison = events(arrival).iter().any(|(_, n)| *n == 3);
        (if poison { 500 } else { 200 }, Duration::ZERO)
    })
    .await;
    let jobs: Vec<_> = (0..10).map(|n| job("g", n)).collect();
    world.send(&jobs).await;
    let _worker = world.worker(&["/"], &[ON, ("WEBHOOKS_RETRY_WINDOW_SECONDS", "3")]);
    wait_until(|| accepted(&world, "g").len() >= 9).await;
    world.wait_until_empty().await;
    assert_eq!(accepted(&world, "g"), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    let dead = world.dead().await;
    assert_eq!(dead.iter().map(|(body, _)| body.as_str()).collect::<Vec<_>>(), [jobs[3].body.as_str()]);
    let arrivals = world.arrivals.lock().unwrap();
    assert_eq!(events(&arrivals[0]).len(), 10, "at first all of them");
    assert!(arrivals[1..].iter().all(|arrival| events(arrival).len() == 1), "then each alone");
}
