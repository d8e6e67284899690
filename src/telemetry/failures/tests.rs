use super::*;

#[test]
fn an_app_has_a_few_lines_of_each_kind_and_is_told_how_many_were_left_out() {
    let (failures, began) = (Failures::default(), Instant::now());
    let line = |app: &str, webhook: &str, after: u64| {
        failures.line(app, webhook, "status", began + Duration::from_secs(after))
    };
    for _ in 0..OF_A_KIND {
        assert_eq!(line("a", "one", 0), Line::Own(0));
    }
    for _ in 0..500 {
        assert_eq!(line("a", "one", 1), Line::None);
    }
    assert_eq!(failures.line("a", "one", "timeout", began), Line::Own(0), "another reason");
    assert_eq!(line("b", "one", 1), Line::Own(0), "another app");
    let others = (0..100).filter(|n| line("a", &n.to_string(), 9) == Line::Own(0)).count();
    assert_eq!(others, OF_AN_APP as usize - OF_A_KIND as usize - 1);
    assert_eq!(line("a", "one", 10), Line::Own(500 + 100 - others as u64));
    assert_eq!(line("a", "one", 11), Line::Own(0));
}

#[test]
fn apps_that_are_remembered_are_bounded() {
    let (failures, began) = (Failures::default(), Instant::now());
    let lines = |after: u64, from: usize| {
        let now = began + Duration::from_secs(after);
        let own = |n: &usize| failures.line(&n.to_string(), "w", "status", now) != Line::None;
        (from..from + MAX_APPS * 2).filter(own).count()
    };
    assert!(lines(0, 0) <= MAX_APPS + OF_AN_APP as usize);
    assert!(failures.0.lock().unwrap().apps.len() <= MAX_APPS + 1);
    assert_eq!(lines(10, MAX_APPS * 2), OF_ALL as usize, "what is over makes room");
    assert!(failures.0.lock().unwrap().apps.len() <= MAX_APPS + 1);
}

#[test]
fn all_apps_together_have_lines_that_they_share_and_each_is_told_what_was_left_out() {
    let (failures, began) = (Failures::default(), Instant::now());
    let lines = |app: &str, after: u64| {
        let now = began + Duration::from_secs(after);
        (0..50).filter(|n: &u32| failures.line(app, &n.to_string(), "status", now) != Line::None).count()
    };
    let of_each: Vec<_> = (0..100).map(|n| lines(&format!("app {n}"), 0)).collect();
    assert_eq!(of_each.iter().sum::<usize>(), OF_ALL as usize);
    assert_eq!(of_each[0], OF_AN_APP as usize);
    assert!(of_each.iter().filter(|lines| **lines > 0).count() >= 25, "{of_each:?}");
    let line = |app: &str, after: u64| failures.line(app, "0", "status", began + Duration::from_secs(after));
    assert_eq!(lines("app 99", 5), 0);
    // Two periods in which others have it all.
    for n in 0..100 {
        lines(&format!("other {n}"), 10);
    }
    assert_eq!(line("app 99", 15), Line::None);
    assert_eq!(line("app 99", 25), Line::Own(101));
    assert_eq!(line("app 99", 26), Line::Own(0));
}
