//! The port to the queue: the local queue's state machine behind a network that loses, delays and
//! refuses.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hookferry::fifo::{self, Broker, Outgoing, Received};
use hookferry::lease::SAFETY_MARGIN;
use hookferry::queue::{
    AttemptId, BatchEntryResult, DeadLetter, Error, Message, MessageId, Queue, Receipt, ReceiveError,
    Redriven,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::book::Event;
use super::outside::{Bodies, JOBS, Letter, Process};

/// A body that is known while a process holds it.
struct Body(Bytes, Arc<Bodies>);

impl Body {
    /// A copy of its own: where it lies tells which message it is of.
    fn held(body: &[u8], message: usize, bodies: &Arc<Bodies>) -> Bytes {
        let body = Bytes::copy_from_slice(body);
        bodies.taken(&body, message);
        Bytes::from_owner(Self(body, Arc::clone(bodies)))
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.1.dropped(&self.0);
    }
}

/// The port to the queue.
#[derive(Clone, Debug)]
pub struct SimulatedQueue(pub Arc<Process>);

/// Notices a receive that is given up before its answer.
struct Receiving<'a>(&'a Process, bool);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        let process = self.0;
        if !self.1 && !process.killed.is_cancelled() && !process.shutdown.is_cancelled() {
            process.outside.write(Event::ReceiveGivenUp { process: process.id });
        }
    }
}

impl SimulatedQueue {
    fn message(&self, received: Received, now: Duration) -> Message {
        let redriven = self.0.outside.redriven(&received.message_id);
        let number = self.0.outside.message(&received.message_id);
        Message {
            id: received.message_id,
            receipt: Receipt::new(received.receipt_handle),
            group: received.group,
            body: Body::held(&received.body, number, &self.0.outside.bodies),
            receive_count: received.receive_count,
            sent: Some(SystemTime::UNIX_EPOCH + received.sent),
            age: self.0.age(now, received.sent),
            since_first_receive: self.0.age(now, received.first_received),
            redriven,
            trace: None,
        }
    }

    /// Whether a settling call about these messages fails, and whether it takes effect all the same.
    async fn settling(&self, messages: &[usize]) -> Option<(bool, Error)> {
        let outside = &self.0.outside;
        let rates = outside.plan.rates;
        self.0.travel(20).await;
        let error = |why: &str| Error::Call(why.to_owned());
        let strikes_after = |after, rate, what| {
            let strikes = outside.strikes(rate, what);
            messages.iter().filter(|_| strikes).for_each(|message| self.failed(*message, after));
            strikes
        };
        let strikes = |rate, what| strikes_after(Duration::ZERO, rate, what);
        let long = Duration::from_secs(3);
        if strikes_after(long, rates.slow, "settle: no answer for 3 s") {
            sleep(long).await;
            return Some((outside.dice().chance(0.5), error("timed out")));
        }
        if strikes(rates.lost_before, "settle: lost on the way there") {
            return Some((false, error("reset")));
        }
        if strikes(rates.lost_after, "settle: lost on the way back") {
            return Some((true, error("reset")));
        }
        strikes(rates.throttled, "settle: throttled").then(|| (false, error("throttled")))
    }

    fn failed(&self, message: usize, after: Duration) {
        self.0.outside.write(Event::CallFailed { process: self.0.id, message, after });
    }

    /// One entry of a batch, about this message; half failed batches fail entry by entry.
    fn entry(
        &self,
        message: usize,
        act: impl FnOnce(&mut Broker, Duration) -> Result<(), fifo::Error>,
    ) -> BatchEntryResult {
        let outside = &self.0.outside;
        if outside.strikes(outside.plan.rates.partial, "settle: an entry failed") {
            self.failed(message, Duration::ZERO);
            return BatchEntryResult::NotMentioned;
        }
        let done = act(&mut outside.broker.lock().unwrap(), outside.now());
        if done.is_ok() { BatchEntryResult::Ok } else { BatchEntryResult::ReceiptExpired }
    }

    /// The messages of some receipts.
    fn messages<'a>(&self, receipts: impl Iterator<Item = &'a Receipt>) -> Vec<usize> {
        receipts.map(|receipt| self.0.outside.message(&parts(receipt).0)).collect()
    }
}

/// The simulated handle is the queue's own, with the message's id before it.
fn parts(receipt: &Receipt) -> (MessageId, &str) {
    let (id, handle) = receipt.handle().split_once(' ').unwrap();
    (id.into(), handle)
}

impl Queue for SimulatedQueue {
    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        attempt: &AttemptId,
    ) -> Result<Vec<Message>, ReceiveError> {
        let (process, outside) = (&self.0, &self.0.outside);
        let mut receiving = Receiving(process, false);
        let began = outside.now();
        let rates = outside.plan.rates;
        outside.write(Event::ReceiveBegan { process: process.id, attempt: attempt.0.clone() });
        process.travel(20).await;
        let none = String::new;
        if outside.strikes(rates.lost_before, "receive: lost on the way there") {
            process.travel(3000).await;
            receiving.1 = true;
            return Err(ReceiveError::NoResponse(none()));
        }
        for (rate, error, what) in [
            (rates.throttled, ReceiveError::Throttled(none()), "receive: throttled"),
            (rates.refused, ReceiveError::Service(none()), "receive: error of the service"),
            (rates.denied, ReceiveError::Denied(none()), "receive: denied"),
        ] {
            if outside.strikes(rate, what) {
                process.travel(100).await;
                outside.write(Event::ReceiveAnswered { attempt: attempt.0.clone() });
                receiving.1 = true;
                return Err(error);
            }
        }
        let deadline = Instant::now() + wait;
        let received = loop {
            let changed = outside.changed.notified();
            let received = outside.receive(max, attempt);
            if !received.is_empty() || Instant::now() >= deadline {
                break received;
            }
            let next = outside.next_change().map_or(deadline, |at| outside.start + at);
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep_until(next.min(deadline)) => {}
            }
            // A lost connection or a dead process is no reason for the queue not to hand over.
        };
        let (at, stood_still) = (outside.now(), outside.book().stood_still());
        for received in &received {
            let (until, count) = (at + outside.plan.rules.visibility, received.receive_count);
            let message = outside.message(&received.message_id);
            outside.write(Event::HandedOver { process: process.id, message, until, count });
        }
        let slow = outside.strikes(rates.slow, "receive: answered late");
        if outside.strikes(rates.lost_after, "receive: answer lost") {
            process.travel(3000).await;
            receiving.1 = true;
            return Err(ReceiveError::NoResponse(none()));
        }
        process.travel(if slow { 8000 } else { 100 }).await;
        // The process knows when the queue must have answered, and when it stood still; before that it
        // has to take a late answer for a fresh one.
        let stood_still = outside.book().stood_still().checked_sub(stood_still).unwrap();
        let latest = began + wait + SAFETY_MARGIN;
        if outside.now().saturating_sub(stood_still).min(latest) > at + SAFETY_MARGIN {
            for received in &received {
                let message = outside.message(&received.message_id);
                outside.write(Event::HandedOverLate { process: process.id, message });
            }
        }
        outside.write(Event::ReceiveAnswered { attempt: attempt.0.clone() });
        receiving.1 = true;
        for received in &received {
            let message = outside.message(&received.message_id);
            outside.write(Event::Received { process: process.id, message });
        }
        Ok(received
            .into_iter()
            .map(|mut message| {
                message.receipt_handle = format!("{} {}", message.message_id, message.receipt_handle);
                self.message(message, at)
            })
            .collect())
    }

    async fn delete(&self, receipts: &[&Receipt]) -> Result<Vec<BatchEntryResult>, Error> {
        let (process, outside) = (&self.0, &self.0.outside);
        assert!((1..=10).contains(&receipts.len()));
        let messages = self.messages(receipts.iter().copied());
        for message in messages.iter().copied() {
            outside.write(Event::DeleteBegan { process: process.id, message });
        }
        let fault = self.settling(&messages).await;
        if let Some((false, error)) = fault {
            return Err(error);
        }
        let entries = receipts.iter().zip(messages).map(|(receipt, message)| {
            let (_, handle) = parts(receipt);
            let entry = self.entry(message, |broker, now| broker.delete(now, JOBS, handle));
            if entry == BatchEntryResult::Ok {
                outside.write(Event::Deleted { process: process.id, message });
            }
            entry
        });
        let entries = entries.collect();
        outside.changed.notify_waiters();
        process.travel(20).await;
        fault.map_or(Ok(entries), |(_, error)| Err(error))
    }

    async fn change_visibility(
        &self,
        changes: &[(&Receipt, Duration)],
    ) -> Result<Vec<BatchEntryResult>, Error> {
        let (process, outside) = (&self.0, &self.0.outside);
        assert!((1..=10).contains(&changes.len()));
        assert!(changes.iter().all(|(_, timeout)| timeout.subsec_nanos() == 0), "{changes:?}");
        let messages = self.messages(changes.iter().map(|(receipt, _)| *receipt));
        let fault = self.settling(&messages).await;
        if let Some((false, error)) = fault {
            return Err(error);
        }
        let entries = changes.iter().zip(messages.iter().copied()).map(|((receipt, timeout), message)| {
            let (_, handle) = parts(receipt);
            let hide = |broker: &mut Broker, now| broker.change_visibility(now, JOBS, handle, *timeout);
            let entry = self.entry(message, hide);
            if entry == BatchEntryResult::Ok {
                outside.write(Event::Hidden { process: process.id, message, timeout: *timeout });
            }
            entry
        });
        let entries: Vec<_> = entries.collect();
        // What is hidden together is worked together: none of it goes on.
        if entries.contains(&BatchEntryResult::NotMentioned) {
            for message in messages {
                self.failed(message, Duration::ZERO);
            }
        }
        outside.changed.notify_waiters();
        process.travel(20).await;
        fault.map_or(Ok(entries), |(_, error)| Err(error))
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), Error> {
        let (process, outside) = (&self.0, &self.0.outside);
        let message = outside.message(&letter.id);
        let lettered = |kept| {
            let (reason, attempts) = (letter.reason, letter.attempts);
            let delivered = letter.delivered.iter().map(ToString::to_string).collect();
            outside.write(Event::Lettered {
                process: process.id,
                message,
                reason,
                attempts,
                delivered,
                kept,
            });
        };
        if !outside.plan.dead_letters {
            lettered(false);
            outside.write(Event::LetterConfirmed { process: process.id, message });
            return Err(Error::NoDeadLetterQueue);
        }
        let fault = self.settling(&[message]).await;
        if outside.plan.letters_down.contains(&outside.now()) {
            self.failed(message, Duration::ZERO);
            outside.write(Event::Fault("dead-letter queue down"));
            return Err(Error::Call("down".to_owned()));
        }
        if let Some((false, error)) = fault {
            return Err(error);
        }
        let (delivered, webhook) = (letter.delivered.clone(), letter.webhook.clone());
        let redriven = Redriven { source: Arc::clone(&letter.source), delivered, webhook };
        let kept = outside.give_up(
            Outgoing {
                group: letter.group.to_string(),
                dedup: Some(letter.id.to_string()),
                body: letter.body.to_vec().into(),
                ..Outgoing::default()
            },
            Letter { message, redriven },
        );
        lettered(kept);
        process.travel(20).await;
        if let Some((_, error)) = fault {
            return Err(error);
        }
        outside.write(Event::LetterConfirmed { process: process.id, message });
        Ok(())
    }
}
