//! A webhook's identity: what it is, and not which place it has in the app's list.
//!
//! Whatever is remembered of a delivery is remembered by it, so that inserting, removing and reordering
//! webhooks repeats and loses nothing, and a corrected URL counts as another webhook.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{Target, Webhook};
use crate::job::WebhookId;

/// How many hexadecimal digits of the hash stand for a target: 48 bits tell any number of webhooks that
/// an app may have apart.
const DIGITS: usize = 12;

impl WebhookId {
    /// The identity of the app's first webhook with this target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let parts: [&str; 3] = match target {
            Target::Http(url) => ["http", url.trim(), ""],
            Target::Lambda(lambda) => ["lambda", &lambda.function, lambda.region.as_deref().unwrap_or("")],
            Target::Missing => ["missing", "", ""],
            // Once it is mended it is the same webhook.
            Target::Unusable { registered, .. } => return Self::of(registered),
        };
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

/// Numbers the webhooks of one app whose target another one before them has.
pub(super) fn number(webhooks: &mut [Webhook]) {
    let mut seen: HashMap<WebhookId, usize> = HashMap::with_capacity(webhooks.len());
    for webhook in webhooks {
        let first = WebhookId::of(&webhook.target);
        let count = seen.entry(first.clone()).or_default();
        *count += 1;
        webhook.id = if *count == 1 { first } else { first.numbered(*count) };
    }
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
    fn one_target_named_more_than_once_is_numbered() {
        let ids = ids(r#"[{"url":"u"},{"url":"v"},{"url":"u"},{"url":" u "}]"#);
        let texts: Vec<_> = ids.iter().map(WebhookId::as_str).collect();
        assert_eq!(texts[2], format!("{}-2", texts[0]));
        assert_eq!(texts[3], format!("{}-3", texts[0]));
        assert_ne!(texts[0], texts[1]);
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
