//! A queue that fails as it is told to, over the local queue's state machine.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::fifo::{Broker, Outgoing, Receive};
use crate::producer::{CallError, EntryResult, SendBatch};
use crate::queue::NewMessage;

const NAME: &str = "q.fifo";

/// What goes wrong with a batch in which a group takes part.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The answer takes that long.
    Hangs(Duration),
    /// Nothing of the group is sent from its nth entry on.
    FailsFrom(usize),
    /// It takes effect, and no answer comes.
    LosesResponse,
    /// It has no effect, and no answer comes.
    LosesRequest,
    Throttles,
    Breaks,
    /// It takes effect, and the answer is that the queue failed.
    TakesAndBreaks,
    Denies,
    IsMissing,
    /// The group's entry of that number is denied, and nothing of it is sent from there on.
    DeniesEntry(usize),
    Expires,
    IsUnreachable,
    Panics,
}

#[derive(Clone)]
pub struct Queue(Arc<Mutex<State>>);

struct State {
    broker: Broker,
    start: Instant,
    silent: Duration,
    faults: HashMap<String, VecDeque<Fault>>,
    for_ever: HashMap<String, Fault>,
    refused: HashSet<(String, u64)>,
    batches: Vec<Vec<(String, u64)>>,
    under_way: HashMap<String, usize>,
    most_under_way: HashMap<String, usize>,
}

impl Queue {
    pub fn new() -> Self {
        let mut broker = Broker::new(1, "us-east-1", "000000000000");
        let attributes = BTreeMap::from([("FifoQueue".to_owned(), "true".to_owned())]);
        broker.create_queue(Duration::ZERO, NAME, &attributes).unwrap();
        Self(Arc::new(Mutex::new(State {
            broker,
            start: Instant::now(),
            silent: Duration::ZERO,
            faults: HashMap::new(),
            for_ever: HashMap::new(),
            refused: HashSet::new(),
            batches: Vec::new(),
            under_way: HashMap::new(),
            most_under_way: HashMap::new(),
        })))
    }

    /// The group's next batch fails so.
    pub fn fault(&self, group: &str, fault: Fault) {
        self.0.lock().unwrap().faults.entry(group.to_owned()).or_default().push_back(fault);
    }

    /// All of the group's batches fail so.
    pub fn for_ever(&self, group: &str, fault: Fault) {
        self.0.lock().unwrap().for_ever.insert(group.to_owned(), fault);
    }

    /// What was to fail for ever does not any more.
    pub fn answers_again(&self, group: &str) {
        self.0.lock().unwrap().for_ever.remove(group);
    }

    /// How long it takes everything, and answers nothing.
    pub fn silent_for(&self, time: Duration) {
        self.0.lock().unwrap().silent = time;
    }

    /// A batch with that job is refused.
    pub fn refuse(&self, group: &str, n: u64) {
        self.0.lock().unwrap().refused.insert((group.to_owned(), n));
    }

    /// The groups of every batch.
    pub fn batches(&self) -> Vec<Vec<String>> {
        let state = self.0.lock().unwrap();
        state.batches.iter().map(|batch| batch.iter().map(|(group, _)| group.clone()).collect()).collect()
    }

    /// The numbers of every batch.
    pub fn sent(&self) -> Vec<Vec<u64>> {
        let state = self.0.lock().unwrap();
        state.batches.iter().map(|batch| batch.iter().map(|(_, n)| *n).collect()).collect()
    }

    pub fn under_way(&self, group: &str) -> usize {
        self.0.lock().unwrap().under_way.get(group).copied().unwrap_or_default()
    }

    pub fn most_under_way(&self, group: &str) -> usize {
        self.0.lock().unwrap().most_under_way.get(group).copied().unwrap_or_default()
    }

    /// Everything on the queue, group and body, in its order; takes it off.
    pub fn bodies(&self) -> Vec<(String, Bytes)> {
        let mut state = self.0.lock().unwrap();
        let now = state.start.elapsed();
        let mut bodies = Vec::new();
        loop {
            let request = Receive { max: 10, visibility: None, attempt_id: None };
            let received = state.broker.receive(now, NAME, &request).unwrap();
            if received.is_empty() {
                return bodies;
            }
            for message in received {
                state.broker.delete(now, NAME, &message.receipt_handle).unwrap();
                bodies.push((message.group.to_string(), message.body));
            }
        }
    }

    /// The numbers on the queue by group, in its order; takes them off.
    pub fn arrived(&self) -> BTreeMap<String, Vec<u64>> {
        let mut arrived: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (group, body) in self.bodies() {
            arrived.entry(group).or_default().push(number(&body));
        }
        arrived
    }

    /// Puts messages on the queue, until the first that fails.
    pub fn put(&self, batch: &[&NewMessage]) -> Vec<EntryResult> {
        let mut state = self.0.lock().unwrap();
        let now = state.start.elapsed();
        let mut results = Vec::with_capacity(batch.len());
        for job in batch {
            let message = Outgoing {
                group: job.group.clone(),
                dedup: Some(job.deduplication.clone()),
                body: job.body.clone().into(),
                ..Outgoing::default()
            };
            results.push(EntryResult::Sent(state.broker.send(now, NAME, message).unwrap().message_id));
        }
        results
    }

    fn begin(&self, batch: &[&NewMessage]) -> Result<Option<(String, Fault)>, CallError> {
        let mut state = self.0.lock().unwrap();
        let entries: Vec<_> =
            batch.iter().map(|job| (job.group.clone(), number(job.body.as_bytes()))).collect();
        state.batches.push(entries.clone());
        let groups: HashSet<_> = batch.iter().map(|job| job.group.clone()).collect();
        let mut fault = None;
        for group in &groups {
            let under_way = state.under_way.entry(group.clone()).or_default();
            *under_way += 1;
            let now = *under_way;
            let most = state.most_under_way.entry(group.clone()).or_default();
            *most = now.max(*most);
            let next = state.faults.get_mut(group).and_then(VecDeque::pop_front);
            let next = next.or_else(|| state.for_ever.get(group).copied());
            fault = fault.or_else(|| Some((group.clone(), next?)));
        }
        if entries.iter().any(|entry| state.refused.contains(entry)) {
            return Err(CallError::Refused("something in it".into()));
        }
        Ok(fault)
    }

    fn end(&self, batch: &[&NewMessage]) {
        let mut state = self.0.lock().unwrap();
        let groups: HashSet<_> = batch.iter().map(|job| job.group.clone()).collect();
        for group in groups {
            *state.under_way.get_mut(&group).unwrap() -= 1;
        }
    }

    async fn act(&self, batch: &[&NewMessage]) -> Result<Vec<EntryResult>, CallError> {
        let fault = self.begin(batch)?;
        let silent = {
            let state = self.0.lock().unwrap();
            state.start.elapsed() < state.silent
        };
        if silent {
            self.put(batch);
            return std::future::pending().await;
        }
        let Some((group, fault)) = fault else {
            sleep(Duration::from_millis(10)).await;
            return Ok(self.put(batch));
        };
        match fault {
            Fault::Hangs(time) => {
                sleep(time).await;
                Ok(self.put(batch))
            }
            Fault::FailsFrom(n) | Fault::DeniesEntry(n) => {
                let mut seen = 0;
                let mut results = Vec::new();
                for job in batch {
                    if job.group == group && seen >= n {
                        let denied = seen == n && matches!(fault, Fault::DeniesEntry(_));
                        seen += 1;
                        results.push(if denied {
                            EntryResult::Denied("no".into())
                        } else {
                            EntryResult::Failed("internal".into())
                        });
                        continue;
                    }
                    seen += usize::from(job.group == group);
                    results.extend(self.put(&[job]));
                }
                Ok(results)
            }
            Fault::LosesResponse => {
                self.put(batch);
                Err(CallError::NoResponse("lost".into()))
            }
            Fault::LosesRequest => Err(CallError::NoResponse("lost".into())),
            Fault::TakesAndBreaks => {
                self.put(batch);
                Err(CallError::Service("broken".into()))
            }
            Fault::Throttles => Err(CallError::Throttled("slow down".into())),
            Fault::Breaks => Err(CallError::Service("broken".into())),
            Fault::Denies => Err(CallError::Denied("no".into())),
            Fault::IsMissing => Err(CallError::Missing("none".into())),
            Fault::Expires => Err(CallError::Expired("old".into())),
            Fault::IsUnreachable => Err(CallError::Unreachable("refused".into())),
            Fault::Panics => panic!("the port"),
        }
    }
}

impl SendBatch for Queue {
    async fn send_batch(&self, batch: &[&NewMessage]) -> Result<Vec<EntryResult>, CallError> {
        assert!((1..=10).contains(&batch.len()));
        assert!(batch.iter().map(|job| job.body.len()).sum::<usize>() <= 1 << 20);
        let answer = self.act(batch).await;
        self.end(batch);
        answer
    }
}

/// The number in a body that has one.
fn number(body: &[u8]) -> u64 {
    serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|body| body["n"].as_u64())
        .unwrap_or_default()
}
