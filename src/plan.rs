//! What a job comes to: for each of the app's webhooks, the exact body, headers and signature.
//!
//! Pure: a job and an app go in, deliveries come out. A body is either the payload's own bytes or
//! pieces of them; nothing here parses a value only to print it again. The events of several jobs for
//! one webhook can go out as one delivery: [`Coalescer`].

mod coalesce;

use std::borrow::Cow;
use std::collections::HashSet;
use std::iter::Enumerate;
use std::ops::Range;
use std::slice;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::app::{App, Filter, RESERVED_HEADERS, Target, Webhook, WebhookId};
use crate::job::{Job, sign, why_without_events};
use crate::json::StringBytes;
use crate::standard::Signing;
pub use coalesce::{Coalescer, Limits};

/// One thing to send: a job's events for one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose it is: what apps share is shared by it.
    pub app_id: String,
    /// Which of the app's webhooks it is for.
    pub webhook: WebhookId,
    /// Where it goes.
    pub target: Target,
    /// The body to post, JSON.
    pub body: Bytes,
    /// The headers in order; a later one replaces an earlier one of the same name.
    pub headers: Vec<(String, String)>,
    /// What its attempts are signed with for Standard Webhooks; absent where the webhook wants none of it.
    pub standard: Option<Signing>,
    /// How long an attempt may take, if that is known: a part of it at the most passes in waiting for leave to make it.
    pub timeout: Option<Duration>,
}

impl Delivery {
    /// Its receiver knows the job by this identity of its webhook, and is told the same id again.
    pub(crate) fn keep_id(&mut self, job: &str, webhook: &WebhookId) {
        if let Some((_, value)) = self.headers.iter_mut().find(|(name, _)| name == ID_HEADER) {
            *value = id_of(job, webhook);
        }
    }
}

/// The payload is signed but is no list of events.
#[derive(Debug, thiserror::Error)]
#[error("the payload is not a list of events: {0}")]
pub struct Error(String);

/// What every delivery names itself with.
pub const USER_AGENT: &str = concat!("hookferry/", env!("CARGO_PKG_VERSION"));

/// The header that is the same on every attempt, for receivers that drop duplicates.
pub const ID_HEADER: &str = "X-Hookferry-Id";
/// The header that counts the attempts, from 1.
pub const ATTEMPT_HEADER: &str = "X-Hookferry-Attempt";

/// A job's events, read once for all of the app's webhooks.
#[derive(Debug)]
pub struct Outline<'a> {
    job: &'a Job,
    payload: Payload<'a>,
    events: Vec<Event<'a>>,
}

/// What webhooks make of a job: of several, the one that wants the most of it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// It lists none of the events' types.
    Unlisted,
    /// It lists some, and its filter lets none of those pass.
    Filtered,
    /// It gets some or all of them.
    Events,
}

/// What of a job one webhook gets; nothing is rendered yet.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Which of the app's webhooks it is, from 0.
    pub index: usize,
    /// Which events; all if absent.
    kept: Option<Vec<bool>>,
}

/// What a job comes to for all of an app's webhooks; nothing is rendered yet.
#[derive(Debug)]
pub struct Plan {
    /// What the webhooks make of it, all in all.
    pub wanted: Wanted,
    /// What each gets that gets something, in the app's order.
    pub selected: Vec<Selection>,
    /// What those are rendered from.
    pub pieces: Pieces,
    /// The webhooks, by their index, that list none of the events' names.
    pub unlisted: Vec<usize>,
}

/// A plan while it is made, a little at a time: there may be many events and many webhooks.
#[derive(Debug)]
pub struct Planning<'o> {
    outline: &'o Outline<'o>,
    /// That are not asked yet.
    webhooks: Enumerate<slice::Iter<'o, Webhook>>,
    /// What the one makes of it that is being asked.
    selecting: Option<Selecting<'o>>,
    wanted: Wanted,
    selected: Vec<Selection>,
    unlisted: Vec<usize>,
}

/// Events that a webhook is asked about, one after the other: there may be many, and each may take long.
#[derive(Debug)]
struct Selecting<'o> {
    events: &'o [Event<'o>],
    index: usize,
    filter: &'o Filter,
    types: Option<HashSet<&'o [u8]>>,
    some_listed: bool,
    /// Of the events that were looked at.
    kept: Vec<bool>,
}

/// What a body without events or time consists of.
const FRAME: usize = r#"{"events":[]}"#.len();
/// What a time adds to it, besides itself.
const TIME: usize = r#""time_ms":,"#.len();

/// What it takes to see that an event's type is not listed, in nanoseconds.
const UNLISTED_COST: u64 = 50;

/// Where a payload's parts lie in it, for bodies that are made of them.
#[derive(Clone, Debug)]
pub struct Pieces {
    time_ms: Option<Range<usize>>,
    /// All events as they stand, without the brackets around them.
    all: Range<usize>,
    /// How many they are.
    count: usize,
    /// Each event; empty where no webhook gets some of them alone.
    events: Vec<Range<usize>>,
}

impl<'a> Outline<'a> {
    /// Reads a job's payload. Its signature has to have been verified.
    ///
    /// # Errors
    /// It is no list of events.
    pub fn read(job: &'a Job) -> Result<Self, Error> {
        let why = |error: serde_json::Error| Error(why_without_events(&job.payload, &error));
        let payload: Payload<'_> = serde_json::from_slice(&job.payload).map_err(why)?;
        let events = serde_json::from_str(payload.events.get()).map_err(why)?;
        Ok(Self { job, payload, events })
    }

    /// Whether there are no events at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events' names as bytes; that of one without a name, or with one that is no string, is empty.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.events.iter().map(|event| &*event.name)
    }

    /// The payload's `time_ms` as it stands.
    #[must_use]
    pub fn time_ms(&self) -> Option<&str> {
        self.payload.time_ms.map(RawValue::get)
    }

    /// Begins to find out what the webhook of that index gets: in time linear in the events and in the types that it
    /// lists, and in what its pattern costs.
    fn select<'o>(&'o self, index: usize, webhook: &'o Webhook) -> Selecting<'o> {
        let types = webhook.event_types.as_ref().map(|types| types.iter().map(String::as_bytes).collect());
        let kept = Vec::with_capacity(self.events.len());
        Selecting { events: &self.events, index, filter: &webhook.filter, types, some_listed: false, kept }
    }

    /// Where the parts of the payload lie. Single events are looked for only if one of these is of some of them.
    fn pieces(&self, selected: &[Selection]) -> Result<Pieces, Error> {
        let start = self.job.payload.as_ptr() as usize;
        let range = |part: &str| {
            let from = part.as_ptr() as usize - start;
            from..from + part.len()
        };
        let list = self.payload.events.get();
        let events: Vec<&RawValue> = if selected.iter().any(Selection::is_partial) {
            serde_json::from_str(list)
                .map_err(|error| Error(why_without_events(&self.job.payload, &error)))?
        } else {
            Vec::new()
        };
        let all = list.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or_default();
        Ok(Pieces {
            time_ms: self.payload.time_ms.map(|time_ms| range(time_ms.get())),
            all: range(all.trim_ascii()),
            count: self.events.len(),
            events: events.into_iter().map(|event| range(event.get())).collect(),
        })
    }
}

impl<'o> Planning<'o> {
    /// Nothing yet, of this job and app.
    #[must_use]
    pub fn new(outline: &'o Outline<'o>, app: &'o App) -> Self {
        let wanted = if outline.is_empty() { Wanted::Filtered } else { Wanted::Unlisted };
        let webhooks = app.webhooks.iter().enumerate();
        Self { outline, webhooks, selecting: None, wanted, selected: Vec::new(), unlisted: Vec::new() }
    }

    /// Goes on for so many nanoseconds, which are taken off `left`. `false` if they are used up: there may be more to do.
    /// At least one event is looked at, if there is one.
    pub fn advance(&mut self, left: &mut u64) -> bool {
        loop {
            let selecting = match &mut self.selecting {
                Some(selecting) => selecting,
                None => match self.webhooks.next() {
                    Some((index, webhook)) => self.selecting.insert(self.outline.select(index, webhook)),
                    None => return true,
                },
            };
            let Some((wanted, selection)) = selecting.advance(left) else { return false };
            if wanted == Wanted::Unlisted {
                self.unlisted.push(selecting.index);
            }
            self.selecting = None;
            self.wanted = self.wanted.max(wanted);
            self.selected.extend(selection);
            if *left == 0 {
                return false;
            }
        }
    }

    /// The plan, once there is nothing more to do.
    ///
    /// # Errors
    /// The payload is no list of events.
    pub fn finish(self) -> Result<Plan, Error> {
        let Self { outline, wanted, selected, unlisted, .. } = self;
        Ok(Plan { wanted, pieces: outline.pieces(&selected)?, selected, unlisted })
    }
}

impl Selecting<'_> {
    /// Looks at events for so many nanoseconds, which are taken off `left`; `None` if there are more. At least one event
    /// is looked at.
    fn advance(&mut self, left: &mut u64) -> Option<(Wanted, Option<Selection>)> {
        for event in self.events.get(self.kept.len()..).unwrap_or_default() {
            let listed = self.types.as_ref().is_none_or(|types| types.contains(&*event.name));
            self.some_listed |= listed;
            self.kept.push(listed && self.filter.passes(&event.channel));
            let cost = if listed { self.filter.cost(event.channel.len()) } else { UNLISTED_COST };
            *left = left.saturating_sub(cost);
            if *left == 0 && self.kept.len() < self.events.len() {
                return None;
            }
        }
        let kept = std::mem::take(&mut self.kept);
        if !kept.contains(&true) {
            return Some((if self.some_listed { Wanted::Filtered } else { Wanted::Unlisted }, None));
        }
        let kept = kept.contains(&false).then_some(kept);
        Some((Wanted::Events, Some(Selection { index: self.index, kept })))
    }
}

impl Selection {
    /// Whether it is of some events alone.
    fn is_partial(&self) -> bool {
        self.kept.is_some()
    }

    /// How many bytes of memory the body takes that is rendered: none if it is the payload itself.
    #[must_use]
    pub fn rendered_bytes(&self, pieces: &Pieces) -> usize {
        let Some(kept) = &self.kept else { return 0 };
        let events =
            pieces.events.iter().zip(kept).filter(|(_, kept)| **kept).map(|(range, _)| range.len() + 1);
        FRAME + pieces.time_ms.as_ref().map_or(0, |range| TIME + range.len()) + events.sum::<usize>()
    }

    /// Makes the delivery; `None` if the app has no webhook of that index. `id` is the first half of
    /// `X-Hookferry-Id`: the SQS message id.
    #[must_use]
    pub fn render(&self, job: &Job, pieces: &Pieces, app: &App, id: &str) -> Option<Delivery> {
        let webhook = app.webhooks.get(self.index)?;
        let (body, signature) = match &self.kept {
            None => (job.payload.clone(), job.signature_under(&app.secret)),
            Some(kept) => {
                let piece = |range: &Range<usize>| job.payload.get(range.clone()).unwrap_or_default();
                let kept = pieces.events.iter().zip(kept).filter(|(_, kept)| **kept);
                let body = part(pieces.time_ms.as_ref().map(piece), kept.map(|(range, _)| piece(range)));
                let signature = sign(&app.secret, [body.as_ref()]);
                (body, signature)
            }
        };
        Some(Delivery {
            app_id: app.id.clone(),
            webhook: webhook.id.clone(),
            target: webhook.target.clone(),
            body,
            headers: headers(webhook, &app.key, signature, id_of(id, &webhook.id)),
            standard: app.standard_signing(webhook),
            timeout: None,
        })
    }
}

/// Works out what each of an app's webhooks gets of a job, in one go.
///
/// The job's signature has to have been verified.
///
/// # Errors
/// The payload is no list of events.
pub fn select(job: &Job, app: &App) -> Result<Plan, Error> {
    let outline = Outline::read(job)?;
    let mut planning = Planning::new(&outline, app);
    while !planning.advance(&mut u64::MAX.clone()) {}
    planning.finish()
}

/// Works out what is to be sent, in the app's order of webhooks, and renders it; empty if nothing is.
///
/// The job's signature has to have been verified. `id` is the first half of `X-Hookferry-Id`: the
/// SQS message id.
///
/// # Errors
/// The payload is no list of events.
pub fn plan(job: &Job, app: &App, id: &str) -> Result<Vec<Delivery>, Error> {
    let Plan { selected, pieces, .. } = select(job, app)?;
    Ok(selected.iter().filter_map(|selected| selected.render(job, &pieces, app, id)).collect())
}

fn part<'a>(time_ms: Option<&[u8]>, events: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(b'{');
    if let Some(time_ms) = time_ms {
        body.put_slice(b"\"time_ms\":");
        body.put_slice(time_ms);
        body.put_u8(b',');
    }
    body.put_slice(b"\"events\":[");
    for (n, event) in events.enumerate() {
        if n > 0 {
            body.put_u8(b',');
        }
        body.put_slice(event);
    }
    body.put_slice(b"]}");
    body.freeze()
}

/// What a receiver knows a job by: the same on every attempt.
fn id_of(job: &str, webhook: &WebhookId) -> String {
    format!("{job}.{webhook}")
}

fn headers(webhook: &Webhook, key: &str, signature: String, id: String) -> Vec<(String, String)> {
    let mut headers = vec![
        ("Accept".to_owned(), "application/json".to_owned()),
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("User-Agent".to_owned(), USER_AGENT.to_owned()),
    ];
    let own = webhook.headers.iter().filter(|(name, _)| {
        !RESERVED_HEADERS.iter().any(|reserved| name.trim().eq_ignore_ascii_case(reserved))
    });
    headers.extend(own.cloned());
    headers.push(("X-Pusher-Key".to_owned(), key.to_owned()));
    headers.push(("X-Pusher-Signature".to_owned(), signature));
    headers.push((ID_HEADER.to_owned(), id));
    headers
}

/// The payload's outline, its parts still raw.
#[derive(Debug)]
struct Payload<'a> {
    time_ms: Option<&'a RawValue>,
    /// Taken apart only when no later one can replace it.
    events: &'a RawValue,
}

impl<'de> Deserialize<'de> for Payload<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with `events`")
    }

    // By hand, because a repeated key is an error to a derived one; to JavaScript the last wins.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Payload<'de>, A::Error> {
        let mut time_ms = None;
        let mut events = None;
        while let Some(StringBytes(key)) = map.next_key()? {
            match &*key {
                b"time_ms" => time_ms = Some(map.next_value()?),
                b"events" => events = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let events = events.ok_or_else(|| serde::de::Error::missing_field("events"))?;
        Ok(Payload { time_ms, events })
    }
}

/// What filtering looks at. A name or channel that is missing or no string is empty.
#[derive(Debug, Default)]
struct Event<'a> {
    name: Cow<'a, [u8]>,
    channel: Cow<'a, [u8]>,
}

impl<'de> Deserialize<'de> for Event<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<'de>, A::Error> {
        let mut event = Event::default();
        while let Some(StringBytes(key)) = map.next_key()? {
            match &*key {
                b"name" => event.name = text(map.next_value()?),
                b"channel" => event.channel = text(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(event)
    }
}

fn text(value: &RawValue) -> Cow<'_, [u8]> {
    serde_json::from_str(value.get()).map(|StringBytes(bytes)| bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    fn app(webhooks: &str) -> App {
        serde_json::from_str(&format!(
            r#"{{"id":"app-id","key":"app-key","secret":"app-secret","webhooks":{webhooks}}}"#
        ))
        .unwrap()
    }

    fn job(payload: &str) -> Job {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let signature = sign(&SecretString::from("app-secret"), [payload.as_ref()]);
        Job { app_key: "app-key".into(), app_id: "app-id".into(), payload, signature, sender_secret: None }
    }

    fn header<'a>(delivery: &'a Delivery, name: &str) -> Vec<&'a str> {
        delivery
            .headers
            .iter()
            .filter(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    const TWO: &str = r#"{"time_ms":1.70e3, "events":[ {"name":"client_event","channel":"a","data":"\ud83d"} ,{"channel":"private-b","name":"member_added","n":1.0}]}"#;

    #[test]
    fn all_events_left_means_the_payloads_own_bytes_and_signature() {
        let job = job(TWO);
        let plan =
            plan(&job, &app(r#"[{"url":"http://h/","event_types":["client_event","member_added"]}]"#), "m")
                .unwrap();
        assert_eq!(plan[0].body, job.payload);
        assert_eq!(header(&plan[0], "x-pusher-signature"), [job.signature.as_str()]);
        assert_eq!(header(&plan[0], ID_HEADER), [format!("m.{}", plan[0].webhook)]);
    }

    #[test]
    fn some_events_left_means_their_own_bytes_signed_anew() {
        let plan = plan(
            &job(TWO),
            &app(
                r#"[{"url":"u","event_types":["member_added"]},{"url":"v","event_types":["client_event"]}]"#,
            ),
            "m",
        )
        .unwrap();
        assert_eq!(
            plan[0].body,
            r#"{"time_ms":1.70e3,"events":[{"channel":"private-b","name":"member_added","n":1.0}]}"#
        );
        assert_eq!(
            plan[1].body,
            r#"{"time_ms":1.70e3,"events":[{"name":"client_event","channel":"a","data":"\ud83d"}]}"#
        );
        let signed = sign(&SecretString::from("app-secret"), [plan[0].body.as_ref()]);
        assert_eq!(header(&plan[0], "x-pusher-signature"), [signed.as_str()]);
        assert_eq!(plan[1].webhook, WebhookId::of(&Target::Http("v".into())));
    }

    #[test]
    fn what_takes_long_to_select_is_selected_in_pieces() {
        let events: Vec<String> = (0..1000)
            .map(|n| format!(r#"{{"name":"client_event","channel":"{}{}"}}"#, "a".repeat(150), n % 2))
            .collect();
        let job = job(&format!(r#"{{"events":[{}]}}"#, events.join(",")));
        let app = app(r#"[{"url":"http://h/","filter":{"channel_pattern":"(a?){500}1"}}]"#);
        let outline = Outline::read(&job).unwrap();
        let (mut selecting, mut pieces) = (outline.select(0, &app.webhooks[0]), 1);
        let (wanted, selection) = loop {
            match selecting.advance(&mut 5_000_000) {
                Some(selected) => break selected,
                None => pieces += 1,
            }
        };
        assert!((100..=1000).contains(&pieces), "{pieces}");
        assert_eq!(wanted, Wanted::Events);
        let selection = selection.unwrap();
        let parts = outline.pieces(std::slice::from_ref(&selection)).unwrap();
        let delivery = selection.render(&job, &parts, &app, "m").unwrap();
        let kept: Vec<&str> = events.iter().skip(1).step_by(2).map(String::as_str).collect();
        assert_eq!(delivery.body, format!(r#"{{"events":[{}]}}"#, kept.join(",")));
        let short = self::job(TWO);
        let outline = Outline::read(&short).unwrap();
        let mut left = 1_000_000;
        assert!(outline.select(0, &app.webhooks[0]).advance(&mut left).is_some() && left > 0, "{left}");
    }

    #[test]
    fn none_left_means_nothing_to_send() {
        assert!(
            plan(&job(TWO), &app(r#"[{"url":"u","event_types":["cache_miss"]}]"#), "m").unwrap().is_empty()
        );
        assert!(plan(&job(r#"{"events":[]}"#), &app(r#"[{"url":"u"}]"#), "m").unwrap().is_empty());
    }

    #[test]
    fn channel_filters_are_byte_exact_and_both_have_to_pass() {
        let keeps = |filter: &str, channel: &str| {
            let payload =
                format!(r#"{{"time_ms":1,"events":[{{"name":"client_event","channel":{channel}}}]}}"#);
            !plan(
                &job(&payload),
                &app(&format!(r#"[{{"url":"u","event_types":["client_event"],"filter":{filter}}}]"#)),
                "m",
            )
            .unwrap()
            .is_empty()
        };
        assert!(keeps(
            r#"{"channel_name_starts_with":"private-","channel_name_ends_with":"-é"}"#,
            r#""private-\u00e9-é""#
        ));
        assert!(!keeps(
            r#"{"channel_name_starts_with":"private-","channel_name_ends_with":"x"}"#,
            r#""private-y""#
        ));
        assert!(keeps(r#"{"channel_name_starts_with":"a"}"#, r#""a\ud800""#));
        assert!(keeps("null", r#""\udc00""#));
    }

    #[test]
    fn a_repeated_key_counts_as_in_javascript_the_last_time() {
        let payload = r#"{"events":"x","events":[{"name":"x","name":"client_event","channel":"a"}]}"#;
        assert_eq!(
            plan(&job(payload), &app(r#"[{"url":"u","event_types":["client_event"]}]"#), "m").unwrap().len(),
            1
        );
    }

    #[test]
    fn own_headers_replace_the_general_ones_but_never_the_reserved() {
        let webhooks = r#"[{"url":"u","headers":{"accept":"text/plain","X-Own":5,"x-pusher-KEY":"forged","Host":"h","x-hookferry-id":"f","Content-Length":"1"}}]"#;
        let plan = plan(&job(TWO), &app(webhooks), "m").unwrap();
        assert_eq!(header(&plan[0], "accept"), ["application/json", "text/plain"]);
        assert_eq!(header(&plan[0], "x-own"), ["5"]);
        assert_eq!(header(&plan[0], "x-pusher-key"), ["app-key"]);
        assert_eq!(header(&plan[0], ID_HEADER), [format!("m.{}", plan[0].webhook)]);
        assert!(header(&plan[0], "host").is_empty() && header(&plan[0], "content-length").is_empty());
    }

    #[test]
    fn a_payload_that_is_no_list_of_events_is_refused() {
        for payload in ["[]", "{}", r#"{"events":{}}"#, r#"{"events":[1]}"#, "null"] {
            assert!(plan(&job(payload), &app("[]"), "m").is_err(), "{payload}");
        }
    }
}
