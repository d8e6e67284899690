use super::*;

const BODY: &str = r#"{"appKey":"app-key","appId":"app-id","payload":{"time_ms":1795476014275,"events":[{"name":"member_added","channel":"presence-lobby","user_id":"1"}]},"originalPusherSignature":"dffd2a18e36707e5c10e1043c99ca337cc153ba6bd05c76b88f6f9f67e17e5eb"}"#;

fn decode(text: &str) -> Result<Job, DecodeError> {
    Job::decode(&Bytes::copy_from_slice(text.as_bytes()))
}

fn secret() -> SecretString {
    SecretString::from("app-secret")
}

#[test]
fn every_job_captured_from_soketi_verifies_and_has_its_group_and_dedup_id() {
    let lines = include_str!("../../tests/fixtures/soketi-1.6.1-jobs.jsonl");
    let mut seen = 0;
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let body = line["body"].as_str().unwrap();
        let job = decode(body).unwrap();
        job.verify(&secret()).unwrap();
        assert_eq!(line["dedup"], deduplication_id(body.as_bytes()));
        assert!(QueueType::ALL.into_iter().any(|kind| line["group"] == group_id(&job.app_id, kind)));
        assert_eq!(job.encode(), body);
        seen += 1;
    }
    assert_eq!(seen, 24);
}

#[test]
fn the_payload_keeps_its_own_bytes() {
    let payload = r#"{ "events" : [{"b":1.50e+3,"a":"\ud800"}], "time_ms":1 }"#;
    let job =
        decode(&format!(r#"{{"payload":{payload},"appKey":"k","x":[1],"originalPusherSignature":""}}"#))
            .unwrap();
    assert_eq!(job.payload, payload.as_bytes());
    assert_eq!(job.app_id, "");
}

#[test]
fn a_changed_payload_or_signature_is_refused() {
    let changed = decode(&BODY.replace("lobby", "hobby")).unwrap();
    assert_eq!(changed.verify(&secret()), Err(SignatureError::Mismatch));
    for signature in ["", "zz", "dffd", &"0".repeat(64)] {
        let mut job = decode(BODY).unwrap();
        job.signature = signature.to_owned();
        assert_eq!(job.verify(&secret()), Err(SignatureError::Mismatch));
    }
    assert_eq!(decode(BODY).unwrap().verify(&SecretString::from("other")), Err(SignatureError::Mismatch));
}

#[test]
fn sockudos_envelope_decodes_and_its_secret_is_not_kept() {
    let job = decode(
        r#"{"app_key":"k","app_id":"i","app_secret":"hush","payload":{"time_ms":1,"events":[]},"original_signature":"ab","job_id":"7"}"#,
    )
    .unwrap();
    assert_eq!((job.app_key.as_str(), job.app_id.as_str()), ("k", "i"));
    assert!(!format!("{job:?}").contains("hush"));
}

#[test]
fn a_signature_in_upper_case_counts_and_goes_on_in_lower_case() {
    let body = r#"{"appKey":"k","payload":{"time_ms":1,"events":[]},"originalPusherSignature":""}"#;
    let mut job = decode(body).unwrap();
    let signature = sign(&secret(), [job.payload.as_ref()]);
    job.signature = signature.to_uppercase();
    job.verify(&secret()).unwrap();
    assert_eq!(job.signature_under(&secret()), signature);
}

#[test]
fn a_group_names_an_app_only_if_it_is_one_of_soketis() {
    assert_eq!(app_named_by("a_b_member_added_webhooks"), Some("a_b"));
    assert_eq!(app_named_by("g-sns"), None);
    assert_eq!(app_of_group("g-sns"), "g-sns");
}

#[test]
fn sockudos_job_is_genuine_if_it_holds_the_apps_own_secret_and_is_signed_anew() {
    let body = r#"{"job_id":"7","app_key":"k","app_id":"one","app_secret":"app-secret","payload":{"time_ms":1,"events":[]},"original_signature":"one:presence-a:channel_occupied"}"#;
    let job = decode(body).unwrap();
    job.verify(&secret()).unwrap();
    assert_eq!(job.signature_under(&secret()), sign(&secret(), [job.payload.as_ref()]));
    assert_eq!(job.verify(&SecretString::from("another")), Err(SignatureError::Mismatch));
    for other in [r#""app-secreT""#, r#""""#, "null", "7", r#"["app-secret"]"#] {
        let forged = decode(&body.replace(r#""app-secret""#, other)).unwrap();
        assert_eq!(forged.verify(&secret()), Err(SignatureError::Mismatch), "{other}");
    }
    let unsigned = decode(&body.replace(r#""app_secret":"app-secret","#, "")).unwrap();
    assert_eq!(unsigned.verify(&secret()), Err(SignatureError::Mismatch));
}

#[test]
fn members_that_do_not_matter_cannot_spoil_a_job() {
    for more in [
        r#""appId":true"#,
        r#""appId":[{"a":1e999}]"#,
        r#""appId":"\ud800""#,
        r#""\ud800":1"#,
        r#""x":"\udc00""#,
        r#""appKey":"other","appKey":"app-key""#,
        r#""payload":1"#,
        r#""app_secret":null,"job_id":1E400"#,
    ] {
        let job = decode(&BODY.replacen('{', &format!("{{{more},"), 1)).unwrap();
        assert_eq!((job.app_key.as_str(), job.verify(&secret())), ("app-key", Ok(())), "{more}");
    }
    let numbered = decode(&BODY.replace(r#""app-id""#, "7")).unwrap();
    assert_eq!(numbered.app_id, "7");
}

#[test]
fn an_id_or_key_that_a_database_stores_as_a_number_is_taken_as_text() {
    let job = decode(r#"{"appKey":4711,"appId":7,"payload":{},"originalPusherSignature":""}"#).unwrap();
    assert_eq!((job.app_key.as_str(), job.app_id.as_str()), ("4711", "7"));
}

#[test]
fn what_is_no_job_is_refused() {
    for body in ["", "nonsense", "[]", "{}", r#"{"appKey":"k","payload":{}}"#] {
        assert!(decode(body).is_err(), "{body}");
    }
    for body in [r#""hush""#, r#"{"appKey":["hush"]}"#, "hush"] {
        assert!(!decode(body).unwrap_err().to_string().contains("hush"), "{body} is not quoted");
    }
}

#[test]
fn an_app_is_told_from_its_groups_name() {
    for kind in QueueType::ALL {
        assert_eq!(app_of_group(&group_id("my_app", kind)), "my_app");
    }
    assert_eq!(app_of_group("orders"), "orders");
}

#[test]
fn the_claimed_app_is_read_without_the_rest() {
    let claims = |body: &str| claimed_app_id(body.as_bytes());
    assert_eq!(claims(r#"{"appKey":"k","appId":"a","payload":{"appId":"b""#).as_deref(), Some("a"));
    assert_eq!(claims(r#"{"payload":{"appId":"b"},"app_id":7}"#).as_deref(), Some("7"));
    for none in ["", "[]", "{}", r#"{"appId":""}"#, r#"{"payload":{"appId":"b"}}"#, r#"{"x""#] {
        assert_eq!(claims(none), None, "{none}");
    }
}
