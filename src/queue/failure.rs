//! What the SDK's errors mean to the worker: by the code first, then by the status.
//!
//! What a code means is in `aws::error_code`.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::primitives::DateTime;
use aws_sdk_sqs::primitives::DateTimeFormat::HttpDate;

use crate::aws::error_chain;
use crate::aws::error_code::{self, ErrorKind, KeyError, plain};
#[cfg(feature = "worker")]
use crate::error_chain::causes;
#[cfg(feature = "worker")]
use crate::queue::Error;
use crate::queue::{ROLE_NEEDS, ReceiveError};
use crate::shown::cut;
use crate::wall;

/// The longest code that is shown; SQS' own have no more than 50 characters.
const MAX_CODE: usize = 64;
/// The most characters that are shown of an answer's message.
const MAX_MESSAGE: usize = 512;
/// The most characters that are shown of a policy's name.
const MAX_POLICY: usize = 120;
/// The most characters that are shown of a body that is not of SQS' form.
const MAX_BEGINNING: usize = 120;
/// The longest answer in which an error in XML is looked for.
const MAX_XML_BYTES: usize = 64 * 1024;

/// What an operator can do where something else than SQS answers.
const NOT_SQS: &str = "a proxy, a firewall or a wrong endpoint answers, not SQS: let the worker out to the queue's endpoint, \
    see that QUEUE_SQS_ENDPOINT and QUEUE_SQS_URL name it, or name the proxy in QUEUE_SQS_CLIENT_OPTIONS httpOptions.proxy";

/// What an operator can do about an endpoint of the query protocol.
const QUERY_PROTOCOL: &str = "this endpoint speaks SQS' older query protocol only: use a version of the emulator with the JSON protocol";

/// What was asked for, so that an error can say what was missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The permission that the call needs, `sqs:ReceiveMessage` or its like.
    pub permission: &'static str,
    /// The region that the request was signed for.
    pub region: &'a str,
}

/// What an answer of the service comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Denied,
    Throttled,
    Missing,
    Service,
}

/// Sorts an error; its text is for people.
pub(crate) fn classify<E>(failure: &SdkError<E>, asked: &Asked<'_>) -> ReceiveError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match failure {
        SdkError::ServiceError(context) => Answer::of(context.raw(), context.err()).error(asked),
        // Before anything was sent: the credentials, above all.
        SdkError::ConstructionFailure(_) => ReceiveError::Denied(error_chain(failure)),
        // An error of another kind that has a kind all the same is one of the connection: above all
        // one that was closed when the request was under way.
        SdkError::DispatchFailure(dispatch)
            if dispatch.is_user() || (dispatch.is_other() && dispatch.as_other().is_none()) =>
        {
            ReceiveError::Denied(error_chain(failure))
        }
        // A response that broke off counts as none: messages may have been handed over in it.
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ResponseError(_) => {
            ReceiveError::NoResponse(unanswered(failure))
        }
        other => ReceiveError::Service(error_chain(other)),
    }
}

/// A request without an answer, with what to do where it is the certificate that is not trusted.
fn unanswered(failure: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error_chain(failure);
    if is_untrusted(failure) {
        text.push_str(" (if a proxy or firewall on the way opens TLS, SSL_CERT_FILE has to name a file with its authority)");
    }
    text
}

/// Whether a certificate was not taken.
#[cfg(feature = "worker")]
fn is_untrusted(failure: &(dyn std::error::Error + 'static)) -> bool {
    causes(failure).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// The client is the caller's, and where its authorities are named too.
#[cfg(not(feature = "worker"))]
fn is_untrusted(_: &(dyn std::error::Error + 'static)) -> bool {
    false
}

/// Classifies the error of a delete, of a visibility change or of a send.
#[cfg(feature = "worker")]
pub(crate) fn settling<E>(failure: &SdkError<E>, asked: &Asked<'_>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    settled_by(&classify(failure, asked))
}

/// Converts a classified error into that of a settling call.
#[cfg(feature = "worker")]
pub(crate) fn settled_by(error: &ReceiveError) -> Error {
    match error {
        denied @ ReceiveError::Denied(_) => Error::Denied(denied.to_string()),
        other => Error::Call(other.to_string()),
    }
}

/// Classifies one failed entry of a batch, in an answer that is a success. It says neither date nor body.
#[cfg(feature = "worker")]
pub(crate) fn settling_entry(
    code: &str,
    message: Option<&str>,
    senders_fault: bool,
    asked: &Asked<'_>,
) -> Error {
    match of_entry(code, message, senders_fault, asked) {
        ReceiveError::Denied(text) => Error::Denied(text),
        ReceiveError::NoResponse(text)
        | ReceiveError::Throttled(text)
        | ReceiveError::Missing(text)
        | ReceiveError::Service(text) => Error::Call(text),
    }
}

/// One entry of a batch that was not sent, in words.
#[cfg(feature = "worker")]
pub(crate) fn sending_entry(code: &str, message: Option<&str>) -> String {
    let code = if code.is_empty() { "an error without a code" } else { code };
    format!("{}: {}", cut(code, MAX_CODE), cut(message.unwrap_or("no message"), MAX_MESSAGE))
}

/// Whether a code says that a receipt is over. Of one that has expired, SQS says no more than that a
/// parameter's value is invalid.
#[cfg(feature = "worker")]
pub(crate) fn is_of_receipt(code: &str) -> bool {
    matches!(plain(code), "ReceiptHandleIsInvalid" | "InvalidParameterValue" | "MessageNotInflight")
}

/// Sorts the failure of one entry of a batch, in an answer that is a success, as that of a whole call.
pub(crate) fn of_entry(
    code: &str,
    message: Option<&str>,
    senders_fault: bool,
    asked: &Asked<'_>,
) -> ReceiveError {
    let status = if senders_fault { 400 } else { 500 };
    let message = message.map(Cow::Borrowed);
    Answer { code: Some(code.into()), message, status, body: &[], date: None }.error(asked)
}

/// Whether the service understood the request and will not have it, whoever sends it and however often. A 400 counts
/// only if it is of SQS' form: without a code a proxy or a load balancer answered, for a while perhaps, and with that
/// of an unknown action an endpoint that takes no request at all. A 413 is of the request's size, whoever says so.
pub(crate) fn is_refusal<E>(failure: &SdkError<E>, asked: &Asked<'_>) -> bool
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let SdkError::ServiceError(context) = failure else { return false };
    let answer = Answer::of(context.raw(), context.err());
    let refuses = match answer.status {
        400 => answer.code.is_some() && !answer.is_of_the_query_protocol(),
        status => status == 413,
    };
    refuses && matches!(classify(failure, asked), ReceiveError::Service(_))
}

/// The parts of an error's answer that tell what it is.
#[derive(Clone, Debug)]
struct Answer<'a> {
    code: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
    status: u16,
    body: &'a [u8],
    date: Option<SystemTime>,
}

impl<'a> Answer<'a> {
    fn of(raw: &'a HttpResponse, error: &'a impl ProvideErrorMetadata) -> Self {
        let body = raw.body().bytes().unwrap_or_default();
        let (code, message) = match error.code() {
            Some(code) => (Some(code.into()), error.message().map(Cow::Borrowed)),
            None => query_error(body).unzip(),
        };
        let date = raw.headers().get("date").and_then(http_date);
        Answer { code, message, status: raw.status().as_u16(), body, date }
    }

    /// The code as SQS' model has it, without the namespace of the older protocol.
    fn code(&self) -> &str {
        plain(self.code.as_deref().unwrap_or_default())
    }

    fn error(&self, asked: &Asked<'_>) -> ReceiveError {
        let text = self.text(asked, wall::now());
        match self.kind() {
            Kind::Denied => ReceiveError::Denied(text),
            Kind::Throttled => ReceiveError::Throttled(text),
            Kind::Missing => ReceiveError::Missing(text),
            Kind::Service => ReceiveError::Service(text),
        }
    }

    fn kind(&self) -> Kind {
        match error_code::kind(self.code()) {
            ErrorKind::NoRight | ErrorKind::Credentials | ErrorKind::Expired | ErrorKind::Clock => {
                Kind::Denied
            }
            ErrorKind::Key(KeyError::NoRight | KeyError::Unusable) => Kind::Denied,
            ErrorKind::Throttled | ErrorKind::Key(KeyError::Throttled) => Kind::Throttled,
            ErrorKind::Missing => Kind::Missing,
            // A code that is not known says less than the status.
            ErrorKind::Key(KeyError::Other) | ErrorKind::Other => match self.status {
                401 | 403 | 407 => Kind::Denied,
                429 => Kind::Throttled,
                _ => Kind::Service,
            },
        }
    }

    /// What it says, and what an operator can do.
    fn text(&self, asked: &Asked<'_>, now: SystemTime) -> String {
        let Some(code) = self.code.as_deref() else { return self.without_form() };
        let code = if code.is_empty() { "an error without a code".into() } else { cut(code, MAX_CODE) };
        let message = cut(self.message.as_deref().unwrap_or("no message"), MAX_MESSAGE);
        let text = match self.kind() {
            Kind::Service => format!("{code}: {message} (status {})", self.status),
            Kind::Denied | Kind::Throttled | Kind::Missing => format!("{code}: {message}"),
        };
        match self.hint(asked, now) {
            Some(hint) => format!("{text} ({hint})"),
            None => text,
        }
    }

    fn hint(&self, asked: &Asked<'_>, now: SystemTime) -> Option<String> {
        let message = self.message.as_deref().unwrap_or_default();
        let kind = error_code::kind(self.code());
        match kind {
            ErrorKind::Key(KeyError::Throttled) => {
                return Some(
                    "AWS KMS throttles the queue's key: raise its request quota, or the queue's KmsDataKeyReusePeriodSeconds"
                        .to_owned(),
                );
            }
            ErrorKind::Key(KeyError::NoRight) => {
                return Some(match other_policy(message) {
                    Some(policy) => elsewhere(&policy, "what it denies of AWS KMS"),
                    None => {
                        format!("{ROLE_NEEDS}kms:Decrypt on the queue's key, and kms:GenerateDataKey to send")
                    }
                });
            }
            ErrorKind::Key(KeyError::Unusable | KeyError::Other) => {
                return Some(
                    "the queue's KMS key cannot be used: see its state and policy; the role needs kms:Decrypt and kms:GenerateDataKey"
                        .to_owned(),
                );
            }
            ErrorKind::NoRight
            | ErrorKind::Credentials
            | ErrorKind::Expired
            | ErrorKind::Clock
            | ErrorKind::Throttled
            | ErrorKind::Missing
            | ErrorKind::Other => {}
        }
        if self.code() == "OverLimit" {
            return Some(
                "too many messages of the queue are in flight at once; it is no lack of rights".to_owned(),
            );
        }
        if self.kind() == Kind::Denied && speaks_of_time(self.code(), message) {
            return Some(clock(message, self.date, now));
        }
        // AWS has no code of its own for this.
        if message.contains("Credential should be scoped to a valid region") {
            return Some(format!(
                "the request was signed for {}: set QUEUE_SQS_REGION to the region of the endpoint",
                asked.region
            ));
        }
        if self.is_of_the_query_protocol() {
            return Some(QUERY_PROTOCOL.to_owned());
        }
        if kind == ErrorKind::NoRight {
            return Some(match other_policy(message) {
                Some(policy) => elsewhere(&policy, asked.permission),
                None => format!("{ROLE_NEEDS}{} on the queue", asked.permission),
            });
        }
        (self.kind() == Kind::Denied)
            .then(|| "see whose credentials these are, and whether they hold: hookferry check".to_owned())
    }

    /// Whether the endpoint takes the call for one of SQS' older protocol, or answers in its form what is no error.
    fn is_of_the_query_protocol(&self) -> bool {
        let beginning = self.body.get(..self.body.len().min(1024)).unwrap_or_default();
        matches!(self.code(), "MissingAction" | "InvalidAction")
            || (self.code.is_none()
                && String::from_utf8_lossy(beginning).contains("queue.amazonaws.com/doc/"))
    }

    /// Neither protocol of SQS' answers so: something else did, whatever its status.
    fn without_form(&self) -> String {
        let remedy = match self.status {
            _ if self.is_of_the_query_protocol() => {
                return format!("status {} and an answer in XML ({QUERY_PROTOCOL})", self.status);
            }
            407 => {
                "the proxy on the way wants to know who asks: name it with user and password in QUEUE_SQS_CLIENT_OPTIONS \
                 httpOptions.proxy"
            }
            _ => NOT_SQS,
        };
        let body = String::from_utf8_lossy(self.body.get(..self.body.len().min(1024)).unwrap_or_default());
        let words = body.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let begins = if words.is_empty() {
            "is empty".to_owned()
        } else {
            format!("begins with {:?}", cut(&words, MAX_BEGINNING))
        };
        format!("status {} and no answer of SQS' form, its body {begins} ({remedy})", self.status)
    }
}

/// A success that lacks what every answer of SQS to its call names: the SDK reads any JSON object and an empty
/// body as one.
pub(crate) fn formless(lacks: &str) -> String {
    format!("a success and no answer of SQS' form, it names no {lacks} ({NOT_SQS})")
}

/// Code and message of an error in the query protocol's XML, which older endpoints and some gateways speak:
/// the SDK, which speaks JSON, reads none.
fn query_error(body: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let body = std::str::from_utf8(body.get(..body.len().min(MAX_XML_BYTES))?).ok()?;
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.trim())
    };
    let code = element("Code")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if code.is_empty() || !code.chars().all(fits) {
        return None;
    }
    let message = element("Message").unwrap_or_default();
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")];
    let plain = entities.iter().fold(message.to_owned(), |text, (entity, plain)| text.replace(entity, plain));
    Some((Cow::Borrowed(code), Cow::Owned(plain)))
}

/// The policy that a denial names, where it is none of the role's or the queue's that lacks a right.
fn other_policy(message: &str) -> Option<String> {
    if let Some((_, rest)) = message.split_once("with an explicit deny") {
        let place = rest.trim().trim_end_matches('.');
        let place = if place.is_empty() { String::new() } else { format!(" {}", cut(place, MAX_POLICY)) };
        return Some(format!("an explicit deny{place} forbids it"));
    }
    // "because no VPC endpoint policy allows the sqs:receivemessage action"
    let (_, rest) = message.split_once("because no ")?;
    let (policy, _) = rest.split_once(" allows ")?;
    let own = ["identity-based policy", "resource-based policy"].contains(&policy);
    (!own).then(|| format!("no {} allows it", cut(policy, MAX_POLICY)))
}

/// What helps against such a policy.
fn elsewhere(policy: &str, denied: &str) -> String {
    format!("{policy}; no right of the role's helps: {denied} has to be let through there")
}

/// Whether a denial is one of the clocks: the request is too old or too new.
pub(crate) fn speaks_of_time(code: &str, message: &str) -> bool {
    // AWS has no code of its own for a signature's time.
    error_code::kind(code) == ErrorKind::Clock
        || message.contains("Signature expired")
        || message.contains("Signature not yet current")
}

/// Says how far this machine's clock is off: by the answer's `Date`, else by the times in its message.
fn clock(message: &str, date: Option<SystemTime>, now: SystemTime) -> String {
    let mut times = message.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(basic_time);
    // "Signature expired: T1 is now earlier than T2 (T3 - 5 min.)": T1 is ours, T3 SQS'.
    let (ours, theirs) = match (times.next(), date) {
        (_, Some(date)) => (Some(now), Some(date)),
        (ours, None) => (ours, times.next_back()),
    };
    let off = match (ours, theirs) {
        (Some(ours), Some(theirs)) => match theirs.duration_since(ours) {
            Ok(behind) => format!("is {} s behind that of SQS", behind.as_secs()),
            Err(ahead) => format!("is {} s ahead of that of SQS", ahead.duration().as_secs()),
        },
        (None, _) | (_, None) => "is not right".to_owned(),
    };
    format!("this machine's clock {off}: set it, and keep it set by NTP")
}

/// `20261127T100000Z`.
fn basic_time(text: &str) -> Option<SystemTime> {
    let digits = |range: std::ops::Range<usize>| {
        text.get(range).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))
    };
    if text.len() != 16 || text.get(8..9) != Some("T") || text.get(15..) != Some("Z") {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    let (hour, minute, second) = (digits(9..11)?, digits(11..13)?, digits(13..15)?);
    let text = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    let time = DateTime::from_str(&text, aws_sdk_sqs::primitives::DateTimeFormat::DateTime).ok()?;
    time_of(&time)
}

/// A `Date` header.
pub(crate) fn http_date(text: &str) -> Option<SystemTime> {
    time_of(&DateTime::from_str(text, HttpDate).ok()?)
}

fn time_of(time: &DateTime) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(time.secs()).ok()?))
}

#[cfg(feature = "worker")]
#[cfg(test)]
mod tests;
