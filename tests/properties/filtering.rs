//! What a webhook gets of a payload, held against an oracle that works as JavaScript does.

use bytes::Bytes;
use hookferry::app::App;
use hookferry::job::{Job, sign};
use hookferry::plan::{Delivery, plan};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::oracle;

pub const SECRET: &str = "app-secret";

/// Numbers that JavaScript prints oddly or that no 64 bits hold: they pass as they stand.
pub const NUMBERS: [&str; 13] = [
    "0",
    "-0",
    "1e21",
    "1.5e+21",
    "5e-324",
    "1E400",
    "-1e-400",
    "123456789012345680000",
    "9007199254740993",
    "1.0",
    "1795476014275",
    "0.1000000000000000055511151231257827",
    "184467440737095516159999999999999999999999",
];

pub fn app(webhooks: &Value) -> App {
    serde_json::from_value(json!({"id": "a", "key": "k", "secret": SECRET, "webhooks": webhooks})).unwrap()
}

pub fn job(payload: &str) -> Job {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    let signature = sign(&SecretString::from(SECRET), [payload.as_ref()]);
    Job { app_key: "k".into(), app_id: "a".into(), payload, signature, sender_secret: None }
}

pub fn signature(delivery: &Delivery) -> &str {
    &delivery.headers.iter().find(|(name, _)| name == "X-Pusher-Signature").unwrap().1
}

/// Holds a plan against the oracle.
pub fn check(payload: &str, webhooks: &Value) -> Result<(), TestCaseError> {
    let (job, app) = (job(payload), app(webhooks));
    let Some(read) = oracle::read(payload) else {
        prop_assert!(plan(&job, &app, "m").is_err(), "{payload}");
        return Ok(());
    };
    let deliveries = plan(&job, &app, "m").unwrap();
    let expected = oracle::expected(&read, &app);
    prop_assert_eq!(deliveries.len(), expected.len(), "{} {}", payload, webhooks);
    for (delivery, expected) in deliveries.iter().zip(&expected) {
        prop_assert_eq!(&delivery.webhook, &expected.webhook);
        prop_assert_eq!(std::str::from_utf8(&delivery.body).unwrap(), &expected.body);
        if expected.whole {
            prop_assert_eq!(delivery.body.as_ptr(), job.payload.as_ptr(), "not even a copy");
            prop_assert_eq!(signature(delivery), &job.signature);
        } else {
            let sent = Job {
                payload: delivery.body.clone(),
                signature: signature(delivery).to_owned(),
                ..job.clone()
            };
            prop_assert!(sent.verify(&app.secret).is_ok());
        }
    }
    Ok(())
}

fn white() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 1 => "[ \t\n\r]{1,3}"]
}

/// A string as JSON text, of pieces few enough that names and filters meet.
fn string() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b",
        "é",
        "e\u{301}",
        "💩",
        "\u{2028}",
        "private-",
        "client_event",
        r"\ud83d\udca9",
        r"\ud83d",
        r"\udca9",
        r"\ud800",
        r"\u0061",
        r"\u00e9",
        r"\u0000",
        r"\n",
        r#"\""#,
        r"\\",
        r"\/",
        "{",
        "]",
        ",",
        ":",
    ]);
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// Any JSON value.
fn any_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        string(),
        prop::sample::select(&NUMBERS[..]).prop_map(str::to_owned),
        prop::sample::select(vec!["true", "false", "null", "{}", "[ ]"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let member = (string(), inner.clone()).prop_map(|(key, value)| (key, value));
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_flat_map(list),
            prop::collection::vec(member, 0..3).prop_flat_map(object),
        ]
    })
}

fn list(items: Vec<String>) -> impl Strategy<Value = String> {
    prop::collection::vec(white(), items.len() * 2 + 1).prop_map(move |white| {
        let items = items.iter().zip(white.chunks(2)).map(|(item, w)| format!("{}{item}{}", w[0], w[1]));
        format!("[{}{}]", items.collect::<Vec<_>>().join(","), if white.len() == 1 { &white[0] } else { "" })
    })
}

fn object(members: Vec<(String, String)>) -> impl Strategy<Value = String> {
    prop::collection::vec(white(), members.len() * 4 + 1).prop_map(move |white| {
        let members = members
            .iter()
            .zip(white.chunks(4))
            .map(|((key, value), w)| format!("{}{key}{}:{}{value}{}", w[0], w[1], w[2], w[3]));
        format!(
            "{{{}{}}}",
            members.collect::<Vec<_>>().join(","),
            if white.len() == 1 { &white[0] } else { "" }
        )
    })
}

/// A key, as itself or with some of its letters escaped.
fn key(name: &'static str) -> impl Strategy<Value = String> {
    let escape = prop_oneof![5 => Just(0_u64), 1 => any::<u64>()];
    escape.prop_map(move |escaped| {
        let letters = name.chars().enumerate().map(|(n, c)| match escaped >> n & 1 {
            0 => c.to_string(),
            _ => format!("\\u{:04x}", u32::from(c)),
        });
        format!("\"{}\"", letters.collect::<String>())
    })
}

fn event() -> impl Strategy<Value = String> {
    let text = || prop_oneof![8 => string(), 1 => any_value()];
    let member = prop_oneof![
        3 => (key("name"), text()),
        3 => (key("channel"), text()),
        2 => (key("data"), any_value()),
        1 => (string(), any_value()),
    ];
    prop::collection::vec(member, 0..6).prop_flat_map(object)
}

pub fn payload() -> impl Strategy<Value = String> {
    let events = || {
        prop_oneof![
            8 => prop::collection::vec(event(), 0..5).prop_flat_map(list),
            1 => prop::collection::vec(any_value(), 0..3).prop_flat_map(list),
            1 => any_value(),
        ]
    };
    let number = || prop::sample::select(&NUMBERS[..]).prop_map(str::to_owned);
    let member = prop_oneof![
        2 => (key("time_ms"), number()),
        4 => (key("events"), events()),
        1 => (string(), any_value()),
    ];
    prop::collection::vec(member, 1..5).prop_flat_map(object)
}

/// Webhooks that take some of it. A filter of an operator's is Unicode: it holds no lone surrogate.
pub fn webhooks() -> impl Strategy<Value = Value> {
    let words = || string().prop_filter_map("Unicode", |text| serde_json::from_str::<String>(&text).ok());
    let webhook = (
        prop::option::of(prop::collection::vec(words(), 0..4)),
        prop::option::weighted(0.3, words()),
        prop::option::weighted(0.3, words()),
    )
        .prop_map(|(types, starts, ends)| {
            json!({"url": "http://h/", "event_types": types, "filter": {
                "channel_name_starts_with": starts, "channel_name_ends_with": ends,
            }})
        });
    prop::collection::vec(webhook, 1..4).prop_map(Value::from)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_webhook_gets_what_javascript_would_give_it_byte_for_byte(
        payload in payload(), webhooks in webhooks(),
    ) {
        check(&payload, &webhooks)?;
    }

    #[test]
    fn a_job_comes_out_of_its_envelope_as_it_was_put_in(
        payload in payload(), app_key in any::<String>(), app_id in any::<String>(), signature in any::<String>(),
    ) {
        let job = Job { app_key, app_id, payload: payload.into(), signature, sender_secret: None };
        let body = Bytes::from(job.encode());
        let decoded = Job::decode(&body).unwrap();
        prop_assert!(body.as_ptr_range().contains(&decoded.payload.as_ptr()), "a slice of the body");
        prop_assert_eq!(decoded, job);
    }
}
