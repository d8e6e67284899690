//! What a line of standard input, or the flags, come to.

use std::collections::HashSet;
use std::fmt;

use anyhow::{Context, anyhow};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::job::{Job, QueueType, group_id};
use crate::producer::{Event, Signer};
use crate::queue::NewMessage;

/// A line: a job with its group and deduplication id, or an event to make a job of.
#[derive(Deserialize)]
struct Line {
    body: Option<String>,
    event: Option<Box<RawValue>>,
    group: Option<String>,
    dedup: Option<String>,
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
        text.transpose().map_err(|_| anyhow!("the event's {name} is no string"))
    }
}

/// The job of a line.
pub(super) fn job(line: &str, signer: &Signer) -> anyhow::Result<NewMessage> {
    let (body, group, dedup) = match serde_json::from_str::<Line>(line) {
        Ok(Line { event: Some(event), group, body: None, dedup: None }) => {
            let mut members: Members = serde_json::from_str(event.get()).context("event is not an object")?;
            let name = members.take_text("name")?.context("the event has no name")?;
            let channel = members.take_text("channel")?;
            return Ok(signer.job(&made(&name, channel.as_deref(), group.as_deref(), members)?));
        }
        Ok(Line { body: Some(body), event: None, group, dedup }) => (body, group, dedup),
        Ok(_) | Err(_) => (line.trim().to_owned(), None, None),
    };
    let group = if let Some(group) = group {
        group
    } else {
        let job = Job::decode(&body.clone().into())
            .context("neither a job, nor {\"group\",\"dedup\",\"body\"}, nor {\"event\",\"group\"}")?;
        let payload: Value = serde_json::from_slice(&job.payload)?;
        let name = payload.pointer("/events/0/name").and_then(Value::as_str).unwrap_or_default();
        let kind = QueueType::of_event(name)
            .with_context(|| format!("no message group is known for the event {name:?}; give a \"group\""))?;
        group_id(&job.app_id, kind)
    };
    let mut job = NewMessage::new(group, body);
    if let Some(dedup) = dedup {
        job.deduplication = dedup;
    }
    Ok(job)
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
    let mut user_id = || {
        members.take_text("user_id")?.with_context(|| format!("the event {name} needs a user_id, a string"))
    };
    let mut event = match QueueType::of_event(name) {
        Some(QueueType::ClientEvent) => {
            let said = members.take_text("event")?.unwrap_or_else(|| "client-test".to_owned());
            let data = members.take("data").unwrap_or_else(|| RawValue::NULL.to_owned());
            Event::client_event(on()?, &said, &data)?
        }
        Some(QueueType::MemberAdded) => Event::member_added(on()?, &user_id()?)?,
        Some(QueueType::MemberRemoved) => Event::member_removed(on()?, &user_id()?)?,
        Some(QueueType::ChannelVacated) => Event::channel_vacated(on()?)?,
        Some(QueueType::ChannelOccupied) => Event::channel_occupied(on()?)?,
        Some(QueueType::CacheMiss) => Event::cache_miss(on()?)?,
        None => {
            let own = Event::own(name)?;
            channel.map_or_else(|| Ok(own.clone()), |channel| own.clone().on_channel(channel))?
        }
    };
    if let Some(id) = members.take_text("socket_id")? {
        event = event.socket_id(&id)?;
    }
    for (member, value) in members.0 {
        event = event.with(&member, &value)?;
    }
    Ok(match group {
        Some(group) => event.in_group(group),
        None => event,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(line: &str) -> NewMessage {
        job(line, &Signer::new("app-id", "app-key", "app-secret")).unwrap()
    }

    #[test]
    fn an_event_line_is_a_job_that_keeps_its_bytes_and_verifies() {
        let made = made_of(
            r#"{"event":{"name":"client_event","channel":"presence-a","user_id":"7","data":{"b":1.50,"a":"\ud800"},"event":"client-a","socket_id":"1.2","x":1}}"#,
        );
        assert_eq!(made.group, "app-id_client_event_webhooks");
        let event = r#"{"name":"client_event","channel":"presence-a","event":"client-a","data":{"b":1.50,"a":"\ud800"},"socket_id":"1.2","user_id":"7","x":1}"#;
        assert!(made.body.contains(event), "{}", made.body);
        let job = Job::decode(&made.body.into()).unwrap();
        job.verify(&"app-secret".into()).unwrap();
    }

    #[test]
    fn an_event_of_ones_own_goes_into_the_group_that_is_named() {
        let made = made_of(r#"{"event":{"name":"order.paid","total":"12.50"},"group":"order-7"}"#);
        assert_eq!(made.group, "order-7");
        assert!(made.body.contains(r#""events":[{"name":"order.paid","total":"12.50"}]"#));
        assert!(event("client_events", None, None, "{}").unwrap_err().to_string().contains("--group"));
    }

    #[test]
    fn a_job_is_taken_as_it_stands_with_its_ids_or_without() {
        let body = r#"{"appKey":"k","appId":"a","payload":{"time_ms":1,"events":[{"name":"cache_miss"}]},"originalPusherSignature":""}"#;
        let bare = made_of(body);
        assert_eq!((bare.group.as_str(), bare.body.as_str()), ("a_cache_miss_webhooks", body));
        let line = serde_json::json!({"group": "g", "dedup": "d", "body": "anything"}).to_string();
        let given = made_of(&line);
        assert_eq!(
            (given.group, given.deduplication, given.body),
            ("g".into(), "d".into(), "anything".into())
        );
    }
}
