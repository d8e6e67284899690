//! Events by Pusher's rules, and events of one's own.

use serde::Serialize;

use crate::job::{QueueType, group_id};

/// The longest channel name, and name of a client event, that soketi takes, as JavaScript counts characters: those
/// beyond U+FFFF are two.
const MAX_NAME: usize = 200;

/// What says who sent a client event.
const SENDER: [&str; 2] = ["socket_id", "user_id"];

/// One event of a job, as JSON text with its members in soketi's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    json: String,
    members: Vec<String>,
    channel: String,
    kind: Kind,
    group: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Pusher(QueueType),
    /// One's own, of that name.
    Own(String),
}

/// Why something is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvent {
    /// A channel's name.
    #[error("{0:?} is no channel: 1 to {MAX_NAME} letters, digits and any of _-=@,.;:#")]
    Channel(String),
    /// The event does not happen on channels of that kind.
    #[error("{event} does not happen on the channel {channel:?}: its name has to begin with {prefixes}")]
    ChannelKind {
        /// The event.
        event: &'static str,
        /// The channel.
        channel: String,
        /// How the names of its channels begin.
        prefixes: &'static str,
    },
    /// A client event's name.
    #[error(
        "{0:?} is no client event: its name has to begin with client- and have at most {MAX_NAME} characters"
    )]
    ClientEvent(String),
    /// An id that is empty.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// An event of Pusher's, which has rules and a message group of its own.
    #[error("{0} is Pusher's: make it by Event::{0}")]
    Pushers(&'static str),
    /// A member that the event has already, or that its kind gives it.
    #[error("the event has a member {0:?} already")]
    Member(String),
    /// Who sent it, of an event that nobody sends, or past the method that writes it.
    #[error("{event} takes no member {member}: who sent a client_event is written by Event::{member}")]
    Sender {
        /// The event.
        event: &'static str,
        /// `socket_id` or `user_id`.
        member: &'static str,
    },
    /// A value that is no JSON.
    #[error("the member {member:?} is no JSON: {why}")]
    Value {
        /// The member.
        member: String,
        /// Why.
        why: String,
    },
}

impl Event {
    /// Someone sent an event on a private or presence channel. `data` is written as its type says; a
    /// [`serde_json::value::RawValue`] keeps its own bytes.
    pub fn client_event(
        channel: &str,
        event: &str,
        data: &(impl Serialize + ?Sized),
    ) -> Result<Self, InvalidEvent> {
        Self::of_client(channel, event.as_bytes(), event, data)
    }

    /// The same with a name that may hold a lone surrogate, and as it is to be written.
    pub(crate) fn of_client(
        channel: &str,
        event: &[u8],
        written: &(impl Serialize + ?Sized),
        data: &(impl Serialize + ?Sized),
    ) -> Result<Self, InvalidEvent> {
        // Nobody but the members can read what passes on an encrypted channel.
        if channel.starts_with("private-encrypted-") {
            return Err(InvalidEvent::ChannelKind {
                event: "client_event",
                channel: channel.to_owned(),
                prefixes: "private- or presence-, and not with private-encrypted-",
            });
        }
        let made = Self::on(QueueType::ClientEvent, channel, &["private-", "presence-"])?;
        if !event.starts_with(b"client-") || utf16_len(event) > MAX_NAME {
            return Err(InvalidEvent::ClientEvent(String::from_utf8_lossy(event).into_owned()));
        }
        made.member("event", written)?.member("data", data)
    }

    /// Someone joined a presence channel.
    pub fn member_added(channel: &str, user_id: &str) -> Result<Self, InvalidEvent> {
        Self::of_member(QueueType::MemberAdded, channel, user_id.as_bytes(), user_id)
    }

    /// Someone left a presence channel.
    pub fn member_removed(channel: &str, user_id: &str) -> Result<Self, InvalidEvent> {
        Self::of_member(QueueType::MemberRemoved, channel, user_id.as_bytes(), user_id)
    }

    /// The first subscriber came to a channel.
    pub fn channel_occupied(channel: &str) -> Result<Self, InvalidEvent> {
        Self::on(QueueType::ChannelOccupied, channel, &[""])
    }

    /// The last subscriber left a channel.
    pub fn channel_vacated(channel: &str) -> Result<Self, InvalidEvent> {
        Self::on(QueueType::ChannelVacated, channel, &[""])
    }

    /// A cache channel had nothing to give a new subscriber.
    pub fn cache_miss(channel: &str) -> Result<Self, InvalidEvent> {
        Self::on(
            QueueType::CacheMiss,
            channel,
            &["cache-", "private-cache-", "private-encrypted-cache-", "presence-cache-"],
        )
    }

    /// An event of one's own, such as `order.paid`. Webhooks that name event types have to name it, and
    /// those that filter by channel get it only if it has one.
    ///
    /// Its message group is `{app id}_{name}` unless [`Event::in_group`] gives it another.
    pub fn own(name: &str) -> Result<Self, InvalidEvent> {
        if name.is_empty() {
            return Err(InvalidEvent::Empty("the event's name"));
        }
        if let Some(kind) = QueueType::of_event(name) {
            return Err(InvalidEvent::Pushers(kind.event_name()));
        }
        Ok(Self::named(name, Kind::Own(name.to_owned())))
    }

    /// The channel of an event of one's own.
    pub fn on_channel(mut self, channel: &str) -> Result<Self, InvalidEvent> {
        if !is_channel(channel) {
            return Err(InvalidEvent::Channel(channel.to_owned()));
        }
        self = self.member("channel", channel)?;
        channel.clone_into(&mut self.channel);
        Ok(self)
    }

    /// Who sent a client event: the connection.
    pub fn socket_id(self, id: &str) -> Result<Self, InvalidEvent> {
        self.sender("socket_id", id.as_bytes(), id)
    }

    /// Who sent a client event: the member of a presence channel. soketi writes it after `socket_id`.
    pub fn user_id(self, id: &str) -> Result<Self, InvalidEvent> {
        self.sender("user_id", id.as_bytes(), id)
    }

    /// Who sent it, by an id that may hold a lone surrogate, and as it is to be written.
    pub(crate) fn sender(
        self,
        member: &'static str,
        id: &[u8],
        written: &(impl Serialize + ?Sized),
    ) -> Result<Self, InvalidEvent> {
        if id.is_empty() {
            return Err(InvalidEvent::Empty(member));
        }
        if let Kind::Pusher(kind) = self.kind
            && kind != QueueType::ClientEvent
            && !self.has(member)
        {
            return Err(InvalidEvent::Sender { event: kind.event_name(), member });
        }
        if member == "user_id" && !self.channel.starts_with("presence-") {
            return Err(InvalidEvent::ChannelKind {
                event: "user_id",
                channel: self.channel,
                prefixes: "presence-",
            });
        }
        self.member(member, written)
    }

    /// One more member, behind those that the event has, and none of those that say who sent one of Pusher's. A float
    /// that is no number, or infinite, is written as `null`: JSON has none.
    pub fn with(self, member: &str, value: &(impl Serialize + ?Sized)) -> Result<Self, InvalidEvent> {
        let sender = SENDER.into_iter().find(|sender| *sender == member);
        if let (Kind::Pusher(kind), Some(member)) = (&self.kind, sender)
            && !self.has(member)
        {
            return Err(InvalidEvent::Sender { event: kind.event_name(), member });
        }
        self.member(member, value)
    }

    /// Puts the event into a message group of its own choice: the events of a group are delivered in order,
    /// one after the other; other groups do not wait for it.
    #[must_use]
    pub fn in_group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// The event as JSON text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    pub(super) fn group(&self, app_id: &str) -> String {
        match (&self.group, &self.kind) {
            (Some(group), _) => group.clone(),
            (None, Kind::Pusher(kind)) => group_id(app_id, *kind),
            (None, Kind::Own(name)) => format!("{app_id}_{name}"),
        }
    }

    /// Who came or left, by an id that may hold a lone surrogate, and as it is to be written.
    pub(crate) fn of_member(
        kind: QueueType,
        channel: &str,
        user_id: &[u8],
        written: &(impl Serialize + ?Sized),
    ) -> Result<Self, InvalidEvent> {
        let made = Self::on(kind, channel, &["presence-"])?;
        if user_id.is_empty() {
            return Err(InvalidEvent::Empty("user_id"));
        }
        made.member("user_id", written)
    }

    fn on(kind: QueueType, channel: &str, prefixes: &[&str]) -> Result<Self, InvalidEvent> {
        let made = Self::named(kind.event_name(), Kind::Pusher(kind)).on_channel(channel)?;
        if prefixes.iter().any(|prefix| channel.starts_with(prefix)) {
            return Ok(made);
        }
        Err(InvalidEvent::ChannelKind {
            event: kind.event_name(),
            channel: channel.to_owned(),
            prefixes: match kind {
                QueueType::ClientEvent => "private- or presence-",
                QueueType::CacheMiss => "cache-, private-cache-, private-encrypted-cache- or presence-cache-",
                QueueType::MemberAdded
                | QueueType::MemberRemoved
                | QueueType::ChannelVacated
                | QueueType::ChannelOccupied => "presence-",
            },
        })
    }

    fn named(name: &str, kind: Kind) -> Self {
        let json = format!(r#"{{"name":{}}}"#, text(name));
        Self { json, members: vec!["name".to_owned()], channel: String::new(), kind, group: None }
    }

    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|member| member == name)
    }

    fn member(mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<Self, InvalidEvent> {
        let invalid =
            |why: serde_json::Error| InvalidEvent::Value { member: name.to_owned(), why: why.to_string() };
        let written = serde_json::to_string(value).map_err(invalid)?;
        if self.has(name) {
            return Err(InvalidEvent::Member(name.to_owned()));
        }
        self.members.push(name.to_owned());
        self.json.pop();
        self.json.push(',');
        self.json.push_str(&text(name));
        self.json.push(':');
        self.json.push_str(&written);
        self.json.push('}');
        Ok(self)
    }
}

/// Pusher's characters, and sockudo's `:` behind a namespace and `#` before a user.
fn is_channel(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=@,.;:#".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

/// The length of a string as JavaScript counts it. A lone surrogate has the three bytes of WTF-8.
fn utf16_len(text: &[u8]) -> usize {
    let units = text.iter().map(|byte| match byte {
        0x80..=0xbf => 0,
        0xf0.. => 2,
        _ => 1,
    });
    units.sum()
}

fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
