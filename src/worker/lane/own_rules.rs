//! What a webhook says itself of its attempts: a shorter timeout, an earlier end, other backoffs.
//!
//! The worker's own rules are the limits: nothing that an app's owner chooses lasts longer than what the
//! operator allows.

use std::time::Duration;

use crate::app::{App, Webhook, WebhookId};
use crate::outcome::Outcome;
use crate::policy::Retry;

/// The webhook of a delivery.
pub(super) fn webhook<'a>(app: Option<&'a App>, id: &WebhookId) -> Option<&'a Webhook> {
    app?.webhooks.iter().find(|webhook| webhook.id == *id)
}

/// The longest that an attempt at a webhook may take.
pub(super) fn timeout(webhook: Option<&Webhook>, most: Duration) -> Duration {
    webhook.and_then(|webhook| webhook.timeout).map_or(most, |own| own.min(most))
}

/// An attempt's outcome by the webhook's own end of retrying: a failure that may pass is final after so many
/// attempts, or for a job that has been failing for so long.
pub(super) fn judged(outcome: Outcome, webhook: Option<&Webhook>, attempt: u32, age: Duration) -> Outcome {
    let Some(own) = webhook.map(|webhook| webhook.retry) else { return outcome };
    let over =
        own.max_attempts.is_some_and(|most| attempt >= most) || own.window.is_some_and(|most| age >= most);
    match outcome {
        Outcome::Transient { reason, .. } if over && reason.gives_up() => Outcome::Permanent(reason),
        outcome => outcome,
    }
}

/// The backoff's rules for a job whose webhooks failed thus. It is one for all that have to be tried again,
/// so that it is none shorter than any of them wants.
pub(super) fn backoff<'a>(rules: &Retry, failing: impl IntoIterator<Item = Option<&'a Webhook>>) -> Retry {
    let mut longest: Option<(Duration, Duration)> = None;
    for webhook in failing {
        let own = webhook.map(|webhook| webhook.retry).unwrap_or_default();
        let cap = own.cap.map_or(rules.cap, |own| own.min(rules.cap));
        let base = own.base.unwrap_or(rules.base).min(cap);
        let (most, highest) = longest.unwrap_or_default();
        longest = Some((most.max(base), highest.max(cap)));
    }
    let (base, cap) = longest.unwrap_or((rules.base, rules.cap));
    Retry { base, cap, ..*rules }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app;
    use crate::outcome::Reason;

    const RULES: Retry = Retry {
        window: Duration::from_secs(300),
        base: Duration::from_secs(1),
        cap: Duration::from_secs(60),
    };

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
            ("{}", 99, young, failed()),
        ] {
            let webhook = registered(&format!(r#""retry":{retry}"#));
            assert_eq!(judged(failed(), Some(&webhook), attempt, age), expected, "{retry} {attempt}");
            assert_eq!(judged(Outcome::Delivered, Some(&webhook), attempt, age), Outcome::Delivered);
        }
        let source = || Outcome::transient(Reason::Apps("down".into()));
        let once = registered(r#""retry":{"enabled":false}"#);
        assert_eq!(
            judged(source(), Some(&once), 9, young),
            source(),
            "never for what is the operator's to mend"
        );
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
}
