//! How a dead letter is sent.

use aws_sdk_sqs::Client;
use tracing::warn;

use super::convert::{text, timestamp};
use super::error::{Asked, is_refusal, settling};
use crate::queue::{DeadLetter, Error, identities};

/// Sends a letter, and returns once it is confirmed. One that is refused for what it is (a body of
/// nearly the longest that a queue takes is too long with attributes) goes without them, as SQS itself
/// would move it: it must not block its group for ever.
pub(super) async fn send(
    client: &Client,
    url: &str,
    letter: &DeadLetter,
    asked: Asked<'_>,
) -> Result<(), Error> {
    let detail = if letter.detail.is_empty() { "-" } else { &letter.detail };
    let bare = client
        .send_message()
        .queue_url(url)
        .message_body(std::str::from_utf8(&letter.body).unwrap_or_default())
        .message_group_id(&*letter.group)
        .message_deduplication_id(&*letter.id);
    // SQS takes ten at the most, and no empty one.
    let attributes = [
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
    let whole = attributes
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .fold(bare.clone(), |send, (name, value)| send.message_attributes(name, text(&value)));
    let Err(failure) = whole.send().await else { return Ok(()) };
    let why = settling(&failure, &asked);
    if !is_refusal(&failure, &asked) {
        return Err(why);
    }
    warn!(message_id = %letter.id, group = %letter.group, %why,
        "the dead-letter queue refuses the letter as it is; sending it without attributes");
    bare.send().await.map(drop).map_err(|failure| settling(&failure, &asked))
}
