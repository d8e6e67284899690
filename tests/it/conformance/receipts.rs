//! Receipt handles that are no longer good, and those that never were.

use super::sqs::{Failure, Receive, Received, Sqs, bodies, code, now};

/// A message whose visibility timeout has passed, and that nobody has received since; so many others
/// are in flight.
async fn expired(sqs: &impl Sqs, queue: &str, in_flight: usize) -> Received {
    sqs.put(queue, "g", &["1"]).await;
    let mut received = sqs.receive(queue, &Receive { visibility: Some(1), ..now(1) }).await.unwrap();
    assert_eq!(bodies(&received), ["1"]);
    sqs.wait_until_in_flight(queue, in_flight).await;
    received.remove(0)
}

pub async fn an_expired_handle_deletes_nothing(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let message = expired(&sqs, &queue, 0).await;
    assert_eq!(code(sqs.delete(&queue, &message.handle).await), "InvalidParameterValue", "expired");
    assert_eq!(bodies(&sqs.take(&queue, 1).await), ["1"]);
}

pub async fn an_expired_handle_changes_nothing(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let message = expired(&sqs, &queue, 0).await;
    assert_eq!(code(sqs.change(&queue, &message.handle, 600).await), "InvalidParameterValue", "expired");
    assert_eq!(bodies(&sqs.take(&queue, 1).await), ["1"]);
}

pub async fn expired_handles_fail_in_their_entries_of_a_batch(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "h", &["2"]).await;
    let fine = &sqs.take(&queue, 10).await[0].handle;
    let old = expired(&sqs, &queue, 1).await.handle;
    let failed = [Failure { id: "old".into(), code: "ReceiptHandleIsInvalid".into(), sender_fault: true }];
    let changed = sqs.change_batch(&queue, &[("old", &old, 600), ("fine", fine, 600)]).await.unwrap();
    assert_eq!((changed.successful, &changed.failed[..]), (vec![("fine".to_owned(), ())], &failed[..]));
    let deleted = sqs.delete_batch(&queue, &[("old", &old), ("fine", fine)]).await.unwrap();
    assert_eq!((deleted.successful, &deleted.failed[..]), (vec![("fine".to_owned(), ())], &failed[..]));
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1"], "visible, and still there");
}

pub async fn a_superseded_handle_settles_nothing(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let old = expired(&sqs, &queue, 0).await.handle;
    let new = sqs.take(&queue, 1).await;
    assert_eq!(code(sqs.delete(&queue, &old).await), "InvalidParameterValue", "superseded");
    assert_eq!(code(sqs.change(&queue, &old, 0).await), "InvalidParameterValue", "superseded");
    assert_eq!(sqs.take(&queue, 1).await, [], "still in flight");
    sqs.change(&queue, &new[0].handle, 0).await.unwrap();
    assert_eq!(bodies(&sqs.take(&queue, 1).await), ["1"], "still there");
}

pub async fn a_handle_that_never_was_is_invalid(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    assert_eq!(code(sqs.delete(&queue, "nonsense").await), "ReceiptHandleIsInvalid");
    assert_eq!(code(sqs.change(&queue, "nonsense", 5).await), "ReceiptHandleIsInvalid");
}
