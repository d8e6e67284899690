//! Lambda delivery: one invocation, by name, of a function that a webhook names.
//!
//! Invariants:
//! - a region of an app's is one of AWS' or one that the operator named: it is part of the host dialled;
//! - the worker's own role signs for AWS' endpoints and the operator's alone: an endpoint of an app's
//!   goes with credentials of that app's, and a region of an app's is one label of a host name;
//! - an endpoint of an app's is dialled only at an address that the policy lets pass;
//! - an endpoint of an app's is spoken to from threads of its own: what it sends before its answer is not bounded;
//! - invocations at AWS, or the operator's endpoint, are shared among apps, and all are connections that deliveries share;
//! - a function is invoked only if `WEBHOOKS_ALLOWED_FUNCTIONS` lets apps name it;
//! - the SDK never retries, and of an answer no more is read than is looked at.

mod capped;
mod clients;
mod custom_endpoint;
mod dry_run;
mod endpoint_limiter;
mod error;
mod options;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::SdkError;
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use serde_json::{Map, Value};
use url::Url;

use super::function_name::{Allowed, Function, NameError};
use crate::app::{Invocation, Lambda as Webhook};
use crate::aws;
use crate::aws::region::Regions;
use crate::bulkhead::{Bulkhead, Threads};
use crate::descriptors;
use crate::descriptors::sockets::Sockets;
use crate::egress::address_policy::AddressPolicy;
use crate::egress::checked::Checked;
use crate::egress::resolver::Resolve;
use crate::flow::app_quota::{AppPermit, AppQuota, Portion, Purpose};
use crate::outcome::{Outcome, Reason};
use crate::plan::{ATTEMPT_HEADER, Delivery};
use crate::shown::cut;
use clients::Clients;
use endpoint_limiter::EndpointLimiter;
use options::Options;

/// The region where nothing names one, as with soketi.
const REGION: &str = "us-east-1";
/// At most this many characters of a function's error are shown; type and message together.
const MAX_ERROR: usize = 200;
/// An account's default bound of executions at a time. Past it Lambda throttles whoever comes next.
pub const CONCURRENCY: usize = 1_000;
/// The part of the invocations that is left to apps whose functions have answered in the last minute: one in so many.
const RESERVED: usize = 4;
/// And to apps with none under way.
const FIRSTS: usize = 16;

/// The Lambda transport.
#[derive(Debug)]
pub struct Lambda {
    clients: Clients,
    allowed: Allowed,
    /// `None` where the operator's endpoint takes them all.
    regions: Option<Regions>,
    endpoints: EndpointLimiter,
    /// Invocations elsewhere than at endpoints of apps.
    invocations: AppQuota,
    /// Connections in use.
    sockets: Arc<Sockets>,
    bulkhead: Bulkhead,
    timeout: Duration,
}

impl Lambda {
    /// Loads the default chain of credentials. `endpoint` is the operator's own, and is not checked; those of
    /// apps are looked up by `resolver` and dialled where `policy` lets them. An invocation takes no longer than `timeout`.
    pub async fn load(
        endpoint: Option<String>,
        allowed: Allowed,
        regions: Regions,
        policy: AddressPolicy,
        resolver: Arc<dyn Resolve>,
        timeout: Duration,
    ) -> Self {
        // To the operator's endpoint a region is no more than a word in the signature.
        let regions = endpoint.is_none().then_some(regions);
        let sdk = aws::load(REGION.to_owned(), endpoint, timeout).await;
        let clients = Clients::new(sdk, Checked::new(policy, resolver));
        Self {
            clients,
            allowed,
            regions,
            endpoints: EndpointLimiter::default(),
            invocations: invocations(CONCURRENCY),
            sockets: Arc::new(Sockets::new(descriptors::for_deliveries(descriptors::limit()))),
            bulkhead: Bulkhead::new(Threads::Mute),
            timeout,
        }
    }

    /// At most so many invocations are under way at AWS, or at the operator's endpoint, in place of `CONCURRENCY`.
    #[must_use]
    pub fn with_concurrency(self, concurrency: usize) -> Self {
        Self { invocations: invocations(concurrency), ..self }
    }

    /// Shares the connections that deliveries may use at a time with another transport.
    #[must_use]
    pub fn sharing(self, sockets: Arc<Sockets>) -> Self {
        Self { sockets, ..self }
    }

    /// Makes one attempt.
    pub async fn attempt(&self, webhook: &Webhook, delivery: &Delivery, number: u32) -> Outcome {
        let Prepared { function, reference, options, client } = match self.prepare(webhook) {
            Ok(prepared) => prepared,
            Err(reason) => return Outcome::Permanent(reason),
        };
        let whose = error::Credentials::of(&options);
        let place = (options.endpoint.as_ref().map(Url::host_str), &options.region);
        let Some(socket) = self.sockets.take(&delivery.app_id, place, Purpose::Any) else {
            return Outcome::Deferred(Reason::NoDescriptor);
        };
        let enter = |endpoint| self.endpoints.enter(&delivery.app_id, endpoint);
        let permit = match options.endpoint.as_ref().map(enter).transpose() {
            Ok(permit) => permit,
            Err(under_way) => return Outcome::Deferred(Reason::EndpointBusy(under_way)),
        };
        let share = match &permit {
            Some(_) => None,
            None => match self.invocations.take(&delivery.app_id, Purpose::Any) {
                Some(share) => Some(share),
                None => return Outcome::Deferred(Reason::InvocationsBusy(self.invocations.most())),
            },
        };
        let kind = if webhook.asynchronous { InvocationType::Event } else { InvocationType::RequestResponse };
        let invocation = client
            .invoke()
            .function_name(reference)
            .set_qualifier(function.qualifier)
            .invocation_type(kind.clone())
            .payload(Blob::new(payload(webhook.invocation, delivery, number)));
        let answer = if options.endpoint.is_some() {
            self.bulkhead.run(async move { invocation.send().await }).await
        } else {
            invocation.send().await
        };
        let has_answered = matches!(&answer, Ok(_) | Err(SdkError::ServiceError(_)));
        if has_answered {
            socket.answered();
            share.iter().for_each(AppPermit::answered);
        }
        if let Some(permit) = permit {
            permit.ended(has_answered);
        }
        match answer {
            Ok(answer) => outcome(&answer, &kind),
            Err(failure) => error::outcome(&failure, self.timeout, whose),
        }
    }

    /// What is known of an invocation before it is made; the error is why it may not be.
    fn prepare(&self, webhook: &Webhook) -> Result<Prepared, Reason> {
        let function: Function =
            webhook.function.parse().map_err(|error: NameError| Reason::FunctionName(error.to_string()))?;
        let options =
            Options::parse(webhook, &function).map_err(|error| Reason::FunctionOptions(error.to_string()))?;
        let reference = function.reference(&options.region);
        if !self.allowed.allows(&function, &options.region) {
            return Err(Reason::FunctionRefused(reference));
        }
        let known = self.regions.as_ref().is_none_or(|regions| regions.allow(&options.region));
        if !known && options.endpoint.is_none() {
            return Err(Reason::FunctionOptions(format!(
                "{:?} is no region of AWS' that is known here; WEBHOOKS_ALLOWED_REGIONS lets apps name others",
                options.region
            )));
        }
        let client = self.clients.of(&options).map_err(|refused| Reason::Refused(refused.to_string()))?;
        Ok(Prepared { function, reference, options, client })
    }
}

/// An app that answers holds twice of what is free at the most, another as much as is free beyond the reserve.
fn invocations(most: usize) -> AppQuota {
    let portion = Portion { answering: |free| free.saturating_mul(2), other: |free| free };
    AppQuota::new(most, most / RESERVED, most / FIRSTS, portion)
}

/// An invocation that may be made.
struct Prepared {
    function: Function,
    /// As Lambda's API takes it.
    reference: String,
    options: Options,
    client: Client,
}

/// `{"payload":…,"headers":{…}}`, the payload by its own bytes and the headers in their order; or the payload's
/// own members with the headers behind them. As with HTTP, the later of two headers of one name replaces the
/// earlier.
fn payload(invocation: Invocation, delivery: &Delivery, number: u32) -> Vec<u8> {
    let number = number.to_string();
    let given = delivery.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut headers: Vec<(&str, &str)> = Vec::with_capacity(delivery.headers.len() + 1);
    for (name, value) in given.chain([(ATTEMPT_HEADER, number.as_str())]) {
        match headers.iter_mut().find(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            Some(earlier) => *earlier = (name, value),
            None => headers.push((name, value)),
        }
    }
    let member = |(name, value): &(&str, &str)| format!("{}:{}", Value::from(*name), Value::from(*value));
    let headers = headers.iter().map(member).collect::<Vec<_>>().join(",");
    let mut bytes = Vec::with_capacity(delivery.body.len() + headers.len() + 32);
    match (invocation, delivery.body.strip_suffix(b"}")) {
        (Invocation::Plain, Some(members)) => bytes.extend_from_slice(members),
        (Invocation::Wrapped, _) | (Invocation::Plain, None) => {
            bytes.extend_from_slice(b"{\"payload\":");
            bytes.extend_from_slice(&delivery.body);
        }
    }
    bytes.extend_from_slice(b",\"headers\":{");
    bytes.extend_from_slice(headers.as_bytes());
    bytes.extend_from_slice(b"}}");
    bytes
}

/// The SDK fails for everything but a 2xx; a function that failed is one of these all the same, and so is whatever else
/// answers in Lambda's place, which has invoked nothing.
fn outcome(answer: &InvokeOutput, kind: &InvocationType) -> Outcome {
    if let Some(failure) = answer.function_error() {
        return Outcome::transient(Reason::FunctionFailed(told(failure, payload_of(answer))));
    }
    if is_lambdas(answer, kind) { Outcome::Delivered } else { Outcome::transient(formless(answer)) }
}

/// Whether an answer is of the form in which Lambda, or what stands in for it, tells that it did what it was asked to.
fn is_lambdas(answer: &InvokeOutput, kind: &InvocationType) -> bool {
    match (answer.status_code(), kind) {
        (202, InvocationType::Event) | (204, InvocationType::DryRun) => true,
        // What stands in for it may invoke a function at once that was not to be waited for.
        (200, _) => {
            answer.request_id().is_some()
                || answer.executed_version().is_some()
                || is_json(payload_of(answer))
        }
        _ => false,
    }
}

/// Whether bytes are JSON, or begin like it where only the beginning was read.
fn is_json(payload: &[u8]) -> bool {
    match serde_json::from_slice::<serde::de::IgnoredAny>(payload) {
        Ok(_) => true,
        Err(error) => error.is_eof() && payload.len() >= capped::MAX_ANSWER,
    }
}

/// A success that is none of Lambda's.
fn formless(answer: &InvokeOutput) -> Reason {
    Reason::FunctionService(format!(
        "{NOT_LAMBDA}: status {}, {}",
        answer.status_code(),
        error::beginning(payload_of(answer))
    ))
}

/// What an answer of another form comes to.
const NOT_LAMBDA: &str = "no answer of Lambda's form: a proxy, a firewall or a wrong endpoint answers in its place (let the worker \
    out to Lambda's endpoint, and see that LAMBDA_ENDPOINT, AWS_ENDPOINT_URL and lambda.client_options name no other)";

fn payload_of(answer: &InvokeOutput) -> &[u8] {
    answer.payload().map_or(&[][..], AsRef::as_ref)
}

/// What the function said of its failure: its type and message where it told them, else how its answer
/// begins.
fn told(kind: &str, payload: &[u8]) -> String {
    let told = serde_json::from_slice::<Map<String, Value>>(payload).ok().map(|mut told| {
        let mut part =
            |name| told.remove(name).and_then(crate::json::scalar_text).filter(|text| !text.is_empty());
        (part("errorType"), part("errorMessage"))
    });
    let words = match told {
        Some((Some(kind), Some(message))) => format!("{kind}: {message}"),
        Some((Some(only), None) | (None, Some(only))) => only,
        Some((None, None)) | None => format!("{kind}: {}", String::from_utf8_lossy(payload)),
    };
    shown(&words, MAX_ERROR)
}

/// Words from outside: one line of them, and not too much.
fn shown(words: &str, most: usize) -> String {
    cut(&words.replace(char::is_control, " "), most)
}

#[cfg(test)]
mod tests;
