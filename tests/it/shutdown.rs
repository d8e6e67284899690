//! Signals under load.

use std::time::Duration;

use tokio::process::Child;

use crate::world::{World, assert_in_order, counts, job, wait_until};

#[tokio::test]
async fn sigterm_under_load_exits_0_without_a_duplicate_and_the_next_worker_gets_the_rest() {
    let world = World::new(|_| (200, Duration::from_millis(20))).await;
    let jobs: Vec<_> = (0..600).map(|n| job(&format!("g{}", n % 30), n / 30)).collect();
    world.send(&jobs).await;
    let mut first = world.worker(&["/"], &[]);
    wait_until(|| world.delivered().len() >= 60).await;
    terminate(&first);
    let status = first.wait().await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(world.delivered().len() < 600, "it ended under load");
    let _second = world.worker(&["/"], &[]);
    world.wait_for(600).await;
    world.wait_until_empty().await;
    assert_in_order(&world.delivered());
    assert_eq!(world.delivered().len(), 600, "no duplicate");
}

#[tokio::test]
async fn three_sigkills_lose_nothing_and_reorder_nothing() {
    let world = World::new(|_| (200, Duration::from_millis(10))).await;
    let jobs: Vec<_> = (0..900).map(|n| job(&format!("g{}", n % 30), n / 30)).collect();
    world.send(&jobs).await;
    for kill in 1..=3 {
        let mut worker = world.worker(&["/"], &[]);
        wait_until(|| world.delivered().len() >= kill * 150).await;
        worker.kill().await.unwrap();
    }
    let _last = world.worker(&["/"], &[]);
    world.wait_for(900).await;
    world.wait_until_empty().await;
    assert_in_order(&world.delivered());
    assert_eq!(counts(&world.delivered()).len(), 900, "nothing lost");
}

pub fn terminate(child: &Child) {
    let id = child.id().unwrap().to_string();
    let sent = std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
}
