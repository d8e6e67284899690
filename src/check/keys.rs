//! The keys under which the queues' messages are encrypted: no call that fails tells whether the role may use them.

use crate::queue::sqs::Description;
use crate::run::preflight::{DeadLetters, Finding};

/// The key that SQS keeps for an account, which everyone may use through SQS who may use the queue.
const OF_SQS: &str = "alias/aws/sqs";

/// What is to be said of the keys of the account's own.
pub(super) fn judge(queue: &Description, dead: Option<&DeadLetters>) -> Vec<Finding> {
    let dead = dead.and_then(|dead| dead.description.as_ref().ok());
    let queues = [
        ("queue", Some(queue), &["kms:Decrypt"][..]),
        ("dead-letter queue", dead, &["kms:GenerateDataKey", "kms:Decrypt"]),
    ];
    let finding = |(name, queue, permissions): (&str, Option<&Description>, &[&str])| {
        let queue = queue?;
        let key =
            queue.attribute("KmsMasterKeyId").filter(|key| !key.is_empty() && !key.ends_with(OF_SQS))?;
        let policy = serde_json::json!({
            "Effect": "Allow", "Action": permissions, "Resource": arn(key, queue.attribute("QueueArn")),
        });
        let text = format!(
            "the {name} is encrypted under {key}: whether the role has {} on it cannot be tried; its policy, or the key's, has to \
             have this statement: {policy}",
            permissions.join(" and ")
        );
        // Where it is well it cannot be told either: no warning, as that would never end.
        Some(Finding::ok("permissions", text))
    };
    queues.into_iter().filter_map(finding).collect()
}

/// The key's ARN, as policies name it, as far as it can be told.
fn arn(key: &str, queue: Option<&str>) -> String {
    if key.starts_with("arn:") && !key.contains(":alias/") {
        return key.to_owned();
    }
    let mut parts = queue.unwrap_or_default().split(':').skip(1);
    match (parts.next(), parts.nth(1), parts.next()) {
        (Some(partition), Some(region), Some(account)) if !key.contains("alias/") => {
            format!("arn:{partition}:kms:{region}:{account}:key/{key}")
        }
        _ => format!("the ARN of {key}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::queue::sqs::Probe;
    use crate::run::preflight::Severity;

    fn queue(key: Option<&str>) -> Description {
        let mut attributes = BTreeMap::from([(
            "QueueArn".to_owned(),
            "arn:aws:sqs:eu-west-1:123456789012:jobs.fifo".to_owned(),
        )]);
        attributes.extend(key.map(|key| ("KmsMasterKeyId".to_owned(), key.to_owned())));
        Description {
            visibility: Duration::from_secs(5),
            dead_letter_url: None,
            max_receive_count: None,
            dead_letter_arn: None,
            attributes,
        }
    }

    #[test]
    fn a_key_of_the_accounts_own_is_told_with_the_statement_that_allows_it() {
        for none in [None, Some(""), Some("alias/aws/sqs"), Some("arn:aws:kms:eu-west-1:1:alias/aws/sqs")] {
            assert_eq!(judge(&queue(none), None), [], "{none:?}");
        }
        let dead = DeadLetters {
            url: "https://sqs/dead.fifo".to_owned(),
            description: Ok(queue(Some("arn:aws:kms:eu-west-1:1:key/7"))),
            send: Probe::Allowed,
        };
        let found = judge(&queue(Some("1234-abcd")), Some(&dead));
        let lines: Vec<_> = found.iter().map(Finding::line).collect();
        assert!(found.iter().all(|finding| finding.severity == Severity::Ok));
        assert!(
            lines[0].contains(r#"["kms:Decrypt"]"#)
                && lines[0].contains("arn:aws:kms:eu-west-1:123456789012:key/1234-abcd"),
            "{lines:?}"
        );
        assert!(
            lines[1].contains("dead-letter queue is encrypted")
                && lines[1].contains(r#"["kms:GenerateDataKey","kms:Decrypt"]"#)
                && lines[1].contains(r#""Resource":"arn:aws:kms:eu-west-1:1:key/7""#),
            "{lines:?}"
        );
        let by_alias = judge(&queue(Some("alias/jobs")), None);
        assert!(by_alias[0].line().contains("the ARN of alias/jobs"));
    }
}
