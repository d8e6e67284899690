//! Batches: what fails alone, and what fails them whole.

use super::sqs::{Failure, Receive, Sqs, bodies, code, message, now};

/// What each of the three batch actions says to entries of these ids.
async fn refused_by_all(sqs: &impl Sqs, ids: &[&str]) -> [String; 3] {
    let queue = sqs.queue(&[]).await;
    let sends: Vec<_> = ids.iter().map(|id| (*id, message("g", "x"))).collect();
    let deletes: Vec<_> = ids.iter().map(|id| (*id, "handle")).collect();
    let changes: Vec<_> = ids.iter().map(|id| (*id, "handle", 5)).collect();
    let refusals = [
        code(sqs.send_batch(&queue, &sends).await),
        code(sqs.delete_batch(&queue, &deletes).await),
        code(sqs.change_batch(&queue, &changes).await),
    ];
    assert_eq!(sqs.take(&queue, 10).await, [], "nothing of it was sent");
    refusals
}

pub async fn a_batch_is_received_in_the_order_of_its_entries(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let ids = ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"];
    let entries = ids.map(|id| (id, message("g", id)));
    let sent = sqs.send_batch(&queue, &entries).await.unwrap();
    let mut answered: Vec<_> =
        sent.successful.iter().map(|(id, sent)| (sent.sequence_number.clone(), id)).collect();
    answered.sort_unstable();
    assert_eq!(answered.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(), ids);
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ids);
}

pub async fn a_batch_fails_in_part_by_entry_id(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let entries = [("a", message("g", "1")), ("b-_B", message("g", "\u{1}")), ("c", message("g", "3"))];
    let sent = sqs.send_batch(&queue, &entries).await.unwrap();
    let successful: Vec<_> = sent.successful.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(successful, ["a", "c"]);
    let failure = Failure { id: "b-_B".into(), code: "InvalidMessageContents".into(), sender_fault: true };
    assert_eq!(sent.failed, [failure]);
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1", "3"]);
}

pub async fn an_entry_longer_than_the_queue_takes_fails_alone(sqs: impl Sqs) {
    let queue = sqs.queue(&[("MaximumMessageSize", "1024")]).await;
    let entries = [("long", message("g", &"x".repeat(1025))), ("fine", message("g", "2"))];
    let sent = sqs.send_batch(&queue, &entries).await.unwrap();
    let failure = Failure { id: "long".into(), code: "InvalidParameterValue".into(), sender_fault: true };
    assert_eq!(sent.failed, [failure]);
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["2"]);
}

pub async fn entry_ids_have_to_differ(sqs: impl Sqs) {
    let refused = refused_by_all(&sqs, &["a", "b", "a"]).await;
    assert_eq!(refused, ["AWS.SimpleQueueService.BatchEntryIdsNotDistinct"; 3]);
}

pub async fn eleven_entries_are_refused(sqs: impl Sqs) {
    let refused = refused_by_all(&sqs, &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]).await;
    assert_eq!(refused, ["AWS.SimpleQueueService.TooManyEntriesInBatchRequest"; 3]);
}

pub async fn no_entries_are_refused(sqs: impl Sqs) {
    let refused = refused_by_all(&sqs, &[]).await;
    assert_eq!(refused, ["AWS.SimpleQueueService.EmptyBatchRequest"; 3]);
}

pub async fn an_entry_id_is_up_to_80_letters_digits_hyphens_and_underscores(sqs: impl Sqs) {
    for bad in ["a b", "a.b", "é", &"a".repeat(81)] {
        let refused = refused_by_all(&sqs, &[bad]).await;
        assert_eq!(refused, ["AWS.SimpleQueueService.InvalidBatchEntryId"; 3], "{bad}");
    }
    let queue = sqs.queue(&[]).await;
    let longest = "aZ0-_".repeat(16);
    let sent = sqs.send_batch(&queue, &[(&longest, message("g", "1"))]).await.unwrap();
    assert_eq!(sent.successful[0].0, longest);
}

pub async fn a_batch_of_more_than_a_mebibyte_is_refused(sqs: impl Sqs) {
    const HALF: usize = 524_288;
    let queue = sqs.queue(&[]).await;
    let halves =
        |more: usize| [("a", message("g", &"x".repeat(HALF))), ("b", message("h", &"y".repeat(HALF + more)))];
    let refused = code(sqs.send_batch(&queue, &halves(1)).await);
    assert_eq!(refused, "AWS.SimpleQueueService.BatchRequestTooLong");
    assert_eq!(sqs.take(&queue, 10).await, []);
    assert_eq!(sqs.send_batch(&queue, &halves(0)).await.unwrap().successful.len(), 2);
}

pub async fn a_batch_of_changes_has_a_timeout_an_entry(sqs: impl Sqs) {
    let queue = sqs.queue(&[("VisibilityTimeout", "43200")]).await;
    sqs.put(&queue, "now", &["1"]).await;
    sqs.put(&queue, "soon", &["2"]).await;
    sqs.put(&queue, "late", &["3"]).await;
    let received = sqs.take(&queue, 10).await;
    let handle = |body: &str| received.iter().find(|message| message.body == body).unwrap().handle.as_str();
    let entries = [("a", handle("1"), 0), ("b", handle("2"), 1), ("c", handle("3"), 600)];
    let changed = sqs.change_batch(&queue, &entries).await.unwrap();
    assert_eq!((changed.successful.len(), changed.failed), (3, vec![]));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let wanted = Receive { wait: Some(20), visibility: Some(43_200), ..now(1) };
        seen.extend(sqs.receive(&queue, &wanted).await.unwrap().into_iter().map(|message| message.body));
    }
    assert_eq!(seen, ["1", "2"]);
    assert_eq!(sqs.take(&queue, 10).await, []);
}

pub async fn unknown_handles_fail_in_their_entries_of_a_batch(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2"]).await;
    let run = sqs.take(&queue, 10).await;
    let failed = [Failure { id: "x".into(), code: "ReceiptHandleIsInvalid".into(), sender_fault: true }];
    let changed =
        sqs.change_batch(&queue, &[("x", "nonsense", 5), ("a", &run[0].handle, 600)]).await.unwrap();
    assert_eq!((changed.successful, &changed.failed[..]), (vec![("a".to_owned(), ())], &failed[..]));
    let entries = [("a", run[0].handle.as_str()), ("x", "nonsense"), ("b", &run[1].handle)];
    let deleted = sqs.delete_batch(&queue, &entries).await.unwrap();
    let successful: Vec<_> = deleted.successful.iter().map(|(id, ())| id.as_str()).collect();
    assert_eq!((successful, &deleted.failed[..]), (vec!["a", "b"], &failed[..]));
}
