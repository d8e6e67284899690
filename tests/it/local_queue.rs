//! The local queue over the wire, by the Rust SDK.

use std::time::Duration;

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName, SendMessageBatchRequestEntry};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::world::{client, create, local_queue, unique};

/// A poll that waits for 20 s has been woken if it ends well before.
const WOKEN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_long_poll_wakes_on_a_send_a_delete_a_release_and_a_timeout() {
    let shutdown = CancellationToken::new();
    let sqs = client(&local_queue(&shutdown).await);
    let queue = create(&sqs, &format!("{}.fifo", unique()), &[]).await;
    let send = async |n: u32| {
        let request = sqs.send_message().queue_url(&queue).message_group_id("g");
        request.message_deduplication_id(n.to_string()).message_body(n.to_string()).send().await.unwrap();
    };
    let poll = async || {
        let began = Instant::now();
        let request = sqs.receive_message().queue_url(&queue).wait_time_seconds(20);
        let message = request.send().await.unwrap().messages.unwrap().remove(0);
        assert!(began.elapsed() < WOKEN);
        (message.body.unwrap(), message.receipt_handle.unwrap())
    };
    let ((body, first), ()) = tokio::join!(poll(), async {
        sleep(Duration::from_millis(200)).await;
        send(1).await;
    });
    assert_eq!(body, "1");
    send(2).await;
    let delete = async {
        sleep(Duration::from_millis(200)).await;
        sqs.delete_message().queue_url(&queue).receipt_handle(&first).send().await.unwrap();
    };
    let ((body, second), ()) = tokio::join!(poll(), delete);
    assert_eq!(body, "2");
    let release = async {
        sleep(Duration::from_millis(200)).await;
        let request = sqs.change_message_visibility().queue_url(&queue).receipt_handle(&second);
        request.visibility_timeout(0).send().await.unwrap();
    };
    let ((body, _), ()) = tokio::join!(poll(), release);
    assert_eq!(body, "2");
    assert_eq!(poll().await.0, "2", "its visibility timeout of 5 s ends");
}

#[tokio::test]
async fn attributes_and_digests_pass_the_sdk_and_errors_have_awss_own_codes() {
    let shutdown = CancellationToken::new();
    let sqs = client(&local_queue(&shutdown).await);
    let queue = create(&sqs, &format!("{}.fifo", unique()), &[]).await;
    let attribute = |kind: &str, value: &str| {
        MessageAttributeValue::builder().data_type(kind).string_value(value).build().unwrap()
    };
    sqs.send_message()
        .queue_url(&queue)
        .message_body("body \u{1F600} <&>\r\n")
        .message_group_id("g")
        .message_deduplication_id("d")
        .message_attributes("b", attribute("Number", "1.5"))
        .message_attributes("a", attribute("String.x", "é"))
        .send()
        .await
        .unwrap();
    let request = sqs.receive_message().queue_url(&queue).message_attribute_names("All");
    let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
    let message = request.send().await.unwrap().messages.unwrap().remove(0);
    assert_eq!(message.body.as_deref(), Some("body \u{1F600} <&>\r\n"));
    assert_eq!(message.message_attributes.unwrap()["a"], attribute("String.x", "é"));
    assert_eq!(message.attributes.unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount], "1");

    let missing = sqs.receive_message().queue_url(queue.replace(".fifo", "x.fifo")).send().await.unwrap_err();
    assert!(missing.into_service_error().is_queue_does_not_exist());
    let invalid = sqs.delete_message().queue_url(&queue).receipt_handle("nonsense").send().await.unwrap_err();
    assert!(invalid.into_service_error().is_receipt_handle_is_invalid());
    let empty =
        sqs.delete_message_batch().queue_url(&queue).set_entries(Some(Vec::new())).send().await.unwrap_err();
    assert!(empty.into_service_error().is_empty_batch_request());
    let many = sqs.receive_message().queue_url(&queue).max_number_of_messages(11).send().await.unwrap_err();
    assert_eq!(many.into_service_error().code(), Some("InvalidParameterValue"));
}

#[tokio::test]
async fn a_batch_fails_in_part_and_as_a_whole_only_where_sqs_refuses_it() {
    let shutdown = CancellationToken::new();
    let sqs = client(&local_queue(&shutdown).await);
    let queue = create(&sqs, &format!("{}.fifo", unique()), &[]).await;
    let entry = |id: &str, body: &str| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(body)
            .message_group_id("g")
            .message_deduplication_id(id)
            .build()
            .unwrap()
    };
    let send = async |entries: Vec<SendMessageBatchRequestEntry>| {
        sqs.send_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await
    };
    let code = |failed: Result<_, aws_sdk_sqs::error::SdkError<_>>| -> String {
        let error: aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError = failed
            .map(|_: aws_sdk_sqs::operation::send_message_batch::SendMessageBatchOutput| ())
            .unwrap_err()
            .into_service_error();
        error.code().unwrap().to_owned()
    };
    let half = send(vec![entry("a", "fine"), entry("b", "\u{1}")]).await.unwrap();
    assert_eq!((half.successful.len(), half.failed[0].id.as_str()), (1, "b"));
    assert!(half.failed[0].sender_fault);
    let eleven = (0..11).map(|n| entry(&n.to_string(), "x")).collect();
    assert!(code(send(eleven).await).ends_with("TooManyEntriesInBatchRequest"));
    assert!(code(send(vec![entry("a", "x"), entry("a", "y")]).await).ends_with("BatchEntryIdsNotDistinct"));
    let half_a_mebibyte = "x".repeat(600_000);
    let long = vec![entry("c", &half_a_mebibyte), entry("d", &half_a_mebibyte)];
    assert!(code(send(long).await).ends_with("BatchRequestTooLong"));
    let twice = send(vec![entry("e", "x"), entry("f", "x")]).await.unwrap();
    assert_eq!(twice.successful.len(), 2);
}
