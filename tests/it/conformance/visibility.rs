//! Visibility timeouts.

use super::sqs::{Receive, Sqs, bodies, code, now};

/// A receive that waits, for as long as SQS lets it.
fn wait(max: i32) -> Receive {
    Receive { wait: Some(20), ..now(max) }
}

pub async fn a_timeout_brings_a_run_back_in_order_and_counts_the_receives(sqs: impl Sqs) {
    let queue = sqs.queue(&[("VisibilityTimeout", "1")]).await;
    sqs.put(&queue, "g", &["1", "2", "3"]).await;
    for count in ["1", "2", "3"] {
        let wanted = Receive { system: vec!["ApproximateReceiveCount"], ..wait(10) };
        let run = sqs.receive(&queue, &wanted).await.unwrap();
        assert_eq!(bodies(&run), ["1", "2", "3"]);
        assert!(run.iter().all(|message| message.system["ApproximateReceiveCount"] == count), "{run:?}");
    }
}

pub async fn the_timeout_of_a_receive_outweighs_the_one_of_the_queue(sqs: impl Sqs) {
    let long = sqs.queue(&[("VisibilityTimeout", "43200")]).await;
    sqs.put(&long, "g", &["1"]).await;
    let short = Receive { visibility: Some(1), ..now(1) };
    assert_eq!(bodies(&sqs.receive(&long, &short).await.unwrap()), ["1"]);
    assert_eq!(bodies(&sqs.wait(&long, 1).await), ["1"]);
    let none = sqs.queue(&[("VisibilityTimeout", "0")]).await;
    sqs.put(&none, "g", &["1"]).await;
    let hidden = Receive { visibility: Some(43_200), ..now(1) };
    assert_eq!(bodies(&sqs.receive(&none, &hidden).await.unwrap()), ["1"]);
    assert_eq!(sqs.take(&none, 1).await, []);
}

pub async fn a_release_makes_a_message_receivable_at_once(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1"]).await;
    let first = sqs.take(&queue, 1).await;
    sqs.change(&queue, &first[0].handle, 0).await.unwrap();
    let second = sqs.take(&queue, 1).await;
    assert_eq!((bodies(&second), &second[0].id), (vec!["1"], &first[0].id));
    assert_ne!(second[0].handle, first[0].handle);
}

pub async fn a_change_shortens_a_timeout(sqs: impl Sqs) {
    let queue = sqs.queue(&[("VisibilityTimeout", "43200")]).await;
    sqs.put(&queue, "g", &["1"]).await;
    let first = sqs.take(&queue, 1).await;
    sqs.change(&queue, &first[0].handle, 1).await.unwrap();
    assert_eq!(bodies(&sqs.wait(&queue, 1).await), ["1"]);
}

pub async fn a_change_extends_a_timeout(sqs: impl Sqs) {
    let queue = sqs.queue(&[("VisibilityTimeout", "3")]).await;
    sqs.put(&queue, "extended", &["1"]).await;
    let extended = sqs.take(&queue, 1).await;
    sqs.change(&queue, &extended[0].handle, 3600).await.unwrap();
    // Received later, with the same timeout: when it is back, the other would be.
    sqs.put(&queue, "witness", &["2"]).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["2"]);
    assert_eq!(bodies(&sqs.wait(&queue, 10).await), ["2"]);
    sqs.delete(&queue, &extended[0].handle).await.unwrap();
}

pub async fn a_timeout_over_12_hours_is_refused(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1"]).await;
    let long = Receive { visibility: Some(43_201), ..now(1) };
    assert_eq!(code(sqs.receive(&queue, &long).await), "InvalidParameterValue", "a receive");
    let received = sqs.take(&queue, 1).await;
    let changed = code(sqs.change(&queue, &received[0].handle, 43_201).await);
    assert_eq!(changed, "InvalidParameterValue", "a change");
    let batch = sqs.change_batch(&queue, &[("a", &received[0].handle, 43_201)]).await.unwrap();
    assert_eq!((batch.successful, batch.failed[0].code.as_str()), (vec![], "InvalidParameterValue"));
    sqs.change(&queue, &received[0].handle, 43_000).await.unwrap();
}

pub async fn twelve_hours_count_from_the_receive(sqs: impl Sqs) {
    let queue = sqs.queue(&[("VisibilityTimeout", "43200")]).await;
    sqs.put(&queue, "g", &["1"]).await;
    let received = sqs.take(&queue, 1).await;
    // Back after a second, and so more than a second after the other's receive.
    sqs.put(&queue, "witness", &["2"]).await;
    let witness = Receive { visibility: Some(1), ..now(10) };
    assert_eq!(bodies(&sqs.receive(&queue, &witness).await.unwrap()), ["2"]);
    assert_eq!(bodies(&sqs.wait(&queue, 10).await), ["2"]);
    let beyond = code(sqs.change(&queue, &received[0].handle, 43_200).await);
    assert_eq!(beyond, "InvalidParameterValue", "a second more than twelve hours");
    sqs.change(&queue, &received[0].handle, 40_000).await.unwrap();
}
