//! One conformance suite for SQS FIFO queues, by both protocols, against the local queue; or, with
//! `HOOKFERRY_TEST_SQS_ENDPOINT` set, against whatever is there. With `HOOKFERRY_TEST_SQS_PEER` naming
//! it, its known differences have to show: see [`differences`].
//!
//! A check is written once, against [`sqs::Sqs`], and is a test a protocol. It compares what arrives;
//! where time has to pass it waits for what time brings, and asserts no upper bound on it.

mod attempts;
mod attributes;
mod batches;
mod dead_letters;
mod deduplication;
mod differences;
mod messages;
mod order;
mod polls;
mod query;
mod queues;
mod receipts;
mod sdk;
mod sqs;
mod visibility;

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::{client, local_queue};

/// Which of SQS' protocols is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Json,
    Query,
}

/// The service that is checked.
struct Service {
    endpoint: String,
    peer: Option<String>,
    _ends: DropGuard,
}

impl Service {
    async fn start() -> Self {
        let shutdown = CancellationToken::new();
        let (endpoint, peer) = match std::env::var("HOOKFERRY_TEST_SQS_ENDPOINT") {
            Ok(endpoint) => (endpoint, std::env::var("HOOKFERRY_TEST_SQS_PEER").ok()),
            Err(_) => (local_queue(&shutdown).await, None),
        };
        Self { endpoint, peer, _ends: shutdown.drop_guard() }
    }

    fn json(&self) -> aws_sdk_sqs::Client {
        client(&self.endpoint)
    }

    fn query(&self) -> query::Client {
        query::Client::new(&self.endpoint)
    }

    /// A check passes; at a peer that is known to differ it fails, and as the list says.
    async fn judge(&self, protocol: Protocol, name: &str, check: impl Future<Output = ()>) {
        let known = self.peer.as_deref().and_then(|peer| differences::of(peer, name, protocol));
        match (known, AssertUnwindSafe(check).catch_unwind().await) {
            (None, Ok(())) => {}
            (None, Err(panic)) => resume_unwind(panic),
            (Some(known), Ok(())) => {
                panic!("{name} holds: the list of differences is out of date, where it says: {known}")
            }
            (Some(known), Err(panic)) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
                assert!(said.contains(known.shows), "{name} fails, and not because {known}: {said}");
            }
        }
    }
}

/// Every check as a test of each protocol, and all their names.
macro_rules! checks {
    ($($module:ident: $($check:ident)*;)*) => {
        const CHECKS: &[&str] = &[$($(stringify!($check)),*),*];

        mod json {$($(
            #[tokio::test]
            async fn $check() {
                let service = super::Service::start().await;
                let check = super::$module::$check(service.json());
                service.judge(super::Protocol::Json, stringify!($check), check).await;
            }
        )*)*}

        mod by_query {$($(
            #[tokio::test]
            async fn $check() {
                let service = super::Service::start().await;
                let check = super::$module::$check(service.query());
                service.judge(super::Protocol::Query, stringify!($check), check).await;
            }
        )*)*}
    };
}

checks! {
    order:
        a_group_is_received_in_the_order_of_its_sending
        one_receive_hands_out_up_to_ten_of_one_group
        a_receive_hands_out_one_message_unless_asked_for_more
        a_receive_is_filled_from_one_group_before_the_next
        a_message_in_flight_blocks_the_rest_of_its_group
        a_message_sent_to_a_blocked_group_waits_for_it
        a_group_in_flight_blocks_no_other_group
        the_last_delete_of_a_run_unblocks_its_group_and_no_earlier_one
        the_last_release_of_a_run_unblocks_its_group_and_no_earlier_one
        a_run_released_backwards_comes_back_in_order
        a_hidden_head_is_not_overtaken_by_its_visible_tail
        a_visible_head_is_received_while_its_tail_is_hidden
        a_receive_that_hides_nothing_hands_out_each_message_once
        sequence_numbers_rise;
    visibility:
        a_timeout_brings_a_run_back_in_order_and_counts_the_receives
        the_timeout_of_a_receive_outweighs_the_one_of_the_queue
        a_release_makes_a_message_receivable_at_once
        a_change_shortens_a_timeout
        a_change_extends_a_timeout
        a_timeout_over_12_hours_is_refused
        twelve_hours_count_from_the_receive;
    receipts:
        an_expired_handle_deletes_nothing
        an_expired_handle_changes_nothing
        expired_handles_fail_in_their_entries_of_a_batch
        a_superseded_handle_settles_nothing
        a_handle_that_never_was_is_invalid;
    attempts:
        an_attempt_id_brings_the_same_messages_and_handles_again
        an_attempt_id_is_void_once_one_of_its_messages_was_deleted
        an_attempt_id_is_void_once_a_visibility_was_changed
        another_attempt_id_gets_nothing_of_a_blocked_group
        an_attempt_id_has_up_to_128_printable_characters;
    deduplication:
        a_deduplication_id_is_delivered_once
        a_deduplication_id_outlives_its_message
        content_deduplicates_where_the_queue_says_so
        a_deduplication_id_outweighs_the_content
        the_hash_of_the_content_is_its_deduplication_id
        without_an_id_or_the_content_a_message_is_refused
        a_deduplication_id_holds_for_all_groups_of_a_queue
        a_deduplication_id_holds_for_its_group_where_the_queue_says_so
        a_duplicate_within_a_batch_succeeds_and_is_delivered_once;
    batches:
        a_batch_is_received_in_the_order_of_its_entries
        a_batch_fails_in_part_by_entry_id
        an_entry_longer_than_the_queue_takes_fails_alone
        entry_ids_have_to_differ
        eleven_entries_are_refused
        no_entries_are_refused
        an_entry_id_is_up_to_80_letters_digits_hyphens_and_underscores
        a_batch_of_more_than_a_mebibyte_is_refused
        a_batch_of_changes_has_a_timeout_an_entry
        unknown_handles_fail_in_their_entries_of_a_batch;
    dead_letters:
        what_was_received_too_often_moves_with_its_group_in_order
        a_dead_letter_tells_its_source_and_goes_on_counting
        a_dead_lettered_head_unblocks_its_group
        the_sources_of_a_dead_letter_queue_are_listed
        a_redrive_policy_names_a_queue_that_exists
        a_redrive_policy_allows_1_to_1000_receives;
    messages:
        bodies_come_back_byte_for_byte
        carriage_returns_come_back
        characters_that_xml_has_not_are_refused
        an_empty_body_is_refused
        a_message_without_a_group_is_refused
        ids_have_128_characters_and_all_punctuation
        ids_of_other_characters_and_longer_ones_are_refused
        a_message_of_a_mebibyte_is_taken_and_a_byte_more_is_not
        a_queue_may_take_shorter_messages_only
        a_message_of_a_fifo_queue_has_no_delay_of_its_own
        digests_are_those_of_what_was_sent;
    attributes:
        attributes_of_every_type_come_back
        attributes_come_by_name_by_prefix_or_all
        attributes_count_as_part_of_the_message
        an_attribute_has_a_name_a_known_type_and_a_value
        a_message_has_up_to_ten_attributes
        system_attributes_tell_of_the_message
        system_attributes_come_as_asked_for
        the_trace_header_comes_back
        the_first_receive_is_remembered;
    queues:
        a_queue_is_created_twice_alike_and_not_otherwise
        the_name_of_a_fifo_queue_ends_in_fifo
        the_name_of_a_queue_has_80_letters_digits_hyphens_and_underscores
        a_queue_that_is_not_there_is_told
        queues_are_listed_by_prefix_and_by_the_page
        what_is_set_is_shown
        numbers_out_of_bounds_are_refused
        unknown_attributes_and_choices_are_refused
        messages_are_counted_as_visible_in_flight_and_delayed
        a_purge_empties_a_queue_with_what_is_in_flight
        a_second_purge_within_a_minute_is_refused
        the_delay_of_a_queue_holds_messages_back_in_order;
    polls:
        a_poll_wakes_on_a_send
        a_poll_wakes_on_the_delete_that_unblocks_a_group
        a_poll_wakes_on_a_release
        a_poll_wakes_on_the_end_of_a_timeout
        a_receive_waits_as_long_as_the_queue_says
        a_receive_asks_for_1_to_10_messages
        a_receive_waits_for_up_to_20_seconds;
}
