use secrecy::ExposeSecret;
use serde_json::json;

use super::super::limits::*;
use super::super::{Filter, Invocation, Lambda, Target};
use super::*;

fn file(record: Value) -> Result<App, Unusable> {
    app(record, Origin::File)
}

fn row(record: Value) -> Result<App, Unusable> {
    app(record, Origin::Row)
}

/// The one webhook that this text registers, and what is said of it.
fn one(text: &str) -> (Webhook, String) {
    let (mut webhooks, remarks) = webhooks(&format!("[{text}]"), "a").unwrap();
    (webhooks.remove(0), remarks.into_iter().map(|remark| remark.text).collect::<Vec<_>>().join("\n"))
}

fn with(webhook: &Value) -> Result<App, Unusable> {
    file(json!({"id": "a", "key": "k", "secret": "s", "webhooks": [webhook]}))
}

#[test]
fn limits_that_mean_nothing_and_namespaces_that_exclude_each_other_are_told_of() {
    for (members, says) in [
        (r#""request_timeout_ms":0"#, "webhooks[0].request_timeout_ms is 0"),
        (r#""retry":{"max_elapsed_time_ms":"0"}"#, "webhooks[0].retry.max_elapsed_time_ms is 0"),
        (r#""retry":{"initial_backoff_ms":100,"max_backoff_ms":50}"#, "max_backoff_ms is below"),
        (r#""filter":{"channel_namespace":"chat","channel_namespaces":["a"]}"#, "no channel is in"),
        (r#""filter":{"channel_namespace":"chat:"}"#, "holds a colon, where a namespace ends"),
        (r#""filter":{"channel_namespaces":["a","chat:1"]}"#, "did you mean \"chat\"?"),
        (r#""filter":{"channel_namespace":"private-chat"}"#, "begins with private-"),
        (r#""filter":{"channel_namespaces":["presence-cache-a"]}"#, "begins with presence-cache-"),
        (r#""filter":{"channel_pattern":"/^a$/i"}"#, "has slashes around it"),
        (r#""filter":{"channel_pattern":"/^a$/"}"#, "has slashes around it"),
        (r#""filter":{"channel_pattern":"private-*"}"#, "looks like a wildcard"),
    ] {
        let (_, said) = one(&format!(r#"{{"url":"http://h.example/",{members}}}"#));
        assert!(said.contains(says), "{members}: {said}");
    }
    let (_, said) = one(
        r#"{"url":"http://h.example/","request_timeout_ms":1,"retry":{"initial_backoff_ms":50,"max_backoff_ms":50},"filter":{"channel_namespace":"a","channel_namespaces":["a"],"channel_pattern":"^private-.*[0-9]*$"}}"#,
    );
    assert_eq!(said, "");
}

#[test]
fn webhooks_come_in_every_shape_that_soketi_takes() {
    let one =
        r#"[{"url":"http://a/","headers":[],"filter":[],"lambda":[],"event_types":["client_event",null]}]"#;
    let encoded = serde_json::to_string(one).unwrap();
    for text in [one, &encoded] {
        let (mut webhooks, remarks) = webhooks(text, "a").unwrap();
        let webhook = webhooks.remove(0);
        assert_eq!(webhook.target, Target::Http("http://a/".into()));
        assert_eq!((webhook.headers.len(), webhook.filter), (0, Filter::default()));
        assert_eq!(webhook.event_types.unwrap(), ["client_event"]);
        assert_eq!(remarks, []);
    }
    let text = r#"[{"url":"http://u/","url":"http://v/","event_types":"member_added,cache_miss"}]"#;
    let webhook = webhooks(text, "a").unwrap().0.remove(0);
    assert_eq!(webhook.event_types.unwrap(), ["member_added", "cache_miss"]);
    assert_eq!(webhook.target, Target::Http("http://v/".into()), "as in JavaScript, the last one");
    for nothing in ["", " ", "null", "[]", r#""""#, r#""[]""#, r#""null""#] {
        assert_eq!(webhooks(nothing, "a").unwrap(), (Vec::new(), Vec::new()), "{nothing:?}");
    }
    for wrong in ["{", "{}", "7", r#""{}""#] {
        assert!(webhooks(wrong, "a").is_err(), "{wrong}");
    }
}

#[test]
fn what_is_registered_and_has_no_effect_is_told() {
    for (text, says) in [
        (
            r#"{"url":"http://h/","headers":{"X-Pusher-Key":"hush"}}"#,
            "\"X-Pusher-Key\" is not a webhook's to set",
        ),
        (r#"{"url":"http://h/","headers":{"host":"hush"}}"#, "never sent"),
        (r#"{"url":"http://h/","headers":{"TE":"hush"}}"#, "never sent"),
        (r#"{"lambda_function":"f","headers":{"Content-Length":"1"}}"#, "never sent"),
        (r#"{"url":"http://h/","lambda_function":"f"}"#, "it has a url"),
        (r#"{"url":"http://h/","lambda":{"function_name":"f"}}"#, "it has a url"),
        (r#"{"lambda_function":"f","lambda":{"region":"eu-west-1a"}}"#, "did you mean eu-west-1?"),
        (
            r#"{"lambda_function":"f","lambda":{"client_options":{"endpont":"hush"}}}"#,
            "did you mean endpoint?",
        ),
        (r#"{"url":"http://10.0.0.5/"}"#, "WEBHOOKS_ALLOWED_NETWORKS"),
        (r#"{"url":"http://[::ffff:10.0.0.5]/"}"#, "WEBHOOKS_ALLOWED_NETWORKS"),
        (r#"{"url":"http://169.254.169.254/"}"#, "nothing is ever sent to"),
    ] {
        let (_, told) = one(text);
        assert!(told.contains(says) && !told.contains("hush"), "{text}: {told}");
        assert!(!told.contains('\n'), "one remark: {told}");
    }
    for fine in [
        r#"{"lambda_function":"f","headers":{"TE":"x"},"lambda":{"region":"eu-west-1"}}"#,
        r#"{"url":"http://8.8.8.8/","headers":{"Authorization":"x"}}"#,
    ] {
        assert_eq!(one(fine).1, "", "{fine}");
    }
}

#[test]
fn a_webhook_that_cannot_be_used_is_told_by_name_and_takes_nothing_from_its_siblings() {
    for (text, says) in [
        (r#"{"url":"http://256.1.1.1/"}"#, "no URL: invalid IPv4"),
        (r#"{"url":"ftp://hush@h/"}"#, "neither http nor https"),
        (r#"{"url":"h/hush"}"#, "no URL"),
        (r#"{"url":7}"#, "url is no text"),
        ("{}", "neither url nor lambda_function"),
        (r#""hush""#, "no object"),
        (r#"{"url":"http://h/","headers":"hush"}"#, "headers is no object"),
        (r#"{"url":"http://h/","headers":{"a b":"hush"}}"#, "\"a b\" is no name of a header"),
        (r#"{"url":"http://h/","headers":{"A":"a\nhush: 1"}}"#, "header \"A\" holds a control character"),
        (r#"{"url":"http://h/","event_types":{"hush":1}}"#, "event_types are no list"),
        (r#"{"url":"http://h/","filter":{"channel_pattern":"(hush"}}"#, "channel_pattern is no regular"),
        (r#"{"url":"http://h/","filter":{"channel_prefix":["hush"]}}"#, "filter.channel_prefix is no text"),
        (r#"{"url":"http://h/","request_timeout_ms":"hush"}"#, "request_timeout_ms is no whole number"),
        ("{\"lambda_function\":\"f\\nERROR forged\"}", r#""f\nERROR forged" cannot be invoked"#),
    ] {
        let both = format!(r#"[{text},{{"url":"http://sibling/"}}]"#);
        let (webhooks, remarks) = webhooks(&both, "a").unwrap();
        let Target::Unusable { why, .. } = &webhooks[0].target else { panic!("{text}") };
        assert!(why.contains(says), "{text}: {why}");
        assert_eq!(webhooks[1].target, Target::Http("http://sibling/".into()));
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        assert_eq!(remarks[0].severity, Severity::Error);
        let said = &remarks[0].text;
        assert!(said.contains("app \"a\": webhooks[0]") && said.contains(says), "{said}");
        assert!(!said.contains("hush") && !said.contains('\n'), "{said}");
    }
    let (webhook, _) = one(r#"{"url":"http://h/","headers":{"A b":"1"}}"#);
    let Target::Unusable { registered, .. } = webhook.target else { panic!() };
    assert_eq!(*registered, Target::Http("http://h/".into()), "once it is mended, it is the same webhook");
    let (webhook, _) =
        one(r#"{"url":"ftp://h/","event_types":["cache_miss"],"filter":{"channel_prefix":"a"}}"#);
    assert_eq!(webhook.event_types.unwrap(), ["cache_miss"], "only the jobs that it wants wait for it");
    assert!(!webhook.filter.passes(b"b"));
}

#[test]
fn nothing_of_a_registration_is_ignored_in_silence() {
    for (webhook, says) in [
        (json!({"url": "https://h/", "event_types": ["client_events"]}), "did you mean client_event?"),
        (
            json!({"url": "https://h/", "events": ["client_event"]}),
            "\"events\" is unknown and ignored; did you mean event_types?",
        ),
        (json!({"url": "https://h/", "filters": {}}), "did you mean filter?"),
        (
            json!({"url": "https://h/", "filter": {"channel_name_start_with": "a"}}),
            "did you mean channel_name_starts_with?",
        ),
        (json!({"url": "https://h/", "lambda": {"regions": "a"}}), "did you mean region?"),
        (json!({"url": "https://h/", "retry": {"attempts": 2}}), "did you mean max_attempts?"),
        (json!({"url": "https://h/", "event_types": []}), "it gets no event"),
        (json!({"url": "https://h/", "filter": {"channel_namespaces": []}}), "it gets no event"),
        (json!({"url": "https://h/", "event_types": ["order.paid"]}), "\"order.paid\" is sent by neither"),
        (json!({"url": "https://h/", "event_types": ["*"]}), "leave event_types out for every event"),
        (json!({"url": "https://h/", "event_types": ["client_*"]}), "leave event_types out for every event"),
        (json!({"url": "https://h/", "event_types": ["All"]}), "leave event_types out for every event"),
    ] {
        let app = with(&webhook).unwrap();
        assert_eq!(app.remarks.len(), 1, "{webhook}: {:?}", app.remarks);
        assert_ne!(app.remarks[0].severity, Severity::Error);
        assert!(app.remarks[0].text.contains(says), "{:?}", app.remarks);
    }
    let app =
        file(json!({"id": "a", "key": "k", "secret": "s", "webhook": [], "maxConnections": 1})).unwrap();
    let said: Vec<_> = app.remarks.iter().map(|remark| remark.text.as_str()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("\"webhook\" is unknown") && said[0].contains("did you mean webhooks?"),
        "{said:?}"
    );
    assert!(said[1].contains("no webhooks"), "{said:?}");
    let quiet =
        json!({"id": "a", "key": "k", "secret": "s", "created_at": 1, "webhooks": [{"url": "http://h/"}]});
    assert_eq!(row(quiet).unwrap().remarks, [], "a table may have columns of anyone's");
}

#[test]
fn past_a_limit_an_app_is_unusable_by_name_and_its_key_still_tells_whose_jobs_wait() {
    let headers = |count: usize, length: usize| -> Value {
        (0..count).map(|n| (format!("h{n}"), Value::from("v".repeat(length)))).collect::<Map<_, _>>().into()
    };
    let url = |value: Value| {
        let mut value = value;
        value["url"] = "https://h/".into();
        value
    };
    for (webhook, says) in [
        (json!({"headers": headers(MAX_HEADERS + 1, 1)}), "51 headers"),
        (json!({"headers": headers(7, 1000)}), "headers have"),
        (json!({"event_types": vec!["a"; MAX_NAMES + 1]}), "101 event_types"),
        (json!({"event_types": ["a".repeat(MAX_NAME_BYTES + 1)]}), "event types have 201 bytes"),
        (json!({"filter": {"channel_prefix": "a".repeat(MAX_NAME_BYTES + 1)}}), "channel_prefix have 201"),
        (json!({"filter": {"channel_pattern": "a".repeat(MAX_PATTERN_BYTES + 1)}}), "channel_pattern have"),
        (
            json!({"filter": {"channel_namespaces": vec!["a"; MAX_NAMES + 1]}}),
            "101 filter.channel_namespaces",
        ),
    ] {
        let refused = with(&url(webhook)).unwrap_err();
        assert_eq!(refused.key.as_deref(), Some("k"));
        assert!(refused.to_string().starts_with("app \"a\": webhooks[0]: "), "{refused}");
        assert!(refused.why.contains(says), "{refused}");
    }
    for (webhook, says) in [
        (json!({"url": format!("https://h/{}", "a".repeat(MAX_URL_BYTES))}), "url have"),
        (json!({"lambda_function": "f".repeat(MAX_FUNCTION_BYTES + 1)}), "function's name have"),
        (
            json!({"lambda_function": "f", "lambda": {"client_options": {"a": "b".repeat(MAX_CLIENT_OPTIONS_BYTES)}}}),
            "client_options have",
        ),
    ] {
        assert!(with(&webhook).unwrap_err().why.contains(says));
    }
    let many = vec![json!({"url": "https://h/"}); MAX_WEBHOOKS + 1];
    let refused = file(json!({"id": "a", "key": "k", "secret": "s", "webhooks": many})).unwrap_err();
    assert!(refused.why.contains("101 webhooks; 100 is the most"), "{refused}");
    let long = " ".repeat(MAX_WEBHOOKS_BYTES + 1);
    assert!(
        row(json!({"id": "a", "key": "k", "secret": "s", "webhooks": long}))
            .unwrap_err()
            .why
            .contains("bytes")
    );
    let patterned = |pattern: &str| {
        let webhook =
            |n| json!({"url": "https://h/", "filter": {"channel_pattern": format!("{pattern}{n}")}});
        let webhooks: Vec<_> = (0..MAX_WEBHOOKS).map(webhook).collect();
        file(json!({"id": "a", "key": "k", "secret": "s", "webhooks": webhooks}))
    };
    assert_eq!(patterned(r"^private-orders-\d+-").unwrap().webhooks.len(), MAX_WEBHOOKS);
    let refused = patterned("(a?){500}b").unwrap_err();
    assert!(refused.why.contains("channel patterns take more than"), "{refused}");
    let app = patterned(&format!("(?i){}", r"[\W]".repeat(3))).unwrap();
    assert!(app.webhooks.iter().all(|webhook| matches!(webhook.target, Target::Unusable { .. })));
    let refused = patterned(r"(?i)[\W]\w{100}").unwrap_err();
    assert!(refused.why.contains("too long"), "{refused}");
    let refused = file(json!({"id": "a".repeat(30_000), "key": "k", "secret": "s"})).unwrap_err();
    assert!(refused.to_string().len() < 200, "{refused}");
    let most = file(
        json!({"id": "a", "key": "k", "secret": "s", "webhooks": vec![json!({"url": "https://h/"}); MAX_WEBHOOKS]}),
    );
    assert_eq!(most.unwrap().webhooks.len(), MAX_WEBHOOKS);
}

#[test]
fn what_cannot_be_read_is_named_and_not_quoted() {
    for (record, says) in [
        (json!({"id": "a", "key": "k", "secret": ""}), "no secret (nor AppSecret)"),
        (json!({"id": "a", "key": "k", "secret": null}), "no secret"),
        (json!({"id": "a", "key": "k", "secret": {"hush": 1}}), "secret is no text"),
        (json!({"id": "a", "secret": "hush"}), "no key"),
        (json!({"key": "k", "secret": "hush"}), "no id"),
        (json!("hush"), "no object"),
        (
            json!({"id": "a", "key": "k", "secret": "hush", "webhooks": "[{hush"}),
            "its webhooks cannot be read: it is no JSON (line 1",
        ),
        (
            json!({"id": "a", "key": "k", "secret": "hush", "webhooks": {"url": "hush"}}),
            "webhooks are no list",
        ),
        (json!({"id": "a", "key": "k", "secret": "hush", "policy": "hush"}), "policy cannot be read"),
    ] {
        let error = row(record).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn every_spelling_of_the_columns_is_read() {
    let hooks = json!([{"url": "http://h/"}]);
    for record in [
        json!({"id": "a", "key": "k", "secret": "s", "webhooks": hooks, "maxConnections": "100.0"}),
        json!({"id": "a", "key": "k", "secret": "s", "webhooks": hooks.to_string(), "max_connections": null}),
        json!({"AppId": "a", "AppKey": "k", "AppSecret": "s", "Webhooks": hooks, "Enabled": "1"}),
        json!({"app_id": "a", "app_key": "k", "app_secret": "s", "webhooks": hooks}),
        json!({"id": 1, "AppId": "a", "key": "", "AppKey": "k", "secret": "s", "AppSecret": null,
            "webhooks": hooks, "Webhooks": ""}),
        json!({"id": "a", "key": "k", "secret": "s", "policy": {"webhooks": hooks, "limits": {"max_connections": 1}}}),
        json!({"id": "a", "key": "k", "secret": "s", "policy": json!({"webhooks": hooks}).to_string(), "webhooks": "null"}),
        json!({"id": "a", "key": "k", "secret": "s", "policy": {"effect": "allow"}, "webhooks": hooks}),
    ] {
        let app = row(record.clone()).unwrap();
        assert_eq!((app.id.as_str(), app.key.as_str()), ("a", "k"), "{record}");
        assert_eq!(app.secret.expose_secret(), "s", "{record}");
        assert_eq!(app.webhooks[0].target, Target::Http("http://h/".into()), "{record}");
    }
    for none in [json!(null), json!(""), json!("null"), json!([]), json!("[]")] {
        let app = row(json!({"id": 7, "key": 4711, "secret": 12, "webhooks": none})).unwrap();
        assert_eq!((app.id.as_str(), app.key.as_str()), ("7", "4711"));
        assert_eq!((app.secret.expose_secret(), app.webhooks.len()), ("12", 0));
    }
}

#[test]
fn nothing_counts_beside_a_policy_of_sockudos() {
    let hooks = json!([{"url": "http://h/"}]);
    for policy in [json!({"webhooks": null}), json!({"limits": {}}), json!(r#"{"channels":{}}"#)] {
        let record = json!({"id": "a", "key": "k", "secret": "s", "policy": policy, "webhooks": hooks});
        for app in [file(record.clone()).unwrap(), row(record.clone()).unwrap()] {
            assert_eq!(app.webhooks, [], "{record}");
            assert!(app.remarks[0].text.contains("its webhooks are ignored"), "{:?}", app.remarks);
        }
    }
    let stored = json!({"id": "a", "key": "k", "secret": "s", "policy": {"limits": {}}, "webhooks": "null"});
    assert!(!row(stored).unwrap().remarks[0].text.contains("ignored"), "sockudo writes none so");
    let record = json!({"id": "a", "key": "k", "secret": "s", "policy": {}, "webhooks": hooks});
    assert_eq!(file(record).unwrap().webhooks, []);
}

#[test]
fn an_empty_namespace_is_that_of_no_channel() {
    let (webhook, said) = one(r#"{"url":"http://h/","filter":{"channel_namespace":""}}"#);
    assert!(
        !webhook.filter.passes(b"chat:1") && !webhook.filter.passes(b":1") && !webhook.filter.passes(b"a")
    );
    assert!(said.contains("filter.channel_namespace is empty: it gets no event"), "{said}");
}

#[test]
fn what_is_true_or_false_is_no_text() {
    for no in ["\"false\"", "\"\"", "0", "[]"] {
        let (webhook, said) = one(&format!(
            r#"{{"url":"http://h/","standard_headers":{no},"retry":{{"enabled":{no},"max_attempts":5}}}}"#
        ));
        assert_eq!((webhook.standard_headers, webhook.retry.max_attempts), (None, Some(5)), "{no}");
        for name in ["webhooks[0].standard_headers", "webhooks[0].retry.enabled"] {
            assert!(said.contains(&format!("{name} is neither true nor false")), "{said}");
        }
    }
    let (webhook, said) =
        one(r#"{"url":"http://h/","standard_headers":false,"retry":{"enabled":false,"max_attempts":5}}"#);
    assert_eq!((webhook.standard_headers, webhook.retry.max_attempts), (Some(false), Some(1)));
    assert_eq!(said, "");
}

#[test]
fn a_url_wins_over_a_function_and_sockudos_function_over_soketis() {
    let target = |text: &str| one(text).0.target;
    assert_eq!(target(r#"{"url":"http://u/","lambda_function":"f"}"#), Target::Http("http://u/".into()));
    let lambda = |function: &str, asynchronous, region: Option<&str>| {
        Target::Lambda(Lambda {
            function: function.into(),
            asynchronous,
            invocation: if function == "g" { Invocation::Plain } else { Invocation::Wrapped },
            region: region.map(str::to_owned),
            client_options: None,
        })
    };
    assert_eq!(target(r#"{"lambda_function":"f","lambda":{"async":true}}"#), lambda("f", true, None));
    assert_eq!(
        target(r#"{"lambda_function":"f","lambda":{"function_name":"g","region":"eu-west-1"}}"#),
        lambda("g", true, Some("eu-west-1")),
        "sockudo never waits for an answer"
    );
    assert_eq!(target(r#"{"lambda":{"function_name":"g","async":false}}"#), lambda("g", false, None));
}

#[test]
fn a_function_in_a_policy_is_invoked_as_sockudo_does_whichever_way_it_is_named() {
    let target = |webhook: Value| {
        let record = json!({"id": "a", "key": "k", "secret": "s", "policy": {"webhooks": [webhook]}});
        file(record).unwrap().webhooks.remove(0).target
    };
    let lambda = |asynchronous| {
        let (function, invocation) = ("f".to_owned(), Invocation::Plain);
        Target::Lambda(Lambda { function, asynchronous, invocation, region: None, client_options: None })
    };
    assert_eq!(target(json!({"lambda_function": "f"})), lambda(true));
    assert_eq!(target(json!({"lambda_function": "f", "lambda": {"async": false}})), lambda(false));
}

#[test]
fn async_is_what_javascript_takes_for_true() {
    for (written, means) in [
        ("true", true),
        ("1", true),
        ("\"1\"", true),
        ("1.0", true),
        ("\"yes\"", true),
        ("false", false),
        ("0", false),
        ("0.0", false),
        ("null", false),
        ("\"\"", false),
    ] {
        let text = format!(r#"{{"lambda_function":"f","lambda":{{"async":{written}}}}}"#);
        let Target::Lambda(lambda) = one(&text).0.target else { panic!("{text}") };
        assert_eq!(lambda.asynchronous, means, "{written}");
    }
}

#[test]
fn sockudos_own_members_are_read() {
    use std::time::Duration;
    let (webhook, said) = one(
        r#"{"url":"https://h/","event_types":["member_updated","ai_run_ended"],"request_timeout_ms":1500,
            "retry":{"enabled":true,"max_attempts":3,"max_elapsed_time_ms":60000,"initial_backoff_ms":"500","max_backoff_ms":5000},
            "filter":{"channel_prefix":"private-","channel_suffix":"-a","channel_pattern":"^x","channel_namespace":"n","channel_namespaces":["n"]},
            "headers":{"Authorization":"Bearer abc\n"},"standard_headers":true}"#,
    );
    assert_eq!(said, "");
    assert_eq!(webhook.timeout, Some(Duration::from_millis(1500)));
    let retry = webhook.retry;
    assert_eq!((retry.max_attempts, retry.window), (Some(3), Some(Duration::from_secs(60))));
    assert_eq!((retry.base, retry.cap), (Some(Duration::from_millis(500)), Some(Duration::from_secs(5))));
    assert!(webhook.filter.channel_pattern.is_some() && webhook.filter.channel_namespaces.is_some());
    assert_eq!(
        webhook.headers,
        [("Authorization".to_owned(), "Bearer abc".to_owned())],
        "blanks around it go"
    );
    assert_eq!(webhook.standard_headers, Some(true));
    let (never, _) = one(r#"{"url":"https://h/","retry":{"enabled":false,"max_attempts":9}}"#);
    assert_eq!(never.retry.max_attempts, Some(1));
}

#[test]
fn a_disabled_app_is_told_to_be_delivered_for() {
    let said = |enabled: serde_json::Value| {
        let hooks = json!([{"url": "https://h/"}]);
        let app = file(json!({"id": "a", "key": "k", "secret": "s", "webhooks": hooks, "enabled": enabled}))
            .unwrap();
        app.remarks.into_iter().map(|remark| remark.text).collect::<Vec<_>>().join("\n")
    };
    for disabled in [json!(false), json!("false"), json!(0)] {
        assert!(said(disabled).contains("\"enabled\" is false"));
    }
    for enabled in [json!(true), json!(1), json!(null)] {
        assert_eq!(said(enabled), "");
    }
}

#[test]
fn a_function_that_can_never_be_invoked_is_told_at_once() {
    let long = "f".repeat(65);
    for (function, says) in [
        ("https://abc.lambda-url.us-east-1.on.aws/", "put it in \"url\""),
        ("arn:aws:lambda:us-east-1:123:function:f", "no ARN of a function"),
        ("arn:aws:iam::123456789012:role/x", "no ARN of a function"),
        ("123456789012:f", "write the function's ARN"),
        ("f/invocations", "no name of a function"),
        (long.as_str(), "no name of a function"),
    ] {
        let (webhook, said) = one(&json!({"lambda_function": function}).to_string());
        assert!(matches!(webhook.target, Target::Unusable { .. }), "{function}");
        assert!(said.contains(says) && said.contains("cannot be used"), "{function}: {said}");
    }
    for function in
        ["f", "f:live", "123456789012:function:f", "arn:aws:lambda:us-east-1:123456789012:function:f:7"]
    {
        let (webhook, said) = one(&json!({"lambda_function": function}).to_string());
        assert!(matches!(webhook.target, Target::Lambda(_)) && said.is_empty(), "{function}: {said}");
    }
}

#[test]
fn a_text_in_place_of_true_or_false_keeps_soketis_meaning_and_is_told() {
    for text in ["false", "0", "No", " off "] {
        let (webhook, said) = one(&json!({"lambda_function": "f", "lambda": {"async": text}}).to_string());
        assert!(matches!(webhook.target, Target::Lambda(Lambda { asynchronous: true, .. })), "{text}");
        assert!(said.contains("lambda.async") && said.contains("without quotes"), "{text}: {said}");
    }
}

#[test]
fn a_filter_with_what_is_in_no_channel_is_told() {
    for (name, value) in [
        ("channel_name_starts_with", json!("private-*")),
        ("channel_name_ends_with", json!("-room ")),
        ("channel_prefix", json!("^private-")),
        ("channel_suffix", json!("a/b")),
        ("channel_namespace", json!("shop?")),
        ("channel_namespaces", json!(["shop", "order *"])),
    ] {
        let (_, said) = one(&json!({"url": "https://h/", "filter": {name: value}}).to_string());
        assert!(said.contains(&format!("filter.{name}: ")) && said.contains("gets no event"), "{said}");
    }
    let fine = json!({"url": "https://h/", "filter": {"channel_prefix": "private-", "channel_suffix": "@1,2;3.4=_"}});
    assert_eq!(one(&fine.to_string()).1, "");
}

#[test]
fn what_is_plainly_no_secret_or_key_is_told_and_not_shown() {
    let app = |key: &str, secret: &str| {
        file(json!({"id": "a", "key": key, "secret": secret, "webhooks": [{"url": "https://h/"}]})).unwrap()
    };
    for (key, secret, severity, says) in [
        ("k", "${HUSH-def}", Severity::Error, "its secret is a reference to a variable"),
        ("k", "{\"secret\":\"HUSH\"}", Severity::Error, "its secret is a JSON object"),
        ("$HUSH", "s", Severity::Error, "its key is a reference"),
        ("k", "HUSH\n", Severity::Warning, "its secret has blanks"),
        (" p ", "s", Severity::Warning, "its key has blanks"),
        ("k", "undefined", Severity::Warning, "its secret is the word undefined"),
    ] {
        let app = app(key, secret);
        let [remark] = &app.remarks[..] else { panic!("{key} {secret}: {:?}", app.remarks) };
        assert_eq!(remark.severity, severity, "{remark:?}");
        assert!(remark.text.contains(says) && !remark.text.contains("HUSH"), "{remark:?}");
        assert_eq!(app.key, key, "it counts as it stands");
    }
    assert_eq!(app("k", "s").remarks, []);
}

#[test]
fn webhooks_that_are_no_text_have_the_bound_of_those_that_are() {
    let webhook = |bytes: usize| json!([{"url": "http://h/", "unknown": ["x".repeat(bytes)]}]);
    let app = |webhooks: Value| json!({"id": "a", "key": "k", "secret": "s", "webhooks": webhooks});
    let of_policy =
        |webhooks: Value| json!({"id": "a", "key": "k", "secret": "s", "policy": {"webhooks": webhooks}});
    for record in [app, of_policy] {
        assert_eq!(row(record(webhook(MAX_WEBHOOKS_BYTES / 2))).unwrap().webhooks.len(), 1);
        let error = row(record(webhook(MAX_WEBHOOKS_BYTES))).unwrap_err();
        assert!(error.why.contains("more than 1048576 bytes"), "{error}");
    }
}

#[test]
fn names_past_those_that_are_compared_are_not_taken_for_known_ones() {
    let mistyped = (0..100).map(|n| format!("client_event_{n}")).collect::<Vec<_>>();
    let webhooks = vec![json!({"url": "https://h/", "event_types": mistyped}); 100];
    let app = file(json!({"id": "a", "key": "k", "secret": "s", "webhooks": webhooks})).unwrap();
    let counted = |severity| app.remarks.iter().filter(move |remark| remark.severity == severity);
    assert_eq!((counted(Severity::Warning).count(), counted(Severity::Note).count()), (21, 21));
    assert!(app.remarks[0].text.contains("did you mean client_event?"), "{:?}", app.remarks[0]);
}
