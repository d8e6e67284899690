use super::*;

#[test]
fn whoever_takes_all_it_can_get_leaves_some_for_others() {
    let sockets = Sockets::new(100);
    let all = |host: &str| std::iter::from_fn(|| sockets.take(host)).collect::<Vec<_>>();
    let one = all("one");
    assert_eq!(one.len(), 50);
    assert_eq!(all("two").len(), 25);
    let others: Vec<_> = (0..1000).flat_map(|n: u32| all(&n.to_string())).collect();
    assert!(one.len() + others.len() <= 100);
    drop((one, others));
    assert_eq!(lock(&sockets.held).all, 0);
    assert!(lock(&sockets.held).hosts.is_empty());
    assert_eq!(all("one").len(), 50);
}
