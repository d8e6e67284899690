//! One webhook, member by member, in the words of soketi or of sockudo.
//!
//! What cannot be used makes the webhook unusable and leaves its siblings; what is past a limit makes the app unusable. What
//! is most likely a mistake is remarked on.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use url::{Host, Url};

use crate::app::filter::{Filter, Pattern, channel_type};
use crate::app::limits::{
    MAX_CLIENT_OPTIONS_BYTES, MAX_FUNCTION_BYTES, MAX_HEADER_BYTES, MAX_HEADERS, MAX_NAME_BYTES, MAX_NAMES,
    MAX_PATTERN_BYTES, MAX_URL_BYTES,
};
use crate::app::remark::{Remarks, Severity, meant, shown};
use crate::app::{Invocation, Lambda, Retry, Target, Webhook};
use crate::json::{scalar_text, whole_number};

/// Every type of event that a producer is known to send: soketi's six, and sockudo's.
pub const EVENT_TYPES: [&str; 18] = [
    "client_event",
    "member_added",
    "member_removed",
    "channel_vacated",
    "channel_occupied",
    "cache_miss",
    "member_updated",
    "subscription_count",
    "message_version_created",
    "annotation_created",
    "annotation_deleted",
    "ai_run_started",
    "ai_run_ended",
    "ai_turn_started",
    "ai_turn_ended",
    "ai_cancel_requested",
    "ai_stream_cancelled",
    "ai_stream_orphaned",
];

/// Headers that a webhook's own cannot replace, lower case.
pub const RESERVED_HEADERS: [&str; 8] = [
    "x-pusher-key",
    "x-pusher-signature",
    "x-hookferry-id",
    "x-hookferry-attempt",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
];

/// Headers that are an HTTP connection's and not the webhook's to set, lower case. With `Expect` the receiver
/// would be asked for leave before every body.
pub const CONNECTION_HEADERS: [&str; 8] = [
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
];

const MEMBERS: [&str; 9] = [
    "url",
    "lambda_function",
    "lambda",
    "headers",
    "event_types",
    "filter",
    "retry",
    "request_timeout_ms",
    "standard_headers",
];
const LAMBDA: [&str; 4] = ["async", "region", "client_options", "function_name"];
const CLIENT_OPTIONS: [&str; 6] =
    ["region", "endpoint", "credentials", "accessKeyId", "secretAccessKey", "sessionToken"];
const FILTER: [&str; 7] = [
    "channel_name_starts_with",
    "channel_name_ends_with",
    "channel_prefix",
    "channel_suffix",
    "channel_pattern",
    "channel_namespace",
    "channel_namespaces",
];
/// What patterns are written with, and what no channel has in its name, by Pusher's rules for those.
const IN_NO_CHANNEL: [char; 6] = ['*', '?', '^', '/', ' ', '\t'];
const RETRY: [&str; 5] =
    ["enabled", "max_attempts", "max_elapsed_time_ms", "initial_backoff_ms", "max_backoff_ms"];

/// Whose words a webhook is registered in: `lambda_function` means something else to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A list of webhooks of an app, which sockudo's older records have too.
    Soketi,
    /// The webhooks within a `policy`.
    Sockudo,
}

/// What an app's channel patterns take to be read, those that cannot be used among them.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// Bytes of memory.
    pub size: usize,
    /// Code points that are looked up.
    pub work: usize,
}

impl Patterns {
    fn compile(&mut self, text: &str) -> Result<Pattern, &'static str> {
        // One past that is not compiled.
        self.work += Pattern::work(text).unwrap_or_default();
        let compiled = Pattern::new(text);
        self.size += compiled.as_ref().map_or(0, Pattern::size);
        compiled
    }
}

/// Why a webhook is not as it was registered.
enum Fault {
    /// It cannot be used: its siblings can.
    Unusable(String),
    /// It is past a limit: so is its app.
    Excess(String),
}

type Part<T> = Result<T, Fault>;

fn unusable<T>(why: impl Into<String>) -> Part<T> {
    Err(Fault::Unusable(why.into()))
}

/// Reads a webhook. One that cannot be used is marked so, under its own target where that can be told.
///
/// # Errors
/// It is past a limit: then its app is unusable.
pub(super) fn read(
    value: Value,
    dialect: Dialect,
    place: &str,
    remarks: &mut Remarks,
    patterns: &mut Patterns,
) -> Result<Webhook, String> {
    read_object(value, dialect, place, remarks, patterns).map_err(|excess| format!("{place}: {excess}"))
}

fn read_object(
    value: Value,
    dialect: Dialect,
    place: &str,
    remarks: &mut Remarks,
    patterns: &mut Patterns,
) -> Result<Webhook, String> {
    let Value::Object(mut members) = value else {
        let why = "it is no object".to_owned();
        return Ok(Webhook::of(left_out(Target::Missing, why, place, remarks)));
    };
    for name in members.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
        remarks.unknown(place, name, MEMBERS);
    }
    let mut faults = Faults::default();
    let target = faults.keep(target(&mut members, dialect, place, remarks))?.unwrap_or(Target::Missing);
    // What can be read counts even where something else cannot: only the jobs that it wants wait for it.
    let mut webhook = Webhook {
        headers: faults.keep(headers(&mut members))?.unwrap_or_default(),
        event_types: faults.keep(event_types(&mut members, place, remarks))?.flatten(),
        filter: faults.keep(filter(&mut members, place, remarks, patterns))?.unwrap_or_default(),
        timeout: faults.keep(milliseconds(&mut members, "request_timeout_ms", place, remarks))?.flatten(),
        retry: faults.keep(retry(&mut members, place, remarks))?.unwrap_or_default(),
        standard_headers: truth(&mut members, "standard_headers", place, remarks),
        ..Webhook::of(target)
    };
    if faults.first.is_none() {
        faults.keep(judge(&webhook.target, &webhook.headers))?;
    }
    if faults.first.is_none() {
        remark_on_headers(&webhook, place, remarks);
        remark_on_host(&webhook.target, place, remarks);
    }
    if let Some(why) = faults.first {
        let registered = std::mem::replace(&mut webhook.target, Target::Missing);
        webhook.target = left_out(registered, why, place, remarks);
    }
    Ok(webhook)
}

/// What makes a webhook unusable: the first thing that does is told.
#[derive(Default)]
struct Faults {
    first: Option<String>,
}

impl Faults {
    /// A part of a webhook, if it can be used.
    ///
    /// # Errors
    /// It is past a limit.
    fn keep<T>(&mut self, part: Part<T>) -> Result<Option<T>, String> {
        match part {
            Ok(part) => Ok(Some(part)),
            Err(Fault::Unusable(why)) => {
                self.first.get_or_insert(why);
                Ok(None)
            }
            Err(Fault::Excess(why)) => Err(why),
        }
    }
}

fn left_out(registered: Target, why: String, place: &str, remarks: &mut Remarks) -> Target {
    remarks.add(
        Severity::Error,
        &format_args!("{place} cannot be used, and its jobs wait for that to be mended, but for those that another webhook has: they are dead-lettered for it: {why}"),
    );
    Target::Unusable { registered: Box::new(registered), why }
}

/// Where it goes. soketi looks at `url` first; sockudo at `lambda` before `lambda_function`.
fn target(
    members: &mut Map<String, Value>,
    dialect: Dialect,
    place: &str,
    remarks: &mut Remarks,
) -> Part<Target> {
    let url = text(members, "url")?;
    let function = text(members, "lambda_function")?;
    let mut lambda = object(members, "lambda")?;
    for name in lambda.keys().filter(|name| !LAMBDA.contains(&name.as_str())) {
        remarks.unknown(&format!("{place}.lambda"), name, LAMBDA);
    }
    if let Some(url) = url {
        bounded("url", url.len(), MAX_URL_BYTES)?;
        if function.is_some() || lambda.contains_key("function_name") {
            remarks.add(
                Severity::Warning,
                &format_args!("{place}: it has a url, so the function beside it is ignored"),
            );
        }
        return Ok(Target::Http(url));
    }
    remark_on_async(lambda.get("async"), place, remarks);
    let structured = text(&mut lambda, "function_name")?;
    // sockudo never waits for a function's answer, and invokes each with the body, whichever way it is named.
    let is_sockudos = structured.is_some() || dialect == Dialect::Sockudo;
    let asynchronous = lambda.remove("async").map_or(is_sockudos, truthy);
    let invocation = if is_sockudos { Invocation::Plain } else { Invocation::Wrapped };
    let Some(function) = structured.or(function) else { return Ok(Target::Missing) };
    bounded("lambda function's name", function.len(), MAX_FUNCTION_BYTES)?;
    let client_options = lambda.remove("client_options").filter(|options| !options.is_null());
    if let Some(Value::Object(options)) = &client_options {
        for name in options.keys().filter(|name| !CLIENT_OPTIONS.contains(&name.as_str())) {
            remarks.unknown(&format!("{place}.lambda.client_options"), name, CLIENT_OPTIONS);
        }
    }
    let client_options = client_options.map(|options| options.to_string());
    bounded("client_options", client_options.as_ref().map_or(0, String::len), MAX_CLIENT_OPTIONS_BYTES)?;
    let region = text(&mut lambda, "region")?;
    bounded("lambda.region", region.as_ref().map_or(0, String::len), MAX_NAME_BYTES)?;
    let is_zone = |region: &str| {
        let region = region.strip_suffix(|c: char| c.is_ascii_lowercase());
        region.is_some_and(|region| region.contains('-') && region.ends_with(|c: char| c.is_ascii_digit()))
    };
    if let Some(zone) = region.as_deref().filter(|region| is_zone(region)) {
        let of = zone.get(..zone.len() - 1).unwrap_or_default();
        remarks.add(
            Severity::Warning,
            &format_args!(
                "{place}.lambda.region: {} is an availability zone; did you mean {of}?",
                shown(zone)
            ),
        );
    }
    Ok(Target::Lambda(Lambda { function, asynchronous, invocation, region, client_options }))
}

/// Says that a text for `async` is true whatever it says.
fn remark_on_async(given: Option<&Value>, place: &str, remarks: &mut Remarks) {
    let Some(text) = given.and_then(Value::as_str) else { return };
    if ["false", "0", "no", "off"].iter().any(|no| text.trim().eq_ignore_ascii_case(no)) {
        remarks.add(
            Severity::Warning,
            &format_args!(
                "{place}.lambda.async: {} is a text, which counts as true, as with soketi: no answer of the function's is waited \
                 for, and none of its failures retried; write false without quotes",
                shown(text)
            ),
        );
    }
}

/// Says which of its headers are never sent.
fn remark_on_headers(webhook: &Webhook, place: &str, remarks: &mut Remarks) {
    let is_one_of = |list: &[&str], name: &str| list.iter().any(|known| known.eq_ignore_ascii_case(name));
    let by_http = matches!(webhook.target, Target::Http(_));
    for (name, _) in &webhook.headers {
        if is_one_of(&RESERVED_HEADERS, name) || by_http && is_one_of(&CONNECTION_HEADERS, name) {
            remarks.add(
                Severity::Warning,
                &format_args!("{place}.headers: {} is not a webhook's to set and is never sent", shown(name)),
            );
        }
    }
}

/// Says that a literal address is none that may be dialled, or none unless the operator allows it.
fn remark_on_host(target: &Target, place: &str, remarks: &mut Remarks) {
    let Target::Http(url) = target else { return };
    let Ok(url) = Url::parse(url.trim()) else { return };
    let host = match url.host() {
        // One that stands for an IPv4 address is judged as that.
        Some(Host::Ipv6(address)) => address.to_ipv4_mapped().map_or(Host::Ipv6(address), Host::Ipv4),
        Some(other) => other,
        None => return,
    };
    let (never, inside) = match &host {
        Host::Domain(_) => return,
        Host::Ipv4(address) => (
            address.is_link_local() || address.is_unspecified() || address.is_multicast(),
            address.is_private() || address.is_loopback(),
        ),
        Host::Ipv6(address) => (
            address.is_unicast_link_local() || address.is_unspecified() || address.is_multicast(),
            address.is_unique_local() || address.is_loopback(),
        ),
    };
    if never {
        remarks.add(
            Severity::Warning,
            &format_args!("{place}.url: {host} is an address that nothing is ever sent to"),
        );
    } else if inside {
        // The operator may allow it: that is not known here.
        remarks.add(
            Severity::Note,
            &format_args!(
                "{place}.url: {host} is not public: it is refused unless WEBHOOKS_ALLOWED_NETWORKS holds it"
            ),
        );
    }
}

/// Whether what was registered can be sent.
fn judge(target: &Target, headers: &[(String, String)]) -> Part<()> {
    match target {
        Target::Http(url) => {
            let url = match Url::parse(url.trim()) {
                Ok(url) => url,
                Err(why) => return unusable(format!("its url is no URL: {why}")),
            };
            if !matches!(url.scheme(), "http" | "https") {
                return unusable("the scheme of its url is neither http nor https".to_owned());
            }
            if url.host_str().is_none_or(str::is_empty) {
                return unusable("its url has no host");
            }
            for (name, value) in headers {
                if HeaderName::from_bytes(name.as_bytes()).is_err() {
                    return unusable(format!("{} is no name of a header", shown(name)));
                }
                if HeaderValue::from_bytes(value.as_bytes()).is_err() {
                    return unusable(format!(
                        "the value of its header {} holds a control character",
                        shown(name)
                    ));
                }
            }
            Ok(())
        }
        Target::Lambda(lambda) => {
            let named = lambda.function.parse::<crate::app::function::Function>();
            named.map(drop).or_else(|why| {
                unusable(format!("its lambda_function {} cannot be invoked: {why}", shown(&lambda.function)))
            })
        }
        Target::Missing => unusable("it has neither url nor lambda_function"),
        Target::Unusable { why, .. } => unusable(why.as_str()),
    }
}

/// Headers by name. PHP writes an empty object as an empty list.
fn headers(members: &mut Map<String, Value>) -> Part<Vec<(String, String)>> {
    let named = object(members, "headers")?;
    bounded_count("headers", named.len(), MAX_HEADERS)?;
    let headers: Vec<(String, String)> = named
        .into_iter()
        .filter_map(|(name, value)| Some((name.trim().to_owned(), scalar_text(value)?.trim().to_owned())))
        .collect();
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    bounded("headers", bytes, MAX_HEADER_BYTES)?;
    Ok(headers)
}

/// Names of events; soketi finds them in a text as well as in a list.
fn event_types(
    members: &mut Map<String, Value>,
    place: &str,
    remarks: &mut Remarks,
) -> Part<Option<Vec<String>>> {
    let names = match members.remove("event_types") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => {
            bounded_count("event_types", list.len(), MAX_NAMES)?;
            list.into_iter().filter_map(scalar_text).collect::<Vec<_>>()
        }
        Some(Value::String(text)) => {
            bounded("event_types", text.len(), MAX_NAMES * MAX_NAME_BYTES)?;
            EVENT_TYPES.into_iter().filter(|name| text.contains(name)).map(str::to_owned).collect()
        }
        Some(_) => return unusable("its event_types are no list"),
    };
    for name in &names {
        bounded("event types", name.len(), MAX_NAME_BYTES)?;
        if EVENT_TYPES.contains(&name.as_str()) {
            continue;
        }
        if name.contains('*') || ["all", "any"].iter().any(|every| name.trim().eq_ignore_ascii_case(every)) {
            remarks.add(
                Severity::Warning,
                &format_args!(
                    "{place}.event_types: {} is no event type, and patterns are not known here: no event is it; leave event_types out for every event",
                    shown(name)
                ),
            );
        } else if let Some(nearest) = remarks.nearest(name, EVENT_TYPES) {
            let meant = meant(Some(nearest));
            remarks.add(
                Severity::Warning,
                &format_args!("{place}.event_types: {} is no known event type{meant}", shown(name)),
            );
        } else {
            remarks.add(
                Severity::Note,
                &format_args!("{place}.event_types: {} is sent by neither soketi nor sockudo", shown(name)),
            );
        }
    }
    if names.is_empty() {
        remarks.add(Severity::Warning, &format_args!("{place}.event_types names none: it gets no event"));
    }
    Ok(Some(names))
}

fn filter(
    members: &mut Map<String, Value>,
    place: &str,
    remarks: &mut Remarks,
    patterns: &mut Patterns,
) -> Part<Filter> {
    let mut members = object(members, "filter")?;
    for name in members.keys().filter(|name| !FILTER.contains(&name.as_str())) {
        remarks.unknown(&format!("{place}.filter"), name, FILTER);
    }
    let mut part = |name: &'static str| -> Part<Option<String>> {
        let part = match members.remove(name) {
            None | Some(Value::Null) => None,
            // As with sockudo, no channel has an empty namespace; what begins with nothing, each does.
            Some(Value::String(text)) => {
                Some(text).filter(|text| !text.is_empty() || name == "channel_namespace")
            }
            Some(_) => return unusable(format!("its filter.{name} is no text")),
        };
        let most = if name == "channel_pattern" { MAX_PATTERN_BYTES } else { MAX_NAME_BYTES };
        bounded(name, part.as_ref().map_or(0, String::len), most)?;
        Ok(part)
    };
    let compile = |text: String| patterns.compile(&text);
    let channel_pattern = match part("channel_pattern")?.map(compile).transpose() {
        Ok(pattern) => pattern,
        Err(why) => return unusable(format!("its filter.channel_pattern {why}")),
    };
    let channel_namespace = part("channel_namespace")?;
    let filter = Filter {
        channel_name_starts_with: part("channel_name_starts_with")?,
        channel_name_ends_with: part("channel_name_ends_with")?,
        channel_prefix: part("channel_prefix")?,
        channel_suffix: part("channel_suffix")?,
        channel_pattern,
        channel_namespace,
        channel_namespaces: match members.remove("channel_namespaces") {
            None | Some(Value::Null) => None,
            Some(Value::Array(list)) => {
                bounded_count("filter.channel_namespaces", list.len(), MAX_NAMES)?;
                let names: Vec<String> = list.into_iter().filter_map(scalar_text).collect();
                for name in &names {
                    bounded("filter.channel_namespaces", name.len(), MAX_NAME_BYTES)?;
                }
                if names.is_empty() {
                    remarks.add(
                        Severity::Warning,
                        &format_args!("{place}.filter.channel_namespaces names none: it gets no event"),
                    );
                }
                Some(names)
            }
            Some(_) => return unusable("its filter.channel_namespaces is no list"),
        },
    };
    let parts = [
        ("channel_name_starts_with", &filter.channel_name_starts_with),
        ("channel_name_ends_with", &filter.channel_name_ends_with),
        ("channel_prefix", &filter.channel_prefix),
        ("channel_suffix", &filter.channel_suffix),
        ("channel_namespace", &filter.channel_namespace),
    ];
    let parts = parts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
    let listed = filter.channel_namespaces.iter().flatten().map(|text| ("channel_namespaces", text.as_str()));
    for (name, text) in parts.chain(listed) {
        if text.contains(IN_NO_CHANNEL) {
            let text = format_args!(
                "{place}.filter.{name}: {} is compared as it stands, and no channel has *, ?, ^, / or a blank in its name: it gets no \
                 event{}",
                shown(text),
                if text.contains('*') { "; a prefix or suffix needs no *" } else { "" }
            );
            remarks.add(Severity::Warning, &text);
        }
    }
    match (filter.channel_namespace.as_deref(), &filter.channel_namespaces) {
        (Some(""), _) => {
            let text = format_args!("{place}.filter.channel_namespace is empty: it gets no event");
            remarks.add(Severity::Warning, &text);
        }
        (Some(one), Some(several)) if !several.is_empty() && several.iter().all(|other| other != one) => {
            let text = format_args!(
                "{place}.filter: no channel is in channel_namespace {} and in channel_namespaces: it gets no event",
                shown(one)
            );
            remarks.add(Severity::Warning, &text);
        }
        (Some(_) | None, _) => {}
    }
    remark_on_filter(&filter, place, remarks);
    Ok(filter)
}

/// Says which parts of a filter no channel can pass, or mean something else than what they look like.
fn remark_on_filter(filter: &Filter, place: &str, remarks: &mut Remarks) {
    let one = filter.channel_namespace.iter().map(|name| ("channel_namespace", name));
    let several = filter.channel_namespaces.iter().flatten().map(|name| ("channel_namespaces", name));
    for (member, name) in one.chain(several) {
        if let Some(kind) = channel_type(name) {
            remarks.add(
                Severity::Warning,
                &format_args!(
                    "{place}.filter.{member}: {} begins with {kind}, which is taken off a channel's name before it is compared; leave it out",
                    shown(name)
                ),
            );
        } else if let Some((before, _)) = name.split_once(':') {
            remarks.add(
                Severity::Warning,
                &format_args!(
                    "{place}.filter.{member}: {} holds a colon, where a namespace ends: no channel is in it; did you mean {}?",
                    shown(name),
                    shown(before)
                ),
            );
        }
    }
    let Some(pattern) = filter.channel_pattern.as_ref().map(Pattern::text) else { return };
    let delimited = pattern.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
    let said = if delimited.is_some_and(|(_, flags)| flags.bytes().all(|flag| flag.is_ascii_alphabetic())) {
        "has slashes around it, which count as part of it here: no channel's name holds one; leave them out, and write (?i) in front for the flag i"
    } else if is_glob(pattern) {
        "looks like a wildcard, and is a regular expression: * repeats what stands before it; write .* for any characters, and ^ for the beginning of the name"
    } else {
        return;
    };
    remarks
        .add(Severity::Warning, &format_args!("{place}.filter.channel_pattern: {} {said}", shown(pattern)));
}

/// Whether a pattern has nothing but what channels' names have, and asterisks.
fn is_glob(pattern: &str) -> bool {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=@,;:#".contains(&byte);
    pattern.contains('*') && pattern.bytes().all(|byte| byte == b'*' || in_name(byte))
}

fn retry(members: &mut Map<String, Value>, place: &str, remarks: &mut Remarks) -> Part<Retry> {
    let mut members = object(members, "retry")?;
    for name in members.keys().filter(|name| !RETRY.contains(&name.as_str())) {
        remarks.unknown(&format!("{place}.retry"), name, RETRY);
    }
    let enabled = truth(&mut members, "enabled", &format!("{place}.retry"), remarks).unwrap_or(true);
    let most = number(&mut members, "max_attempts")?;
    let place = format!("{place}.retry");
    let retry = Retry {
        max_attempts: if enabled {
            most.map(|most| u32::try_from(most.max(1)).unwrap_or(u32::MAX))
        } else {
            Some(1)
        },
        window: milliseconds(&mut members, "max_elapsed_time_ms", &place, remarks)?,
        base: milliseconds(&mut members, "initial_backoff_ms", &place, remarks)?,
        cap: milliseconds(&mut members, "max_backoff_ms", &place, remarks)?,
    };
    if let (Some(base), Some(cap)) = (retry.base, retry.cap)
        && cap < base
    {
        let text = format_args!(
            "{place}.max_backoff_ms is below its initial_backoff_ms, and counts for every backoff"
        );
        remarks.add(Severity::Warning, &text);
    }
    Ok(retry)
}

/// A member that is an object, or nothing. PHP writes an empty object as an empty list.
fn object(members: &mut Map<String, Value>, name: &str) -> Part<Map<String, Value>> {
    match members.remove(name) {
        Some(Value::Object(members)) => Ok(members),
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Array(list)) if list.is_empty() => Ok(Map::new()),
        Some(_) => unusable(format!("its {name} is no object")),
    }
}

/// A member that is a text with something in it, or nothing.
fn text(members: &mut Map<String, Value>, name: &str) -> Part<Option<String>> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
        Some(_) => unusable(format!("its {name} is no text")),
    }
}

fn number(members: &mut Map<String, Value>, name: &str) -> Part<Option<u64>> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match whole_number(&value) {
            Some(number) => Ok(Some(number)),
            None => unusable(format!("its {name} is no whole number")),
        },
    }
}

/// A duration; as with sockudo, none at all is taken for the shortest.
fn milliseconds(
    members: &mut Map<String, Value>,
    name: &str,
    place: &str,
    remarks: &mut Remarks,
) -> Part<Option<Duration>> {
    let given = number(members, name)?;
    if given == Some(0) {
        let text =
            format_args!("{place}.{name} is 0, which is taken for 1 ms; leave it out for the worker's own");
        remarks.add(Severity::Warning, &text);
    }
    Ok(given.map(|ms| Duration::from_millis(ms.max(1))))
}

fn bounded(what: &str, bytes: usize, most: usize) -> Part<()> {
    if bytes <= most {
        return Ok(());
    }
    Err(Fault::Excess(format!("its {what} have {bytes} bytes; {most} is the most")))
}

fn bounded_count(what: &str, count: usize, most: usize) -> Part<()> {
    if count <= most {
        return Ok(());
    }
    Err(Fault::Excess(format!("it has {count} {what}; {most} is the most")))
}

/// A member that is true or false, or nothing. A text is neither: JavaScript would take "false" for true.
fn truth(members: &mut Map<String, Value>, name: &str, place: &str, remarks: &mut Remarks) -> Option<bool> {
    match members.remove(name)? {
        Value::Bool(value) => Some(value),
        Value::Null => None,
        Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            let text = format_args!("{place}.{name} is neither true nor false, and is ignored");
            remarks.add(Severity::Warning, &text);
            None
        }
    }
}

/// What JavaScript takes for true, as soketi does: every text but the empty one, too.
fn truthy(value: Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
