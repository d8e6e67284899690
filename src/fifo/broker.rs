//! All queues of one endpoint: by name, with what concerns several of them, as the move to a dead-letter queue.
//!
//! Pure, as the rest of `fifo`: the time is an argument, and ids come from a seed. Knows no protocol and no URL.

use std::collections::BTreeMap;
use std::time::Duration;

use super::queue::Queue;
use super::settings::Settings;
use super::{Error, MAX_BATCH, MAX_VISIBILITY, Outgoing, Receive, Received, Sent, check, is_id};

/// All queues of one endpoint. Times are since the Unix epoch and never go back.
#[derive(Debug)]
pub struct Broker {
    queues: BTreeMap<String, Queue>,
    region: String,
    account: String,
    seed: u64,
}

impl Broker {
    /// No queues yet. The seed makes message ids; region and account make ARNs.
    #[must_use]
    pub fn new(seed: u64, region: &str, account: &str) -> Self {
        Self { queues: BTreeMap::new(), region: region.into(), account: account.into(), seed }
    }

    /// Creates a queue, or does nothing if it exists just so.
    pub fn create_queue(
        &mut self,
        now: Duration,
        name: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let stem = name.strip_suffix(".fifo").unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if stem.is_empty() || name.len() > 80 || !stem.bytes().all(plain) {
            return Err(Error::InvalidParameterValue(
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or \
                 underscores, must end with .fifo suffix and be 1 to 80 in length."
                    .to_owned(),
            ));
        }
        if attributes.get("FifoQueue").is_none_or(|fifo| fifo != "true") {
            return Err(Error::InvalidParameterValue(
                "This endpoint has FIFO queues only: set the attribute FifoQueue to true.".to_owned(),
            ));
        }
        let settings = self.checked(Settings::default(), attributes)?;
        match self.queues.get(name) {
            Some(queue) if queue.settings == settings => Ok(()),
            Some(_) => Err(Error::QueueNameExists),
            None => {
                let arn = self.arn(name);
                self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
                self.queues.insert(name.to_owned(), Queue::new(arn, self.seed, settings, now));
                Ok(())
            }
        }
    }

    /// Deletes a queue with all that is in it.
    pub fn delete_queue(&mut self, name: &str) -> Result<(), Error> {
        self.queues.remove(name).map(drop).ok_or(Error::QueueDoesNotExist)
    }

    /// Deletes everything in a queue.
    pub fn purge_queue(&mut self, now: Duration, name: &str) -> Result<(), Error> {
        self.queue(now, name)?.purge(now)
    }

    /// The queues' names, in order.
    pub fn queue_names(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str)
    }

    /// The names of the queues that dead-letter into this one.
    pub fn sources_of(&self, name: &str) -> Result<Vec<String>, Error> {
        let target = self.queues.get(name).ok_or(Error::QueueDoesNotExist)?;
        let feeds = |queue: &Queue| {
            queue.settings.redrive.as_ref().is_some_and(|redrive| redrive.target_arn == target.arn)
        };
        Ok(self.queues.iter().filter(|(_, queue)| feeds(queue)).map(|(n, _)| n.clone()).collect())
    }

    /// All attributes of a queue.
    pub fn attributes(&mut self, now: Duration, name: &str) -> Result<BTreeMap<String, String>, Error> {
        Ok(self.queue(now, name)?.attributes())
    }

    /// Sets some attributes of a queue, or none if one of them is wrong.
    pub fn set_attributes(
        &mut self,
        now: Duration,
        name: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let settings = self.queue(now, name)?.settings.clone();
        let settings = self.checked(settings, attributes)?;
        let queue = self.queue(now, name)?;
        queue.settings = settings;
        queue.modified = now;
        Ok(())
    }

    /// Sends one message.
    pub fn send(&mut self, now: Duration, name: &str, message: Outgoing) -> Result<Sent, Error> {
        let queue = self.queue(now, name)?;
        check(&message)?;
        queue.send(now, message)
    }

    /// Receives what can be received at once. What has been received too often goes to the
    /// dead-letter queue instead.
    pub fn receive(&mut self, now: Duration, name: &str, request: &Receive) -> Result<Vec<Received>, Error> {
        if !(1..=MAX_BATCH).contains(&request.max) {
            return Err(Error::InvalidParameterValue(format!(
                "Value {} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10.",
                request.max
            )));
        }
        if let Some(timeout) = request.visibility {
            check_visibility(timeout)?;
        }
        if request.attempt_id.as_ref().is_some_and(|id| !is_id(id)) {
            return Err(Error::InvalidParameterValue(
                "Value for parameter ReceiveRequestAttemptId is invalid. Reason: it can only include \
                 alphanumeric and punctuation characters. 1 to 128 in length."
                    .to_owned(),
            ));
        }
        let targets: Vec<String> = self.queues.values().map(|queue| queue.arn.clone()).collect();
        let queue = self.queue(now, name)?;
        // A dead-letter queue that is gone leaves the messages where they are.
        let redrive = queue.settings.redrive.clone().filter(|r| targets.contains(&r.target_arn));
        let most = redrive.as_ref().map_or(u32::MAX, |redrive| redrive.max_receive_count);
        let (received, dead) = queue.receive(now, request, most)?;
        if let Some(redrive) = redrive {
            let target = self.queues.values_mut().find(|queue| queue.arn == redrive.target_arn);
            if let Some(target) = target {
                target.settle(now);
                for (group, message) in dead {
                    target.take_over(now, &group, message);
                }
            }
        }
        Ok(received)
    }

    /// Deletes a message by its receipt handle.
    pub fn delete(&mut self, now: Duration, name: &str, receipt: &str) -> Result<(), Error> {
        self.queue(now, name)?.delete(receipt)
    }

    /// Hides a message in flight for `timeout` from now; zero releases it.
    pub fn change_visibility(
        &mut self,
        now: Duration,
        name: &str,
        receipt: &str,
        timeout: Duration,
    ) -> Result<(), Error> {
        let queue = self.queue(now, name)?;
        check_visibility(timeout)?;
        queue.change_visibility(now, receipt, timeout)
    }

    /// The earliest time at which a hidden message of the queue becomes visible.
    #[must_use]
    pub fn next_change(&self, name: &str) -> Option<Duration> {
        self.queues.get(name)?.next_change()
    }

    /// How long a receive waits that does not say.
    #[must_use]
    pub fn default_wait(&self, name: &str) -> Duration {
        self.queues.get(name).map_or(Duration::ZERO, |queue| queue.settings.wait)
    }

    /// The ARN of a queue of that name.
    #[must_use]
    pub fn arn(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{name}", self.region, self.account)
    }

    fn queue(&mut self, now: Duration, name: &str) -> Result<&mut Queue, Error> {
        let queue = self.queues.get_mut(name).ok_or(Error::QueueDoesNotExist)?;
        queue.settle(now);
        Ok(queue)
    }

    fn checked(
        &self,
        mut settings: Settings,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Settings, Error> {
        for (name, value) in attributes {
            settings.set(name, value)?;
        }
        let unknown = |arn: &String| !self.queues.values().any(|queue| queue.arn == *arn);
        if settings.redrive.as_ref().is_some_and(|redrive| unknown(&redrive.target_arn)) {
            return Err(Error::InvalidParameterValue(
                "Value for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist."
                    .into(),
            ));
        }
        Ok(settings)
    }
}

fn check_visibility(timeout: Duration) -> Result<(), Error> {
    if timeout <= MAX_VISIBILITY {
        return Ok(());
    }
    Err(Error::InvalidParameterValue(format!(
        "Value {} for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200.",
        timeout.as_secs()
    )))
}
