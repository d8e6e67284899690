//! How jobs are put on the queue.

use std::collections::HashMap;

use aws_sdk_sqs::error::ProvideErrorMetadata;

use super::{Error, ReceiveError, Sqs};
use crate::aws::error_code::plain;
use crate::queue::entry::entry;
use crate::queue::failure::{formless, of_entry, sending_entry, settling};
use crate::queue::{Cause, NewMessage, Unsent, batches};

/// A message's id, or why SQS did not take it.
type Sent = Result<String, Unsent>;

impl Sqs {
    /// Sends jobs in order, in batches that SQS takes; answers for each job, in the same order.
    pub async fn send(&self, jobs: &[NewMessage]) -> Result<Vec<Sent>, Error> {
        let mut sent = Vec::with_capacity(jobs.len());
        // In order, the next on top.
        let mut waiting: Vec<&[NewMessage]> = batches(jobs).collect();
        waiting.reverse();
        while let Some(batch) = waiting.pop() {
            match self.send_batch(batch).await {
                Ok(answers) => sent.extend(answers),
                // An endpoint may have narrower bounds than SQS has today.
                Err(Failed::TooLong(_)) if batch.len() > 1 => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    waiting.extend([second, first]);
                }
                Err(Failed::TooLong(why)) => sent.push(Err(Unsent { why, cause: Cause::Message })),
                Err(Failed::Other(error)) => return Err(error),
            }
        }
        Ok(sent)
    }

    async fn send_batch(&self, batch: &[NewMessage]) -> Result<Vec<Sent>, Failed> {
        let entries = batch
            .iter()
            .enumerate()
            .map(|(n, job)| entry(n, job))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failed::Other(Error::Call(error.to_string())))?;
        let call = self.settle.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send();
        let answer = Box::pin(call).await.map_err(|failure| {
            let error = settling(&failure, &self.asked("sqs:SendMessage"));
            let code = failure.code().unwrap_or_default();
            if plain(code) == "BatchRequestTooLong" {
                Failed::TooLong(error.to_string())
            } else {
                Failed::Other(error)
            }
        })?;
        // What is not said to be there must not be deleted where it came from.
        let named = answer.successful.into_iter().filter(|sent| !sent.message_id.is_empty());
        let mut sent: HashMap<String, Sent> = named.map(|sent| (sent.id, Ok(sent.message_id))).collect();
        let refused = answer.failed.into_iter();
        sent.extend(refused.map(|failed| {
            let (message, senders) = (failed.message.as_deref(), failed.sender_fault);
            let why = sending_entry(&failed.code, message);
            let cause = match of_entry(&failed.code, message, senders, &self.asked("sqs:SendMessage")) {
                ReceiveError::Service(_) if senders => Cause::Message,
                ReceiveError::Throttled(_) | ReceiveError::Service(_) => Cause::Passing,
                ReceiveError::NoResponse(_) | ReceiveError::Denied(_) | ReceiveError::Missing(_) => {
                    Cause::Other
                }
            };
            (failed.id, Err(Unsent { why, cause }))
        }));
        let missing = || Err(Unsent { why: formless("MessageId of this message"), cause: Cause::Other });
        Ok((0..batch.len()).map(|n| sent.remove(&n.to_string()).unwrap_or_else(missing)).collect())
    }
}

enum Failed {
    TooLong(String),
    Other(Error),
}
