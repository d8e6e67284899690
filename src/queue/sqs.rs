//! The adapter to Amazon SQS.
//!
//! Two clients share one HTTP client and one identity cache. The receiving one never retries by
//! itself: a retry would hand a lost response's messages to nobody, where the worker asks for them
//! again by their attempt id. The settling one retries twice (or `maxRetries` times), within the lease.
//!
//! The SDK's futures are boxed: each is some ten kilobytes, and would be in every lane's task.
//!
//! The SDK sends to the region's endpoint whatever the host of the queue URL; so an endpoint that is
//! not AWS' has to be given, or is taken from the URL where that is not AWS' either.

mod clock;
mod convert;
mod dead_letter;
mod letters;
mod options;
mod policies;
mod probe;
mod send;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::SharedCredentialsProvider;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
    QueueAttributeName,
};
use tracing::warn;

use super::trace::TRACEPARENT;
use super::{
    AttemptId, BatchEntryResult, DeadLetter, Error, MAX_BATCH, MAX_BATCH_BYTES, Message, Queue, Receipt,
    ReceiveError,
};
use crate::aws::{caller, credentials_source, with_clean_credentials};
use crate::queue::failure as error;
use clock::Clock;
use convert::{answers, messages, queue_of_arn, queue_of_url, sibling_queue_url};
use error::Asked;
pub use letters::RawLetter;
pub use options::{AccessKey, Options, Proxy};
pub use policies::Policies;
pub use probe::Probe;

/// What a receive may take beyond its wait.
const RECEIVE_SLACK: Duration = Duration::from_secs(2);
/// How long a send may take, all tries of it.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a look at the queue's attributes may take.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The attributes that each message is asked for. They are asked for by both parameters, `MessageSystemAttributeNames` and
/// the older `AttributeNames`: some emulators read the older one alone.
const SYSTEM_ATTRIBUTES: [MessageSystemAttributeName; 4] = [
    MessageSystemAttributeName::ApproximateReceiveCount,
    MessageSystemAttributeName::SentTimestamp,
    MessageSystemAttributeName::ApproximateFirstReceiveTimestamp,
    MessageSystemAttributeName::MessageGroupId,
];

/// How to reach a queue.
#[derive(Clone, Debug)]
pub struct Address {
    /// The queue's URL.
    pub url: String,
    /// The AWS region.
    pub region: String,
    /// Another endpoint than the region's.
    pub endpoint: Option<String>,
    /// The SDK's settings.
    pub options: Options,
}

/// A way to an SQS queue, not yet known to exist.
#[derive(Clone, Debug)]
pub struct Connection {
    sdk: SdkConfig,
    options: Options,
    url: String,
    /// Whether the endpoint was given, and not for the SDK to find.
    pinned: bool,
    clock: Clock,
}

/// What the queue says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its visibility timeout.
    pub visibility: Duration,
    /// Its `RedrivePolicy`'s target, as a URL beside its own.
    pub dead_letter_url: Option<String>,
    /// Its `RedrivePolicy`'s `maxReceiveCount`.
    pub max_receive_count: Option<u32>,
    /// Its `RedrivePolicy`'s target.
    pub dead_letter_arn: Option<String>,
    /// All of its attributes, as they came.
    pub attributes: BTreeMap<String, String>,
}

impl Description {
    /// An attribute, if the endpoint knows it.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// The queue's account and name, by its ARN.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        queue_of_arn(self.attribute("QueueArn")?)
    }

    /// An attribute that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.attribute(name)?.trim().parse().ok()
    }

    /// How long it keeps a message, if it says so.
    #[must_use]
    pub fn retention(&self) -> Option<Duration> {
        self.number("MessageRetentionPeriod").map(Duration::from_secs)
    }

    /// The largest message that it takes; where it does not say, the largest that any does.
    #[must_use]
    pub fn most_bytes(&self) -> usize {
        let most = self.number("MaximumMessageSize").and_then(|most| usize::try_from(most).ok());
        most.map_or(MAX_BATCH_BYTES, |most| most.min(MAX_BATCH_BYTES))
    }

    /// How many messages there are of a kind, as far as SQS says: `""` for those that can be received, `NotVisible`
    /// or `Delayed`.
    #[must_use]
    pub fn messages(&self, kind: &str) -> u64 {
        self.number(&format!("ApproximateNumberOfMessages{kind}")).unwrap_or_default()
    }

    /// How many messages there are, hidden and delayed ones included.
    #[must_use]
    pub fn depth(&self) -> usize {
        let all = ["", "NotVisible", "Delayed"].map(|kind| self.messages(kind));
        usize::try_from(all.iter().sum::<u64>()).unwrap_or(usize::MAX)
    }
}

/// How a queue is used.
#[derive(Clone, Debug)]
pub struct Usage {
    /// How long a receive waits for the first message at the most.
    pub wait: Duration,
    /// The visibility timeout to ask for; the queue's own if absent.
    pub visibility: Option<Duration>,
    /// How long a settling call may take, all attempts of it.
    pub settle_timeout: Duration,
    /// Where jobs go that are given up, and how long the queue keeps a message.
    pub policies: Policies,
    /// Whether messages are asked for the span that sent them.
    pub traced: bool,
}

/// An SQS queue.
#[derive(Debug)]
pub struct Sqs {
    receive: Client,
    settle: Client,
    url: String,
    region: String,
    usage: Usage,
    clock: Clock,
    /// Whether it has been said what the endpoint leaves out of a message.
    told_missing: AtomicBool,
    /// Whether it has been said that a message's age cannot be right.
    told_impossible: AtomicBool,
}

impl Connection {
    /// Loads the configuration and, where none is given, the default chain of credentials.
    pub async fn load(address: Address) -> Self {
        let options = address.options;
        // The identity cache is part of the loaded configuration and so shared, as the HTTP client is.
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(options.http_client())
            .region(Region::new(address.region))
            // Each client sets its own; and the SDK's default panics at an AWS_RETRY_MODE or AWS_MAX_ATTEMPTS that it does
            // not know, be it one that other SDKs do.
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let pinned = address.endpoint.is_some();
        if let Some(endpoint) = address.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(key) = &options.credentials {
            loader = loader.credentials_provider(SharedCredentialsProvider::new(key.credentials()));
        }
        // Where they are not set, the SDK's own variables have a say.
        if options.dual_stack {
            loader = loader.use_dual_stack(true);
        }
        if options.fips {
            loader = loader.use_fips(true);
        }
        let sdk = with_clean_credentials(&loader.load().await);
        Self { sdk, options, url: address.url, pinned, clock: Clock::default() }
    }

    /// The queue's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks the queue for its attributes.
    pub async fn describe(&self) -> Result<Description, ReceiveError> {
        let client = self.client(RetryConfig::disabled(), DESCRIBE_TIMEOUT, self.options.timeout);
        describe(&client, &self.url, self.region()).await
    }

    /// By how many milliseconds SQS' clock is ahead of this machine's, by its last answer.
    #[must_use]
    pub fn clock_ahead(&self) -> i64 {
        self.clock.ahead()
    }

    /// Who AWS says that this is.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn caller(&self) -> Result<String, String> {
        caller(&self.sdk, DESCRIBE_TIMEOUT).await
    }

    /// Where the credentials come from, and for how long they hold.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn credentials_source(&self) -> Result<String, String> {
        credentials_source(&self.sdk, DESCRIBE_TIMEOUT).await
    }

    /// The way to another queue at the same endpoint.
    #[must_use]
    pub fn at(&self, url: String) -> Self {
        Self { url, ..self.clone() }
    }

    /// The accounts and names of the queues whose `RedrivePolicy` names this one.
    pub async fn sources(&self) -> Result<Vec<String>, ReceiveError> {
        let client = self.client(RetryConfig::disabled(), DESCRIBE_TIMEOUT, self.options.timeout);
        let call = client.list_dead_letter_source_queues().queue_url(&self.url).send();
        let asked = self.asked("sqs:ListDeadLetterSourceQueues");
        let answer = Box::pin(call).await.map_err(|failure| error::classify(&failure, &asked))?;
        Ok(answer.queue_urls.iter().filter_map(|url| queue_of_url(url)).collect())
    }

    fn asked(&self, permission: &'static str) -> Asked<'_> {
        Asked { permission, region: self.region() }
    }

    fn region(&self) -> &str {
        self.sdk.region().map_or("", Region::as_ref)
    }

    /// The queue, for use.
    #[must_use]
    pub fn queue(&self, usage: Usage) -> Sqs {
        Sqs {
            // However short the options' timeout is: a long poll takes as long as it waits.
            receive: self.client(RetryConfig::disabled(), usage.wait + RECEIVE_SLACK, None),
            settle: self.client(self.options.settle_retries(), usage.settle_timeout, self.options.timeout),
            url: self.url.clone(),
            region: self.region().to_owned(),
            usage,
            clock: self.clock.clone(),
            told_missing: AtomicBool::new(false),
            told_impossible: AtomicBool::new(false),
        }
    }

    /// A client for a producer, with the retries and timeouts that the options ask for.
    #[must_use]
    pub fn sender(&self) -> Client {
        self.client(self.options.settle_retries(), SEND_TIMEOUT, self.options.timeout)
    }

    /// A client whose operations may take `timeout`, and each try of them `try_timeout`.
    fn client(&self, retry: RetryConfig, timeout: Duration, try_timeout: Option<Duration>) -> Client {
        let mut timeouts = TimeoutConfig::builder()
            .operation_timeout(timeout)
            .connect_timeout(self.options.connect_timeout());
        timeouts.set_operation_attempt_timeout(try_timeout);
        let mut config = aws_sdk_sqs::config::Builder::from(&self.sdk)
            .retry_config(retry)
            .timeout_config(timeouts.build());
        if self.pinned {
            // Or the variables AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT would make every call fail.
            config = config.use_fips(false).use_dual_stack(false);
        }
        for interceptor in self.options.interceptors().chain([self.clock.interceptor()]) {
            config = config.interceptor(interceptor);
        }
        Client::from_conf(config.build())
    }
}

/// Asks a queue for its attributes.
async fn describe(client: &Client, url: &str, region: &str) -> Result<Description, ReceiveError> {
    let call = client.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All).send();
    let asked = Asked { permission: "sqs:GetQueueAttributes", region };
    let answer = Box::pin(call).await.map_err(|failure| error::classify(&failure, &asked))?;
    let attributes = answer.attributes.unwrap_or_default();
    // Every queue has both, whatever an emulator leaves out.
    let known = [QueueAttributeName::QueueArn, QueueAttributeName::VisibilityTimeout];
    if !known.iter().any(|name| attributes.contains_key(name)) {
        return Err(ReceiveError::Service(error::formless("QueueArn and no VisibilityTimeout")));
    }
    let visibility = attributes
        .get(&QueueAttributeName::VisibilityTimeout)
        .and_then(|seconds| seconds.parse().ok())
        .map_or(Duration::from_secs(30), Duration::from_secs);
    let policy: Option<serde_json::Value> = attributes
        .get(&QueueAttributeName::RedrivePolicy)
        .and_then(|policy| serde_json::from_str(policy).ok());
    let member = |name| policy.as_ref().and_then(|policy| policy.get(name));
    let count = member("maxReceiveCount");
    Ok(Description {
        visibility,
        dead_letter_url: member("deadLetterTargetArn").and_then(|arn| sibling_queue_url(url, arn.as_str()?)),
        max_receive_count: count
            .and_then(|n| n.as_u64().or_else(|| n.as_str()?.parse().ok()))
            .and_then(|n| u32::try_from(n).ok()),
        dead_letter_arn: member("deadLetterTargetArn").and_then(|arn| Some(arn.as_str()?.to_owned())),
        attributes: attributes.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect(),
    })
}

impl Sqs {
    fn asked(&self, permission: &'static str) -> Asked<'_> {
        Asked { permission, region: &self.region }
    }

    /// Says once what the endpoint leaves out of its messages, and what follows from that.
    fn tell_missing(&self, messages: &[aws_sdk_sqs::types::Message]) {
        let Some(missing) = messages.iter().map(missing).find(|missing| !missing.is_empty()) else { return };
        if !self.told_missing.swap(true, Ordering::Relaxed) {
            warn!(
                missing =
                    missing.iter().map(MessageSystemAttributeName::as_str).collect::<Vec<_>>().join(", "),
                "the queue's endpoint leaves attributes out of its messages: without MessageGroupId a message cannot be worked; \
                 without SentTimestamp and ApproximateFirstReceiveTimestamp ages are unknown, without ApproximateReceiveCount receives are"
            );
        }
    }
}

impl Sqs {
    async fn send_letter(&self, url: &str, letter: &DeadLetter) -> Result<(), dead_letter::Failed> {
        let source = queue_of_url(&self.url);
        let asked = self.asked("sqs:SendMessage");
        Box::pin(dead_letter::send(&self.settle, url, source.as_deref(), letter, asked)).await
    }

    async fn ask_for_dead_letters(&self) -> Result<Option<Arc<str>>, Error> {
        let describe = describe(&self.settle, &self.url, &self.region);
        self.usage.policies.ask_for_dead_letters(describe).await.map_err(|error| {
            let why = format!("whether there is a dead-letter queue by now cannot be told: {error}");
            if matches!(error, ReceiveError::Denied(_)) { Error::Denied(why) } else { Error::Call(why) }
        })
    }
}

/// SQS deletes what is over its retention within about that long.
const RETENTION_SLACK: Duration = Duration::from_secs(60);

impl Sqs {
    /// Takes an age beyond the queue's retention for unknown, and says so once: a job that seems to be about to
    /// be deleted for its age would be given up at its first failure.
    fn disbelieve(&self, message: &mut Message) {
        let Some(retention) = self.usage.policies.retention() else { return };
        let most = retention.saturating_add(RETENTION_SLACK);
        if message.since_first_receive > most {
            message.since_first_receive = Duration::ZERO;
        }
        if message.age <= most {
            return;
        }
        if !self.told_impossible.swap(true, Ordering::Relaxed) {
            let sent = message.sent.and_then(|sent| sent.duration_since(SystemTime::UNIX_EPOCH).ok());
            warn!(
                message_id = %message.id,
                age_s = message.age.as_secs(),
                retention_s = retention.as_secs(),
                sent_ms = sent.map_or(0, |sent| u64::try_from(sent.as_millis()).unwrap_or(u64::MAX)),
                clock_ahead_ms = self.clock.ahead(),
                "a message is older than the queue keeps any: its SentTimestamp is wrong (it has to be in milliseconds), or the Date \
                 of the endpoint's answers is, or MessageRetentionPeriod was just raised; ages beyond it count as unknown (mend the \
                 endpoint or its clock)"
            );
        }
        (message.age, message.sent) = (Duration::ZERO, None);
    }
}

/// What an endpoint that tells no group of any message comes to.
const NO_GROUPS: &str = "its endpoint leaves MessageGroupId out of every message, so that none can be delivered in order: \
    see that QUEUE_SQS_URL is a FIFO queue's and that QUEUE_SQS_ENDPOINT answers ReceiveMessage with \
    MessageSystemAttributeNames or AttributeNames (update the emulator)";

/// The attributes that a message does not bring, of those that were asked for.
fn missing(message: &aws_sdk_sqs::types::Message) -> Vec<MessageSystemAttributeName> {
    let has = |name: &_| message.attributes.as_ref().is_some_and(|all| all.contains_key(name));
    SYSTEM_ATTRIBUTES.into_iter().filter(|name| !has(name)).collect()
}

impl Queue for Sqs {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        attempt: &AttemptId,
    ) -> Result<Vec<Message>, ReceiveError> {
        let trace = self.usage.traced.then_some(MessageSystemAttributeName::AwsTraceHeader);
        let names: Vec<_> = SYSTEM_ATTRIBUTES.into_iter().chain(trace).collect();
        let seconds = |duration: Duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
        let answer = self
            .receive
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(max.min(MAX_BATCH)).unwrap_or(1))
            .wait_time_seconds(seconds(wait.min(self.usage.wait)))
            .set_visibility_timeout(self.usage.visibility.map(seconds))
            .receive_request_attempt_id(&attempt.0)
            .set_message_system_attribute_names(Some(names.clone()))
            .message_attribute_names("source_message_id")
            .message_attribute_names("delivered");
        let answer = if self.usage.traced { answer.message_attribute_names(TRACEPARENT) } else { answer };
        #[allow(deprecated, reason = "older endpoints know this name of the parameter alone")]
        let answer = names.iter().fold(answer, |answer, name| answer.attribute_names(name.as_str().into()));
        let asked = self.asked("sqs:ReceiveMessage");
        let answer = Box::pin(answer.send()).await.map_err(|failure| error::classify(&failure, &asked))?;
        let now = self.clock.now();
        let all = answer.messages.unwrap_or_default();
        let count = all.len();
        self.tell_missing(&all);
        // Nothing can be worked, whatever is received: that is no message's fault.
        let has_group = |message| !missing(message).contains(&MessageSystemAttributeName::MessageGroupId);
        if count > 0 && !all.iter().any(has_group) {
            return Err(ReceiveError::Service(NO_GROUPS.to_owned()));
        }
        let mut messages = messages(all, now);
        for message in &mut messages {
            self.disbelieve(message);
        }
        if messages.len() < count {
            warn!(
                left = count - messages.len(),
                "a message came without id, receipt, group or body; it and what follows it will come back"
            );
        }
        Ok(messages)
    }

    async fn delete(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        let entries = receipts
            .iter()
            .enumerate()
            .map(|(n, receipt)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(n.to_string())
                    .receipt_handle(receipt.handle())
                    .build()
                    .map_err(|error| Error::Call(error.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let answer =
            self.settle.delete_message_batch().queue_url(&self.url).set_entries(Some(entries)).send();
        let asked = self.asked("sqs:DeleteMessage");
        let answer = Box::pin(answer).await.map_err(|failure| error::settling(&failure, &asked))?;
        let done = answer.successful.into_iter().map(|done| done.id);
        Ok(answers(receipts.len(), done, &answer.failed, &asked))
    }

    async fn change_visibility(
        &self,
        changes: &[(&Receipt, Duration)],
    ) -> Result<Vec<BatchEntryResult>, Error> {
        let entries = changes
            .iter()
            .enumerate()
            .map(|(n, (receipt, timeout))| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(n.to_string())
                    .receipt_handle(receipt.handle())
                    .visibility_timeout(i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX))
                    .build()
                    .map_err(|error| Error::Call(error.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let answer = self
            .settle
            .change_message_visibility_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries))
            .send();
        let asked = self.asked("sqs:ChangeMessageVisibility");
        let answer = Box::pin(answer).await.map_err(|failure| error::settling(&failure, &asked))?;
        let done = answer.successful.into_iter().map(|done| done.id);
        Ok(answers(changes.len(), done, &answer.failed, &asked))
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), Error> {
        let url = match self.usage.policies.dead_letter_url() {
            Some(url) => url,
            // Without one the job would be deleted: there may be one by now.
            None => self.ask_for_dead_letters().await?.ok_or(Error::NoDeadLetterQueue)?,
        };
        let Err(failed) = self.send_letter(&url, letter).await else { return Ok(()) };
        // The queue's policy may name another by now.
        if failed.is_missing
            && let Ok(Some(other)) = self.ask_for_dead_letters().await
            && other != url
        {
            return self.send_letter(&other, letter).await.map_err(|failed| failed.error);
        }
        Err(failed.error)
    }
}

#[cfg(test)]
mod tests;
