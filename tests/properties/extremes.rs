//! Payloads at the edges of JSON, of Unicode and of size.

use bytes::Bytes;
use hookferry::job::Job;
use hookferry::plan::plan;
use serde_json::{Value, json};

use crate::filtering::{NUMBERS, app, check, job};

/// Nested so deeply that recursion would overflow any stack.
const DEEP: usize = 1_000_000;

fn deep() -> String {
    format!("{}0{}", "[".repeat(DEEP), "]".repeat(DEEP))
}

/// The bodies for one webhook that wants `client_event`.
fn bodies(payload: &str) -> Vec<Bytes> {
    let app = app(&json!([{"url": "http://h/", "event_types": ["client_event"]}]));
    plan(&job(payload), &app, "m").unwrap().into_iter().map(|delivery| delivery.body).collect()
}

/// What is left of an event beside one that nobody wants: its own bytes.
fn kept(event: &str) -> Option<String> {
    let payload = format!(r#"{{"time_ms":-0,"events":[{event},{{"name":"unwanted"}}]}}"#);
    let body = bodies(&payload).pop()?;
    let body = std::str::from_utf8(&body).unwrap();
    Some(body.strip_prefix(r#"{"time_ms":-0,"events":["#)?.strip_suffix("]}")?.to_owned())
}

#[test]
fn a_number_passes_as_javascript_printed_it() {
    for number in NUMBERS {
        let event = format!(r#"{{"name":"client_event","data":{number},"user_id":{number}}}"#);
        assert_eq!(kept(&event).unwrap(), event);
        let payload = format!(r#"{{"events":[{event},{{}}],"time_ms":{number}}}"#);
        assert_eq!(bodies(&payload)[0], format!(r#"{{"time_ms":{number},"events":[{event}]}}"#));
    }
}

#[test]
fn a_depth_bomb_where_values_pass_through_is_delivered_byte_for_byte() {
    let deep = deep();
    for event in [
        format!(r#"{{"name":"client_event","data":{deep}}}"#),
        format!(r#"{{"data":{deep},"name":"client_event"}}"#),
        format!(r#"{{"name":"client_event","channel":{deep}}}"#),
        format!(r#"{{"name":{deep},"name":"client_event"}}"#),
    ] {
        assert_eq!(kept(&event).unwrap(), event);
    }
    let payload = format!(r#"{{"x":{deep},"events":{deep},"events":[{{"name":"client_event"}}]}}"#);
    assert_eq!(bodies(&payload), [payload.as_bytes()]);
    let body =
        format!(r#"{{"x":{deep},"appId":{deep},"payload":{deep},"appKey":"k","original_signature":""}}"#);
    assert_eq!(Job::decode(&Bytes::from(body)).unwrap().payload, deep);
}

#[test]
fn a_depth_bomb_anywhere_else_is_malformed() {
    let (deep, open) = (deep(), "[".repeat(DEEP));
    for payload in [deep.clone(), format!(r#"{{"events":{deep}}}"#), format!(r#"{{"events":[{deep}]}}"#)] {
        assert!(plan(&job(&payload), &app(&json!([])), "m").is_err());
    }
    for body in [
        deep.clone(),
        open.clone(),
        format!(r#"{{"appKey":{deep},"payload":{{}},"original_signature":""}}"#),
        format!(r#"{{"appKey":"k","payload":{open},"original_signature":""}}"#),
        format!(r#"{{"a":{}"#, r#"{"a":"#.repeat(DEEP)),
    ] {
        assert!(Job::decode(&Bytes::from(body)).is_err());
    }
}

#[test]
fn a_payload_of_a_mebibyte_is_filtered_byte_for_byte() {
    let webhooks = json!([
        {"url": "http://h/", "event_types": ["client_event"]},
        {"url": "http://h/", "event_types": ["member_added"], "filter": {"channel_name_ends_with": "7"}},
        {"url": "http://h/"},
    ]);
    let text = "💩\\ud800\\\"".repeat(1 << 17);
    let one = format!(
        r#"{{"time_ms":1,"events":[{{"name":"client_event","data":"{text}"}},{{"name":"member_added"}}]}}"#
    );
    let event = |n: usize| {
        let name = ["client_event", "member_added"][n % 2];
        format!("{{\"name\" : \"{name}\",\"channel\":\"presence-{n}\", \"data\": {}}}", NUMBERS[n % 13])
    };
    let many: Vec<String> = (0..16_000).map(event).collect();
    let many = format!(r#"{{"events":[{}],"time_ms":1.0}}"#, many.join(" ,\n"));
    let empty = format!(r#"{{"events":[{}{{}}],"time_ms":1}}"#, "{},".repeat(300_000));
    for payload in [one, many, empty] {
        assert!(payload.len() > 900_000);
        check(&payload, &webhooks).unwrap();
    }
}

#[test]
fn an_event_without_a_name_or_channel_counts_as_one_with_an_empty_one() {
    let wants = |webhook: Value, event: &str| {
        !plan(&job(&format!(r#"{{"events":[{event}]}}"#)), &app(&json!([webhook])), "m").unwrap().is_empty()
    };
    let anything = json!({"url": "http://h/"});
    for event in ["{}", r#"{"name":1}"#, r#"{"name":null,"channel":[]}"#, r#"{"name":"","channel":{}}"#] {
        assert!(wants(anything.clone(), event), "{event}");
        assert!(wants(json!({"url": "http://h/", "event_types": [""]}), event), "{event}");
        assert!(!wants(json!({"url": "http://h/", "event_types": ["client_event"]}), event), "{event}");
        let filter = json!({"channel_name_starts_with": "a"});
        assert!(!wants(json!({"url": "http://h/", "filter": filter}), event), "{event}");
    }
}

#[test]
fn filters_see_characters_whole() {
    let passes = |side: &str, filter: &str, channel: &str| {
        let payload = format!(r#"{{"events":[{{"channel":"{channel}"}}]}}"#);
        let webhooks = json!([{"url": "http://h/", "filter": {side: filter}}]);
        check(&payload, &webhooks).unwrap();
        !plan(&job(&payload), &app(&webhooks), "m").unwrap().is_empty()
    };
    let (starts, ends) = ("channel_name_starts_with", "channel_name_ends_with");
    assert!(passes(starts, "é", r"\u00e9a") && passes(ends, "é", r"a\u00e9"));
    assert!(!passes(starts, "é", r"e\u0301"), "composed or not: other characters");
    assert!(passes(starts, "💩", r"\ud83d\udca9") && passes(ends, "💩", r"\ud83d\udca9"));
    assert!(!passes(starts, "💩", r"\ud83d") && !passes(ends, "💩", r"\udca9"), "half of one");
    assert!(passes(starts, "a", r"a\ud83d") && passes(ends, "a", r"\udca9a"));
    assert!(!passes(starts, "\u{fffd}", r"\ud83d"), "a lone surrogate is no replacement character");
    assert!(!passes(ends, "\u{a9}", r"\ud83d\udca9") && !passes(ends, "©", "é"), "no half of its bytes");
    assert!(passes(starts, "\0", r"\u0000") && passes(ends, "\"", r#"\""#));
}
