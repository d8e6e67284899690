use super::*;

#[test]
fn endpoints_of_apps_have_few_invocations_at_a_time_each_and_together() {
    let foreign = Foreign::default();
    let endpoint = |n: usize, port: u16| Url::parse(&format!("http://h{n}:{port}/")).unwrap();
    let one: Vec<_> = (0..MOST).map(|_| foreign.enter(&endpoint(0, 1)).unwrap()).collect();
    assert_eq!(foreign.enter(&endpoint(0, 2)).unwrap_err(), MOST, "whatever the port");
    let others: Vec<_> = (MOST..MOST_OF_ALL).map(|n| foreign.enter(&endpoint(n, 1)).unwrap()).collect();
    assert_eq!(foreign.enter(&endpoint(1, 1)).unwrap_err(), MOST_OF_ALL);
    drop(one);
    assert!(foreign.enter(&endpoint(0, 1)).is_ok());
    drop(others);
    assert!(foreign.hosts().is_empty());
}
