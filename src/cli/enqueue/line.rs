//! What a line of standard input, or the flags, come to.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tracing::warn;

use super::signing::Signing;
use crate::app::{nearest, shown};
use crate::job::{Job, QueueType, group_id};
use crate::json::StringBytes;
use crate::plan::Outline;
use crate::producer::Event;
use crate::queue::{NewMessage, Redriven};

/// What may stand beside an event, a body or a job's own members.
const IDS: [&str; 2] = ["group", "dedup"];
/// What the copies of dead letters have besides.
const OF_LETTERS: [&str; 3] = ["id", "attributes", "queue"];

/// What the attributes of such a copy say of how it was given up.
const OF_COPIES: [&str; 8] =
    ["reason", "detail", "attempts", "app_id", "webhook", "destination", "first_sent", "given_up"];
/// The most names that are shown.
const MAX_NAMED: usize = 10;

/// A line: an object, whose members are looked at only as far as they are needed. Their names come as bytes
/// and their values raw: a job's may hold what only JavaScript reads.
struct Line<'a> {
    text: &'a str,
    members: Vec<(Cow<'a, [u8]>, &'a RawValue)>,
}

impl<'a> Line<'a> {
    fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(Cow<'de, [u8]>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((StringBytes(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(members)
            }
        }
        let mut read = serde_json::Deserializer::from_str(text);
        let members = read.deserialize_map(InOrder)?;
        read.end()?;
        Ok(Self { text, members })
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(member, _)| **member == *name.as_bytes()).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> anyhow::Result<Option<String>> {
        if self.members.iter().filter(|(member, _)| **member == *name.as_bytes()).count() > 1 {
            bail!("there are two members {name:?}");
        }
        let text = self.raw(name).map(|value| serde_json::from_str::<Option<String>>(value.get()));
        Ok(text.transpose().map_err(|error| anyhow!("{name:?} is no text: {error}"))?.flatten())
    }

    /// Refuses a member that is none of these, since what is not looked at may be what was meant for the
    /// group.
    fn only(&self, known: &[&str]) -> anyhow::Result<()> {
        for (name, _) in &self.members {
            let name = String::from_utf8_lossy(name);
            if !known.contains(&&*name) {
                bail!(
                    "the member {} is unknown{} (there are {})",
                    shown(&name),
                    meant(&name),
                    known.join(", ")
                );
            }
        }
        Ok(())
    }

    /// Refuses a member of a job that was probably meant for an id.
    fn no_slip(&self) -> anyhow::Result<()> {
        for (name, _) in &self.members {
            let name = String::from_utf8_lossy(name);
            let meant = if IDS.contains(&&*name) { String::new() } else { meant(&name) };
            if !meant.is_empty() {
                bail!("the member {} is none of a job{meant}", shown(&name));
            }
        }
        Ok(())
    }

    fn has_ids(&self) -> bool {
        IDS.iter().any(|id| self.raw(id).is_some())
    }

    /// The line without its ids: the job alone, whose other bytes stay as they are.
    fn without_ids(&self) -> String {
        let mut kept = Vec::with_capacity(self.members.len());
        let mut begins = self.text.find('{').map_or(0, |at| at + 1);
        for (name, value) in &self.members {
            let ends = value.get().as_ptr() as usize - self.text.as_ptr() as usize + value.get().len();
            let member = self.text.get(begins..ends).unwrap_or_default();
            begins = ends;
            if !IDS.iter().any(|id| id.as_bytes() == &**name) {
                kept.push(member.trim_start().trim_start_matches(',').trim());
            }
        }
        format!("{{{}}}", kept.join(","))
    }
}

/// The id that a member was probably meant for, as part of a sentence.
fn meant(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let holds = IDS.into_iter().find(|id| name.contains(id));
    holds.or_else(|| nearest(&name, IDS)).map(|id| format!("; did you mean {id}?")).unwrap_or_default()
}

/// What is carried on of a letter's attributes, as a redrive does: webhooks that have the job do not get it again,
/// the others get it under the id that they know.
#[derive(Default, Deserialize)]
struct Attributes {
    source_message_id: Option<String>,
    delivered: Option<String>,
    webhook: Option<String>,
    #[serde(flatten)]
    #[allow(clippy::zero_sized_map_values, reason = "only a map can be flattened")]
    others: BTreeMap<String, IgnoredAny>,
}

impl Attributes {
    /// Says which are not sent, but for those that a letter has beside the job's.
    fn tell_of_others(&self) {
        let own = self.others.keys().filter(|name| !OF_COPIES.contains(&name.as_str()));
        let own: Vec<_> = own.take(MAX_NAMED).map(|name| shown(name).to_string()).collect();
        if !own.is_empty() {
            warn!(attributes = own.join(", "), "attributes of a line that are not sent with its job");
        }
    }
}

/// The members of an object in their order, with the values' own bytes.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Members {
    fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.0.iter().position(|(member, _)| member == name)?;
        Some(self.0.remove(at).1)
    }

    fn take_text(&mut self, name: &str) -> anyhow::Result<Option<String>> {
        let text = self.take(name).map(|value| serde_json::from_str(value.get()));
        text.transpose().map_err(|_| anyhow!("the event's {name} is no string of Unicode characters"))
    }

    fn take_said(&mut self, name: &str) -> anyhow::Result<Option<Said>> {
        self.take(name).map(|written| Said::of(name, written)).transpose()
    }
}

/// A string that may hold a lone surrogate, which JavaScript writes as an escape: as bytes, and as it stands.
struct Said {
    text: Vec<u8>,
    written: Box<RawValue>,
}

impl Said {
    fn of(name: &str, written: Box<RawValue>) -> anyhow::Result<Self> {
        let StringBytes(text) =
            serde_json::from_str(written.get()).map_err(|_| anyhow!("the event's {name} is no string"))?;
        Ok(Self { text: text.into_owned(), written })
    }
}

/// Refuses the name of an event without a group where it was probably meant for one of Pusher's: it would be an event
/// of one's own, which webhooks for Pusher's do not get.
fn no_slip(name: &str) -> anyhow::Result<()> {
    if QueueType::of_event(name).is_some() {
        return Ok(());
    }
    let own = "give a \"group\" if it is an event of your own";
    if name.starts_with("client-") {
        bail!(
            "the event has the name {}; a client event has the name client_event, and that name in its member event ({own})",
            shown(name)
        );
    }
    let known = QueueType::ALL.into_iter().map(QueueType::event_name);
    if let Some(meant) = nearest(name, known) {
        bail!("the event has the name {}; did you mean {meant}? ({own})", shown(name));
    }
    Ok(())
}

/// Group and deduplication id, as far as they are given.
pub(in crate::cli) type Ids = (Option<String>, Option<String>);

/// A job with ids beside its members, as `enqueue` takes it: its body without them, and those. Nothing of a line that
/// has none.
pub(in crate::cli) fn ids_beside(line: &str) -> anyhow::Result<Option<(String, Ids)>> {
    let Some(read) = Line::read(line.trim()).ok().filter(Line::has_ids) else { return Ok(None) };
    let ids = (read.text("group")?, read.text("dedup")?);
    read.no_slip()?;
    Ok(Some((read.without_ids(), ids)))
}

/// The job of a line, for a queue that takes messages up to `most_bytes`.
pub(super) fn job(line: &str, signing: &Signing, most_bytes: usize) -> anyhow::Result<NewMessage> {
    let line = line.trim();
    let Ok(read) = Line::read(line) else { return Err(no_job(line)) };
    let (group, dedup) = (read.text("group")?, read.text("dedup")?);
    let mut job = if let Some(event) = read.raw("event") {
        read.only(&["event", "group", "dedup"])?;
        let mut members: Members = serde_json::from_str(event.get()).context("event is not an object")?;
        let name = members.take_text("name")?.context("the event has no name")?;
        if group.is_none() {
            no_slip(&name)?;
        }
        let channel = members.take_text("channel")?;
        signing.signer()?.job(&made(&name, channel.as_deref(), group.as_deref(), members)?)
    } else if let Some(body) = read.text("body")? {
        read.only(&[&["body"], &IDS[..], &OF_LETTERS].concat())?;
        let attributes = read.raw("attributes").map(|value| serde_json::from_str::<Attributes>(value.get()));
        let attributes = attributes.transpose().context("attributes are not those of a letter")?;
        let own = attributes.unwrap_or_default();
        own.tell_of_others();
        // A letter that SQS moved has the id under which receivers know the job.
        let source = own.source_message_id.or(read.text("id")?);
        let redriven =
            source.map(|source| Redriven::of(&source, own.delivered.as_deref(), own.webhook.as_deref()));
        NewMessage { redriven, ..NewMessage::new(group.map_or_else(|| group_of(&body), Ok)?, body) }
    } else {
        Job::decode(&line.to_owned().into()).map_err(|_| no_job(line))?;
        read.no_slip()?;
        let body = if read.has_ids() { read.without_ids() } else { line.to_owned() };
        NewMessage::new(group.map_or_else(|| group_of(&body), Ok)?, body)
    };
    if let Some(dedup) = dedup {
        job.deduplication = dedup;
    }
    let carries = job.redriven.is_some();
    let (job, whole) = job.fitting_in(most_bytes);
    if !whole && carries {
        warn!(
            dedup = job.deduplication,
            "too large for what is known of it: webhooks that have it get it again"
        );
    }
    Ok(job)
}

/// Why a line is none of what it may be.
fn no_job(line: &str) -> anyhow::Error {
    let kinds = "neither a job, nor {\"group\",\"dedup\",\"body\"}, nor {\"event\",\"group\",\"dedup\"}";
    let is_cut = |error: serde_json::Error| error.is_eof();
    if line.starts_with('{') && serde_json::from_str::<&RawValue>(line).is_err_and(is_cut) {
        return anyhow!("the object does not end in its line: write one JSON object a line, as jq -c . does");
    }
    match Job::decode(&line.to_owned().into()) {
        Ok(_) => anyhow!(kinds),
        Err(error) => anyhow!(error).context(kinds),
    }
}

/// The message group of a job: that of its app and its first event's type.
fn group_of(body: &str) -> anyhow::Result<String> {
    let job = Job::decode(&body.to_owned().into()).context("no message group is known; give a \"group\"")?;
    let outline = Outline::read(&job).context("no message group is known; give a \"group\"")?;
    let name = String::from_utf8_lossy(outline.names().next().unwrap_or_default());
    let kind = QueueType::of_event(&name).with_context(|| {
        format!("no message group is known for the event {}; give a \"group\"", shown(&name))
    })?;
    Ok(group_id(&job.app_id, kind))
}

/// The event of the flags.
pub(super) fn event(
    name: &str,
    channel: Option<&str>,
    group: Option<&str>,
    fields: &str,
) -> anyhow::Result<Event> {
    let members: Members = serde_json::from_str(fields).context("--fields is not a JSON object")?;
    let kind = QueueType::of_event(name);
    if kind.is_none() && group.is_none() {
        let known: Vec<_> = QueueType::ALL.into_iter().map(QueueType::event_name).collect();
        return Err(anyhow!(
            "--event {name}: it is none of {}; give a --group to send an event of your own",
            known.join(", ")
        ));
    }
    let channel = channel.or(match kind {
        Some(QueueType::ClientEvent) => Some("private-test"),
        Some(QueueType::MemberAdded | QueueType::MemberRemoved) => Some("presence-test"),
        Some(QueueType::CacheMiss) => Some("cache-test"),
        Some(QueueType::ChannelOccupied | QueueType::ChannelVacated) => Some("test"),
        None => None,
    });
    made(name, channel, group, members)
}

fn made(name: &str, channel: Option<&str>, group: Option<&str>, members: Members) -> anyhow::Result<Event> {
    let mut members = members;
    let repeated = {
        let mut seen = HashSet::new();
        members.0.iter().find(|(member, _)| !seen.insert(member.as_str())).map(|(member, _)| member.clone())
    };
    if let Some(member) = repeated {
        return Err(anyhow!("the event has two members {member:?}"));
    }
    let on = || channel.with_context(|| format!("the event {name} needs a channel"));
    let mut event = match QueueType::of_event(name) {
        Some(QueueType::ClientEvent) => {
            let said = members.take_said("event")?;
            let data = members.take("data").unwrap_or_else(|| RawValue::NULL.to_owned());
            let mut event = match said {
                Some(said) => Event::of_client(on()?, &said.text, &said.written, &data)?,
                None => Event::client_event(on()?, "client-test", &data)?,
            };
            for member in ["socket_id", "user_id"] {
                if let Some(id) = members.take_said(member)? {
                    event = event.sender(member, &id.text, &id.written)?;
                }
            }
            event
        }
        Some(kind @ (QueueType::MemberAdded | QueueType::MemberRemoved)) => {
            let id = members.take_said("user_id")?;
            let id = id.with_context(|| format!("the event {name} needs a user_id, a string"))?;
            Event::of_member(kind, on()?, &id.text, &id.written)?
        }
        Some(QueueType::ChannelVacated) => Event::channel_vacated(on()?)?,
        Some(QueueType::ChannelOccupied) => Event::channel_occupied(on()?)?,
        Some(QueueType::CacheMiss) => Event::cache_miss(on()?)?,
        None => {
            let own = Event::own(name)?;
            channel.map_or_else(|| Ok(own.clone()), |channel| own.clone().on_channel(channel))?
        }
    };
    for (member, value) in members.0 {
        event = event.with(&member, &value)?;
    }
    Ok(match group {
        Some(group) => event.in_group(group),
        None => event,
    })
}

#[cfg(test)]
mod tests;
