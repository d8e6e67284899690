//! What the proxy knows of the workers' calls: which message a receipt handle stands for, which
//! deletes met a fault, which deletes succeeded, which messages arrived late.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::http1::Message;

/// A receive's answer that takes longer than this begins to eat up the margin that the worker takes
/// off its lease for the way back (250 ms).
const LATE: Duration = Duration::from_millis(150);

/// An answer that takes longer than this may find that the worker no longer waits for it: it waits for
/// 2 s more than its long poll of 2 s, and the machine may stall for a second or more.
const PATIENCE: Duration = Duration::from_millis(2500);

/// One call of a worker.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it asks for.
    pub action: &'static str,
    /// The worker's access key id.
    worker: String,
    receipts: Vec<String>,
    /// The `ReceiveRequestAttemptId` of a receive.
    attempt_id: Option<String>,
}

/// A message as one worker process had it.
type InFlight = (String, Arc<str>);

/// The deletes of one message by one worker process.
#[derive(Clone, Copy, Debug, Default)]
struct Deletes {
    /// When one first met a fault.
    faulted: Option<Duration>,
    /// When one first took effect.
    took_effect: Option<Duration>,
}

/// A receive that had been answered, and was asked for again by its attempt id.
#[derive(Clone, Debug)]
pub struct Reused {
    pub worker: String,
    pub answered: Duration,
    pub again: Duration,
}

/// Everything that was noted.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// From when to when the queue was gone.
    pub outage: Option<(Duration, Duration)>,
    /// Attempt ids that were used again after an answer had come.
    pub reused: Vec<Reused>,
    /// When the receive with that attempt id was answered.
    answered: HashMap<String, Duration>,
    messages: HashMap<String, Arc<str>>,
    deletes: HashMap<InFlight, Deletes>,
    late: HashMap<InFlight, Duration>,
}

impl Call {
    pub fn of(request: &Message) -> Self {
        let target = request.header("x-amz-target");
        let action = match target.strip_prefix("AmazonSQS.").unwrap_or(target) {
            "ReceiveMessage" => "receive",
            "DeleteMessageBatch" => "delete",
            "ChangeMessageVisibilityBatch" => "change visibility",
            "SendMessage" => "dead-letter",
            "GetQueueAttributes" => "describe",
            other => panic!("no worker makes this call: {other:?}"),
        };
        let credential = request.header("authorization").split_once("Credential=");
        let worker = credential.and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let entries = body["Entries"].as_array().into_iter().flatten();
        let receipts = entries.map(|entry| text(&entry["ReceiptHandle"])).collect();
        let attempt_id = body["ReceiveRequestAttemptId"].as_str().map(str::to_owned);
        Self { action, worker, receipts, attempt_id }
    }
}

impl Notes {
    /// A call begins.
    pub(super) fn asked(&mut self, call: &Call, now: Duration) {
        let answered = call.attempt_id.as_ref().and_then(|id| self.answered.get(id));
        if let Some(answered) = answered {
            self.reused.push(Reused { worker: call.worker.clone(), answered: *answered, again: now });
        }
    }

    /// A whole answer was written, whatever it said, to a call that began at `asked`.
    pub(super) fn told(&mut self, call: &Call, asked: Duration, now: Duration) {
        let id = call.attempt_id.clone().filter(|_| now.saturating_sub(asked) < PATIENCE);
        self.answered.extend(id.map(|id| (id, now)));
    }

    /// A call meets a fault.
    pub(super) fn faulted(&mut self, call: &Call, now: Duration) {
        if call.action == "delete" {
            for held in self.held(call, &call.receipts) {
                self.deletes.entry(held).or_default().faulted.get_or_insert(now);
            }
        }
    }

    /// The queue has answered a call.
    pub(super) fn answered(&mut self, call: &Call, answer: &Message, now: Duration) {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if call.action == "receive" {
            for message in body["Messages"].as_array().into_iter().flatten() {
                self.messages.insert(text(&message["ReceiptHandle"]), text(&message["MessageId"]).into());
            }
        }
        if call.action == "delete" {
            let done = body["Successful"].as_array().into_iter().flatten();
            // The worker's entry ids are indexes.
            let index = |entry: &Value| entry["Id"].as_str()?.parse::<usize>().ok();
            let receipts: Vec<String> =
                done.filter_map(|entry| call.receipts.get(index(entry)?).cloned()).collect();
            for held in self.held(call, &receipts) {
                self.deletes.entry(held).or_default().took_effect.get_or_insert(now);
            }
        }
    }

    /// An answer has been passed on, so long after it was given.
    pub(super) fn passed(&mut self, call: &Call, answer: &Message, took: Duration) {
        if call.action != "receive" || took < LATE {
            return;
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        for message in body["Messages"].as_array().into_iter().flatten() {
            self.late.insert((call.worker.clone(), text(&message["MessageId"]).into()), took);
        }
    }

    /// Whether a delete of the message by that worker had met a fault by then, and none had taken
    /// effect.
    pub fn delete_was_faulted(&self, worker: &str, message: &str, by: Duration) -> bool {
        let deletes = self.deletes.get(&(worker.to_owned(), Arc::from(message)));
        let before = |at: Option<Duration>| at.is_some_and(|at| at <= by);
        deletes.is_some_and(|deletes| before(deletes.faulted) && !before(deletes.took_effect))
    }

    /// What is known of the deletes of the message by that worker, in words.
    pub fn deletes(&self, worker: &str, message: &str) -> String {
        let deletes = self.deletes.get(&(worker.to_owned(), Arc::from(message)));
        deletes.map_or("no delete was seen".to_owned(), |deletes| format!("{deletes:?}"))
    }

    /// Whether that worker got the message so late that its lease may have been shorter than it knew.
    pub fn arrived_late(&self, worker: &str, message: &str) -> bool {
        self.late.contains_key(&(worker.to_owned(), Arc::from(message)))
    }

    fn held(&self, call: &Call, receipts: &[String]) -> Vec<InFlight> {
        let message = |receipt: &String| self.messages.get(receipt).cloned();
        let held = |id: Arc<str>| (call.worker.clone(), id);
        receipts.iter().filter_map(message).map(held).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
