use bytes::Bytes;

use super::*;

fn job(payload: &str, secret: &str) -> Job {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    let signature = sign(&SecretString::from(secret), [payload.as_ref()]);
    Job { app_key: "k".into(), app_id: "a".into(), payload, signature, sender_secret: None }
}

#[test]
fn a_job_counts_under_either_secret_and_goes_out_under_the_newest() {
    for rotated in [
        r#"{"id":"a","key":"k","secret":["new","old"]}"#,
        r#"{"id":"a","key":"k","secret":"new","previous_secret":"old"}"#,
        r#"{"id":"a","key":"k","secret":"new","previous_secrets":["old"]}"#,
        r#"{"id":"a","key":"k","secret":"[\"new\",\"old\"]"}"#,
    ] {
        let app: App = serde_json::from_str(rotated).unwrap();
        for signed in ["new", "old"] {
            let job = job("{}", signed);
            let verified = app.verified(job.clone()).unwrap();
            assert_eq!(verified, Job { signature: sign(&SecretString::from("new"), [&b"{}"[..]]), ..job });
        }
        assert!(app.verified(job("{}", "other")).is_err(), "{rotated}");
    }
}

#[test]
fn the_secrets_are_not_printed() {
    let app: App =
        serde_json::from_str(r#"{"id":"a","key":"k","secret":"hush","previous_secret":"hush2"}"#).unwrap();
    assert!(!format!("{app:?}").contains("hush"));
}
