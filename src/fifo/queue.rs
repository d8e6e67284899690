//! One FIFO queue.
//!
//! Nothing scans the backlog: groups whose head is visible stand in `ready` by the head's place,
//! hidden messages in `hidden` by their time.

mod places;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::settings::Settings;
use super::{
    Attributes, DEDUPLICATION_INTERVAL, Error, MAX_IN_FLIGHT, MAX_VISIBILITY, Outgoing, Receive, Received,
    Sent, size,
};
use crate::job::deduplication_id;

/// A message's sequence number: its place in the queue.
type Sequence = u64;

/// A message received too often, with its group.
pub(super) type Dead = (Arc<str>, Message);

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) arn: String,
    pub(super) settings: Settings,
    pub(super) modified: Duration,
    created: Duration,
    purged: Option<Duration>,
    seed: u64,
    next: Sequence,
    serial: u64,
    groups: HashMap<Arc<str>, Group>,
    places: BTreeMap<Sequence, Arc<str>>,
    ready: BTreeMap<Sequence, Arc<str>>,
    hidden: BTreeSet<(Duration, Sequence)>,
    in_flight: usize,
    sent: HashMap<String, Sent>,
    sent_order: VecDeque<(Duration, String)>,
    attempts: HashMap<String, Attempt>,
    attempts_order: VecDeque<(Duration, String)>,
}

#[derive(Debug, Default)]
struct Group {
    messages: BTreeMap<Sequence, Message>,
    ready: Option<Sequence>,
}

#[derive(Debug)]
pub(super) struct Message {
    id: Arc<str>,
    body: Bytes,
    attributes: Arc<Attributes>,
    dedup: Arc<str>,
    trace_header: Option<Arc<str>>,
    source: Option<Arc<str>>,
    sent: Duration,
    first_received: Option<Duration>,
    received: Duration,
    count: u32,
    /// Names the receive whose handle is valid.
    serial: u64,
    hidden: Option<Hidden>,
}

#[derive(Clone, Copy, Debug)]
struct Hidden {
    until: Duration,
    in_flight: bool,
    /// Its visibility was changed since the receive.
    changed: bool,
}

#[derive(Debug)]
struct Attempt {
    at: Duration,
    messages: Vec<(Sequence, u64)>,
}

impl Queue {
    pub(super) fn new(arn: String, seed: u64, settings: Settings, now: Duration) -> Self {
        Self {
            arn,
            settings,
            modified: now,
            created: now,
            purged: None,
            seed,
            next: 1,
            serial: 0,
            groups: HashMap::new(),
            places: BTreeMap::new(),
            ready: BTreeMap::new(),
            hidden: BTreeSet::new(),
            in_flight: 0,
            sent: HashMap::new(),
            sent_order: VecDeque::new(),
            attempts: HashMap::new(),
            attempts_order: VecDeque::new(),
        }
    }

    /// Lets time do what it does: timeouts, retention, forgotten ids.
    pub(super) fn settle(&mut self, now: Duration) {
        while let Some(&(until, place)) = self.hidden.first()
            && until <= now
        {
            self.reveal(place);
        }
        while let Some((&place, group)) = self.places.first_key_value() {
            let group = Arc::clone(group);
            let message = self.groups.get(&group).and_then(|group| group.messages.get(&place));
            if message.is_some_and(|message| message.sent + self.settings.retention > now) {
                break;
            }
            self.remove(&group, place);
        }
        while let Some((at, _)) = self.sent_order.front()
            && *at + DEDUPLICATION_INTERVAL <= now
        {
            if let Some((_, key)) = self.sent_order.pop_front() {
                self.sent.remove(&key);
            }
        }
        while let Some((at, id)) = self.attempts_order.front()
            && *at + DEDUPLICATION_INTERVAL <= now
        {
            if self.attempts.get(id).is_some_and(|attempt| attempt.at == *at) {
                self.attempts.remove(id);
            }
            self.attempts_order.pop_front();
        }
    }

    pub(super) fn send(&mut self, now: Duration, message: Outgoing) -> Result<Sent, Error> {
        let (size, most) = (size(&message), self.settings.max_size);
        if size > most {
            return Err(Error::InvalidParameterValue(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
            )));
        }
        let dedup = match message.dedup {
            Some(dedup) => dedup,
            None if self.settings.content_based => deduplication_id(&message.body),
            None => {
                return Err(Error::InvalidParameterValue(
                    "The queue should either have ContentBasedDeduplication enabled or \
                     MessageDeduplicationId provided explicitly"
                        .to_owned(),
                ));
            }
        };
        let key = if self.settings.group_scope {
            // Neither part can hold a space.
            format!("{} {dedup}", message.group)
        } else {
            dedup.clone()
        };
        if let Some(sent) = self.sent.get(&key) {
            return Ok(sent.clone());
        }
        let id = self.message_id();
        let sent = Sent { message_id: Arc::clone(&id), sequence_number: sequence(self.next) };
        self.sent.insert(key.clone(), sent.clone());
        self.sent_order.push_back((now, key));
        let delay = self.settings.delay;
        let hidden = Hidden { until: now + delay, in_flight: false, changed: false };
        self.enqueue(
            &message.group.into(),
            Message {
                id,
                body: message.body,
                attributes: Arc::new(message.attributes),
                dedup: dedup.into(),
                trace_header: message.trace_header.map(Into::into),
                source: None,
                sent: now,
                first_received: None,
                received: now,
                count: 0,
                serial: 0,
                hidden: (!delay.is_zero()).then_some(hidden),
            },
        );
        Ok(sent)
    }

    /// Takes over a message that another queue dead-letters here.
    pub(super) fn take_over(&mut self, now: Duration, group: &Arc<str>, mut message: Message) {
        message.sent = now;
        message.hidden = None;
        self.enqueue(group, message);
    }

    pub(super) fn receive(
        &mut self,
        now: Duration,
        request: &Receive,
        max_receives: u32,
    ) -> Result<(Vec<Received>, Vec<Dead>), Error> {
        let timeout = request.visibility.unwrap_or(self.settings.visibility);
        if let Some(again) = request.attempt_id.as_ref().and_then(|id| self.replay(now, id, timeout)) {
            return Ok((again, Vec::new()));
        }
        if self.in_flight + request.max > MAX_IN_FLIGHT && self.receivable() {
            return Err(Error::OverLimit);
        }
        let mut received = Vec::new();
        let mut taken = Vec::new();
        let mut dead = Vec::new();
        // Past the head of the last group taken: a receive that hides nothing leaves it among the ready.
        let mut after = 0;
        while received.len() < request.max {
            let Some((&head, group)) = self.ready.range(after..).next() else { break };
            let group = Arc::clone(group);
            after = head + 1;
            let room = request.max - received.len();
            for place in self.prefix(&group, room, max_receives, &mut dead) {
                let serial = self.take(&group, place, now, timeout);
                taken.push((place, serial));
                received.extend(self.show(&group, place));
            }
            self.refresh(&group);
        }
        if let Some(id) = request.attempt_id.clone().filter(|_| !taken.is_empty()) {
            self.attempts_order.push_back((now, id.clone()));
            self.attempts.insert(id, Attempt { at: now, messages: taken });
        }
        Ok((received, dead))
    }

    pub(super) fn delete(&mut self, receipt: &str) -> Result<(), Error> {
        let (place, serial) = self.parse(receipt)?;
        let Some(group) = self.places.get(&place).cloned() else {
            // It is gone already: deleting twice is no error.
            return Ok(());
        };
        self.valid(&group, place, serial)?;
        self.remove(&group, place);
        Ok(())
    }

    pub(super) fn change_visibility(
        &mut self,
        now: Duration,
        receipt: &str,
        timeout: Duration,
    ) -> Result<(), Error> {
        let (place, serial) = self.parse(receipt)?;
        let group = self.places.get(&place).cloned().ok_or_else(|| {
            unavailable("Message does not exist or is not available for visibility timeout change")
        })?;
        let message = self.valid(&group, place, serial)?;
        if now + timeout > message.received + MAX_VISIBILITY {
            return Err(unavailable(
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        if timeout.is_zero() {
            self.reveal(place);
        } else {
            self.hide(&group, place, Hidden { until: now + timeout, in_flight: true, changed: true });
        }
        Ok(())
    }

    pub(super) fn purge(&mut self, now: Duration) -> Result<(), Error> {
        if self.purged.is_some_and(|at| now < at + Duration::from_secs(60)) {
            return Err(Error::PurgeQueueInProgress);
        }
        self.purged = Some(now);
        self.groups.clear();
        self.places.clear();
        self.ready.clear();
        self.hidden.clear();
        self.in_flight = 0;
        Ok(())
    }

    pub(super) fn receivable(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn next_change(&self) -> Option<Duration> {
        self.hidden.first().map(|(until, _)| *until)
    }

    pub(super) fn attributes(&self) -> BTreeMap<String, String> {
        let mut shown = self.settings.show();
        let delayed = self.hidden.len() - self.in_flight;
        let visible = self.places.len() - self.hidden.len();
        for (name, value) in [
            ("ApproximateNumberOfMessages", visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", self.in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed", delayed.to_string()),
            ("CreatedTimestamp", self.created.as_secs().to_string()),
            ("LastModifiedTimestamp", self.modified.as_secs().to_string()),
            ("QueueArn", self.arn.clone()),
        ] {
            shown.insert(name.to_owned(), value);
        }
        shown
    }

    /// The places of the group's visible prefix, dead-lettering on the way what was received too often.
    fn prefix(
        &mut self,
        name: &Arc<str>,
        room: usize,
        max_receives: u32,
        dead: &mut Vec<Dead>,
    ) -> Vec<Sequence> {
        let mut places = Vec::new();
        let mut spent = Vec::new();
        if let Some(group) = self.groups.get(name) {
            for (place, message) in &group.messages {
                if message.hidden.is_some() || places.len() == room {
                    break;
                }
                if message.count >= max_receives {
                    spent.push(*place);
                } else {
                    places.push(*place);
                }
            }
        }
        for place in spent {
            if let Some(mut message) = self.remove(name, place) {
                message.source = Some(self.arn.as_str().into());
                dead.push((Arc::clone(name), message));
            }
        }
        places
    }

    fn take(&mut self, group: &Arc<str>, place: Sequence, now: Duration, timeout: Duration) -> u64 {
        self.serial += 1;
        let serial = self.serial;
        if let Some(message) = self.message(group, place) {
            message.serial = serial;
            message.count += 1;
            message.received = now;
            message.first_received.get_or_insert(now);
        }
        if !timeout.is_zero() {
            self.hide(group, place, Hidden { until: now + timeout, in_flight: true, changed: false });
        }
        serial
    }

    /// The messages of an earlier receive again, for its attempt id, if none of them has been touched since.
    fn replay(&mut self, now: Duration, id: &str, timeout: Duration) -> Option<Vec<Received>> {
        let attempt = self.attempts.remove(id)?;
        let untouched = |queue: &Self, place: &Sequence, serial: u64| {
            let group = queue.places.get(place)?;
            let message = queue.groups.get(group)?.messages.get(place)?;
            let hidden = message.hidden.filter(|hidden| !hidden.changed)?;
            (message.serial == serial && hidden.until > now).then(|| Arc::clone(group))
        };
        let groups: Option<Vec<Arc<str>>> =
            attempt.messages.iter().map(|(place, serial)| untouched(self, place, *serial)).collect();
        let mut again = Vec::new();
        for (group, (place, _)) in groups?.iter().zip(&attempt.messages) {
            self.hide(group, *place, Hidden { until: now + timeout, in_flight: true, changed: false });
            if let Some(message) = self.message(group, *place) {
                message.received = now;
            }
            again.extend(self.show(group, *place));
        }
        self.attempts.insert(id.to_owned(), attempt);
        Some(again)
    }

    fn show(&self, group: &Arc<str>, place: Sequence) -> Option<Received> {
        let message = self.groups.get(group)?.messages.get(&place)?;
        Some(Received {
            message_id: Arc::clone(&message.id),
            receipt_handle: self.handle(place, message.serial),
            body: message.body.clone(),
            attributes: Arc::clone(&message.attributes),
            group: Arc::clone(group),
            dedup: Arc::clone(&message.dedup),
            sequence_number: sequence(place),
            sent: message.sent,
            first_received: message.first_received.unwrap_or(message.sent),
            receive_count: message.count,
            trace_header: message.trace_header.clone(),
            dead_letter_source: message.source.clone(),
        })
    }

    fn valid(&self, group: &Arc<str>, place: Sequence, serial: u64) -> Result<&Message, Error> {
        self.groups
            .get(group)
            .and_then(|group| group.messages.get(&place))
            .filter(|message| message.serial == serial)
            .filter(|message| message.hidden.is_some_and(|hidden| hidden.in_flight))
            .ok_or_else(|| unavailable("The receipt handle has expired"))
    }

    fn handle(&self, place: Sequence, serial: u64) -> String {
        format!("{:016x}.{place:x}.{serial:x}", mix(self.seed))
    }

    fn parse(&self, handle: &str) -> Result<(Sequence, u64), Error> {
        let mut parts = handle.split('.').map(|part| u64::from_str_radix(part, 16).ok());
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(queue)), Some(Some(place)), Some(Some(serial)), None)
                if queue == mix(self.seed) && place < self.next && serial <= self.serial =>
            {
                Ok((place, serial))
            }
            _ => Err(Error::ReceiptHandleIsInvalid),
        }
    }

    fn message_id(&self) -> Arc<str> {
        let (high, low) = (mix(self.seed ^ self.next), mix(self.seed.rotate_left(32) ^ self.next));
        uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
            .into_uuid()
            .to_string()
            .into()
    }
}

fn unavailable(reason: &'static str) -> Error {
    Error::ReceiptUnavailable(reason)
}

fn sequence(place: Sequence) -> String {
    format!("{place:020}")
}

/// `SplitMix64`'s output function: spreads consecutive numbers (Steele, Lea and Flood, 2014).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
