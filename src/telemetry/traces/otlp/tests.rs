use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::*;
use crate::queue::Receipt;

const PARENT: TraceContext = TraceContext {
    trace_id: 0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793,
    span_id: 7,
    sampled: true,
    xray: true,
};

fn traces() -> Traces {
    let provider = SdkTracerProvider::builder().build();
    let tracer = provider.tracer(SERVICE);
    Traces(Some(Exporting { provider, tracer }))
}

fn message(trace: Option<TraceContext>) -> Message {
    Message {
        id: Arc::from("m"),
        receipt: Receipt::new("r".to_owned()),
        group: Arc::from("g"),
        body: Bytes::new(),
        receive_count: 1,
        sent: None,
        age: Duration::ZERO,
        since_first_receive: Duration::ZERO,
        redriven: None,
        trace: trace.map(Box::new),
    }
}

/// What an attempt at such a message's job adds to these headers.
fn carried(traces: &Traces, trace: Option<TraceContext>, own: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut job = JobSpan::default();
    job.begin(traces, &message(trace), "a");
    let about = About { webhook: "w", destination: Destination::Host("h"), number: 1, jobs: 1 };
    let mut headers: Vec<_> =
        own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    AttemptSpan::begin(traces, std::iter::once(&job), &about).carry(&mut headers);
    headers
}

#[test]
fn a_request_carries_the_producers_trace_and_the_attempts_own_span() {
    let headers = carried(&traces(), Some(PARENT), &[]);
    let [(traceparent, w3c), (amazons, xray)] = &headers[..] else { panic!("{headers:?}") };
    assert_eq!((traceparent.as_str(), amazons.as_str()), ("traceparent", "X-Amzn-Trace-Id"));
    let parts: Vec<&str> = w3c.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { panic!("{w3c}") };
    assert_eq!((version, trace, flags), ("00", "5759e988bd862e3fe1be46a994272793", "01"));
    assert!(span.len() == 16 && span != "0000000000000007", "{span}");
    assert_eq!(*xray, format!("Root=1-5759e988-bd862e3fe1be46a994272793;Parent={span};Sampled=1"));
    // Another's reader takes it as well.
    let read = TraceContext::read(Some(w3c), Some(xray)).unwrap();
    assert_eq!((read.trace_id, read.xray), (PARENT.trace_id, true));
}

#[test]
fn a_producer_that_does_not_record_is_followed_and_a_job_without_one_begins_a_trace() {
    let headers = carried(&traces(), Some(TraceContext { sampled: false, xray: false, ..PARENT }), &[]);
    assert!(headers.len() == 1 && headers[0].1.ends_with("-00"), "{headers:?}");
    let headers = carried(&traces(), None, &[]);
    assert!(headers.len() == 1 && headers[0].1.ends_with("-01"), "{headers:?}");
}

#[test]
fn a_webhooks_own_headers_go_before_and_without_traces_there_are_none() {
    let own = [(" Traceparent", "own"), ("x-amzn-trace-id", "own")];
    assert_eq!(carried(&traces(), Some(PARENT), &own).len(), 2);
    assert!(carried(&Traces::default(), Some(PARENT), &[]).is_empty());
}
