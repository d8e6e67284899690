use std::collections::BTreeSet;

use super::*;

#[test]
fn only_the_first_of_equal_events_of_a_millisecond_has_soketis_id() {
    let mut made = Made::default();
    let first = [(7, 1), (7, 2), (7, 1), (8, 1), (7, 3), (8, 2), (100, 1)]
        .map(|(now, events)| made.is_first(events, now));
    assert_eq!(first, [true, true, false, true, false, true, true]);
}

#[test]
fn no_job_has_another_time_than_that_of_its_making() {
    let signer = Signer::new("times", "a-key", "s");
    let event = Event::own("order.paid").unwrap();
    let before = now_ms();
    let jobs: Vec<_> = (0..3000).map(|_| signer.job(&event)).collect();
    let times = before..=now_ms();
    let mut soketis = BTreeSet::new();
    for job in jobs {
        let payload = Job::decode(&job.body.clone().into()).unwrap().payload;
        let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        let time_ms = payload["time_ms"].as_u64().unwrap();
        assert!(times.contains(&time_ms), "{time_ms} of {times:?}");
        if job.deduplication == deduplication_id(job.body.as_bytes()) {
            assert!(soketis.insert(time_ms), "two with soketi's id in {time_ms}");
        }
    }
    assert!(!soketis.is_empty());
}

#[test]
fn the_ids_of_two_processes_differ() {
    let ids: BTreeSet<_> = [OwnIds::new(), OwnIds::new()]
        .iter()
        .flat_map(|process| (0..10).map(|_| process.next("{}")).collect::<Vec<_>>())
        .collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn equal_events_are_several_jobs_whatever_their_groups_and_signers() {
    let event = Event::own("order.paid").unwrap();
    let ids: BTreeSet<_> = (0..1000)
        .map(|n| {
            let signer = Signer::new("an-app", "a-key", "s");
            signer.job(&event.clone().in_group(format!("order-{n}"))).deduplication
        })
        .collect();
    assert_eq!(ids.len(), 1000);
}

#[test]
fn a_millisecond_remembers_a_bounded_number_of_events() {
    let mut made = Made::default();
    let first = (0..25_000).filter(|events| made.is_first(*events, 1)).count();
    assert_eq!((first, made.events.len()), (MAX_A_MILLISECOND, MAX_A_MILLISECOND));
}

#[test]
fn what_a_body_has_beside_its_events_is_never_more_than_is_counted_for_it() {
    let signer = Signer::new("é\"", "k", "s");
    let events = [Event::own("a").unwrap(), Event::own("bb").unwrap()];
    let of_events = events[0].json().len() + events[1].json().len() + 1;
    let beside = signer.job_of("g", &events).body.len() - of_events;
    assert!(beside <= signer.bytes_beside_events() && beside + 8 > signer.bytes_beside_events());
}

#[test]
fn the_secret_is_not_printed() {
    assert!(!format!("{:?}", Signer::new("a", "k", "hush")).contains("hush"));
}
