use super::*;
use crate::app;
use crate::outcome::Reason;

const RULES: Retry =
    Retry { window: Duration::from_secs(300), base: Duration::from_secs(1), cap: Duration::from_secs(60) };

fn registered(more: &str) -> Webhook {
    app::webhooks(&format!(r#"[{{"url":"http://h/",{more}}}]"#), "a").unwrap().0.remove(0)
}

#[test]
fn a_webhooks_timeout_counts_within_the_workers() {
    let most = Duration::from_secs(4);
    for (ms, counts) in [(500, Duration::from_millis(500)), (60_000, most)] {
        let webhook = registered(&format!(r#""request_timeout_ms":{ms}"#));
        assert_eq!(timeout(Some(&webhook), most), counts);
    }
    assert_eq!(timeout(None, most), most);
}

#[test]
fn a_webhook_ends_its_own_retries_by_attempts_and_by_time() {
    let failed = || Outcome::transient(Reason::Status(500));
    let end = Outcome::Permanent(Reason::Status(500));
    let young = Duration::from_secs(9);
    for (retry, attempt, age, expected) in [
        (r#"{"max_attempts":3}"#, 2, young, failed()),
        (r#"{"max_attempts":3}"#, 3, young, end.clone()),
        (r#"{"enabled":false}"#, 1, young, end.clone()),
        (r#"{"max_elapsed_time_ms":10000}"#, 9, young, failed()),
        (r#"{"max_elapsed_time_ms":10000}"#, 1, Duration::from_secs(10), end.clone()),
        (r#"{"max_elapsed_time_ms":500}"#, 1, Duration::ZERO, end.clone()),
        (r#"{"max_elapsed_time_ms":1000}"#, 1, Duration::ZERO, failed()),
        (r#"{"max_elapsed_time_ms":10000}"#, 1, Duration::from_millis(9001), end.clone()),
        ("{}", 99, young, failed()),
    ] {
        let webhook = registered(&format!(r#""retry":{retry}"#));
        assert_eq!(judged(failed(), Some(&webhook), attempt, age), expected, "{retry} {attempt}");
        assert_eq!(judged(Outcome::Delivered, Some(&webhook), attempt, age), Outcome::Delivered);
    }
    let unusable = || Outcome::transient(Reason::WebhookUnusable("no such host".into()));
    let timed = registered(r#""retry":{"max_attempts":1,"max_elapsed_time_ms":10000}"#);
    assert_eq!(judged(unusable(), Some(&timed), 1, young), unusable(), "it was no attempt");
    let brief = registered(r#""retry":{"max_elapsed_time_ms":500}"#);
    assert_eq!(judged(unusable(), Some(&brief), 1, Duration::ZERO), unusable(), "it may be mended meanwhile");
    let over = Outcome::Permanent(Reason::WebhookUnusable("no such host".into()));
    assert_eq!(judged(unusable(), Some(&timed), 1, Duration::from_secs(10)), over);
    let source = || Outcome::transient(Reason::Apps("down".into()));
    let once = registered(r#""retry":{"enabled":false}"#);
    assert_eq!(judged(source(), Some(&once), 9, young), source(), "never for what is the operator's to mend");
}

#[test]
fn backoffs_are_the_webhooks_own_within_the_workers_and_the_longest_of_those_that_failed() {
    let quick = registered(r#""retry":{"initial_backoff_ms":100,"max_backoff_ms":5000}"#);
    let slow = registered(r#""retry":{"initial_backoff_ms":20000,"max_backoff_ms":9000000}"#);
    let of = |failing: &[Option<&Webhook>]| {
        let retry = backoff(&RULES, failing.iter().copied());
        assert_eq!(retry.window, RULES.window);
        (retry.base.as_millis(), retry.cap.as_millis())
    };
    assert_eq!(of(&[Some(&quick)]), (100, 5000));
    assert_eq!(of(&[Some(&quick), Some(&slow)]), (20_000, 60_000));
    assert_eq!(of(&[Some(&quick), None]), (1000, 60_000));
    assert_eq!(of(&[]), (1000, 60_000));
}
