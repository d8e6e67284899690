//! What the conformance suite does not see of the local queue.

use tokio_util::sync::CancellationToken;

use crate::world::{client, create, local_queue, unique};

#[tokio::test]
async fn errors_are_of_the_types_that_the_sdk_knows() {
    let shutdown = CancellationToken::new();
    let sqs = client(&local_queue(&shutdown).await);
    let name = format!("{}.fifo", unique());
    let queue = create(&sqs, &name, &[]).await;
    let missing = sqs.receive_message().queue_url(queue.replace(".fifo", "x.fifo")).send().await.unwrap_err();
    assert!(missing.into_service_error().is_queue_does_not_exist());
    let invalid = sqs.delete_message().queue_url(&queue).receipt_handle("nonsense").send().await.unwrap_err();
    assert!(invalid.into_service_error().is_receipt_handle_is_invalid());
    let empty =
        sqs.delete_message_batch().queue_url(&queue).set_entries(Some(Vec::new())).send().await.unwrap_err();
    assert!(empty.into_service_error().is_empty_batch_request());
    let unlike = sqs.create_queue().queue_name(&name).attributes("FifoQueue".into(), "true");
    let exists = unlike.send().await.unwrap_err();
    assert!(exists.into_service_error().is_queue_name_exists());
    sqs.purge_queue().queue_url(&queue).send().await.unwrap();
    let again = sqs.purge_queue().queue_url(&queue).send().await.unwrap_err();
    assert!(again.into_service_error().is_purge_queue_in_progress());
}
