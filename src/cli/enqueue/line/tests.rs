use super::*;
use crate::producer::Signer;
use crate::queue::MAX_BATCH_BYTES;

fn signing(id: &str, key: &str, secret: &str) -> Signing {
    Signer::new(id, key, secret).into()
}

fn made_of(line: &str) -> NewMessage {
    job(line, &signing("app-id", "app-key", "app-secret"), MAX_BATCH_BYTES).unwrap()
}

#[test]
fn an_event_line_is_a_job_that_keeps_its_bytes_and_verifies() {
    let made = made_of(
        r#"{"event":{"name":"client_event","channel":"presence-a","user_id":"7","data":{"b":1.50,"a":"\ud800"},"event":"client-a","socket_id":"1.2","x":1}}"#,
    );
    assert_eq!(made.group, "app-id_client_event_webhooks");
    let event = r#"{"name":"client_event","channel":"presence-a","event":"client-a","data":{"b":1.50,"a":"\ud800"},"socket_id":"1.2","user_id":"7","x":1}"#;
    assert!(made.body.contains(event), "{}", made.body);
    let job = Job::decode(&made.body.into()).unwrap();
    job.verify(&"app-secret".into()).unwrap();
}

#[test]
fn what_javascript_cuts_in_half_is_written_as_it_stands() {
    for (event, written) in [
        (r#""name":"member_added","user_id":"é0 😀 \ud800""#, r#""user_id":"é0 😀 \ud800"}"#),
        (r#""name":"member_removed","user_id":"\ud800""#, r#""user_id":"\ud800"}"#),
        (
            r#""name":"client_event","event":"client-\ud800","socket_id":"\udfff","user_id":"\u00e9""#,
            r#""event":"client-\ud800","data":null,"socket_id":"\udfff","user_id":"\u00e9"}"#,
        ),
    ] {
        let made = made_of(&format!(r#"{{"event":{{{event},"channel":"presence-lobby"}}}}"#));
        assert!(made.body.contains(written), "{}", made.body);
        Job::decode(&made.body.into()).unwrap().verify(&"app-secret".into()).unwrap();
    }
}

#[test]
fn an_event_that_breaks_pushers_rules_is_refused() {
    for (name, channel, fields, says) in [
        ("client_event", "private-x", r#"{"user_id":"7"}"#, "begin with presence-"),
        ("client_event", "presence-x", r#"{"user_id":7}"#, "user_id is no string"),
        ("client_event", "presence-x", r#"{"user_id":""}"#, "user_id must not be empty"),
        ("client_event", "presence-x", r#"{"event":"\ud800"}"#, "begin with client-"),
        ("member_added", "presence-x", r#"{"user_id":7}"#, "user_id is no string"),
        ("member_added", "presence-x", "{}", "needs a user_id"),
        ("member_removed", "presence-x", r#"{"user_id":"7","socket_id":"1.2"}"#, "takes no member socket_id"),
        ("channel_occupied", "presence-x", r#"{"user_id":"7"}"#, "takes no member user_id"),
    ] {
        let error = event(name, Some(channel), None, fields).unwrap_err().to_string();
        assert!(error.contains(says), "{name} {fields}: {error}");
    }
    event("order.paid", None, Some("g"), r#"{"user_id":7,"socket_id":""}"#).unwrap();
}

#[test]
fn an_event_of_ones_own_goes_into_the_group_that_is_named() {
    let made = made_of(r#"{"event":{"name":"order.paid","total":"12.50"},"group":"order-7"}"#);
    assert_eq!(made.group, "order-7");
    assert!(made.body.contains(r#""events":[{"name":"order.paid","total":"12.50"}]"#));
    assert!(event("client_events", None, None, "{}").unwrap_err().to_string().contains("--group"));
}

#[test]
fn an_event_that_is_probably_one_of_pushers_needs_a_group_to_be_ones_own() {
    for (name, says) in [
        ("member_aded", "did you mean member_added?"),
        ("Channel-Occupied", "did you mean channel_occupied?"),
        ("client-hello", "has the name client_event, and that name in its member event"),
    ] {
        let bare = serde_json::json!({"event": {"name": name, "channel": "presence-a", "user_id": "1"}});
        let error =
            format!("{:#}", job(&bare.to_string(), &signing("a", "k", "s"), MAX_BATCH_BYTES).unwrap_err());
        assert!(error.contains(says) && error.contains("give a \"group\""), "{name}: {error}");
        let mut grouped = bare;
        grouped["group"] = "g".into();
        assert_eq!(made_of(&grouped.to_string()).group, "g");
    }
    for name in ["order.paid", "subscription_count", "invoice.created"] {
        let line = serde_json::json!({"event": {"name": name}}).to_string();
        assert_eq!(made_of(&line).group, format!("app-id_{name}"));
    }
}

#[test]
fn a_job_that_only_javascript_reads_is_taken_as_it_stands() {
    for payload in [
        r#"{"time_ms":1,"events":[{"name":"cache_miss","x":"\ud800","\udfff":1}]}"#.to_owned(),
        r#"{"time_ms":1,"events":[{"name":"cache_miss","x":1e400}]}"#.to_owned(),
        format!(
            r#"{{"time_ms":1,"events":[{{"name":"cache_miss","x":{}{}}}]}}"#,
            "[".repeat(500),
            "]".repeat(500)
        ),
    ] {
        let body = format!(
            r#"{{"appKey":"k","appId":"a","payload":{payload},"originalPusherSignature":"","\ud800":1}}"#
        );
        let made = made_of(&body);
        assert_eq!((made.group.as_str(), made.body.as_str()), ("a_cache_miss_webhooks", body.as_str()));
    }
    for file in [
        include_str!("../../../../tests/vectors/text.json"),
        include_str!("../../../../tests/vectors/numbers.json"),
    ] {
        for vector in serde_json::from_str::<Vec<serde_json::Value>>(file).unwrap() {
            let (body, group) = (vector["body"].as_str().unwrap(), vector["group"].as_str().unwrap());
            let given = format!(r#"{{"group":"{group}",{}"#, body.strip_prefix('{').unwrap());
            assert_eq!(made_of(&given).body, body);
            assert_eq!(made_of(&given).group, group);
            assert_eq!(made_of(&given).deduplication, vector["deduplication_id"]);
        }
    }
}

#[test]
fn the_ids_beside_a_job_are_cut_from_its_body_wherever_they_stand() {
    let job = [
        r#""appKey" : "k""#,
        r#""appId":"a""#,
        r#""payload":{ "events":[] }"#,
        r#""originalPusherSignature":"""#,
    ];
    for at in 0..=job.len() {
        let mut members = job.to_vec();
        members.insert(at, "\"group\" : \"order-7\" ");
        members.insert(at, " \"dedup\":\"7\"");
        let made = made_of(&format!(" {{ {} }}", members.join(" , ")));
        assert_eq!(made.body, format!("{{{}}}", job.join(",")), "{at}");
        assert_eq!((made.group.as_str(), made.deduplication.as_str()), ("order-7", "7"));
    }
}

#[test]
fn a_member_that_may_have_been_meant_for_the_group_is_refused_by_name() {
    let event = r#""event":{"name":"order.paid"}"#;
    let bare = r#""appKey":"k","appId":"a","payload":{"events":[{"name":"cache_miss"}]},"originalPusherSignature":"""#;
    for (line, says) in [
        (format!(r#"{{{event},"groupId":"order-7"}}"#), "\"groupId\" is unknown; did you mean group?"),
        (format!(r#"{{{event},"deduplication_id":"7"}}"#), "did you mean dedup?"),
        (format!(r#"{{{event},"group":"g","group":"h"}}"#), "two members \"group\""),
        (format!(r#"{{{bare},"group":"g","group":null}}"#), "two members \"group\""),
        (format!(r#"{{{event},"appKey":"k"}}"#), "\"appKey\" is unknown (there are event, group, dedup)"),
        (format!(r#"{{{event},"group":7}}"#), "\"group\" is no text: invalid type: integer"),
        (r#"{"body":"b","group":"g","MessageDeduplicationId":"7"}"#.to_owned(), "did you mean dedup?"),
        (r#"{"body":{},"group":"g"}"#.to_owned(), "\"body\" is no text: invalid type: map"),
        (format!(r#"{{{bare},"MessageGroupId":"g"}}"#), "is none of a job; did you mean group?"),
        (r#"{"group":"g"}"#.to_owned(), "neither a job"),
        ("7".to_owned(), "neither a job"),
        ("{".to_owned(), "write one JSON object a line"),
        (r#"{"appKey":"k","#.to_owned(), "write one JSON object a line"),
    ] {
        let error = format!("{:#}", job(&line, &signing("a", "k", "s"), MAX_BATCH_BYTES).unwrap_err());
        assert!(error.contains(says), "{line}: {error}");
    }
    let absent = made_of(&format!(r#"{{{bare},"group":null}}"#));
    assert_eq!((absent.group, absent.body), ("a_cache_miss_webhooks".to_owned(), format!("{{{bare}}}")));
    let letter = r#"{"body":"b","group":"g","dedup":"d","id":"m","attributes":{}}"#;
    assert_eq!(made_of(letter).deduplication, "d");
    assert_eq!(made_of(&format!(r#"{{{event},"group":"g","dedup":"paid-7"}}"#)).deduplication, "paid-7");
}

#[test]
fn a_job_is_taken_as_it_stands_with_its_ids_or_without() {
    let body = r#"{"appKey":"k","appId":"a","payload":{"time_ms":1,"events":[{"name":"cache_miss"}]},"originalPusherSignature":""}"#;
    let bare = made_of(body);
    assert_eq!((bare.group.as_str(), bare.body.as_str()), ("a_cache_miss_webhooks", body));
    let line = serde_json::json!({"group": "g", "dedup": "d", "body": "anything"}).to_string();
    let given = made_of(&line);
    assert_eq!((given.group, given.deduplication, given.body), ("g".into(), "d".into(), "anything".into()));
}

#[test]
fn a_letters_line_carries_on_its_first_id_and_who_has_the_job() {
    let line = |more: serde_json::Value| {
        let mut line = serde_json::json!({"group": "g", "dedup": "d", "body": "b", "queue": "0.q.fifo"});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        made_of(&line.to_string()).redriven
    };
    let own = serde_json::json!({"source_message_id": "s", "delivered": "0123456789ab", "reason": "gone"});
    let carried = line(serde_json::json!({"id": "i", "attributes": own}));
    assert_eq!(carried, Some(Redriven::of("s", Some("0123456789ab"), None)));
    assert_eq!(carried.unwrap().delivered.len(), 1);
    let moved = line(serde_json::json!({"id": "i", "attributes": {}}));
    assert_eq!(moved, Some(Redriven::of("i", None, None)), "SQS keeps the id of what it moves");
    assert_eq!(line(serde_json::json!({})), None);
}
