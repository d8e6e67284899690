//! What one tenant, or many of them, can do to others: apps, jobs and receivers.

use std::time::Duration;

use hookferry::job::{QueueType, group_id};
use hookferry::producer::Signer;
use hookferry::queue::NewMessage;
use serde_json::{Value, json};

use super::receivers::{Manner, Receiver};

/// One row.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub manner: Manner,
    pub load: Load,
    /// The hostile apps' receivers take what they get: then it is measured what they get alone, too.
    pub works: bool,
    /// Descriptors that the worker may open.
    pub descriptors: Option<u32>,
}

/// What the hostile apps are and send, given their receiver.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// None at all: what the others are compared with.
    Nothing,
    /// So many apps with so many jobs, in so many groups each.
    Apps { apps: usize, groups: usize, jobs: usize },
    /// One app with so many webhooks, each at an address of its own, and so many jobs.
    Webhooks { webhooks: u32, jobs: usize },
    /// So many apps, each with so many webhooks at addresses of their own, and one job each.
    Hosts { apps: u32, webhooks: u32 },
    /// One app with so many webhooks that filter, and one job of so many bytes.
    Filters { webhooks: usize, bytes: usize },
    /// One app with webhooks of so many event types each, and jobs of so many events.
    Types { webhooks: usize, types: usize, events: usize, jobs: usize },
    /// One app with a webhook of so many headers; of a function, if `lambda`.
    Headers { headers: usize, lambda: bool },
    /// One app that cannot be used, with so many jobs.
    Unusable { jobs: usize },
}

const SLOW: Manner = Manner::Slow(Duration::from_millis(3_800));

pub fn all() -> Vec<Case> {
    let case = |name, manner, load| Case { name, manner, load, works: false, descriptors: None };
    let slow =
        |name, apps, jobs| Case { works: true, ..case(name, SLOW, Load::Apps { apps, groups: 6, jobs }) };
    vec![
        case("nobody", Manner::Healthy, Load::Nothing),
        case(
            "1,000 groups for a host that hangs",
            Manner::Hangs,
            Load::Apps { apps: 1, groups: 1_000, jobs: 10_000 },
        ),
        case(
            "200 groups for a host that hangs",
            Manner::Hangs,
            Load::Apps { apps: 1, groups: 200, jobs: 4_000 },
        ),
        case(
            "240 groups for a host that hangs in four",
            Manner::HangsInFour,
            Load::Apps { apps: 2, groups: 240, jobs: 10_000 },
        ),
        slow("70 apps that answer after 3.8 s", 70, 200),
        case(
            "70 apps that answer after 450 ms",
            Manner::Slow(Duration::from_millis(450)),
            Load::Apps { apps: 70, groups: 6, jobs: 400 },
        ),
        slow("500 apps that answer after 3.8 s", 500, 60),
        case("70 apps that hang", Manner::Hangs, Load::Apps { apps: 70, groups: 6, jobs: 200 }),
        case("4,000 webhooks, 6 jobs", Manner::Healthy, Load::Webhooks { webhooks: 4_000, jobs: 6 }),
        case("100 webhooks, 600 jobs, hang", Manner::Hangs, Load::Webhooks { webhooks: 100, jobs: 600 }),
        case(
            "1,000 webhooks that filter, 900 KB",
            Manner::Healthy,
            Load::Filters { webhooks: 1_000, bytes: 900_000 },
        ),
        case(
            "100 webhooks that filter, 900 KB",
            Manner::Healthy,
            Load::Filters { webhooks: 100, bytes: 900_000 },
        ),
        case(
            "a function's webhook, 30,000 headers",
            Manner::Hangs,
            Load::Headers { headers: 30_000, lambda: true },
        ),
        case("a webhook, 25,000 headers", Manner::Healthy, Load::Headers { headers: 25_000, lambda: false }),
        case(
            "20 × 5,000 types × 25,000 events",
            Manner::Healthy,
            Load::Types { webhooks: 20, types: 5_000, events: 25_000, jobs: 20 },
        ),
        case(
            "100 × 100 types × 25,000 events",
            Manner::Healthy,
            Load::Types { webhooks: 100, types: 100, events: 25_000, jobs: 20 },
        ),
        case("one event to 2,500 hosts", Manner::Healthy, Load::Hosts { apps: 25, webhooks: 100 }),
        Case {
            descriptors: Some(1_024),
            ..case("1,500 hosts kept, nofile 1,024", Manner::Healthy, Load::Hosts { apps: 15, webhooks: 100 })
        },
        Case {
            descriptors: Some(1_024),
            ..case("1,500 hosts hang, nofile 1,024", Manner::Hangs, Load::Hosts { apps: 15, webhooks: 100 })
        },
        case(
            "HTTP/2: 103s without end, 50 groups",
            Manner::Flood103,
            Load::Apps { apps: 1, groups: 50, jobs: 200 },
        ),
        case(
            "HTTP/2: SETTINGS without end",
            Manner::FloodSettings,
            Load::Apps { apps: 1, groups: 50, jobs: 200 },
        ),
        case(
            "HTTP/2: WINDOW_UPDATEs without end",
            Manner::FloodWindow,
            Load::Apps { apps: 1, groups: 50, jobs: 200 },
        ),
        case(
            "400 KB of response header, 2,000 jobs",
            Manner::EndlessHeader,
            Load::Apps { apps: 10, groups: 200, jobs: 200 },
        ),
        case("an app that cannot be used, 4,000 jobs", Manner::Healthy, Load::Unusable { jobs: 4_000 }),
    ]
}

impl Load {
    /// The apps, and their jobs in the order in which they are sent.
    pub fn of(self, receiver: &Receiver) -> (Vec<Value>, Vec<NewMessage>) {
        match self {
            Self::Nothing => (Vec::new(), Vec::new()),
            Self::Apps { apps, groups, jobs } => {
                let app = |n: usize| {
                    let host = u32::try_from(n).unwrap_or_default();
                    app(&format!("hostile{n}"), json!([{"url": receiver.url(host)}]))
                };
                let job = |n: usize| {
                    let (id, n) = (format!("hostile{}", n % apps), n / apps);
                    let group = match QueueType::ALL.get(n % groups) {
                        Some(kind) if groups <= QueueType::ALL.len() => group_id(&id, *kind),
                        _ => format!("{id}-{}", n % groups),
                    };
                    Signer::new(&*id, &*id, "s").payload_in(group, event(n, "x"))
                };
                ((0..apps).map(app).collect(), (0..jobs * apps).map(job).collect())
            }
            Self::Webhooks { webhooks, jobs } => {
                let webhooks: Vec<_> = (0..webhooks).map(|n| json!({"url": receiver.url(n)})).collect();
                (vec![app("hostile0", json!(webhooks))], jobs_of("hostile0", jobs, |n| event(n, "x")))
            }
            Self::Hosts { apps, webhooks } => {
                let urls = |of: u32| {
                    let urls = (0..webhooks).map(|n| json!({"url": receiver.url(of * webhooks + n)}));
                    json!(urls.collect::<Vec<_>>())
                };
                let jobs = |n: u32| jobs_of(&format!("hostile{n}"), 1, |n| event(n, "x"));
                (
                    (0..apps).map(|n| app(&format!("hostile{n}"), urls(n))).collect(),
                    (0..apps).flat_map(jobs).collect(),
                )
            }
            Self::Filters { webhooks, bytes } => {
                let webhook = |n: usize| {
                    let filter = json!({"channel_name_starts_with": format!("private-{}", n % 10)});
                    json!({"url": receiver.url(0), "filter": filter})
                };
                let webhooks: Vec<_> = (0..webhooks).map(webhook).collect();
                let events = (0..bytes / 150).map(|n| one_event(n, &"x".repeat(40))).collect::<Vec<_>>();
                let payload = payload(&events);
                (vec![app("hostile0", json!(webhooks))], jobs_of("hostile0", 1, |_| payload.clone()))
            }
            Self::Types { webhooks, types, events, jobs } => {
                let names: Vec<_> = (0..types).map(|n| format!("type_{n}")).collect();
                let hooks: Vec<_> =
                    (0..webhooks).map(|_| json!({"url": receiver.url(0), "event_types": names})).collect();
                let payload = payload(&vec![r#"{"name":"n","channel":"c"}"#.to_owned(); events]);
                let padded = |n: usize| payload.replacen("\"n\"", &format!("\"n{n}\""), 1);
                (vec![app("hostile0", json!(hooks))], jobs_of("hostile0", jobs, padded))
            }
            Self::Headers { headers, lambda } => {
                let headers: serde_json::Map<_, _> =
                    (0..headers).map(|n| (format!("x-{n}"), json!("y"))).collect();
                let webhook = if lambda {
                    json!({"lambda_function": "f", "lambda": {"async": false}, "headers": headers})
                } else {
                    json!({"url": receiver.url(0), "headers": headers})
                };
                let sibling = json!({"url": receiver.url(1)});
                (
                    vec![app("hostile0", json!([webhook, sibling]))],
                    jobs_of("hostile0", 600, |n| event(n, "x")),
                )
            }
            Self::Unusable { jobs } => {
                let unusable = app("hostile0", json!([{"url": "http://256.1.1.1/"}]));
                (vec![unusable], jobs_of("hostile0", jobs, |n| event(n, "x")))
            }
        }
    }
}

/// An app whose key is its id.
pub fn app(id: &str, webhooks: impl Into<Value>) -> Value {
    let webhooks = webhooks.into();
    json!({"id": id, "key": id, "secret": "s", "webhooks": webhooks})
}

fn jobs_of(id: &str, count: usize, payload: impl Fn(usize) -> String) -> Vec<NewMessage> {
    let signer = Signer::new(id, id, "s");
    let kind =
        |n: usize| QueueType::ALL.get(n % QueueType::ALL.len()).copied().unwrap_or(QueueType::ClientEvent);
    (0..count).map(|n| signer.payload(kind(n), payload(n))).collect()
}

fn event(n: usize, data: &str) -> String {
    payload(&[one_event(n, data)])
}

fn one_event(n: usize, data: &str) -> String {
    format!(r#"{{"name":"client_event","channel":"private-{n}","event":"client-e","data":"{data}"}}"#)
}

fn payload(events: &[String]) -> String {
    format!(r#"{{"time_ms":1,"events":[{}]}}"#, events.join(","))
}
