use super::*;

fn message(size: usize) -> NewMessage {
    NewMessage::new("g".to_owned(), "x".repeat(size))
}

#[test]
fn batches_are_cut_by_number_and_by_bytes_and_none_is_left_out() {
    for (sizes, cut) in [
        (vec![], vec![]),
        (vec![1; 25], vec![10, 10, 5]),
        (vec![300_000; 8], vec![3, 3, 2]),
        (vec![MAX_BATCH_BYTES, 1, MAX_BATCH_BYTES], vec![1, 1, 1]),
        (vec![MAX_BATCH_BYTES + 1, 1], vec![1, 1]),
    ] {
        let messages: Vec<_> = sizes.into_iter().map(message).collect();
        assert_eq!(batches(&messages).map(<[NewMessage]>::len).collect::<Vec<_>>(), cut);
    }
}

#[test]
fn attributes_count_and_a_message_that_is_too_large_with_them_goes_without_some() {
    let redriven = Redriven {
        source: "m".repeat(36).into(),
        delivered: vec![WebhookId::from("0123456789ab")],
        webhook: None,
    };
    let sized = |size| NewMessage { redriven: Some(redriven.clone()), ..message(size) };
    let attributes = sized(0).size();
    assert!(attributes > 36 + 12);
    assert!(sized(MAX_BATCH_BYTES - attributes).fitting().1);
    let (less, whole) = sized(MAX_BATCH_BYTES - attributes + 1).fitting();
    assert!(!whole && less.size() <= MAX_BATCH_BYTES);
    assert_eq!(less.redriven.map(|redriven| redriven.delivered), Some(Vec::new()));
    let (bare, whole) = sized(MAX_BATCH_BYTES).fitting();
    assert!(!whole && bare.redriven.is_none() && bare.body.len() == MAX_BATCH_BYTES);
}
