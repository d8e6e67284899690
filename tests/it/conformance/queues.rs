//! Queues as such.

use super::sqs::{Receive, Sqs, bodies, code, fifo, message, now};
use crate::world::unique;

pub async fn a_queue_is_created_twice_alike_and_not_otherwise(sqs: impl Sqs) {
    let name = format!("{}.fifo", unique());
    let first = sqs.create_queue(&name, &fifo(&[("VisibilityTimeout", "7")])).await.unwrap();
    let again = sqs.create_queue(&name, &fifo(&[("VisibilityTimeout", "7")])).await.unwrap();
    assert_eq!(again, first);
    let other = sqs.create_queue(&name, &fifo(&[("VisibilityTimeout", "8")])).await;
    assert_eq!(code(other), "QueueAlreadyExists");
    assert_eq!(sqs.queue_url(&name).await.unwrap(), first);
    assert!(first.ends_with(&format!("/{name}")));
}

pub async fn the_name_of_a_fifo_queue_ends_in_fifo(sqs: impl Sqs) {
    assert_eq!(code(sqs.create_queue(&unique(), &fifo(&[])).await), "InvalidParameterValue");
}

pub async fn the_name_of_a_queue_has_80_letters_digits_hyphens_and_underscores(sqs: impl Sqs) {
    let named = |length: usize| format!("{:_<width$}.fifo", unique(), width = length - 5);
    for bad in [format!("a b {}.fifo", unique()), format!("é{}.fifo", unique()), named(81)] {
        assert_eq!(code(sqs.create_queue(&bad, &fifo(&[])).await), "InvalidParameterValue", "{bad}");
    }
    let longest = named(80);
    let url = sqs.create_queue(&longest, &fifo(&[])).await.unwrap();
    assert!(url.ends_with(&format!("/{longest}")), "{url}");
}

pub async fn a_queue_that_is_not_there_is_told(sqs: impl Sqs) {
    const GONE: &str = "AWS.SimpleQueueService.NonExistentQueue";
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1"]).await;
    sqs.delete_queue(&queue).await.unwrap();
    assert_eq!(code(sqs.receive(&queue, &now(1)).await), GONE);
    assert_eq!(code(sqs.send(&queue, &message("g", "1")).await), GONE);
    assert_eq!(code(sqs.send_batch(&queue, &[("a", message("g", "1"))]).await), GONE);
    assert_eq!(code(sqs.delete_batch(&queue, &[("a", "handle")]).await), GONE);
    assert_eq!(code(sqs.attributes(&queue, &["All"]).await), GONE);
    assert_eq!(code(sqs.queue_url(&format!("{}.fifo", unique())).await), GONE);
}

pub async fn queues_are_listed_by_prefix_and_by_the_page(sqs: impl Sqs) {
    let prefix = unique();
    let mut created = Vec::new();
    for n in 0..3 {
        created.push(sqs.create_queue(&format!("{prefix}-{n}.fifo"), &fifo(&[])).await.unwrap());
    }
    let (mut all, more) = sqs.list_queues(&prefix, None, None).await.unwrap();
    all.sort_unstable();
    assert_eq!((all, more), (created.clone(), None));
    let (mut pages, token) = sqs.list_queues(&prefix, Some(2), None).await.unwrap();
    assert_eq!(pages.len(), 2);
    let (rest, _) = sqs.list_queues(&prefix, Some(2), token.as_deref()).await.unwrap();
    pages.extend(rest);
    pages.sort_unstable();
    assert_eq!(pages, created);
}

pub async fn what_is_set_is_shown(sqs: impl Sqs) {
    let queue = sqs.queue(&[("VisibilityTimeout", "5")]).await;
    let set = [
        ("VisibilityTimeout", "43200"),
        ("MessageRetentionPeriod", "1209600"),
        ("ReceiveMessageWaitTimeSeconds", "20"),
        ("MaximumMessageSize", "1024"),
        ("DelaySeconds", "900"),
        ("ContentBasedDeduplication", "true"),
        ("DeduplicationScope", "messageGroup"),
        ("FifoThroughputLimit", "perMessageGroupId"),
    ];
    sqs.set_attributes(&queue, &set).await.unwrap();
    let all = sqs.attributes(&queue, &["All"]).await.unwrap();
    for (name, value) in set.into_iter().chain([("FifoQueue", "true")]) {
        assert_eq!(all.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(all["QueueArn"].ends_with(queue.rsplit('/').next().unwrap()));
    let some = sqs.attributes(&queue, &["DelaySeconds", "QueueArn"]).await.unwrap();
    assert_eq!(some.keys().collect::<Vec<_>>(), ["DelaySeconds", "QueueArn"]);
}

pub async fn numbers_out_of_bounds_are_refused(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    for (name, value) in [
        ("VisibilityTimeout", "43201"),
        ("VisibilityTimeout", "-1"),
        ("VisibilityTimeout", "soon"),
        ("MessageRetentionPeriod", "59"),
        ("MessageRetentionPeriod", "1209601"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("MaximumMessageSize", "1023"),
        ("MaximumMessageSize", "1048577"),
        ("DelaySeconds", "901"),
    ] {
        let refused = code(sqs.set_attributes(&queue, &[(name, value)]).await);
        assert_eq!(refused, "InvalidAttributeValue", "{name} {value}");
    }
}

pub async fn unknown_attributes_and_choices_are_refused(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    for (name, value) in [("DeduplicationScope", "both"), ("FifoThroughputLimit", "none")] {
        let refused = code(sqs.set_attributes(&queue, &[(name, value)]).await);
        assert_eq!(refused, "InvalidAttributeValue", "{name} {value}");
    }
    assert_eq!(code(sqs.set_attributes(&queue, &[("Colour", "red")]).await), "InvalidAttributeName");
}

pub async fn messages_are_counted_as_visible_in_flight_and_delayed(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let counts = async |queue: &str| {
        let all = sqs.attributes(queue, &["All"]).await.unwrap();
        ["", "NotVisible", "Delayed"].map(|kind| all[&format!("ApproximateNumberOfMessages{kind}")].clone())
    };
    assert_eq!(counts(&queue).await, ["0", "0", "0"]);
    sqs.put(&queue, "g", &["1", "2", "3"]).await;
    assert_eq!(counts(&queue).await, ["3", "0", "0"]);
    let run = sqs.take(&queue, 2).await;
    assert_eq!(counts(&queue).await, ["1", "2", "0"]);
    sqs.delete(&queue, &run[0].handle).await.unwrap();
    sqs.change(&queue, &run[1].handle, 0).await.unwrap();
    assert_eq!(counts(&queue).await, ["2", "0", "0"]);
    let delayed = sqs.queue(&[("DelaySeconds", "900")]).await;
    sqs.put(&delayed, "g", &["1"]).await;
    assert_eq!(counts(&delayed).await, ["0", "0", "1"]);
}

pub async fn a_purge_empties_a_queue_with_what_is_in_flight(sqs: impl Sqs) {
    // AWS takes up to a minute to purge; here it is done when it is answered.
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2"]).await;
    assert_eq!(bodies(&sqs.take(&queue, 1).await), ["1"]);
    sqs.purge(&queue).await.unwrap();
    assert_eq!(sqs.take(&queue, 10).await, []);
    sqs.put(&queue, "g", &["3"]).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["3"]);
}

pub async fn a_second_purge_within_a_minute_is_refused(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.purge(&queue).await.unwrap();
    let again = code(sqs.purge(&queue).await);
    assert_eq!(again, "AWS.SimpleQueueService.PurgeQueueInProgress", "the second purge");
}

pub async fn the_delay_of_a_queue_holds_messages_back_in_order(sqs: impl Sqs) {
    let queue = sqs.queue(&[("DelaySeconds", "900")]).await;
    sqs.put(&queue, "g", &["1"]).await;
    assert_eq!(sqs.take(&queue, 10).await, []);
    let queue = sqs.queue(&[("DelaySeconds", "1")]).await;
    sqs.put(&queue, "g", &["1", "2"]).await;
    let mut arrived = Vec::new();
    while arrived.len() < 2 {
        let received = sqs.receive(&queue, &Receive { wait: Some(20), ..now(10) }).await.unwrap();
        assert!(!received.is_empty());
        sqs.delete_all(&queue, &received).await;
        arrived.extend(received.into_iter().map(|message| message.body));
    }
    assert_eq!(arrived, ["1", "2"]);
}
