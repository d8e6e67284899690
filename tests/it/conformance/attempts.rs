//! `ReceiveRequestAttemptId`: a receive whose answer was lost is asked for again.

use super::sqs::{Receive, Sqs, bodies, code, now};

fn attempt(id: &str, max: i32) -> Receive {
    Receive { attempt: Some(id.into()), ..now(max) }
}

pub async fn an_attempt_id_brings_the_same_messages_and_handles_again(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2", "3"]).await;
    let lost = sqs.receive(&queue, &attempt("try", 2)).await.unwrap();
    let again = sqs.receive(&queue, &attempt("try", 2)).await.unwrap();
    assert_eq!(bodies(&again), ["1", "2"]);
    assert_eq!(again, lost);
    sqs.delete_all(&queue, &again).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["3"]);
}

pub async fn an_attempt_id_is_void_once_one_of_its_messages_was_deleted(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2"]).await;
    sqs.put(&queue, "h", &["3"]).await;
    let run = sqs.receive(&queue, &attempt("try", 2)).await.unwrap();
    assert_eq!(bodies(&run), ["1", "2"]);
    sqs.delete(&queue, &run[0].handle).await.unwrap();
    assert_eq!(bodies(&sqs.receive(&queue, &attempt("try", 2)).await.unwrap()), ["3"], "a new receive");
}

pub async fn an_attempt_id_is_void_once_a_visibility_was_changed(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2"]).await;
    sqs.put(&queue, "h", &["3"]).await;
    let run = sqs.receive(&queue, &attempt("try", 2)).await.unwrap();
    sqs.change(&queue, &run[1].handle, 600).await.unwrap();
    assert_eq!(bodies(&sqs.receive(&queue, &attempt("try", 2)).await.unwrap()), ["3"], "a new receive");
}

pub async fn another_attempt_id_gets_nothing_of_a_blocked_group(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2"]).await;
    assert_eq!(bodies(&sqs.receive(&queue, &attempt("one", 1)).await.unwrap()), ["1"]);
    assert_eq!(sqs.receive(&queue, &attempt("two", 1)).await.unwrap(), []);
}

pub async fn an_attempt_id_has_up_to_128_printable_characters(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1"]).await;
    for bad in ["a".repeat(129), "a b".to_owned(), "é".to_owned()] {
        assert_eq!(code(sqs.receive(&queue, &attempt(&bad, 1)).await), "InvalidParameterValue", "{bad}");
    }
    assert_eq!(bodies(&sqs.receive(&queue, &attempt(&"~".repeat(128), 1)).await.unwrap()), ["1"]);
}
