use secrecy::ExposeSecret;

use super::*;
use crate::app::Target;

fn parse(text: &str) -> Result<Listed, ListError> {
    super::parse(text, &Variables::default())
}

const APP: &str = r#"{"id":"a","key":"k","secret":"s","webhooks":[{"url":"http://h/"}]}"#;

#[test]
fn a_file_is_a_list_of_apps_or_a_servers_config() {
    for text in [
        format!("[{APP}]"),
        format!("\u{feff}[{APP}]\n"),
        format!(r#"{{"debug":true,"appManager":{{"driver":"array","array":{{"apps":[{APP}]}}}}}}"#),
        format!(r#"{{"appManager.array.apps":[{APP}]}}"#),
        format!(r#"{{"app_manager":{{"array":{{"apps":[{APP}]}}}}}}"#),
    ] {
        assert_eq!(parse(&text).unwrap().apps[0].key, "k", "{text}");
    }
}

const TOML: &str = r#"
port = ${PORT:-6001}
password = ${NOT_SET}
[app_manager]
driver = "memory"
[[app_manager.array.apps]]
id = "a"
key = "k"
secret = "${SECRET}"
enabled = true
[app_manager.array.apps.policy.limits]
max_connections = 10
[[app_manager.array.apps.policy.webhooks]]
url = "https://${HOST:-receiver}/"
event_types = ["client_event"]
request_timeout_ms = ${TIMEOUT:-1500}
[app_manager.array.apps.policy.webhooks.headers]
X-Since = "2026"
[[app_manager.array.apps]]
id = "b"
key = "l"
secret = "${OTHER}"
"#;

#[test]
fn sockudos_configuration_is_read_with_its_variables() {
    let path = std::path::PathBuf::from("config/config.TOML");
    let variables = Variables::new([("SECRET".to_owned(), "s3".to_owned())]);
    let file = AppsFile { path, variables };
    let listed = file.parse(TOML).unwrap();
    let [app] = &listed.apps[..] else { panic!("{listed:?}") };
    assert_eq!(app.secret.expose_secret(), "s3");
    assert_eq!(app.webhooks[0].target, Target::Http("https://receiver/".into()));
    assert_eq!(app.webhooks[0].timeout, Some(std::time::Duration::from_millis(1500)));
    assert_eq!(app.webhooks[0].headers, [("X-Since".to_owned(), "2026".to_owned())]);
    let [unusable] = &listed.unusable[..] else { panic!("{listed:?}") };
    assert_eq!(unusable.key.as_deref(), Some("l"));
    let why = unusable.to_string();
    assert!(why.contains("app \"b\": apps[1]") && why.contains("\"OTHER\""), "{why}");
    let broken = file.parse("port = 1\n\nsecret = hush").unwrap_err().to_string();
    assert_eq!(broken, "cannot be parsed: it is no TOML (line 3)");
    assert!(matches!(file.parse("port = 1"), Err(ListError::Shape)));
}

#[test]
fn a_text_that_is_no_list_of_apps_says_so() {
    for (text, says) in [
        ("[", "line 1"),
        ("{}", "not a JSON array of apps"),
        ("7", "not a JSON array of apps"),
        (r#"{"appManager":{"array":{}}}"#, "not a JSON array of apps"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn one_unusable_app_or_webhook_is_left_out_by_name_and_the_others_work() {
    for (bad, says) in [
        (r#"{"id":"b","key":"x"}"#, "app \"b\": apps[0] cannot be used: it has no secret"),
        (r#"{"id":"b","secret":"hush"}"#, "it has no key"),
        (r#"{"id":"b","key":"x","secret":"hush","webhooks":7}"#, "its webhooks are no list"),
        ("7", "app without an id: apps[0] cannot be used: it is no object"),
        (
            r#"{"id":"b","key":"x","secret":"s","webhooks":[{"url":"http://256.1.1.1/"}]}"#,
            "webhooks[0] cannot be used",
        ),
        (r#"{"id":"b","key":"x","secret":"s","webhooks":[{}]}"#, "neither url nor lambda_function"),
        (r#"{"id":"b","key":"k2","secret":"s","webhooks":[{"headers":"hush"}]}"#, "its headers is no object"),
    ] {
        let listed = parse(&format!("[{bad},{APP}]")).unwrap();
        assert_eq!(listed.apps.last().unwrap().key, "k", "{bad}");
        let remarks = listed.remarks();
        let errors: Vec<_> = remarks.iter().filter(|remark| remark.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{bad}: {remarks:?}");
        assert!(errors[0].text.contains(says) && !errors[0].text.contains("hush"), "{errors:?}");
    }
    let twice = parse(&format!("[{APP},{APP}]")).unwrap().remarks();
    assert!(twice[0].text.contains("another app before it has its key"), "{twice:?}");
}
