//! What JavaScript would make of a payload, written for being plain and not for being fast: an oracle
//! for `hookferry::plan`. Shares no code with it. The fuzz targets use it too.
//!
//! Text is UTF-16 here, as in JavaScript; the JSON has to be valid.

use hookferry::app::{App, Webhook, WebhookId};

/// A payload, its parts as they stand in the text.
pub struct Payload<'a> {
    text: &'a str,
    pub time_ms: Option<&'a str>,
    pub events: Vec<&'a str>,
}

/// What a webhook has to get.
#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    /// Which of the app's.
    pub webhook: WebhookId,
    /// The body.
    pub body: String,
    /// Whether that is the whole payload.
    pub whole: bool,
}

/// Takes valid JSON apart; `None` if it is not an object with a list of objects as `events`.
pub fn read(text: &str) -> Option<Payload<'_>> {
    let text = text.trim_matches(is_white);
    let members = members(text)?;
    let events = items(last(&members, "events")?)?;
    let objects = events.iter().all(|event| event.starts_with('{'));
    objects.then(|| Payload { text, time_ms: last(&members, "time_ms"), events })
}

impl<'a> Payload<'a> {
    /// The events that a webhook wants, as they stand.
    pub fn kept(&self, webhook: &Webhook) -> Vec<&'a str> {
        self.events.iter().copied().filter(|event| wants(webhook, event)).collect()
    }
}

/// What the app's webhooks have to get, in order.
pub fn expected(payload: &Payload<'_>, app: &App) -> Vec<Expected> {
    let mut all = Vec::new();
    for registered in &app.webhooks {
        let webhook = registered.id.clone();
        let kept = payload.kept(registered);
        if kept.is_empty() {
            continue;
        }
        let whole = kept.len() == payload.events.len();
        let time_ms = payload.time_ms.map(|time_ms| format!("\"time_ms\":{time_ms},")).unwrap_or_default();
        let part = format!("{{{time_ms}\"events\":[{}]}}", kept.join(","));
        all.push(Expected { webhook, body: if whole { payload.text.to_owned() } else { part }, whole });
    }
    all
}

fn wants(webhook: &Webhook, event: &str) -> bool {
    let members = members(event).unwrap();
    let text = |name| last(&members, name).and_then(string).unwrap_or_default();
    let (name, channel) = (text("name"), text("channel"));
    let utf16 = |text: &str| text.encode_utf16().collect::<Vec<u16>>();
    let filter = |text: &Option<String>| utf16(text.as_deref().unwrap_or_default());
    webhook.event_types.as_ref().is_none_or(|types| types.iter().any(|known| utf16(known) == name))
        && channel.starts_with(&filter(&webhook.filter.channel_name_starts_with))
        && channel.ends_with(&filter(&webhook.filter.channel_name_ends_with))
}

/// The last member of that name, as `JSON.parse` has it.
fn last<'a>(members: &[(Vec<u16>, &'a str)], name: &str) -> Option<&'a str> {
    let name: Vec<u16> = name.encode_utf16().collect();
    members.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| *value)
}

/// An object's members; `None` if it is none.
pub fn members(text: &str) -> Option<Vec<(Vec<u16>, &str)>> {
    let mut rest = text.strip_prefix('{')?.trim_start_matches(is_white);
    let mut members = Vec::new();
    while !rest.starts_with('}') {
        let (key, after) = value(rest);
        let (member, after) = value(after.trim_start_matches(is_white).strip_prefix(':').unwrap());
        members.push((string(key).unwrap(), member));
        let after = after.trim_start_matches(is_white);
        rest = after.strip_prefix(',').unwrap_or(after).trim_start_matches(is_white);
    }
    Some(members)
}

/// A list's items; `None` if it is none.
fn items(text: &str) -> Option<Vec<&str>> {
    let mut rest = text.strip_prefix('[')?.trim_start_matches(is_white);
    let mut items = Vec::new();
    while !rest.starts_with(']') {
        let (item, after) = value(rest);
        items.push(item);
        let after = after.trim_start_matches(is_white);
        rest = after.strip_prefix(',').unwrap_or(after).trim_start_matches(is_white);
    }
    Some(items)
}

/// The value at the head of the text, and what follows it.
fn value(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(is_white);
    let bytes = text.as_bytes();
    let (mut depth, mut in_string, mut end) = (0, false, 0);
    loop {
        let byte = bytes.get(end).copied();
        match byte {
            Some(b'\\') if in_string => end += 1,
            Some(b'"') => {
                in_string = !in_string;
                if depth == 0 && !in_string {
                    return text.split_at(end + 1);
                }
            }
            _ if in_string => {}
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return text.split_at(end + 1);
                }
            }
            // A number or a word ends where something else begins.
            Some(b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') | None if depth == 0 => {
                return text.split_at(end);
            }
            _ => {}
        }
        end += 1;
    }
}

/// A string in UTF-16, lone surrogates and all; `None` if it is none.
pub fn string(text: &str) -> Option<Vec<u16>> {
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut units = Vec::new();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            continue;
        }
        let escape = rest.chars().next().unwrap();
        rest = &rest[1..];
        units.push(match escape {
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'u' => {
                let unit = u16::from_str_radix(&rest[..4], 16).unwrap();
                rest = &rest[4..];
                unit
            }
            itself => u16::try_from(u32::from(itself)).unwrap(),
        });
    }
    Some(units)
}

fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}
