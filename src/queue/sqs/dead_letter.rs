//! How a dead letter is sent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sqs::Client;
use tokio::time::Instant;
use tracing::warn;

use super::convert::{marked, timestamp};
use crate::queue::entry::text;
use crate::queue::failure::{Asked, classify, formless, is_refusal, settled_by};
use crate::queue::{DeadLetter, Error, MAX_BATCH_BYTES, ReceiveError, attributes_size, identities};
use crate::shown::cut;

/// What a redrive cannot do without: the first id of the job, and who has it.
const NEEDED: [&str; 4] = ["source_message_id", "delivered", "webhook", "reason"];

/// The most characters that are shown of a group.
const MAX_GROUP: usize = 128;

/// What a refusal for a message's length says. SQS has one code for every parameter that it does not take, a group on a
/// queue that is not FIFO among them; emulators have others.
const OF_LENGTH: [&str; 3] = ["bytes", "too long", "TooLong"];

/// Why a letter was not confirmed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    /// Whether it is because there is no such queue.
    pub(super) is_missing: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, is_missing: false }
    }
}

/// Sends a letter, and returns once it is confirmed. `source` is the account and name of the queue that
/// the job comes from.
///
/// One that is refused for what it is (a body of nearly the longest that a queue takes is too long with
/// attributes) goes without those that a redrive can do without, then without any, as SQS itself would
/// move it: it must not block its group for ever.
pub(super) async fn send(
    client: &Client,
    url: &str,
    source: Option<&str>,
    letter: &DeadLetter,
    asked: Asked<'_>,
) -> Result<(), Failed> {
    let bare = client
        .send_message()
        .queue_url(url)
        .message_body(std::str::from_utf8(&letter.body).unwrap_or_default())
        .message_group_id(&*letter.group)
        .message_deduplication_id(&*letter.id);
    let attributes = attributes(letter);
    let size = |kept: &[&(&str, String)]| {
        letter.body.len() + attributes_size(kept.iter().map(|(name, value)| (*name, value.as_str())))
    };
    let all: Vec<_> = attributes.iter().collect();
    let needed: Vec<_> = attributes.iter().filter(|(name, _)| NEEDED.contains(name)).collect();
    let none = Vec::new();
    let mut why = None;
    for (kept, what) in [(all, "all"), (needed, "those that a redrive needs"), (none, "none")] {
        if !kept.is_empty() && size(&kept) > MAX_BATCH_BYTES {
            why = why.or(Some("it would be too large".to_owned()));
            continue;
        }
        let send = kept.iter().fold(bare.clone(), |send, (name, value)| {
            let own = if *name == "source_message_id" { marked(value, source) } else { text(value) };
            send.message_attributes(*name, own)
        });
        let failure = match send.send().await {
            Ok(answer) if answer.message_id().is_some_and(|id| !id.is_empty()) => {
                if let Some(why) = &why {
                    tell_less(letter, why, what);
                }
                return Ok(());
            }
            Ok(_) => return Err(Error::Call(formless("MessageId")).into()),
            Err(failure) => failure,
        };
        let error = classify(&failure, &asked);
        if !is_refusal(&failure, &asked) {
            let is_missing = matches!(error, ReceiveError::Missing(_));
            return Err(Failed { error: settled_by(&error), is_missing });
        }
        // As SQS itself would move it: there is nothing left to leave out.
        if kept.is_empty() {
            let (bytes, why) = (letter.body.len(), error.to_string());
            let too_long = OF_LENGTH.iter().any(|word| why.contains(word));
            return Err(Error::LetterRefused { bytes, too_long, why }.into());
        }
        why = Some(error.to_string());
    }
    Err(Error::Call("the letter is too large".to_owned()).into())
}

/// How often it is said that a letter went without some of its attributes, whichever the letter.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Says, once a minute, that a letter went without some of its attributes.
fn tell_less(letter: &DeadLetter, why: &str, attributes: &str) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_some_and(|told| told.elapsed() < TELL_AGAIN) {
        return;
    }
    *told = Some(Instant::now());
    warn!(message_id = %letter.id, group = %cut(&letter.group, MAX_GROUP), why, attributes,
        "the letter went to the dead-letter queue without some of its attributes (said once a minute, whichever the letter)");
}

/// SQS takes ten at the most, and no empty one.
fn attributes(letter: &DeadLetter) -> Vec<(&'static str, String)> {
    let detail = if letter.detail.is_empty() { "-" } else { &letter.detail };
    let all = [
        ("reason", letter.reason.to_owned()),
        ("detail", detail.to_owned()),
        ("attempts", letter.attempts.to_string()),
        ("source_message_id", letter.source.to_string()),
        ("delivered", identities(&letter.delivered)),
        ("app_id", letter.app_id.clone()),
        ("webhook", letter.webhook.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("destination", letter.destination.clone()),
        ("first_sent", letter.first_sent.map(timestamp).unwrap_or_default()),
        ("given_up", letter.given_up.map(timestamp).unwrap_or_default()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}
