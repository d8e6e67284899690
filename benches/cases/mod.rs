//! What both benches measure: the four pure steps that every job goes through.
//!
//! Payloads are of a given length to the byte and made of what a real soketi sent. *One event* is a
//! client event whose data was filled up; *events* is a batch, as soketi sends with batching. Each case is
//! checked once when it is made, so that no case can come to measure an early return.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up has nothing better to do")]

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use hookferry::app::App;
use hookferry::job::{Job, sign};
use hookferry::outcome::{Outcome, Reason};
use hookferry::plan::plan;
use hookferry::policy::{Disposition, Retry, decide};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One operation under a name.
pub struct Case {
    /// What it is, and for a payload of which length.
    pub name: String,
    /// How many bytes of payload one operation goes through; 0 where there is no payload.
    pub bytes: usize,
    /// Carries the operation out once, and drops what came of it.
    pub run: Box<dyn Fn()>,
}

/// Jobs that a soketi 1.6.1 enqueued.
const JOBS: &str = include_str!("../../tests/fixtures/soketi-1.6.1-jobs.jsonl");
const SIZES: [usize; 3] = [200, 2 * 1024, 64 * 1024];
const MESSAGE_ID: &str = "5fea7756-0ea4-451a-a703-a558b933e274";
/// All that soketi sends; as soketi's users have to list it.
const ALL: &str =
    r#"["client_event","member_added","member_removed","channel_vacated","channel_occupied","cache_miss"]"#;
/// About half of the events captured, among them the first and not the second.
const SOME: &str = r#"["client_event","member_added"]"#;

/// All cases, in the order in which a job meets them.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in SIZES {
        cases.push(decode_and_verify(size));
    }
    for size in SIZES {
        cases.push(planned("plan, one event kept", &one_event(size), ALL, true));
        cases.push(planned("plan, all events kept", &events(size), ALL, true));
        cases.push(planned("plan, some events kept", &events(size), SOME, false));
    }
    for size in SIZES {
        let payload = one_event(size);
        let run = move || drop(black_box(sign(&secret(), [black_box(payload.as_bytes())])));
        cases.push(case("sign", size, run));
    }
    cases.extend(decided());
    cases
}

fn case(name: &str, bytes: usize, run: impl Fn() + 'static) -> Case {
    let name = if bytes == 0 { name.to_owned() } else { format!("{name}, {bytes} B") };
    Case { name, bytes, run: Box::new(run) }
}

fn decode_and_verify(size: usize) -> Case {
    let body = Bytes::from(job(&one_event(size)).encode());
    let secret = secret();
    let run = move || {
        let job = Job::decode(black_box(&body)).expect("it is a job");
        job.verify(&secret).expect("it is genuine");
        drop(black_box(job));
    };
    run();
    case("decode and verify", size, run)
}

fn planned(name: &str, payload: &str, event_types: &str, whole: bool) -> Case {
    let size = payload.len();
    let job = job(payload);
    let webhook = format!(
        r#"{{"url":"https://hooks.example.com/soketi","headers":{{"Authorization":"Bearer 0123456789"}},"event_types":{event_types}}}"#
    );
    let app: App = serde_json::from_str(&format!(
        r#"{{"id":"app-id","key":"app-key","secret":"app-secret","webhooks":[{webhook}]}}"#
    ))
    .expect("it is an app");
    let deliveries = plan(&job, &app, MESSAGE_ID).expect("it can be planned");
    let sent: Vec<bool> = deliveries.iter().map(|delivery| delivery.body == job.payload).collect();
    assert_eq!(sent, [whole], "{name} of {size} B");
    case(name, size, move || drop(black_box(plan(black_box(&job), &app, MESSAGE_ID))))
}

fn decided() -> [Case; 3] {
    let seconds = Duration::from_secs;
    let retry = Retry { window: seconds(300), base: seconds(1), cap: seconds(60) };
    let decision = move |name, outcome: Outcome, age, expected: fn(&Disposition) -> bool| {
        let outcomes = [Outcome::Delivered, outcome];
        let run = move || decide(black_box(&outcomes), black_box(3), black_box(age), &retry, black_box(0.5));
        assert!(expected(&run()), "{name}");
        case(name, 0, move || drop(black_box(run())))
    };
    let failed = || Outcome::transient(Reason::Status(503));
    [
        decision("decide, delivered", Outcome::Delivered, seconds(1), |d| matches!(d, Disposition::Done)),
        decision("decide, to be retried", failed(), seconds(1), |d| matches!(d, Disposition::Retry { .. })),
        decision("decide, given up", failed(), seconds(301), |d| matches!(d, Disposition::DeadLetter(_))),
    ]
}

fn secret() -> SecretString {
    SecretString::from("app-secret")
}

fn job(payload: &str) -> Job {
    Job {
        app_key: "app-key".to_owned(),
        app_id: "app-id".to_owned(),
        signature: sign(&secret(), [payload.as_bytes()]),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        sender_secret: None,
    }
}

/// A payload of that length with one client event, whose data repeats what was captured.
fn one_event(size: usize) -> String {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let event = captured().into_iter().find(|event| event.contains("client-greeting")).expect("there is one");
    let data = serde_json::from_str::<Event<'_>>(&event).expect("an event with data").data.get();
    let (head, tail) = event.split_once(data).expect("its own data");
    let room = size - payload(&[&format!(r#"{head}[""]{tail}"#)]).len();
    let repeated = format!("{data},").repeat(room / (data.len() + 1));
    let rest = "x".repeat(room - repeated.len());
    payload(&[&format!(r#"{head}[{repeated}"{rest}"]{tail}"#)])
}

/// A payload of that length with as many of the events captured as fit, in their order.
fn events(size: usize) -> String {
    let captured = captured();
    let mut kept: Vec<&str> = Vec::new();
    for event in captured.iter().cycle() {
        kept.push(event);
        if payload(&kept).len() > size {
            kept.pop();
            break;
        }
    }
    let payload = payload(&kept);
    // White space is no event, and may stand at the end.
    format!("{payload}{}", " ".repeat(size - payload.len()))
}

fn payload(events: &[&str]) -> String {
    format!(r#"{{"time_ms":1795476045371,"events":[{}]}}"#, events.join(","))
}

/// The events captured, by their own bytes.
fn captured() -> Vec<String> {
    #[derive(Deserialize)]
    struct Line {
        body: String,
    }
    #[derive(Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
    }
    let events = |line| {
        let line: Line = serde_json::from_str(line).expect("a line of the fixture");
        let job = Job::decode(&Bytes::from(line.body)).expect("a job");
        let payload: Payload<'_> = serde_json::from_slice(&job.payload).expect("a payload");
        payload.events.iter().map(|event| event.get().to_owned()).collect::<Vec<_>>()
    };
    JOBS.lines().flat_map(events).collect()
}
