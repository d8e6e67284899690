//! The query protocol's answers, written from the JSON ones.

use std::fmt::Write;

use serde_json::Value;

use crate::fifo::is_xml_char;

const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";

/// The answer of an action.
#[must_use]
pub fn response(action: &str, result: &Value, request_id: &str) -> String {
    let mut body = String::new();
    members(&mut body, action, result);
    let result =
        if body.is_empty() { String::new() } else { format!("<{action}Result>{body}</{action}Result>") };
    format!(
        "<?xml version=\"1.0\"?><{action}Response xmlns=\"{NAMESPACE}\">{result}<ResponseMetadata>\
         <RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
}

/// An error's answer.
#[must_use]
pub fn error(code: &str, message: &str, request_id: &str) -> String {
    let mut shown = String::new();
    escape(&mut shown, message);
    format!(
        "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{shown}</Message><Detail/></Error>\
         <RequestId>{request_id}</RequestId></ErrorResponse>"
    )
}

fn members(out: &mut String, action: &str, value: &Value) {
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        match (name.as_str(), member) {
            ("Attributes", Value::Object(map)) => {
                map.iter().for_each(|(n, v)| pair(out, action, "Attribute", "Name", (n, v)));
            }
            ("MessageAttributes", Value::Object(map)) => {
                map.iter().for_each(|(n, v)| pair(out, action, "MessageAttribute", "Name", (n, v)));
            }
            ("Tags", Value::Object(map)) => {
                map.iter().for_each(|(n, v)| pair(out, action, "Tag", "Key", (n, v)));
            }
            ("Successful", Value::Array(items)) => list(out, action, &format!("{action}ResultEntry"), items),
            ("Failed", Value::Array(items)) => list(out, action, "BatchResultErrorEntry", items),
            ("Messages", Value::Array(items)) => list(out, action, "Message", items),
            ("QueueUrls" | "queueUrls", Value::Array(items)) => list(out, action, "QueueUrl", items),
            (name, member) => element(out, action, name, member),
        }
    }
}

fn list(out: &mut String, action: &str, name: &str, items: &[Value]) {
    for item in items {
        element(out, action, name, item);
    }
}

fn pair(out: &mut String, action: &str, element_name: &str, key: &str, (name, value): (&String, &Value)) {
    open(out, element_name);
    element(out, action, key, &Value::from(name.as_str()));
    element(out, action, "Value", value);
    close(out, element_name);
}

fn element(out: &mut String, action: &str, name: &str, value: &Value) {
    open(out, name);
    match value {
        Value::Null => {}
        Value::String(text) => escape(out, text),
        Value::Bool(_) | Value::Number(_) => {
            // Writing to a string cannot fail.
            write!(out, "{value}").unwrap_or_default();
        }
        Value::Array(_) | Value::Object(_) => members(out, action, value),
    }
    close(out, name);
}

fn open(out: &mut String, name: &str) {
    out.push('<');
    out.push_str(name);
    out.push('>');
}

fn close(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // A parser would turn a bare carriage return into a line feed.
            '\r' => out.push_str("&#xD;"),
            // An error may quote what XML has no way to write.
            c if !is_xml_char(c) => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
}
