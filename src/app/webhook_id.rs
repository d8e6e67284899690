//! A webhook's identity: what it is, and not which place it has in the app's list.
//!
//! Whatever is remembered of a delivery is remembered by it, so that inserting, removing and reordering
//! webhooks repeats and loses nothing, and a corrected URL counts as another webhook; one that is only written otherwise
//! does not.
//!
//! That is the target, where no other webhook of the app has the same: the URL, or the function with its region and
//! endpoint. Those that share one are told apart by all else that was registered of them, and only those that are equal
//! in everything by a number: it does not matter then which is which. A change of such a webhook's filter costs a
//! duplicate at the most.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::{Lambda, Target, Webhook};
use crate::job::WebhookId;

/// How many hexadecimal digits of the hash stand for a target: 48 bits tell any number of webhooks that
/// an app may have apart.
const DIGITS: usize = 12;

/// How many stand for all else, where that has to tell two webhooks apart.
const PRECISE_DIGITS: usize = 6;

/// The members that are a webhook's target.
const TARGET: [&str; 2] = ["url", "lambda_function"];

/// The members of `lambda` that are.
const LAMBDA_TARGET: [&str; 2] = ["function_name", "region"];

impl WebhookId {
    /// The identity of a webhook that is alone with this target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        match target {
            Target::Http(url) => Self::of_parts(&["http", &normalised_url(url), ""]),
            Target::Lambda(lambda) => {
                let (region, endpoint) = place(lambda);
                let mut parts = vec!["lambda", &lambda.function, &region];
                // Only few have one, and the others' identities are as they were before endpoints counted.
                parts.extend(endpoint.as_deref());
                Self::of_parts(&parts)
            }
            Target::Missing => Self::of_parts(&["missing", "", ""]),
            // Once it is mended it is the same webhook.
            Target::Unusable { registered, .. } => Self::of(registered),
        }
    }

    /// The identity by the URL as it was written, where that makes a difference. A Lambda webhook has none: without the
    /// region of its `client_options` its identity may be that of another webhook of the app, now or earlier, and what
    /// that one has would be taken for its own.
    fn formerly_of(target: &Target) -> Option<Self> {
        match target {
            Target::Http(url) if *url.trim() != *normalised_url(url) => {
                Some(Self::of_parts(&["http", url.trim(), ""]))
            }
            Target::Unusable { registered, .. } => Self::formerly_of(registered),
            Target::Http(_) | Target::Lambda(_) | Target::Missing => None,
        }
    }

    fn of_parts(parts: &[&str]) -> Self {
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

/// Where a function is, as its webhook says: the region, `client_options` first as in the invocation, and an endpoint.
/// Whose credentials are used is no part of it, as they are changed without the function becoming another.
fn place(lambda: &Lambda) -> (String, Option<String>) {
    let options = lambda.client_options.as_deref().map(serde_json::from_str::<Value>);
    let option = |name: &str| match options.as_ref()?.as_ref().ok()?.get(name)? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        _ => None,
    };
    let region = option("region").or_else(|| lambda.region.clone()).unwrap_or_default();
    (region, option("endpoint"))
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
        let mut members: Vec<_> = members
            .iter()
            .filter(|(name, _)| !TARGET.contains(&name.as_str()))
            .filter_map(|(name, value)| {
                Some((name, if name == "lambda" { lambda(value)? } else { value.to_string() }))
            })
            .collect();
        members.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in members {
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update(value.as_bytes());
            hash.update([0]);
        }
    }
    let mut digits = hex::encode(hash.finalize());
    digits.truncate(PRECISE_DIGITS);
    digits
}

/// The member `lambda` without what is the target, if anything is left of it: with the credentials, by which a function
/// of the same name in another account is told apart.
fn lambda(registered: &Value) -> Option<String> {
    let mut members: Vec<_> =
        registered.as_object()?.iter().filter(|(name, _)| !LAMBDA_TARGET.contains(&name.as_str())).collect();
    members.sort_by_key(|(name, _)| name.as_str());
    let copy = |(name, value): (&String, &Value)| (name.clone(), value.clone());
    (!members.is_empty()).then(|| members.into_iter().map(copy).collect::<Value>().to_string())
}

#[cfg(test)]
mod tests;
