//! An app and the webhooks it registered, as soketi's and sockudo's app drivers describe them.

mod filter;
pub mod function;
mod host;
pub mod limits;
mod placeholder;
mod registration;
mod remark;
mod webhook_id;
mod weight;

use std::time::Duration;

use secrecy::SecretString;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub use crate::job::WebhookId;
use crate::job::{Job, SignatureError, sign};
use crate::standard::{Keys, Signing};
pub use filter::{Filter, Pattern};
pub use host::Host;
pub use placeholder::{is_nothing, placeholder};
/// For tests, which hold that each of them has an effect.
pub use registration::EVENT_TYPES;
pub use registration::{
    CONNECTION_HEADERS, Origin, RESERVED_HEADERS, Unusable, app as read, is_column, listed_secrets, webhooks,
};
pub use remark::{Remark, Severity, nearest, shown};

/// One app: who signs the jobs, and where its events go.
#[derive(Clone, Debug)]
pub struct App {
    /// Its id, the first half of its message group ids.
    pub id: String,
    /// Its public key, by which jobs name it.
    pub key: String,
    /// The secret under which its payloads are signed, and its deliveries.
    pub secret: SecretString,
    /// Secrets from before a rotation: a job may still be signed under one of them.
    previous: Vec<SecretString>,
    /// What all of them sign with for Standard Webhooks.
    keys: Keys,
    /// Where its events go, in the order it registered them.
    pub webhooks: Vec<Webhook>,
    /// What is to be said of how it was registered.
    pub remarks: Vec<Remark>,
}

/// One registered webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// What tells it apart from the app's others, wherever it stands among them.
    pub id: WebhookId,
    /// Where it goes.
    pub target: Target,
    /// Its own headers, in order of name.
    pub headers: Vec<(String, String)>,
    /// The event names it wants; `None` where it names none, which means all of them.
    pub event_types: Option<Vec<String>>,
    /// The channels it wants.
    pub filter: Filter,
    /// The longest that one of its attempts may take, if that is less than the worker's own.
    pub timeout: Option<Duration>,
    /// How its failures are dealt with, where that differs from the worker's own.
    pub retry: Retry,
    /// Whether it gets the headers of Standard Webhooks too, if that was said.
    pub standard_headers: Option<bool>,
    /// Its identity among webhooks of the app with the same target.
    pub precise_id: WebhookId,
    /// What letters from before URLs were normalised know it by.
    pub former_ids: Vec<WebhookId>,
}

/// How a webhook's failures are dealt with: what it says nothing of is the worker's, and so are the
/// limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// After so many attempts a job is given up; 1 where it is not to be retried at all.
    pub max_attempts: Option<u32>,
    /// A job whose failures go back for longer is given up.
    pub window: Option<Duration>,
    /// The first backoff's upper end.
    pub base: Option<Duration>,
    /// The upper end of every backoff.
    pub cap: Option<Duration>,
}

impl Retry {
    /// Whether the first failure is the last.
    #[must_use]
    pub fn ends_at_once(&self) -> bool {
        self.max_attempts.is_some_and(|most| most <= 1)
    }
}

/// Where a webhook goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An HTTP POST to this URL, as it was registered.
    Http(String),
    /// An invocation of this AWS Lambda function.
    Lambda(Lambda),
    /// Neither was registered: nothing can ever be delivered.
    Missing,
    /// What was registered cannot be used: each attempt fails, until the app's owner mends it or the job
    /// is given up. The other webhooks of the app know nothing of it.
    Unusable {
        /// Where it was to go: it stays the same webhook once it is mended.
        registered: Box<Target>,
        /// What is wrong with it.
        why: String,
    },
}

/// The Lambda function of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lambda {
    /// Name, partial or full ARN, with an optional version or alias.
    pub function: String,
    /// Whether to invoke it asynchronously (`Event`) or to wait for its answer.
    pub asynchronous: bool,
    /// What it is invoked with.
    pub invocation: Invocation,
    /// Its region; us-east-1 where none is given.
    pub region: Option<String>,
    /// soketi's `client_options`, as JSON text. May hold credentials: never print it.
    pub client_options: Option<String>,
}

/// What a function is invoked with: that of the server whose way of registering it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invocation {
    /// soketi's, for `lambda_function`: `{"payload":…,"headers":{…}}`.
    Wrapped,
    /// sockudo's, for `lambda.function_name`: the body itself; `headers` stands beside its members.
    Plain,
}

impl App {
    /// An app with one secret, on which there is nothing to be remarked.
    #[must_use]
    pub fn new(id: String, key: String, secret: SecretString, webhooks: Vec<Webhook>) -> Self {
        let keys = Keys::of([&secret]);
        Self { id, key, secret, previous: Vec::new(), keys, webhooks, remarks: Vec::new() }
    }

    /// This app, some of whose jobs may still be signed under secrets from before a rotation.
    #[must_use]
    pub fn with_previous(self, previous: impl IntoIterator<Item = SecretString>) -> Self {
        let previous: Vec<_> = previous.into_iter().collect();
        Self { keys: Keys::of(std::iter::once(&self.secret).chain(&previous)), previous, ..self }
    }

    /// The webhook of this identity, if it has one.
    #[must_use]
    pub fn webhook(&self, id: &WebhookId) -> Option<&Webhook> {
        self.webhooks.iter().find(|webhook| webhook.id == *id)
    }

    /// Its secrets, the newest first.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        std::iter::once(&self.secret).chain(&self.previous)
    }

    /// What attempts at a webhook of the app's are signed with for Standard Webhooks, if they may be.
    #[must_use]
    pub fn standard_signing(&self, webhook: &Webhook) -> Option<Signing> {
        let asked = webhook.standard_headers;
        (asked != Some(false)).then(|| Signing { asked: asked == Some(true), keys: self.keys.clone() })
    }

    /// A job of the app's as it is to be delivered: signed under the newest secret, whichever of them its
    /// producer signed it under.
    ///
    /// # Errors
    /// It is signed under none of them. What else the signature may be is not looked for: that costs milliseconds.
    pub fn verified(&self, mut job: Job) -> Result<Job, SignatureError> {
        if job.verify(&self.secret).is_ok() {
            return Ok(job);
        }
        if !self.previous.iter().any(|secret| job.verify(secret).is_ok()) {
            return Err(SignatureError::Mismatch);
        }
        job.signature = sign(&self.secret, [job.payload.as_ref()]);
        Ok(job)
    }
}

impl Webhook {
    /// Whether a webhook of that identity is this one, as it was when it was alone with its target, or was not. Where
    /// others share the target the plain identity is none of theirs: what is written down of a webhook that is alone
    /// holds both.
    #[must_use]
    pub fn is(&self, id: &WebhookId) -> bool {
        self.id == *id || self.precise_id == *id || self.former_ids.contains(id)
    }

    /// A webhook that wants everything, with nothing of its own.
    #[must_use]
    pub fn of(target: Target) -> Self {
        let id = WebhookId::of(&target);
        Self {
            precise_id: id.clone(),
            former_ids: Vec::new(),
            id,
            target,
            headers: Vec::new(),
            event_types: None,
            filter: Filter::default(),
            timeout: None,
            retry: Retry::default(),
            standard_headers: None,
        }
    }
}

impl<'de> Deserialize<'de> for App {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(Value::deserialize(deserializer)?, Origin::File).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
