//! The apps of a run, their webhooks and their jobs.
//!
//! A worker process names itself by a header of its webhooks: each one has an apps file of its own.

use std::net::SocketAddr;

use hookferry::job::QueueType;
use hookferry::producer::Signer;
use hookferry::queue::NewMessage;
use secrecy::SecretString;
use serde_json::{Value, json};

const APPS: usize = 10;

/// The first so many apps have one webhook, the others two.
const SINGLE: usize = 6;

/// Message groups: one an app and type of queue.
pub const GROUPS: usize = APPS * QueueType::ALL.len();

/// The header that names the worker process.
pub const WORKER_HEADER: &str = "X-Worker";

/// What is the matter with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing.
    Sound,
    /// Signed with another secret.
    Forged,
    /// No JSON.
    Malformed,
    /// Of an app that does not exist.
    UnknownApp,
    /// Its receiver answers 410.
    Gone,
}

impl Kind {
    /// The `reason` under which it has to be dead-lettered; `None` for a job that has to arrive.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Sound => None,
            Self::Forged => Some("signature"),
            Self::Malformed => Some("malformed"),
            Self::UnknownApp => Some("unknown_app"),
            Self::Gone => Some("gone"),
        }
    }
}

/// How many webhooks the app of a group has.
pub fn webhooks(group: usize) -> usize {
    if group / QueueType::ALL.len() < SINGLE { 1 } else { 2 }
}

/// The apps file of one worker process.
pub fn file(worker: &str, receivers: &[SocketAddr]) -> String {
    let webhook = |app: usize, index: usize| {
        let receiver = receivers[(app + index) % receivers.len()];
        json!({"url": format!("http://{receiver}/{index}"), "headers": {WORKER_HEADER: worker}})
    };
    let apps = (0..APPS).map(|app| {
        let webhooks = webhooks(app * QueueType::ALL.len());
        let webhooks: Vec<Value> = (0..webhooks).map(|index| webhook(app, index)).collect();
        json!({"id": format!("app{app}"), "key": key(app), "secret": secret(app), "webhooks": webhooks})
    });
    apps.collect::<Value>().to_string()
}

/// The secret that belongs to a key, if it is one of ours.
pub fn secret_of(key_given: &str) -> Option<SecretString> {
    (0..APPS).find(|app| key(*app) == key_given).map(|app| SecretString::from(secret(app)))
}

/// The n-th job of a group. Some are of a size that takes several segments.
pub fn job(group: usize, n: usize, kind: Kind, size: usize) -> NewMessage {
    let (app, kind_of_queue) = (group / QueueType::ALL.len(), QueueType::ALL[group % QueueType::ALL.len()]);
    let producer = Signer::new(
        format!("app{app}"),
        if kind == Kind::UnknownApp { "nobody".to_owned() } else { key(app) },
        if kind == Kind::Forged { "forged".to_owned() } else { secret(app) },
    );
    let event = json!({
        "name": kind_of_queue.event_name(), "channel": "private-chaos", "group": group, "n": n,
        "gone": kind == Kind::Gone, "data": "x".repeat(size),
    });
    let payload = json!({"time_ms": 1_700_000_000_000 + n as u64, "events": [event]}).to_string();
    let job = producer.payload(kind_of_queue, payload);
    if kind == Kind::Malformed {
        return NewMessage::new(job.group, format!("no JSON: {group} {n}"));
    }
    job
}

fn key(app: usize) -> String {
    format!("key{app}")
}

fn secret(app: usize) -> String {
    format!("secret{app}")
}
