//! Apps in every shape in which soketi and sockudo take them: from a file, the environment, or a row.
//!
//! soketi never checks a shape: it does what JavaScript does with whatever is there. So what works
//! with it by design or by chance is read here, and means the same. What it would ignore in silence is
//! remarked on; a webhook that cannot be used is marked as such and takes nothing from its siblings; an
//! app past a limit, or without its key or secret, is unusable as a whole.

mod webhook;

use std::borrow::Cow;
use std::io;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::limits::{
    MAX_ID_BYTES, MAX_PATTERNS_SIZE, MAX_PATTERNS_WORK, MAX_SECRETS, MAX_WEBHOOKS, MAX_WEBHOOKS_BYTES,
};
use super::placeholder::{is_nothing, placeholder};
use super::remark::{Remarks, Severity};
use super::webhook_id::{digest, identify};
use super::{App, Webhook};
use crate::json::{describe_json_error, scalar_text};
pub use webhook::{CONNECTION_HEADERS, EVENT_TYPES, RESERVED_HEADERS};
use webhook::{Dialect, Patterns};

/// The columns, or members, of each part. Of several that have a value the first counts, as with soketi;
/// the last two spellings are not soketi's.
const ID: [&str; 4] = ["AppId", "id", "app_id", "appId"];
const KEY: [&str; 4] = ["AppKey", "key", "app_key", "appKey"];
const SECRET: [&str; 4] = ["AppSecret", "secret", "app_secret", "appSecret"];
/// A secret from before a rotation, or several, under which jobs may still be signed.
const PREVIOUS: [&str; 4] = ["PreviousSecret", "previous_secret", "previous_secrets", "previousSecret"];
const WEBHOOKS: [&str; 2] = ["Webhooks", "webhooks"];
/// Where sockudo keeps an app's webhooks: among everything else, below this.
const POLICY: [&str; 2] = ["policy", "Policy"];

/// What else stands there: by one of them a column of that name is known to be sockudo's.
const OF_POLICY: [&str; 8] = [
    "limits",
    "features",
    "channels",
    "webhooks",
    "idempotency",
    "connection_recovery",
    "history",
    "presence_history",
];

/// What soketi and sockudo know of an app besides, which means nothing to a worker.
const OTHERS: [&str; 43] = [
    "enabled",
    "name",
    "maxConnections",
    "enableClientMessages",
    "maxBackendEventsPerSecond",
    "maxClientEventsPerSecond",
    "maxReadRequestsPerSecond",
    "maxPresenceMembersPerChannel",
    "maxPresenceMemberSizeInKb",
    "maxChannelNameLength",
    "maxEventChannelsAtOnce",
    "maxEventNameLength",
    "maxEventPayloadInKb",
    "maxEventBatchSize",
    "enableUserAuthentication",
    "hasClientEventWebhooks",
    "hasChannelOccupiedWebhooks",
    "hasChannelVacatedWebhooks",
    "hasMemberAddedWebhooks",
    "hasMemberRemovedWebhooks",
    "hasCacheMissedWebhooks",
    "max_connections",
    "enable_client_messages",
    "max_backend_events_per_second",
    "max_client_events_per_second",
    "max_read_requests_per_second",
    "max_presence_members_per_channel",
    "max_presence_member_size_in_kb",
    "max_channel_name_length",
    "max_event_channels_at_once",
    "max_event_name_length",
    "max_event_payload_in_kb",
    "max_event_batch_size",
    "enable_user_authentication",
    "enable_watchlist_events",
    "allowed_origins",
    "annotations_enabled",
    "channel_delta_compression",
    "idempotency",
    "connection_recovery",
    "channel_namespaces",
    "message_rate_limit",
    "decay_seconds",
];

/// What an app is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, or the environment: whatever it holds was written for soketi, sockudo or hookferry.
    File,
    /// A row of a table, or an item: it may have columns of anyone's.
    Row,
}

/// An app that cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("app {}: {why}", shown_id(.id.as_deref()))]
pub struct Unusable {
    /// Its id, as far as it can be told.
    pub id: Option<String>,
    /// The key by which its jobs name it, as far as it can be told.
    pub key: Option<String>,
    /// What is wrong with it; nothing of its values.
    pub why: String,
}

/// Whether a column is one that [`app`] looks at.
#[must_use]
pub fn is_column(name: &str) -> bool {
    let known = [&ID[..], &KEY, &SECRET, &PREVIOUS, &WEBHOOKS, &POLICY];
    known.iter().any(|names| names.contains(&name))
}

/// Reads an app.
///
/// # Errors
/// It has no id, key or secret, its webhooks are no list, or it is past a limit.
pub fn app(record: Value, origin: Origin) -> Result<App, Unusable> {
    let Value::Object(mut record) = record else {
        return Err(Unusable { id: None, key: None, why: "it is no object".to_owned() });
    };
    let id = take(&mut record, &ID).and_then(scalar_text);
    let key = take(&mut record, &KEY).and_then(scalar_text);
    let unusable =
        |why| Unusable { id: id.clone(), key: key.clone().filter(|key| key.len() <= MAX_ID_BYTES), why };
    let present = |part: &Option<String>, names: &[&str; 4]| match part {
        None => Err(unusable(format!("it has no {} (nor {})", names[1], names[0]))),
        Some(text) if text.len() > MAX_ID_BYTES => {
            Err(unusable(format!("its {} has more than {MAX_ID_BYTES} bytes", names[1])))
        }
        Some(text) => Ok(text.clone()),
    };
    let (own_id, own_key) = (present(&id, &ID)?, present(&key, &KEY)?);
    let secrets = secrets(&mut record).map_err(unusable)?;
    let mut remarks = Remarks::on(&own_id);
    remark_on_credentials(&own_id, &own_key, &secrets, &mut remarks);
    let mut secrets = secrets.into_iter();
    let secret =
        secrets.next().ok_or_else(|| unusable(format!("it has no {} (nor {})", SECRET[1], SECRET[0])))?;
    let stored = stored_webhooks(&mut record, origin, &mut remarks).map_err(unusable)?;
    let (stored, dialect) = stored;
    let webhooks = listed(stored, dialect, &mut remarks).map_err(unusable)?;
    if origin == Origin::File {
        for name in record.keys().filter(|name| !OTHERS.contains(&name.as_str())) {
            remarks.unknown("member", name, ["id", "key", "secret", "previous_secret", "webhooks", "policy"]);
        }
    }
    // soketi and sockudo take no connections of such an app, so that there are no new jobs; those that there are go out.
    let disabled = record.remove("enabled").and_then(scalar_text).is_some_and(|enabled| {
        let enabled = enabled.trim();
        enabled.eq_ignore_ascii_case("false") || enabled == "0"
    });
    if disabled {
        remarks.add(
            Severity::Warning,
            &format_args!(
                "\"enabled\" is false, which has no effect here: its jobs are delivered; take its webhooks out to stop that"
            ),
        );
    }
    if webhooks.is_empty() {
        remarks.add(Severity::Warning, &format_args!("it has no webhooks"));
    }
    let app = App::new(own_id, own_key, secret, webhooks).with_previous(secrets);
    Ok(App { remarks: remarks.finish(), ..app })
}

/// Reads the webhooks of the app with this id from JSON text: a list, nothing, or such text once more as
/// a JSON string, which is what a JSON column holds that was written by a program that encodes for itself.
///
/// # Errors
/// It is no list, or past a limit.
pub fn webhooks(text: &str, id: &str) -> Result<(Vec<Webhook>, Vec<super::Remark>), String> {
    let mut remarks = Remarks::on(id);
    let stored = Value::String(text.to_owned());
    let webhooks = listed(stored, Dialect::Soketi, &mut remarks)?;
    Ok((webhooks, remarks.finish()))
}

fn take(record: &mut Map<String, Value>, names: &[&str]) -> Option<Value> {
    let empty = |value: &Value| value.is_null() || value.as_str().is_some_and(str::is_empty);
    let mut found = None;
    for name in names {
        let value = record.remove(*name).filter(|value| !empty(value));
        found = found.or(value);
    }
    found
}

/// The app's secrets, the newest first.
fn secrets(record: &mut Map<String, Value>) -> Result<Vec<SecretString>, String> {
    let mut texts: Vec<String> = Vec::new();
    for value in [take(record, &SECRET), take(record, &PREVIOUS)].into_iter().flatten() {
        match value {
            Value::Array(list) if list.len() > MAX_SECRETS => {
                return Err(format!("it has more than {MAX_SECRETS} secrets"));
            }
            Value::Array(list) => texts.extend(list.into_iter().filter_map(scalar_text)),
            Value::Object(_) => return Err("its secret is no text".to_owned()),
            // A text column can hold a list, too.
            Value::String(text) => texts.extend(listed_secrets(text)),
            scalar => texts.extend(scalar_text(scalar)),
        }
    }
    texts.retain(|text| !text.is_empty());
    if texts.len() > MAX_SECRETS {
        return Err(format!("it has more than {MAX_SECRETS} secrets"));
    }
    if texts.iter().any(|text| text.len() > MAX_ID_BYTES) {
        return Err(format!("its secret has more than {MAX_ID_BYTES} bytes"));
    }
    Ok(texts.into_iter().map(SecretString::from).collect())
}

/// The secrets in one text: the text itself, or those of the list that it holds.
#[must_use]
pub fn listed_secrets(text: String) -> Vec<String> {
    if text.starts_with("[\"")
        && let Ok(list) = serde_json::from_str(&text)
    {
        return list;
    }
    vec![text]
}

/// Says what of an app's id, key and secrets is plainly not what was meant. Nothing of a secret is shown.
fn remark_on_credentials(id: &str, key: &str, secrets: &[SecretString], remarks: &mut Remarks) {
    let secrets = secrets.iter().map(|secret| ("secret", secret.expose_secret()));
    for (member, text) in [("id", id), ("key", key)].into_iter().chain(secrets) {
        if let Some(what) = placeholder(text) {
            let text = format_args!(
                "its {member} is {what}, and not what that stands for: it is taken as it stands, and no job has or is signed under \
                 that unless the server takes it so, too; write the {member} itself, or \"${{NAME}}\" with NAME in the environment"
            );
            remarks.add(Severity::Error, &text);
        } else if text.trim() != text {
            let text = format_args!("its {member} has blanks or line breaks around it, which count");
            remarks.add(Severity::Warning, &text);
        } else if is_nothing(text) {
            let text = format_args!("its {member} is the word {text}, which may stand for none");
            remarks.add(Severity::Warning, &text);
        }
    }
}

/// The webhooks of sockudo's policy, if there is one, else the app's own, and whose words they are in. As with
/// sockudo nothing beside a policy counts then.
fn stored_webhooks(
    record: &mut Map<String, Value>,
    origin: Origin,
    remarks: &mut Remarks,
) -> Result<(Value, Dialect), String> {
    let own = take(record, &WEBHOOKS);
    let policy = match take(record, &POLICY) {
        Some(Value::String(text)) => Some(text_as_value(&text, "policy")?),
        policy => policy,
    };
    let mut policy = match policy {
        None | Some(Value::Null) => return Ok((own.unwrap_or_default(), Dialect::Soketi)),
        Some(Value::Object(policy)) => policy,
        Some(_) => return Err("its policy is no object".to_owned()),
    };
    if origin == Origin::Row && !OF_POLICY.iter().any(|name| policy.contains_key(*name)) {
        return Ok((own.unwrap_or_default(), Dialect::Soketi));
    }
    let of_policy = take(&mut policy, &WEBHOOKS);
    let some = |own: &Value| match own {
        Value::String(text) => !["null", "[]"].contains(&text.trim()),
        own => own.as_array().is_none_or(|list| !list.is_empty()),
    };
    if of_policy.is_none() && own.as_ref().is_some_and(some) {
        let text = format_args!(
            "its webhooks are ignored, as by sockudo, since it has a policy: they belong into that"
        );
        remarks.add(Severity::Warning, &text);
    }
    Ok((of_policy.unwrap_or_default(), Dialect::Sockudo))
}

fn listed(stored: Value, dialect: Dialect, remarks: &mut Remarks) -> Result<Vec<Webhook>, String> {
    // A text is judged by its own length, which is another than that of what it is read to.
    if !stored.is_string() && !has_at_most(&stored, MAX_WEBHOOKS_BYTES) {
        return Err(format!("its webhooks have more than {MAX_WEBHOOKS_BYTES} bytes"));
    }
    let mut stored = Cow::<Value>::Owned(stored);
    for _ in 0..2 {
        if let Value::String(text) = &*stored {
            stored = Cow::Owned(text_as_value(text, "webhooks")?);
        }
    }
    let list = match stored.into_owned() {
        Value::Null => Vec::new(),
        Value::Array(list) => list,
        _ => return Err("its webhooks are no list".to_owned()),
    };
    if list.len() > MAX_WEBHOOKS {
        return Err(format!("it has {} webhooks; {MAX_WEBHOOKS} is the most", list.len()));
    }
    let digests: Vec<String> = list.iter().map(digest).collect();
    let mut webhooks = Vec::with_capacity(list.len());
    let mut patterns = Patterns::default();
    for (n, value) in list.into_iter().enumerate() {
        let webhook = webhook::read(value, dialect, &format!("webhooks[{n}]"), remarks, &mut patterns)?;
        // Those behind it are not compiled any more.
        if patterns.size > MAX_PATTERNS_SIZE {
            return Err(format!(
                "its webhooks' channel patterns take more than {MAX_PATTERNS_SIZE} bytes once they are compiled: use fewer of \
                 them, [0-9A-Za-z_] in place of \\w, [0-9] of \\d, and channel_prefix and channel_suffix where they do"
            ));
        }
        if patterns.work > MAX_PATTERNS_WORK {
            return Err(
                "its webhooks' channel patterns take too long to be compiled: use fewer and smaller character classes where (?i) holds"
                    .to_owned(),
            );
        }
        webhooks.push(webhook);
    }
    identify(&mut webhooks, &digests);
    Ok(webhooks)
}

/// Whether a value takes no more bytes as JSON text; no more of it than that is looked at.
fn has_at_most(value: &Value, bytes: usize) -> bool {
    struct Room(usize);
    impl io::Write for Room {
        fn write(&mut self, written: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(written.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(written.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(bytes), value).is_ok()
}

fn text_as_value(text: &str, what: &str) -> Result<Value, String> {
    if text.len() > MAX_WEBHOOKS_BYTES {
        return Err(format!("its {what} have more than {MAX_WEBHOOKS_BYTES} bytes"));
    }
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text)
        .map_err(|error| format!("its {what} cannot be read: {}", describe_json_error(&error)))
}

fn shown_id(id: Option<&str>) -> String {
    id.map_or_else(|| "without an id".to_owned(), |id| super::remark::shown(id).to_string())
}

#[cfg(test)]
mod tests;
