//! With OpenTelemetry: spans are made by its SDK, and exported as OTLP over HTTP.
//!
//! A span that ends goes into the SDK's queue of a fixed size, from which a thread of the SDK's exports
//! batches. A full queue drops what comes; nothing here waits for it, but for [`Traces::flush`] at the very end.

mod client;

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer, TracerProvider,
};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret;
use tokio::time::timeout;
use tracing::warn;

use super::{About, Destination, Ending, SetUpError, Settings};
use crate::outcome::{Outcome, Reason};
use crate::queue::Message;
use crate::queue::trace::{TRACEPARENT, TraceContext};
use crate::shown::Label;
use client::Client;

/// How long the last spans may take: a worker's drain ends two seconds before its grace at the latest.
const FLUSH: Duration = Duration::from_millis(1500);
/// How long the SDK may take beyond that.
const FLUSH_SLACK: Duration = Duration::from_millis(250);

/// What the service is called if nothing says otherwise.
const SERVICE: &str = "hookferry";

/// X-Ray's header.
const XRAY: &str = "X-Amzn-Trace-Id";

/// Makes spans, or none.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Exporting>);

#[derive(Clone, Debug)]
struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A job's span, if it has begun. Ends when it is dropped, which is when the job is settled.
#[derive(Debug, Default)]
pub struct JobSpan(Option<Box<Begun>>);

#[derive(Debug)]
struct Begun {
    span: Span,
    /// What it came to as far as is known, at which attempt, and why. Kept until the end: the SDK does not
    /// replace an attribute, it has it twice.
    ending: Option<(Ending, u32, Option<&'static str>)>,
    /// Whether those who sent it understand X-Ray's header.
    xray: bool,
}

/// An attempt's span, if it has begun. Ends when it is dropped.
#[derive(Debug, Default)]
pub struct AttemptSpan(Option<Box<Attempt>>);

#[derive(Debug)]
struct Attempt {
    span: Span,
    xray: bool,
}

impl Traces {
    /// Starts to export. Has to be called within a runtime: requests are made on it.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn start(settings: &Settings) -> Result<Self, SetUpError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(&settings.endpoint)?)
            // Whatever OTEL_EXPORTER_OTLP_PROTOCOL says: an environment is shared with others.
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&settings.endpoint)
            .with_headers(headers(settings))
            .build()?;
        let root = Sampler::TraceIdRatioBased(settings.sampler.ratio);
        let sampler = if settings.sampler.parent_based { Sampler::ParentBased(Box::new(root)) } else { root };
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(settings.service.as_deref()))
            .with_sampler(sampler)
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer(SERVICE);
        Ok(Self(Some(Exporting { provider, tracer })))
    }

    /// Whether spans are made.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Exports what is left, for a bounded time, and ends.
    pub async fn flush(self) {
        let Some(Exporting { provider, tracer }) = self.0 else { return };
        drop(tracer);
        // It blocks, and waits for requests that are made on the runtime.
        let flushing = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH));
        if !matches!(timeout(FLUSH + FLUSH_SLACK, flushing).await, Ok(Ok(Ok(())))) {
            warn!("the last spans were not exported in time");
        }
    }
}

/// Headers of requests; what cannot be sent is told by its name.
fn headers(settings: &Settings) -> HashMap<String, String> {
    let mut headers = HashMap::new();
    for (name, value) in &settings.headers {
        let value = percent_decode_str(value.expose_secret()).decode_utf8_lossy().into_owned();
        if value.contains(|c: char| c.is_control() || !c.is_ascii()) {
            warn!(
                name,
                "OTEL_EXPORTER_OTLP_HEADERS: the value of this header cannot be sent; it is left out"
            );
        } else {
            headers.insert(name.clone(), value);
        }
    }
    headers
}

/// What the spans are of: `OTEL_RESOURCE_ATTRIBUTES` count, and for the name `OTEL_SERVICE_NAME` first.
fn resource(service: Option<&str>) -> Resource {
    let name = Key::from_static_str("service.name");
    let told = Resource::builder().build();
    let told =
        told.get(&name).map(|name| name.to_string()).filter(|name| !name.starts_with("unknown_service"));
    let service = service.map(str::to_owned).or(told).unwrap_or_else(|| SERVICE.to_owned());
    Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

impl JobSpan {
    /// Begins it, if it has not begun.
    pub fn begin(&mut self, traces: &Traces, message: &Message, app_id: &str) {
        let (Some(Exporting { tracer, .. }), None) = (&traces.0, &self.0) else { return };
        let sent_by = message.trace.as_deref();
        let above = sent_by.map_or_else(Context::new, |parent| below(context(parent)));
        let span = tracer
            .span_builder("job")
            .with_kind(SpanKind::Consumer)
            .with_attributes([
                KeyValue::new("messaging.system", "aws_sqs"),
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("messaging.message.id", message.id.to_string()),
                KeyValue::new("hookferry.app_id", Label::name(app_id).to_string()),
                KeyValue::new("hookferry.group", message.group.to_string()),
            ])
            .start_with_context(tracer, &above);
        let xray = sent_by.is_some_and(|parent| parent.xray);
        self.0 = Some(Box::new(Begun { span, ending: None, xray }));
    }

    /// Notes what the job came to. The last call wins, except that [`Ending::Delivered`] replaces nothing: it is also said
    /// of jobs that no webhook wants.
    pub fn ends(&mut self, ending: Ending, number: u32, reason: Option<&Reason>) {
        let Some(begun) = &mut self.0 else { return };
        if ending == Ending::Delivered && begun.ending.is_some() {
            return;
        }
        begun.ending = Some((ending, number, reason.map(Reason::code)));
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Without a word the lease ran out, or the process is ending: SQS hands the job over again.
        let word = self.ending.map_or("abandoned", |(ending, ..)| ending.word());
        self.span.set_attribute(KeyValue::new("hookferry.outcome", word));
        if let Some((ending, number, reason)) = self.ending {
            self.span.set_attribute(KeyValue::new("hookferry.attempt", i64::from(number)));
            if let Some(reason) = reason {
                self.span.set_attribute(KeyValue::new("hookferry.reason", reason));
            }
            if ending == Ending::DeadLettered {
                self.span.set_status(Status::error(reason.unwrap_or_default()));
            }
        }
        self.span.end();
    }
}

impl AttemptSpan {
    /// Begins one below the span of the first of its jobs, linked with those of the others.
    #[must_use]
    pub fn begin<'a>(
        traces: &Traces,
        mut jobs: impl Iterator<Item = &'a JobSpan>,
        about: &About<'_>,
    ) -> Self {
        let first = jobs.next().and_then(|job| job.0.as_deref());
        let (Some(Exporting { tracer, .. }), Some(first)) = (&traces.0, first) else { return Self(None) };
        let others = jobs.filter_map(|job| job.0.as_deref());
        let links = others.map(|job| Link::with_context(job.span.span_context().clone())).collect();
        let (key, destination) = match about.destination {
            Destination::Host(host) => ("server.address", host),
            Destination::Function(function) => ("faas.invoked_name", function),
        };
        let span = tracer
            .span_builder("attempt")
            .with_kind(SpanKind::Client)
            .with_attributes([
                KeyValue::new(key, destination.to_owned()),
                KeyValue::new("hookferry.webhook", about.webhook.to_owned()),
                KeyValue::new("hookferry.attempt", i64::from(about.number)),
                KeyValue::new("hookferry.jobs", i64::try_from(about.jobs).unwrap_or(i64::MAX)),
            ])
            .with_links(links)
            .start_with_context(tracer, &below(first.span.span_context().clone()));
        Self(Some(Box::new(Attempt { span, xray: first.xray })))
    }

    /// Adds the headers that name it, so that the receiver's spans are below it. A webhook's own go before them.
    pub fn carry(&self, headers: &mut Vec<(String, String)>) {
        let Some(attempt) = &self.0 else { return };
        let own = attempt.span.span_context();
        let mut add = |name: &str, value: String| {
            if !headers.iter().any(|(known, _)| known.trim().eq_ignore_ascii_case(name)) {
                headers.push((name.to_owned(), value));
            }
        };
        let (trace, span, sampled) = (own.trace_id().to_string(), own.span_id(), u8::from(own.is_sampled()));
        add(TRACEPARENT, format!("00-{trace}-{span}-0{sampled}"));
        if attempt.xray
            && let Some((seconds, rest)) = trace.split_at_checked(8)
        {
            add(XRAY, format!("Root=1-{seconds}-{rest};Parent={span};Sampled={sampled}"));
        }
    }

    /// Ends it with what the attempt came to.
    pub fn ends(self, outcome: &Outcome) {
        let Some(mut attempt) = self.0 else { return };
        let (word, reason) = match outcome {
            Outcome::Delivered => ("delivered", None),
            Outcome::Deferred(reason) => ("deferred", Some(reason)),
            Outcome::Transient { reason, .. } | Outcome::Permanent(reason) => ("failed", Some(reason)),
        };
        attempt.span.set_attribute(KeyValue::new("hookferry.outcome", word));
        let Some(reason) = reason else { return };
        attempt.span.set_attribute(KeyValue::new("hookferry.reason", reason.code()));
        if word == "failed" {
            attempt.span.set_attribute(KeyValue::new("error.type", reason.code()));
            attempt.span.set_status(Status::error(reason.code()));
        }
        let status = match reason {
            Reason::Status(status) | Reason::StatusNoted(status, _) => *status,
            Reason::Gone => 410,
            _ => return,
        };
        attempt.span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
    }
}

/// A producer's span as the SDK has it.
fn context(parent: &TraceContext) -> SpanContext {
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(
        TraceId::from_bytes(parent.trace_id.to_be_bytes()),
        SpanId::from_bytes(parent.span_id.to_be_bytes()),
        flags,
        true,
        TraceState::default(),
    )
}

/// Where a span begins that is the child of another.
fn below(parent: SpanContext) -> Context {
    Context::new().with_remote_span_context(parent)
}

#[cfg(test)]
mod tests;
