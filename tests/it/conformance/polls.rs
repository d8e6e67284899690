//! Long polls: what wakes them, and their bounds.

use std::time::Duration;

use super::sqs::{Answer, Receive, Received, Sqs, bodies, code, now};

/// What a poll of 20 s is answered with, while `meanwhile` happens. It has been woken if its answer
/// comes before that of a poll of 10 s that nothing wakes.
async fn woken(sqs: &impl Sqs, queue: &str, meanwhile: impl Future<Output = Answer<()>>) -> Vec<Received> {
    let quiet = sqs.queue(&[]).await;
    let half_as_long = Receive { wait: Some(10), ..now(10) };
    let happening = async {
        // So that the poll is waiting by then; if it is not, the check is weaker, and holds.
        tokio::time::sleep(Duration::from_millis(200)).await;
        meanwhile.await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        received = sqs.wait(queue, 10) => received,
        _ = sqs.receive(&quiet, &half_as_long) => panic!("nothing woke the poll"),
        () = happening => unreachable!("it never ends"),
    }
}

pub async fn a_poll_wakes_on_a_send(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let send = async {
        sqs.put(&queue, "g", &["1"]).await;
        Ok(())
    };
    assert_eq!(bodies(&woken(&sqs, &queue, send).await), ["1"]);
}

pub async fn a_poll_wakes_on_the_delete_that_unblocks_a_group(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2"]).await;
    let first = sqs.take(&queue, 1).await;
    let delete = sqs.delete(&queue, &first[0].handle);
    assert_eq!(bodies(&woken(&sqs, &queue, delete).await), ["2"]);
}

pub async fn a_poll_wakes_on_a_release(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1"]).await;
    let first = sqs.take(&queue, 1).await;
    let release = sqs.change(&queue, &first[0].handle, 0);
    assert_eq!(bodies(&woken(&sqs, &queue, release).await), ["1"]);
}

pub async fn a_poll_wakes_on_the_end_of_a_timeout(sqs: impl Sqs) {
    let queue = sqs.queue(&[("VisibilityTimeout", "1")]).await;
    sqs.put(&queue, "g", &["1"]).await;
    assert_eq!(bodies(&sqs.take(&queue, 1).await), ["1"]);
    assert_eq!(bodies(&woken(&sqs, &queue, std::future::ready(Ok(()))).await), ["1"]);
}

pub async fn a_receive_waits_as_long_as_the_queue_says(sqs: impl Sqs) {
    let queue = sqs.queue(&[("ReceiveMessageWaitTimeSeconds", "20"), ("VisibilityTimeout", "1")]).await;
    assert_eq!(sqs.take(&queue, 10).await, [], "a receive may ask for less");
    sqs.put(&queue, "g", &["1"]).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1"]);
    let received = sqs.receive(&queue, &Receive { wait: None, ..now(10) }).await.unwrap();
    assert_eq!(bodies(&received), ["1"], "back within the queue's own wait");
}

pub async fn a_receive_asks_for_1_to_10_messages(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    for wrong in [0, 11] {
        assert_eq!(code(sqs.receive(&queue, &now(wrong)).await), "InvalidParameterValue", "{wrong}");
    }
}

pub async fn a_receive_waits_for_up_to_20_seconds(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1"]).await;
    for wrong in [-1, 21] {
        let refused = code(sqs.receive(&queue, &Receive { wait: Some(wrong), ..now(1) }).await);
        assert_eq!(refused, "InvalidParameterValue", "{wrong} s");
    }
    assert_eq!(bodies(&sqs.receive(&queue, &Receive { wait: Some(20), ..now(1) }).await.unwrap()), ["1"]);
}
