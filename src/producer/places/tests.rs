use super::*;

#[test]
fn a_group_has_half_of_the_places_and_is_forgotten_without_any() {
    let places = Places::new(Buffer { jobs: 10, bytes: 8 << 20 });
    let held: Vec<_> = (0..10).map_while(|_| places.try_take("bad", 1)).collect();
    assert_eq!(held.len(), 5);
    assert!(places.try_take("large", (4 << 20) + 1).is_none());
    let others: Vec<_> = (0..10).map_while(|n| places.try_take(&n.to_string(), 1)).collect();
    assert_eq!(others.len(), 5, "there are no more than all");
    drop((held, others));
    for n in 0..10_000 {
        drop(places.try_take(&n.to_string(), 1).unwrap());
    }
    assert!(places.groups.lock().unwrap().shares.len() <= 64);
}
