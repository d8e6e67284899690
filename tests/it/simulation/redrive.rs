//! An operator who puts dead letters back on the queue, beside the workers, and is sometimes interrupted.

use std::sync::Arc;
use std::time::Duration;

use hookferry::local::fifo::{Outgoing, Receive};
use tokio::time::sleep;

use super::book::Event;
use super::outside::{GIVEN_UP, Outside};

/// One redrive of what is there when it begins, in batches as SQS gives them; after so many calls it is
/// interrupted.
pub async fn redrive(outside: Arc<Outside>, mut calls: u64) {
    let began = outside.now();
    let all = Receive { max: 10, visibility: Some(Duration::from_secs(30)), attempt_id: None };
    while next_call(&outside, &mut calls).await {
        let letters = outside.broker.lock().unwrap().receive(outside.now(), GIVEN_UP, &all).unwrap();
        let letters: Vec<_> = letters.into_iter().filter(|letter| letter.sent <= began).collect();
        if letters.is_empty() || !next_call(&outside, &mut calls).await {
            return;
        }
        for letter in &letters {
            let known = outside.letter(&letter.message_id);
            let message = Outgoing {
                group: letter.group.to_string(),
                dedup: Some(format!("redrive-{}", letter.message_id)),
                body: letter.body.clone(),
                ..Outgoing::default()
            };
            outside.put_back(message, &known);
        }
        if !next_call(&outside, &mut calls).await {
            return;
        }
        for letter in &letters {
            let known = outside.letter(&letter.message_id);
            let deleted =
                outside.broker.lock().unwrap().delete(outside.now(), GIVEN_UP, &letter.receipt_handle);
            if deleted.is_ok() {
                outside.write(Event::LetterDeleted { message: known.message });
            }
        }
    }
}

async fn next_call(outside: &Outside, calls: &mut u64) -> bool {
    let takes = outside.dice().millis(1..50);
    sleep(takes).await;
    let left = *calls > 0;
    *calls = calls.saturating_sub(1);
    left
}
