//! Order within a group, and what blocks it.

use super::sqs::{Receive, Sqs, bodies, message, now};

pub async fn a_group_is_received_in_the_order_of_its_sending(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let sent: Vec<String> = (0..23).map(|n| n.to_string()).collect();
    sqs.put(&queue, "g", &sent.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut arrived = Vec::new();
    while arrived.len() < sent.len() {
        let received = sqs.wait(&queue, 10).await;
        sqs.delete_all(&queue, &received).await;
        arrived.extend(received.into_iter().map(|message| message.body));
    }
    assert_eq!(arrived, sent);
}

pub async fn one_receive_hands_out_up_to_ten_of_one_group(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let sent = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];
    sqs.put(&queue, "g", &sent).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), sent[..10]);
}

pub async fn a_receive_hands_out_one_message_unless_asked_for_more(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2"]).await;
    let received = sqs.receive(&queue, &Receive { max: None, ..now(1) }).await.unwrap();
    assert_eq!(bodies(&received), ["1"]);
}

pub async fn a_receive_is_filled_from_one_group_before_the_next(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    for n in ["0", "1", "2"] {
        sqs.put(&queue, "a", &[n]).await;
        sqs.put(&queue, "b", &[n]).await;
    }
    let filled = sqs.receive(&queue, &Receive { system: vec!["MessageGroupId"], ..now(3) }).await.unwrap();
    assert_eq!(bodies(&filled), ["0", "1", "2"]);
    assert!(filled.iter().all(|message| message.system == filled[0].system), "of one group");
    assert_eq!(bodies(&sqs.take(&queue, 3).await), ["0", "1", "2"]);
}

pub async fn a_message_in_flight_blocks_the_rest_of_its_group(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2", "3"]).await;
    assert_eq!(bodies(&sqs.take(&queue, 1).await), ["1"]);
    let waited = sqs.receive(&queue, &Receive { wait: Some(1), ..now(10) }).await.unwrap();
    assert_eq!(bodies(&waited), [""; 0]);
}

pub async fn a_message_sent_to_a_blocked_group_waits_for_it(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1"]).await;
    let first = sqs.take(&queue, 10).await;
    sqs.put(&queue, "g", &["2"]).await;
    assert_eq!(sqs.take(&queue, 10).await, []);
    sqs.delete_all(&queue, &first).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["2"]);
}

pub async fn a_group_in_flight_blocks_no_other_group(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "a", &["a1", "a2"]).await;
    assert_eq!(bodies(&sqs.take(&queue, 1).await), ["a1"]);
    sqs.put(&queue, "b", &["b1", "b2"]).await;
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["b1", "b2"]);
}

pub async fn the_last_delete_of_a_run_unblocks_its_group_and_no_earlier_one(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2", "3", "4"]).await;
    let run = sqs.take(&queue, 3).await;
    for message in &run[..2] {
        sqs.delete(&queue, &message.handle).await.unwrap();
        assert_eq!(sqs.take(&queue, 10).await, []);
    }
    sqs.delete(&queue, &run[2].handle).await.unwrap();
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["4"]);
}

pub async fn the_last_release_of_a_run_unblocks_its_group_and_no_earlier_one(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2", "3"]).await;
    let run = sqs.take(&queue, 2).await;
    sqs.delete(&queue, &run[0].handle).await.unwrap();
    assert_eq!(sqs.take(&queue, 10).await, []);
    sqs.change(&queue, &run[1].handle, 0).await.unwrap();
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["2", "3"]);
}

pub async fn a_run_released_backwards_comes_back_in_order(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2", "3"]).await;
    for message in sqs.take(&queue, 10).await.iter().rev() {
        sqs.change(&queue, &message.handle, 0).await.unwrap();
    }
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1", "2", "3"]);
}

pub async fn a_hidden_head_is_not_overtaken_by_its_visible_tail(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2", "3"]).await;
    let run = sqs.take(&queue, 2).await;
    sqs.change(&queue, &run[1].handle, 0).await.unwrap();
    assert_eq!(sqs.take(&queue, 10).await, []);
    sqs.change(&queue, &run[0].handle, 0).await.unwrap();
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1", "2", "3"]);
}

pub async fn a_visible_head_is_received_while_its_tail_is_hidden(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "g", &["1", "2", "3"]).await;
    let run = sqs.take(&queue, 2).await;
    sqs.change(&queue, &run[0].handle, 0).await.unwrap();
    assert_eq!(bodies(&sqs.take(&queue, 10).await), ["1"], "the head alone");
    assert_eq!(sqs.take(&queue, 10).await, []);
}

pub async fn a_receive_that_hides_nothing_hands_out_each_message_once(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    sqs.put(&queue, "a", &["a1", "a2"]).await;
    sqs.put(&queue, "b", &["b1"]).await;
    for _ in 0..2 {
        let seen = sqs.receive(&queue, &Receive { visibility: Some(0), ..now(10) }).await.unwrap();
        let mut seen = bodies(&seen);
        // Groups come in any order.
        seen.sort_unstable();
        assert_eq!(seen, ["a1", "a2", "b1"]);
    }
}

pub async fn sequence_numbers_rise(sqs: impl Sqs) {
    let queue = sqs.queue(&[]).await;
    let mut numbers = Vec::new();
    for n in 0..12 {
        let sent = sqs.send(&queue, &message("g", &n.to_string())).await.unwrap();
        numbers.push(sent.sequence_number.parse::<u128>().unwrap());
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let wanted = Receive { system: vec!["SequenceNumber"], ..now(10) };
    let received = sqs.receive(&queue, &wanted).await.unwrap();
    let shown: Vec<u128> = received.iter().map(|m| m.system["SequenceNumber"].parse().unwrap()).collect();
    assert_eq!(shown, numbers[..10]);
}
