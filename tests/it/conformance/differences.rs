//! What is known to be otherwise elsewhere, and who is right.
//!
//! A listed check is run all the same. It has to fail there, and in the way that is listed: should it
//! pass one day, the list is out of date, and the suite says so.

use std::fmt;

use super::{CHECKS, Protocol};

const DOCUMENTATION: &str = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/";

/// One check that fails at a peer.
pub struct Difference {
    /// The check.
    check: &'static str,
    /// By which protocol; both if none is named.
    protocol: Option<Protocol>,
    /// What the peer does.
    it: &'static str,
    /// What the check's failure says.
    pub shows: &'static str,
    /// Who is right, by which section of the documentation.
    right: &'static str,
    /// The page of the documentation.
    page: &'static str,
}

/// What is known of a check at a peer.
pub fn of(peer: &str, check: &str, protocol: Protocol) -> Option<&'static Difference> {
    let known = match peer {
        "ministack" => MINISTACK,
        other => panic!("HOOKFERRY_TEST_SQS_PEER: there is no list for {other}"),
    };
    let here = |d: &&Difference| d.check == check && d.protocol.is_none_or(|only| only == protocol);
    known.iter().find(here)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} (who is right: {} {DOCUMENTATION}{})", self.it, self.right, self.page)
    }
}

#[test]
fn every_listed_difference_is_one_of_a_check() {
    for difference in MINISTACK {
        assert!(CHECKS.contains(&difference.check), "there is no check {}", difference.check);
    }
}

/// Of ministack 1.5.33.
const MINISTACK: &[Difference] = &[
    Difference {
        check: "an_expired_handle_deletes_nothing",
        protocol: None,
        it: "a delete succeeds with an expired handle, as long as nobody has received the message since",
        shows: "failed: expired\n  left: \"accepted\"",
        right: "ReceiveMessage, ReceiveRequestAttemptId: whoever deletes after the timeout gets an error.",
        page: "APIReference/API_ReceiveMessage.html",
    },
    Difference {
        check: "an_expired_handle_changes_nothing",
        protocol: None,
        it: "a change of visibility succeeds with an expired handle",
        shows: "failed: expired\n  left: \"accepted\"",
        right: "ChangeMessageVisibility: to change the timeout after it has passed is an error; SQS answers \
                InvalidParameterValue: https://github.com/mapbox/ecs-watchbot/issues/135",
        page: "APIReference/API_ChangeMessageVisibility.html",
    },
    Difference {
        check: "expired_handles_fail_in_their_entries_of_a_batch",
        protocol: None,
        it: "a batch of changes succeeds with an expired handle",
        shows: "left: ([(\"old\", ()), (\"fine\", ())], [])",
        right: "ChangeMessageVisibilityBatch: an entry is a ChangeMessageVisibility, and reported by itself.",
        page: "APIReference/API_ChangeMessageVisibilityBatch.html",
    },
    Difference {
        check: "a_superseded_handle_settles_nothing",
        protocol: None,
        it: "a handle is unknown once its message was received again: ReceiptHandleIsInvalid",
        shows: "failed: superseded\n  left: \"ReceiptHandleIsInvalid\"",
        right: "DeleteMessage wants the latest handle of a message and does not name the error; SQS answers \
                InvalidParameterValue, \"The receipt handle has expired\": \
                https://github.com/aws/aws-sdk-js/issues/1279",
        page: "APIReference/API_DeleteMessage.html",
    },
    Difference {
        check: "an_attempt_id_brings_the_same_messages_and_handles_again",
        protocol: None,
        it: "attempt ids are ignored",
        shows: "left: []\n right: [\"1\", \"2\"]",
        right: "ReceiveMessage, ReceiveRequestAttemptId: the same id returns the same messages and handles.",
        page: "APIReference/API_ReceiveMessage.html",
    },
    Difference {
        check: "an_attempt_id_has_up_to_128_printable_characters",
        protocol: None,
        it: "attempt ids are ignored",
        shows: "left: \"accepted\"",
        right: "ReceiveMessage, ReceiveRequestAttemptId: up to 128 alphanumeric and punctuation characters.",
        page: "APIReference/API_ReceiveMessage.html",
    },
    Difference {
        check: "a_receive_is_filled_from_one_group_before_the_next",
        protocol: None,
        it: "a receive takes messages of all groups as they stand in the queue",
        shows: "left: [\"0\", \"0\", \"1\"]",
        right: "FIFO queue delivery logic, Receiving messages: as many of one group as possible.",
        page: "SQSDeveloperGuide/FIFO-queues-understanding-logic.html",
    },
    Difference {
        check: "a_visible_head_is_received_while_its_tail_is_hidden",
        protocol: None,
        it: "a hidden message blocks those before it, too",
        shows: "failed: the head alone\n  left: []",
        right: "FIFO queue delivery logic, Receiving messages: what was received comes back by becoming \
                visible. SQS does so message by message, as LocalStack found by a test that it runs against \
                AWS, test_fifo_message_group_visibility_after_terminate_visibility_timeout.",
        page: "SQSDeveloperGuide/FIFO-queues-understanding-logic.html",
    },
    Difference {
        check: "a_timeout_over_12_hours_is_refused",
        protocol: None,
        it: "the timeout of a receive has no bound",
        shows: "failed: a receive\n  left: \"accepted\"",
        right: "Amazon SQS visibility timeout: 0 seconds to 12 hours.",
        page: "SQSDeveloperGuide/sqs-visibility-timeout.html",
    },
    Difference {
        check: "twelve_hours_count_from_the_receive",
        protocol: None,
        it: "the timeout of a change has no bound",
        shows: "failed: a second more than twelve hours\n  left: \"accepted\"",
        right: "ChangeMessageVisibility: 12 hours at most; what goes beyond them in total is refused.",
        page: "APIReference/API_ChangeMessageVisibility.html",
    },
    Difference {
        check: "a_receive_waits_for_up_to_20_seconds",
        protocol: None,
        it: "a wait has no bounds",
        shows: "failed: -1 s\n  left: \"accepted\"",
        right: "Setting-up long polling in Amazon SQS: at most 20 seconds.",
        page: "SQSDeveloperGuide/best-practices-setting-up-long-polling.html",
    },
    Difference {
        check: "ids_of_other_characters_and_longer_ones_are_refused",
        protocol: None,
        it: "group and deduplication ids may be anything",
        shows: "failed: group a b\n  left: \"accepted\"",
        right: "SendMessage, MessageGroupId and MessageDeduplicationId: up to 128 letters, digits and \
                punctuation.",
        page: "APIReference/API_SendMessage.html",
    },
    Difference {
        check: "carriage_returns_come_back",
        protocol: Some(Protocol::Query),
        it: "carriage returns stand bare in XML, where parsers read them as line feeds",
        shows: "left: [\"\\n a line",
        right: "SendMessage, MessageBody: #xD is allowed; XML 1.0, 2.11 End-of-Line Handling. \
                https://www.w3.org/TR/xml/#sec-line-ends",
        page: "APIReference/API_SendMessage.html",
    },
    Difference {
        check: "the_trace_header_comes_back",
        protocol: Some(Protocol::Query),
        it: "message system attributes of forms are not read",
        shows: "no entry found for key",
        right: "SendMessage, MessageSystemAttribute.N.",
        page: "APIReference/API_SendMessage.html",
    },
    Difference {
        check: "a_message_has_up_to_ten_attributes",
        protocol: None,
        it: "attributes are not counted",
        shows: "failed: eleven attributes\n  left: \"accepted\"",
        right: "Message metadata for Amazon SQS: up to 10 attributes.",
        page: "SQSDeveloperGuide/sqs-message-metadata.html",
    },
    Difference {
        check: "an_attribute_has_a_name_a_known_type_and_a_value",
        protocol: None,
        it: "attributes are not checked",
        shows: "failed: empty\n  left: \"accepted\"",
        right: "Message metadata for Amazon SQS, Message attribute components and data types.",
        page: "SQSDeveloperGuide/sqs-message-metadata.html",
    },
    Difference {
        check: "attributes_count_as_part_of_the_message",
        protocol: None,
        it: "the body alone counts against the size of a message",
        shows: "failed: a byte too long\n  left: \"accepted\"",
        right: "Message metadata for Amazon SQS: all components of an attribute are part of the size.",
        page: "SQSDeveloperGuide/sqs-message-metadata.html",
    },
    Difference {
        check: "the_name_of_a_queue_has_80_letters_digits_hyphens_and_underscores",
        protocol: None,
        it: "a queue's name may be anything",
        shows: "left: \"accepted\"",
        right: "CreateQueue, QueueName.",
        page: "APIReference/API_CreateQueue.html",
    },
    Difference {
        check: "unknown_attributes_and_choices_are_refused",
        protocol: None,
        it: "queue attributes that are not numbers are not checked",
        shows: "failed: DeduplicationScope both\n  left: \"accepted\"",
        right: "SetQueueAttributes, Attributes and Errors.",
        page: "APIReference/API_SetQueueAttributes.html",
    },
    Difference {
        check: "a_second_purge_within_a_minute_is_refused",
        protocol: None,
        it: "a queue may be purged at any time",
        shows: "failed: the second purge\n  left: \"accepted\"",
        right: "PurgeQueue, Errors: PurgeQueueInProgress.",
        page: "APIReference/API_PurgeQueue.html",
    },
    Difference {
        check: "the_sources_of_a_dead_letter_queue_are_listed",
        protocol: None,
        it: "there is no ListDeadLetterSourceQueues",
        shows: "The action ListDeadLetterSourceQueues is not valid for this endpoint",
        right: "ListDeadLetterSourceQueues.",
        page: "APIReference/API_ListDeadLetterSourceQueues.html",
    },
];
