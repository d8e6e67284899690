//! Spans: one a job, from when it is prepared to when it is settled, and below it one an attempt at a webhook.
//!
//! Who uses this sees [`Traces`], [`JobSpan`] and [`AttemptSpan`], and nothing of OpenTelemetry. Without the
//! feature `otel` they are empty and do nothing; with it, but without an endpoint, they are one empty `Option`
//! each.
//!
//! A span holds what a log line holds: ids, the app, the group, host or function, and a reason's code. Never a
//! payload, a header, a secret, or more of a URL than its host.

#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod otlp;

use secrecy::SecretString;

#[cfg(not(feature = "otel"))]
pub use off::{AttemptSpan, JobSpan, Traces};
#[cfg(feature = "otel")]
pub use otlp::{AttemptSpan, JobSpan, Traces};

/// Where spans go, and which.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The URL that they are posted to, its path included.
    pub endpoint: String,
    /// Headers of those requests, their values still percent-encoded.
    pub headers: Vec<(String, SecretString)>,
    /// What this service is called, if it was given a name.
    pub service: Option<String>,
    /// Which jobs are recorded.
    pub sampler: Sampler,
}

/// Which jobs are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// A job that was sent from within a span is recorded if that span is.
    pub parent_based: bool,
    /// The part of the others, from 0 to 1.
    pub ratio: f64,
}

/// Traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The exporter does not take its configuration.
    #[cfg(feature = "otel")]
    #[error("{0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// There is no HTTP client; in the words of the innermost cause, since reqwest's hold the URL.
    #[error("{0}")]
    Client(String),
    /// It was started outside of a runtime.
    #[error(transparent)]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
}

/// What a job came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every webhook has it.
    Delivered,
    /// No webhook wants it.
    Unmatched,
    /// It comes back.
    Retry,
    /// It was given up.
    DeadLettered,
}

impl Ending {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Unmatched => "unmatched",
            Self::Retry => "retry",
            Self::DeadLettered => "dead_lettered",
        }
    }
}

/// What an attempt's span says.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The webhook's identity.
    pub webhook: &'a str,
    /// Where it goes.
    pub destination: Destination<'a>,
    /// The number of the attempt.
    pub number: u32,
    /// For how many jobs the request is.
    pub jobs: usize,
}

/// Where an attempt goes.
#[derive(Clone, Copy, Debug)]
pub enum Destination<'a> {
    /// A host, by HTTP.
    Host(&'a str),
    /// A Lambda function.
    Function(&'a str),
}
