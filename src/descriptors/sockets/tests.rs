use std::time::Duration;

use super::*;

/// All that an app can get, at so many hosts in turns.
fn all(sockets: &Sockets, app: &str, hosts: usize) -> Vec<Socket> {
    let mut taken = Vec::new();
    loop {
        let before = taken.len();
        taken.extend((0..hosts).filter_map(|host| sockets.take(app, host, Purpose::Any)));
        if taken.len() == before {
            return taken;
        }
    }
}

fn answering(sockets: &Sockets, app: &str) {
    sockets.take(app, 0, Purpose::Any).unwrap().answered();
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_all_it_can_get_leaves_some_for_others() {
    let sockets = Sockets::new(120);
    answering(&sockets, "one");
    let one = all(&sockets, "one", 1);
    assert_eq!(one.len(), 57, "a host");
    answering(&sockets, "two");
    let two = all(&sockets, "two", 100);
    assert_eq!(two.len(), 38, "an app");
    let others: Vec<_> = (0..1000).flat_map(|n: u32| all(&sockets, &n.to_string(), 3)).collect();
    assert!(one.len() + two.len() + others.len() <= 120);
    drop((one, two, others));
    assert_eq!(sockets.quota.taken(), 0);
    assert!(lock(&sockets.hosts).is_empty());
    assert_eq!(sockets.quota.apps(), 2, "those that answered are remembered");
    assert_eq!(all(&sockets, "one", 100).len(), 76);
}

#[tokio::test(start_paused = true)]
async fn who_answers_is_known_for_a_minute_whichever_way_it_was_told() {
    let (connections, requests) = (Sockets::new(8), Sockets::new(8));
    connections.take("a", "host", Purpose::Any).unwrap().answered();
    assert!(connections.app_answers("a") && !connections.app_answers("b") && !requests.app_answers("a"));
    requests.app_answered("a");
    assert!(requests.app_answers("a"));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(!connections.app_answers("a") && !requests.app_answers("a"));
}

#[tokio::test(start_paused = true)]
async fn where_requests_cost_much_many_apps_wait_for_their_first_answers_at_the_same_time() {
    let sockets = Sockets::costly(96, 6);
    let first: Vec<_> = (0..70_u32).map(|n| all(&sockets, &n.to_string(), 1)).collect();
    let apps = first.iter().filter(|taken| !taken.is_empty()).count();
    let taken: usize = first.iter().map(Vec::len).sum();
    assert!(apps >= 36 && taken <= 72, "{apps} apps, {taken}");
    sockets.app_answered("honest");
    assert!(!all(&sockets, "honest", 6).is_empty());
    drop(first);
    assert_eq!(all(&sockets, "honest", 100).len(), 60, "one that answers has more");
}

#[tokio::test(start_paused = true)]
async fn however_many_hosts_apps_without_answers_have_they_leave_a_part_to_the_others() {
    for apps in [1_u32, 3, 100, 1000] {
        let sockets = Sockets::new(400);
        answering(&sockets, "healthy");
        let hostile: Vec<_> = (0..apps).flat_map(|n| all(&sockets, &n.to_string(), 100)).collect();
        assert!(hostile.len() <= 300 && (apps > 1 || hostile.len() <= 150), "{apps}: {}", hostile.len());
        assert!(all(&sockets, "healthy", 6).len() >= 48, "{apps}");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(
            apps < 1000 || sockets.take("healthy", 0, Purpose::Any).is_none(),
            "an answer counts for a while"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_apps_answer_late_they_leave_a_part_to_what_is_quick_and_to_apps_that_hold_none() {
    for (most, apps) in [(672, 504), (3_000, 1_500)] {
        let sockets = Sockets::new(most);
        let slow: Vec<_> = (0..apps).map(|n| format!("slow {n}")).collect();
        for app in &slow {
            sockets.app_answered(app);
        }
        let mut held = Vec::new();
        for host in 0..10 {
            held.extend(slow.iter().filter_map(|app| sockets.take(app, host, Purpose::Any)));
        }
        assert!(held.len() >= most / 16 * 14, "{}", held.len());
        for app in ["healthy", "another"] {
            sockets.app_answered(app);
            let first = sockets.take(app, 0, Purpose::Any);
            assert!(first.is_some() && sockets.take(app, 1, Purpose::Any).is_none());
            let quick: Vec<_> = (0..6).map_while(|host| sockets.take(app, host, Purpose::Quick)).collect();
            assert_eq!(quick.len(), 6);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_go_unanswered_gets_no_more_for_what_else_its_app_has_had_answered() {
    let sockets = Sockets::costly(96, 6);
    let hostile: Vec<_> = (0..60).map(|n| format!("hostile {n}")).collect();
    for app in &hostile {
        sockets.app_answered(app);
    }
    let mut held = Vec::new();
    for host in 0..100 {
        held.extend(hostile.iter().filter_map(|app| sockets.take(app, host, Purpose::Doubtful)));
    }
    sockets.app_answered("honest");
    let honest = (0..6).map_while(|host| sockets.take("honest", host, Purpose::Any)).count();
    assert!(held.len() <= 72 && honest == 6, "{} {honest}", held.len());
}

#[tokio::test(start_paused = true)]
async fn of_few_places_an_app_that_holds_none_finds_one_beside_many_that_answer_late() {
    let sockets = Sockets::costly(16, 4);
    let slow: Vec<_> = (0..10).map(|n| format!("slow {n}")).collect();
    for app in &slow {
        sockets.app_answered(app);
    }
    let mut held = Vec::new();
    for host in 0..6 {
        held.extend(slow.iter().filter_map(|app| sockets.take(app, host, Purpose::Any)));
    }
    sockets.app_answered("honest");
    assert!(sockets.take("honest", 0, Purpose::Any).is_some(), "{}", held.len());
}
