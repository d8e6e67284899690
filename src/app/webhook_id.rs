//! A webhook's identity: what it is, and not which place it has in the app's list.
//!
//! Whatever is remembered of a delivery is remembered by it, so that inserting, removing and reordering
//! webhooks repeats and loses nothing, and a corrected URL counts as another webhook; one that is only written otherwise
//! does not.
//!
//! That is the target, where no other webhook of the app has the same. Those that share one are told apart by all
//! else that was registered of them, and only those that are equal in everything by a number: it does not matter
//! then which is which. A change of such a webhook's filter costs a duplicate at the most.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::{Target, Webhook};
use crate::job::WebhookId;

/// How many hexadecimal digits of the hash stand for a target: 48 bits tell any number of webhooks that
/// an app may have apart.
const DIGITS: usize = 12;

/// How many stand for all else, where that has to tell two webhooks apart.
const PRECISE_DIGITS: usize = 6;

/// The members that are a webhook's target.
const TARGET: [&str; 3] = ["url", "lambda_function", "lambda"];

impl WebhookId {
    /// The identity of a webhook that is alone with this target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let normalised;
        let parts: [&str; 3] = match target {
            Target::Http(url) => {
                normalised = normalised_url(url);
                ["http", &normalised, ""]
            }
            Target::Lambda(lambda) => ["lambda", &lambda.function, lambda.region.as_deref().unwrap_or("")],
            Target::Missing => ["missing", "", ""],
            // Once it is mended it is the same webhook.
            Target::Unusable { registered, .. } => return Self::of(registered),
        };
        Self::of_parts(parts)
    }

    /// The same by the URL as it was written, where that makes a difference.
    fn formerly_of(target: &Target) -> Option<Self> {
        match target {
            Target::Http(url) if *url.trim() != *normalised_url(url) => {
                Some(Self::of_parts(["http", url.trim(), ""]))
            }
            Target::Unusable { registered, .. } => Self::formerly_of(registered),
            Target::Http(_) | Target::Lambda(_) | Target::Missing => None,
        }
    }

    fn of_parts(parts: [&str; 3]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.as_bytes());
            // Parts that run into each other differently are different targets.
            hash.update([0]);
        }
        let mut digits = hex::encode(hash.finalize());
        digits.truncate(DIGITS);
        Self::from(digits.as_str())
    }

    fn numbered(&self, number: usize) -> Self {
        Self::from(format!("{self}-{number}").as_str())
    }
}

/// The URL as it is requested: `HTTP://Host:80` is `http://host/`. One that is none stays as it is.
fn normalised_url(url: &str) -> Cow<'_, str> {
    let url = url.trim();
    match Url::parse(url) {
        Ok(parsed) if parsed.as_str() != url => Cow::Owned(parsed.into()),
        Ok(_) | Err(_) => Cow::Borrowed(url),
    }
}

/// Gives the webhooks of one app their identities; with what was registered of each.
pub(super) fn identify(webhooks: &mut [Webhook], registered: &[String]) {
    let mut sharing: HashMap<WebhookId, usize> = HashMap::with_capacity(webhooks.len());
    for webhook in webhooks.iter() {
        *sharing.entry(webhook.id.clone()).or_default() += 1;
    }
    let mut equal: HashMap<WebhookId, usize> = HashMap::with_capacity(webhooks.len());
    for (webhook, registered) in webhooks.iter_mut().zip(registered) {
        let precise = WebhookId::from(format!("{}-{registered}", webhook.id).as_str());
        let count = equal.entry(precise.clone()).or_default();
        *count += 1;
        webhook.precise_id = if *count == 1 { precise } else { precise.numbered(*count) };
        let is_shared = sharing.get(&webhook.id).is_some_and(|sharing| *sharing > 1);
        if is_shared {
            webhook.id = webhook.precise_id.clone();
        }
        // Equal ones were told apart by a number; a duplicate for one of them is all that comes of leaving that out.
        if let Some(former) = WebhookId::formerly_of(&webhook.target).filter(|_| *count == 1) {
            webhook.former_ids.push(WebhookId::from(format!("{former}-{registered}").as_str()));
            if !is_shared {
                webhook.former_ids.push(former);
            }
        }
    }
}

/// A digest of all that was registered of a webhook but for its target, in whichever order its members stand.
pub(super) fn digest(registered: &Value) -> String {
    let mut hash = Sha256::new();
    if let Value::Object(members) = registered {
        let mut members: Vec<_> =
            members.iter().filter(|(name, _)| !TARGET.contains(&name.as_str())).collect();
        members.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in members {
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update(value.to_string().as_bytes());
            hash.update([0]);
        }
    }
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(PRECISE_DIGITS);
    digits
}

#[cfg(test)]
mod tests {
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
            let former = WebhookId::of_parts(["http", written.trim(), ""]);
            assert!(before.is(&former) && before.is(&before.id), "{written}");
        }
        assert_ne!(ids(r#"[{"url":"http://h/a"}]"#), ids(r#"[{"url":"http://h/a/"}]"#));
        // Two that used to be told apart by how they were written: what one had does not count for the other.
        let both = webhooks(r#"[{"url":"http://h","headers":{"X":"1"}},{"url":"http://h/"}]"#);
        let former = WebhookId::of_parts(["http", "http://h", ""]);
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
}
