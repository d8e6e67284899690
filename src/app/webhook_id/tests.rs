use super::*;
use crate::app::webhooks as read;

fn ids(webhooks: &str) -> Vec<WebhookId> {
    read(webhooks, "a").unwrap().0.into_iter().map(|webhook| webhook.id).collect()
}

#[test]
fn an_identity_hangs_on_the_target_and_not_on_the_place_or_anything_else() {
    let both = ids(r#"[{"url":"http://a/"},{"url":"http://b/"}]"#);
    let turned = ids(
        r#"[{"url":"http://c/"},{"url":"http://b/","headers":{"X":"1"}},{"url":"http://a/","event_types":["client_event"]}]"#,
    );
    assert_eq!((&both[0], &both[1]), (&turned[2], &turned[1]));
    assert_eq!(both[0].as_str().len(), DIGITS);
    assert_ne!(both[0], both[1]);
}

#[test]
fn webhooks_that_share_a_target_are_told_apart_by_all_else_and_equal_ones_by_a_number() {
    let private = r#"{"url":"u","filter":{"channel_name_starts_with":"private-"}}"#;
    let of = |list: &[&str]| ids(&format!("[{}]", list.join(",")));
    let all = r#"{"url":" u "}"#;
    let alone = of(&[private]);
    let both = of(&[private, r#"{"url":"v"}"#, all]);
    let turned = of(&[all, private]);
    assert_eq!((&both[0], &both[2]), (&turned[1], &turned[0]), "not by their place");
    assert!(both[0].as_str().starts_with(alone[0].as_str()) && both[0] != both[2]);
    let equal = of(&[all, all, all]);
    assert_eq!(equal[2].as_str(), format!("{}-3", equal[0]));
}

#[test]
fn a_webhook_is_known_by_both_its_identities_and_no_sibling_is_taken_for_it() {
    let webhooks = |text: &str| read(text, "a").unwrap().0;
    let (p, q) = (r#"{"url":"u","headers":{"X":"1"}}"#, r#"{"url":"u"}"#);
    let both = webhooks(&format!("[{p},{q}]"));
    let left = webhooks(&format!("[{q}]"));
    assert!(left[0].is(&both[1].id) && !left[0].is(&both[0].id), "once its sibling is removed");
    assert_eq!(left[0].id, WebhookId::of(&left[0].target));
}

#[test]
fn a_url_that_is_only_written_otherwise_is_the_same_webhook_and_letters_know_it_by_either() {
    let webhooks = |text: &str| read(text, "a").unwrap().0;
    for (written, same) in [
        ("http://h:8080", "http://h:8080/"),
        ("https://Hooks.Example/a", "https://hooks.example/a"),
        ("https://hooks.example:443/a", "https://hooks.example/a"),
        (" http://h/ ", "http://h/"),
    ] {
        let of = |url: &str| webhooks(&format!(r#"[{{"url":"{url}"}}]"#)).remove(0);
        let (before, after) = (of(written), of(same));
        assert_eq!((&before.id, &before.precise_id), (&after.id, &after.precise_id), "{written}");
        let former = WebhookId::of_parts(&["http", written.trim(), ""]);
        assert!(before.is(&former) && before.is(&before.id), "{written}");
    }
    assert_ne!(ids(r#"[{"url":"http://h/a"}]"#), ids(r#"[{"url":"http://h/a/"}]"#));
    // Two that used to be told apart by how they were written: what one had does not count for the other.
    let both = webhooks(r#"[{"url":"http://h","headers":{"X":"1"}},{"url":"http://h/"}]"#);
    let former = WebhookId::of_parts(&["http", "http://h", ""]);
    assert!(both[0].id != both[1].id && !both[0].is(&former) && !both[1].is(&former));
}

#[test]
fn kinds_and_regions_are_told_apart() {
    let ids = ids(
        r#"[{"url":"f"},{"lambda_function":"f"},{"lambda_function":"f","lambda":{"region":"eu-west-1"}},{}]"#,
    );
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 4);
}

/// Lambda webhooks of one function with these options.
fn lambdas(options: &[&str]) -> Vec<Webhook> {
    let one = |options: &&str| format!(r#"{{"lambda_function":"f","lambda":{options}}}"#);
    read(&format!("[{}]", options.iter().map(one).collect::<Vec<_>>().join(",")), "a").unwrap().0
}

#[test]
fn functions_are_told_apart_by_the_region_and_the_endpoint_that_are_invoked() {
    let in_options = r#"{"client_options":{"region":"eu-west-1"}}"#;
    let own = lambdas(&[r#"{"region":"eu-west-1"}"#]);
    let both = lambdas(&[in_options, r#"{"region":"eu-west-2","client_options":{"region":" eu-west-1 "}}"#]);
    assert!(both.iter().all(|webhook| webhook.id.as_str().starts_with(own[0].id.as_str())));
    let other = lambdas(&[r#"{"client_options":{"region":"us-east-1"}}"#, "{}", in_options]);
    let at = lambdas(&[r#"{"client_options":{"region":"us-east-1","endpoint":"https://h"}}"#]);
    let ids = [&own[0].id, &other[0].id, &other[1].id, &at[0].id];
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    assert_eq!(other[2].id, own[0].id, "alone with its region");
}

#[test]
fn functions_of_two_accounts_are_told_apart_wherever_they_stand() {
    let of = |id: &str| format!(r#"{{"client_options":{{"accessKeyId":"{id}","secretAccessKey":"s"}}}}"#);
    let (a, b) = (of("A"), of("B"));
    let both = lambdas(&[&a, &b]);
    let turned = lambdas(&[&b, &a]);
    assert_eq!((&both[0].id, &both[1].id), (&turned[1].id, &turned[0].id));
    let left = lambdas(&[&b]).remove(0);
    assert!(left.is(&both[1].id) && !left.is(&both[0].id), "once its sibling is removed");
    assert_eq!(left.id, lambdas(&[&of("C")])[0].id, "credentials may change");
}
