//! A queue's attributes that can be set.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::{Error, MAX_MESSAGE_SIZE};

/// What a queue is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub visibility: Duration,
    pub retention: Duration,
    pub delay: Duration,
    pub wait: Duration,
    pub max_size: usize,
    pub content_based: bool,
    pub group_scope: bool,
    pub redrive: Option<Redrive>,
    /// Attributes that only producers and AWS look at, given back as they were set.
    pub others: BTreeMap<String, String>,
}

/// When and where SQS itself dead-letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redrive {
    pub target_arn: String,
    pub max_receive_count: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility: Duration::from_secs(30),
            retention: Duration::from_secs(345_600),
            delay: Duration::ZERO,
            wait: Duration::ZERO,
            max_size: MAX_MESSAGE_SIZE,
            content_based: false,
            group_scope: false,
            redrive: None,
            others: BTreeMap::new(),
        }
    }
}

impl Settings {
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let invalid = || Error::InvalidAttributeValue(name.to_owned());
        let number = |least: u64, most: u64| match value.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            Ok(_) | Err(_) => Err(invalid()),
        };
        let seconds = |least, most| number(least, most).map(Duration::from_secs);
        let boolean = || value.to_ascii_lowercase().parse::<bool>().map_err(|_| invalid());
        match name {
            "VisibilityTimeout" => self.visibility = seconds(0, 43_200)?,
            "MessageRetentionPeriod" => self.retention = seconds(60, 1_209_600)?,
            "DelaySeconds" => self.delay = seconds(0, 900)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait = seconds(0, 20)?,
            "MaximumMessageSize" => {
                self.max_size =
                    usize::try_from(number(1024, MAX_MESSAGE_SIZE as u64)?).unwrap_or(MAX_MESSAGE_SIZE);
            }
            "ContentBasedDeduplication" => self.content_based = boolean()?,
            "FifoQueue" if value == "true" => {}
            "DeduplicationScope" => {
                self.group_scope = match value {
                    "messageGroup" => true,
                    "queue" => false,
                    _ => return Err(invalid()),
                }
            }
            "RedrivePolicy" if value.is_empty() => self.redrive = None,
            "RedrivePolicy" => self.redrive = Some(Redrive::parse(value).ok_or_else(invalid)?),
            "FifoThroughputLimit" if !matches!(value, "perQueue" | "perMessageGroupId") => {
                return Err(invalid());
            }
            "FifoThroughputLimit"
            | "Policy"
            | "KmsMasterKeyId"
            | "KmsDataKeyReusePeriodSeconds"
            | "SqsManagedSseEnabled"
            | "RedriveAllowPolicy" => {
                self.others.insert(name.to_owned(), value.to_owned());
            }
            "FifoQueue" => return Err(invalid()),
            _ => return Err(Error::InvalidAttributeName(name.to_owned())),
        }
        Ok(())
    }

    /// As `GetQueueAttributes` shows them.
    pub(super) fn show(&self) -> BTreeMap<String, String> {
        let scope = if self.group_scope { "messageGroup" } else { "queue" };
        let mut shown = BTreeMap::from([
            ("VisibilityTimeout", self.visibility.as_secs().to_string()),
            ("MessageRetentionPeriod", self.retention.as_secs().to_string()),
            ("DelaySeconds", self.delay.as_secs().to_string()),
            ("ReceiveMessageWaitTimeSeconds", self.wait.as_secs().to_string()),
            ("MaximumMessageSize", self.max_size.to_string()),
            ("ContentBasedDeduplication", self.content_based.to_string()),
            ("DeduplicationScope", scope.to_owned()),
            ("FifoThroughputLimit", "perQueue".to_owned()),
            ("SqsManagedSseEnabled", "true".to_owned()),
            ("FifoQueue", "true".to_owned()),
        ]);
        if let Some(redrive) = &self.redrive {
            let policy = serde_json::json!({
                "deadLetterTargetArn": redrive.target_arn,
                "maxReceiveCount": redrive.max_receive_count,
            });
            shown.insert("RedrivePolicy", policy.to_string());
        }
        let mut shown: BTreeMap<String, String> =
            shown.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        shown.extend(self.others.clone());
        shown
    }
}

impl Redrive {
    fn parse(text: &str) -> Option<Self> {
        let policy: Value = serde_json::from_str(text).ok()?;
        let count = policy.get("maxReceiveCount")?;
        let count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
        Some(Self {
            target_arn: policy.get("deadLetterTargetArn")?.as_str()?.to_owned(),
            max_receive_count: u32::try_from(count).ok().filter(|n| (1..=1000).contains(n))?,
        })
    }
}
